"""Samplers on an exact problem, into the cells of a section: what `rescore.models.evaluate` is for trained networks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property

from torch import Tensor

from rescore.experiments.book import Book, Cell
from rescore.models.evaluate import Sampling
from rescore.problems import distances
from rescore.problems.exact import ExactProblem
from rescore.progress import progress

Metrics = Mapping[str, Callable[[Tensor], Sequence[float]]]
"""By name, from data (seeds, n, *data) the value at every seed; see `rescore.problems.distances`."""


@dataclass(frozen=True)
class ExactRuns:
    """One exact problem in a section.

    Args:
        protocol: of all cells.
        stream: the first names of all samplers' noise.
    """

    book: Book
    problem: ExactProblem
    protocol: Mapping[str, object]
    stream: tuple[object, ...] = ()

    @cached_property
    def start(self) -> Tensor:
        """The draws of the prior that all samplers start from, (seeds * n, *state)."""
        return self.problem.start()

    def cell(self, table: str, method: str, variant: str = "", nfe: int | None = None, **protocol: object) -> Cell:
        """A cell of the book, with the problem's data set and protocol."""
        problem = self.problem
        return self.book.cell(table, problem.dataset, method, variant, nfe, {**self.protocol, **protocol}, n=problem.n)

    def measure(
        self, samplings: Iterable[Sampling], label: str, metrics: Metrics,
        array: Callable[[Sampling], str | None] = lambda one: None, **protocol: object,
    ) -> None:  # fmt: skip
        """Run samplers and fill their cells; an adaptive one stands at the evaluations that it took.

        Args:
            label: stands before the progress bar.
            array: the name under which a first sample is kept for figures, without dimensions of size 1; None for none.
        """
        problem = self.problem
        for one in progress(list(samplings), desc=label):
            sampler = one.sampler
            how = {"t0": sampler.times[-1], "denoise": sampler.denoise, "samples": problem.n, **one.protocol, **protocol}
            with self.cell(one.table, one.method, one.variant, sampler.nfe, **how) as cell:
                if cell.todo:
                    names = *self.stream, one.table, problem.dataset, one.method, one.variant, sampler.steps
                    u, cell.nfe = sampler.solve(problem.score, self.start, problem.streams(*names))
                    x = problem.by_seed(u)
                    _add(cell, metrics, x)
                    if name := array(one):
                        cell.arrays[name] = x[0, 0].squeeze().numpy()

    def fill(self, table: str, method: str, draw: Callable[[], Tensor], metrics: Metrics, **protocol: object) -> None:
        """A cell of what no sampler made, such as exact draws: data (seeds, n, *data)."""
        with self.cell(table, method, samples=self.problem.n, **protocol) as cell:
            if cell.todo:
                _add(cell, metrics, draw())

    def floor(self, table: str, metrics: Metrics, *names: object) -> None:
        """`exact draws`: the same metrics of draws of the data, `ExactProblem.draws(*names)`."""
        rest = dict(metrics)
        if self.problem.points is not None and rest.pop("off_data", None):  # 0 whatever is drawn, in any dtype
            protocol = {key: value for key, value in self.protocol.items() if key != "dtype"} | {"samples": self.problem.n}
            with self.book.cell(table, self.problem.dataset, "exact draws", protocol=protocol) as cell:
                cell.exact("off_data", 0.0)
        self.fill(table, "exact draws", lambda: self.problem.draws(*names), rest)

    def to_data(self, projections: int, *names: object, radius: float | None = None) -> Metrics:
        """Distances to `ExactProblem.reference(*names)`: `sw2`; of a mixture `off_mode`, the fraction further than `radius`
        from every mode; of points `off_data`, the RMS distance to the nearest.
        """
        modes, reference = self.problem.modes, cache(lambda: self.problem.reference(*names))
        found = {"sw2": lambda x: distances.sw2(x, reference(), projections)}
        if modes is not None:
            return found | {"off_mode": lambda x: distances.off_modes(x, modes, radius)}
        return found | {"off_data": lambda x: distances.off_data(x, reference())}


def _add(cell: Cell, metrics: Metrics, x: Tensor) -> None:
    for metric, values in metrics.items():
        cell.add(metric, values(x))
