"""How many points scores, networks and densities are evaluated at: noted where the calls happen, whoever makes them."""

from types import TracebackType

_noted = 0


def note(points: int) -> None:
    """That a score, a network or a density is evaluated at so many points."""
    global _noted
    _noted += points


class CountEvaluations:
    """Counts, inside a `with` block, what is noted; blocks may be nested.

    Attributes:
        total: evaluations so far; after the block, of the block.
    """

    def __enter__(self) -> "CountEvaluations":
        self._before = _noted
        self._after: int | None = None
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._after = _noted

    @property
    def total(self) -> int:
        return (_noted if self._after is None else self._after) - self._before
