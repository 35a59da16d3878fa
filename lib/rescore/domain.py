"""Checks of results, and of what a user gives: each names what it is, the value and what is allowed."""

import math
from collections.abc import Collection
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

from rescore.errors import Diverged, RescoreError

if TYPE_CHECKING:
    from torch import Tensor


def check_number(owner: object, name: str, value: object, low: float, high: float = math.inf, brackets: str = "[]") -> None:
    """RescoreError unless `value` is a finite real number between `low` and `high`; "(" and ")" leave the ends out."""
    if isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value):
        number: Any = value  # a Real compares with floats, and its type does not say so
        above = number > low if brackets[0] == "(" else number >= low
        below = number < high if brackets[1] == ")" else number <= high
        if above and below:
            return
    allowed = f"{brackets[0]}{low:g}, {high:g}{')' if math.isinf(high) else brackets[1]}"
    raise RescoreError(f"{_name(owner)}: {name} = {value!r}; allowed are numbers in {allowed}")


def check_count(owner: object, name: str, value: object, least: int = 1, most: int | None = None) -> None:
    """RescoreError unless `value` is an integer from `least` to `most`."""
    whole = int(value) if isinstance(value, Integral) and not isinstance(value, bool) else None
    if whole is not None and whole >= least and (most is None or whole <= most):
        return
    allowed = f"from {least} on" if most is None else f"from {least} to {most}"
    raise RescoreError(f"{_name(owner)}: {name} = {value!r}; allowed are integers {allowed}")


def check_one_of(what: str, value: object, allowed: Collection[Any]) -> None:
    """RescoreError `<what> <value>; allowed: ...` unless `value` is one of these; for names: `rescore.config.check_choice`."""
    if value not in allowed:
        raise RescoreError(f"{what} {value!r}; allowed: {', '.join(map(str, allowed)) or '(none)'}")


def check_finite(x: "Tensor", what: str, item: str = "a point") -> None:
    """Raise Diverged, starting with `what`, unless all of x is finite: NaN is neither within a radius nor outside."""
    if not x.isfinite().all():
        raise Diverged(f"{what}: {item} is not finite")


def _name(owner: object) -> str:
    return owner if isinstance(owner, str) else type(owner).__name__
