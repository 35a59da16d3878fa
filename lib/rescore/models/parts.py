"""Parts of the cells of a section, so that several jobs share them. No torch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

ADAPTIVE = 200  # evaluations that an adaptive solver is taken to need: an assumption, for shares and plans only

T = TypeVar("T")


@dataclass
class Parts:
    """Which cells are those of part k of n. All parts see the same cells in the same order, so that each cell is in one.

    Args:
        k, n: from 1 on; by default all cells are in the one part.
    """

    k: int = 1
    n: int = 1
    _loads: list[float] = field(init=False, repr=False)
    _singles: int = field(default=0, init=False, repr=False)

    def __post_init__(self) -> None:
        self._loads = [0.0] * self.n

    @property
    def first(self) -> bool:
        return self.k == 1

    def mine(self, cells: Sequence[T], cost: Callable[[T], float]) -> list[T]:
        """Those of this part, in their order: the dearest cell first, each to the part with the least so far."""
        chosen = set()
        for i in sorted(range(len(cells)), key=lambda i: -cost(cells[i])):
            part = self._loads.index(min(self._loads))
            self._loads[part] += cost(cells[i])
            if part == self.k - 1:
                chosen.add(i)
        return [cell for i, cell in enumerate(cells) if i in chosen]

    def next(self) -> bool:
        """Whether the next single cell, such as a likelihood, is this part's: they go round from the last part backwards."""
        self._singles += 1
        return (self._singles - 1) % self.n == self.n - self.k
