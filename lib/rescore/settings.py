"""What every config refuses, whatever its fields: unknown keys, numbers no computer holds, lists that name an entry twice."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)

MOST = 2**63 - 1
"""The largest integer that torch and numpy hold."""


@dataclass(frozen=True)
class _Problem:
    """What is wrong with the value at a place within a setting."""

    what: str
    value: Any
    place: tuple[int | str, ...]


def _numbers(value: Any, *place: int | str) -> Iterator[_Problem]:
    """What is wrong with the numbers in `value`, which may be a list or a mapping, in pydantic's own words."""
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from _numbers(key, *place, "[key]")
            yield from _numbers(part, *place, str(key))
    elif isinstance(value, list | tuple):
        for i, part in enumerate(value):
            yield from _numbers(part, *place, i)
    elif isinstance(value, float) and not math.isfinite(value):
        yield _Problem("input should be a finite number", value, place)
    elif isinstance(value, int) and not -MOST <= value <= MOST:
        yield _Problem(f"input should be from -{MOST} to {MOST}", value, place)


def _refuse(problems: Iterable[_Problem]) -> None:
    """Raise ValidationError for these, if there are any: pydantic tells each with its place."""
    if found := list(problems):
        raise ValidationError.from_exception_data(
            "settings", [{"type": "value_error", "loc": of.place, "input": of.value, "ctx": {"error": of.what}} for of in found]
        )


def _of_numbers(value: Any) -> Any:
    _refuse(_numbers(value))
    return value


Free = Annotated[Any, AfterValidator(_of_numbers)]
"""A setting of any type, which whoever takes it checks."""

Seed = Annotated[int, Field(ge=0, le=MOST)]
"""What a generator of torch is seeded with, or a name of one (`rescore.random.derive_seed`)."""

MOST_SEEDS = 10_000


def _counted(value: Any) -> Any:
    """0 to n - 1 for a count n."""
    if not isinstance(value, int) or isinstance(value, bool):
        return value
    if not 0 < value <= MOST_SEEDS:
        raise ValueError(f"input should be a list of seeds, or a count of them from 1 to {MOST_SEEDS}")
    return tuple(range(value))


Seeds = Annotated[tuple[Seed, ...], BeforeValidator(_counted)]
"""Of independent repeats: they differ, and there is one at least, as is so with all lists of `Settings`; n means 0 to n - 1."""


class Settings(BaseModel):
    """Base of every config: frozen, and an unknown key is an error.

    So is a number that is not finite, and an integer of more than 64 bits; in a list `tuple[X, ...]`, alone or by key, an entry
    that is there twice, for entries are rows of a table, or repeats which have to be independent; and an empty list whose
    default is another, for a job would have nothing to do.

    Attributes:
        may_repeat: fields whose lists may have an entry several times, such as widths of layers.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    may_repeat: ClassVar[tuple[str, ...]] = ()

    @field_validator("*")
    @classmethod
    def _numbers_and_lists(cls, value: Any, info: ValidationInfo) -> Any:
        name = info.field_name or ""
        _refuse([*_numbers(value), *cls._lists(name, value)])
        return value

    @classmethod
    def _lists(cls, name: str, value: Any) -> Iterator[_Problem]:
        """What is wrong with the list, or the lists by key, of a field."""
        field = cls.model_fields[name]
        may_be_empty, may_repeat = field.default == (), name in cls.may_repeat or _is_of_fixed_length(field.annotation)
        by_place = {(str(key),): of for key, of in value.items()} if isinstance(value, Mapping) else {(): value}
        for place, entries in by_place.items():
            if not isinstance(entries, tuple):
                continue
            if not entries and (place or not may_be_empty):
                yield _Problem("no entry; allowed: one or more", [], place)
            twice = [entry for i, entry in enumerate(entries) if entry in entries[:i]]
            if twice and not may_repeat:
                yield _Problem(f"listed twice: {twice[0]}; allowed: entries that differ", list(entries), place)


def _is_of_fixed_length(annotation: Any) -> bool:
    """Whether its lists have each so many entries, such as a pair."""
    arguments = get_args(annotation)
    return ... not in arguments if get_origin(annotation) is tuple else any(map(_is_of_fixed_length, arguments))
