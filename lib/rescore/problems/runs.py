"""Samplers on an exact problem, into the cells of a section: what `rescore.models.evaluate` is for trained networks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from rescore.experiments.book import Book
from rescore.models.evaluate import Sampling
from rescore.problems.exact import ExactProblem
from rescore.random import make_generator

Metrics = Mapping[str, Callable[[Tensor], Sequence[float]]]
"""By name, from data (seeds, n, *data) the value at every seed; see `rescore.problems.distances`."""


@dataclass(frozen=True)
class ExactRuns:
    """One exact problem in a section.

    Args:
        protocol: of all cells.
    """

    book: Book
    problem: ExactProblem
    protocol: Mapping[str, object]

    @cached_property
    def start(self) -> Tensor:
        """The draws of the prior that all samplers start from, (seeds * n, *state)."""
        return self.problem.start()

    def measure(self, one: Sampling, metrics: Metrics, noise: Sequence[object] = (), array: str | None = None, **protocol: object
                ) -> None:  # fmt: skip
        """Run a sampler and fill its cell; an adaptive one stands at the evaluations that it took.

        Args:
            noise: names of its stream, before the cell's own.
            array: the name of its first sample, without dimensions of size 1, if figures need that.
        """
        problem, sampler = self.problem, one.sampler
        place = one.table, problem.dataset, one.method, one.variant
        how = {"t0": sampler.times[-1], "denoise": sampler.denoise, "samples": problem.n, **one.protocol, **protocol}
        with self.book.cell(*place, sampler.nfe, {**self.protocol, **how}, n=problem.n) as cell:
            if cell.todo:
                u, cell.nfe = sampler.solve(problem.score, self.start, make_generator(*noise, *place, sampler.steps))
                x = problem.by_seed(u)
                for metric, values in metrics.items():
                    cell.add(metric, values(x))
                if array:
                    cell.arrays[array] = x[0, 0].squeeze().numpy()

    def fill(self, table: str, method: str, draw: Callable[[], Tensor], metrics: Metrics, **protocol: object) -> None:
        """A cell of what no sampler made, such as exact draws: data (seeds, n, *data)."""
        how = {**self.protocol, "samples": self.problem.n, **protocol}
        with self.book.cell(table, self.problem.dataset, method, protocol=how, n=self.problem.n) as cell:
            if cell.todo:
                x = draw()
                for metric, values in metrics.items():
                    cell.add(metric, values(x))
