"""What all networks share: they take images and one noise level per image; their settings and inputs are checked here."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, ClassVar, Protocol, TypeVar

from torch import Tensor

from rescore.config import typed_settings
from rescore.errors import RescoreError


class _Dataclass(Protocol):
    __dataclass_fields__: ClassVar[dict[str, Any]]


Config = TypeVar("Config", bound=_Dataclass)
Side = int | tuple[int, int]
"""Of images: one number if they are square, else (height, width)."""


def size_of(side: Side) -> tuple[int, int]:
    """(height, width)."""
    height, width = (side, side) if isinstance(side, int) else side
    return height, width


def configured(config: Config, settings: dict, network: str) -> Config:
    """A frozen config dataclass with some fields replaced; RescoreError for a setting it does not have or of another type."""
    allowed = [field.name for field in fields(config)]
    unknown = [name for name in settings if name not in allowed]
    if unknown:
        raise RescoreError(f"network {network}: unknown setting {unknown[0]!r}; allowed are {', '.join(allowed)}")
    return replace(config, **typed_settings(type(config), settings, f"network {network}"))


def check_input(network: str, x: Tensor, level: Tensor, shape: tuple[int, ...]) -> None:
    """RescoreError unless x is floating point of shape (batch, *shape) and level is (batch,)."""
    if tuple(x.shape[1:]) != tuple(shape) or not x.is_floating_point():
        wanted = ", ".join(("batch", *map(str, shape)))
        raise RescoreError(f"{network} takes floating point input of shape ({wanted}), not {x.dtype} of {tuple(x.shape)}")
    if level.shape != x.shape[:1]:
        raise RescoreError(f"{network} takes one noise level per input, shape ({len(x)},), not {tuple(level.shape)}")


def once(levels: Tensor) -> Tensor:
    """Of levels or times (n,) that are one number, expanded, that one, (1,); others as they are.

    What is computed of it serves the whole batch by broadcasting: a network's layers for the level then see one row, not n.
    """
    return levels[:1] if levels.stride() == (0,) else levels
