"""Settings that grow: a new field leaves the hashes of old ones, and with them the keys of trained models, as they were."""

from typing import Any, ClassVar

from pydantic import SerializerFunctionWrapHandler, model_serializer

from rescore.settings import Settings


class Grown(Settings):
    """Settings that got fields later: those hashed before keep their keys.

    Attributes:
        younger: names of fields that are left out of what is hashed while they have their defaults.
    """

    younger: ClassVar[tuple[str, ...]] = ()

    @model_serializer(mode="wrap")
    def _old_keys(self, content: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields = type(self).model_fields
        left_out = {name for name in self.younger if getattr(self, name) == fields[name].default}
        return {name: value for name, value in content(self).items() if name not in left_out}
