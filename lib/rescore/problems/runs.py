"""Samplers on an exact problem, into the cells of a section: what `rescore.models.evaluate` is for trained networks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from rescore.experiments.book import Book, Cell
from rescore.models.evaluate import Sampling
from rescore.problems import distances
from rescore.problems.exact import ExactProblem
from rescore.progress import progress
from rescore.random import Streams, derive_seed
from rescore.samplers import Solution, Solver

Metrics = Mapping[str, Callable[[Tensor], Sequence[float]]]
"""By name, from data (seeds, n, *data) the value at every seed; see `rescore.problems.distances`."""


@dataclass(frozen=True)
class ExactRuns:
    """One exact problem in a section.

    A paper that names noise otherwise, says more of a sampler or keeps other arrays overrides `noise`, `about` and `shown`.

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
        protocol, matched = {**self.protocol, **protocol}, f"{problem.dataset}, {problem.process.label}, exact"
        return self.book.cell(table, problem.dataset, method, variant, nfe, protocol, n=problem.n, matched=matched)

    def noise(self, one: Sampling) -> Streams:
        """Of a sampler, for all seeds' states."""
        return self.problem.streams(*self.stream, one.table, self.problem.dataset, one.method, one.variant, one.sampler.steps)

    def about(self, sampler: Solver) -> dict[str, object]:
        """What a cell's protocol says of its sampler."""
        return {"t0": sampler.times[-1], "denoise": sampler.denoise, "samples": self.problem.n}

    def shown(self, x: Tensor) -> np.ndarray:
        """What is kept for figures: a first sample, without dimensions of size 1."""
        return x[0, 0].squeeze().numpy()

    def solve(self, one: Sampling) -> Solution:
        score = self.problem.score
        return (one.prepare(score) if one.prepare else one.sampler).solve(score, self.start, self.noise(one))

    def run(
        self,
        one: Sampling,
        metrics: Metrics,
        array: str | None = None,
        solve: Callable[[], Solution] | None = None,
        protocols: Mapping[str, Mapping[str, Any]] | None = None,
        **protocol: object,
    ) -> None:
        """Run a sampler and fill its cell; an adaptive one stands at the evaluations that it took.

        Args:
            array: the name of what is `shown`; None for none.
            solve: gives the states in place of `self.solve(one)`.
            protocols: of metrics that depend on more than the cell does.
        """
        how: dict[str, Any] = {**self.about(one.sampler), **one.protocol, **protocol}
        with self.cell(one.table, one.method, one.variant, one.sampler.nfe, **how) as cell:
            if cell.todo:
                u, cell.nfe = solve() if solve else self.solve(one)
                x = self.problem.by_seed(u)
                add(cell, metrics, x, protocols)
                if array:
                    cell.arrays[array] = self.shown(x)

    def measure(
        self,
        samplings: Iterable[Sampling],
        label: str,
        metrics: Metrics,
        array: Callable[[Sampling], str | None] = lambda one: None,
        protocols: Mapping[str, Mapping[str, Any]] | None = None,
        **protocol: Any,
    ) -> None:
        """`run` of several samplers; `label` stands before the progress bar."""
        for one in progress(list(samplings), desc=label):
            self.run(one, metrics, array(one), protocols=protocols, **protocol)

    def fill(
        self,
        table: str,
        method: str,
        draw: Callable[[], Tensor],
        metrics: Metrics,
        variant: str = "",
        *,
        protocols: Mapping[str, Mapping[str, Any]] | None = None,
        **protocol: Any,
    ) -> None:
        """A cell of what no sampler made, such as exact draws: data (seeds, n, *data)."""
        with self.cell(table, method, variant, samples=self.problem.n, **protocol) as cell:
            if cell.todo:
                add(cell, metrics, draw(), protocols)

    def floor(self, table: str, metrics: Metrics, *names: object) -> None:
        """`exact draws`: the same metrics of draws of the data, `ExactProblem.draws(*names)`."""
        rest = dict(metrics)
        if self.problem.points is not None and "off_data" in rest:  # 0 whatever is drawn, in any dtype
            del rest["off_data"]
            protocol = {key: value for key, value in self.protocol.items() if key != "dtype"} | {"samples": self.problem.n}
            with self.book.cell(table, self.problem.dataset, "exact draws", protocol=protocol) as cell:
                cell.exact("off_data", 0.0)
        self.fill(table, "exact draws", lambda: self.problem.draws(*names), rest)

    def to_data(self, projections: int, *names: object, radius: float | None = None) -> Metrics:
        """Distances to `ExactProblem.reference(*names)`.

        `sw2`; of a mixture `off_mode`, the fraction further than `radius` from every mode; of points `off_data`, the RMS
        distance to the nearest.
        """
        modes, reference = self.problem.modes, cache(lambda: self.problem.reference(*names))
        found: Metrics = {"sw2": lambda x: distances.sw2(x, reference(), projections)}
        if modes is not None:
            return {**found, "off_mode": lambda x: distances.off_modes(x, modes, cast(float, radius))}
        return {**found, "off_data": lambda x: distances.off_data(x, reference())}


@dataclass(frozen=True)
class PointRuns:
    """Cells of one data set in one table, for points that any code makes: n of each seed, all seeds in one batch.

    Args:
        numbers: by metric the value at every seed, of points (seeds, n, d).
        stream: the first names of all noise.
        protocol: of all cells.
        kept: so many points of each cell are kept for figures, as `<dataset>/<method>/<variant>`.
    """

    book: Book
    table: str
    dataset: str
    n: int
    numbers: Callable[[Tensor], Mapping[str, Sequence[float]]]
    stream: tuple[object, ...]
    protocol: Mapping[str, object]
    kept: int = 0

    @property
    def size(self) -> int:
        """Points in all."""
        return self.n * len(self.book.config.seeds)

    def streams(self, *names: object) -> Streams:
        """The noise of all points; see `ExactProblem.streams`."""
        return Streams([derive_seed(*self.stream, *names, seed) for seed in self.book.config.seeds], self.n)

    def in_box(self, reach: float, dim: int, *names: object) -> Tensor:
        """Points uniform in [-reach, reach]^dim, (size, dim) float64: the same for the same names."""
        return (2 * self.streams(*names).uniform((self.size, dim), torch.float64) - 1) * reach

    def fill(self, method: str, variant: str, nfe: int | None, make: Callable[[], Tensor], **protocol: object) -> None:
        """A cell of the points (size, d)."""
        protocol = {**self.protocol, "particles": self.n, **protocol}
        with self.book.cell(self.table, self.dataset, method, variant, nfe, protocol, n=self.n) as cell:
            if cell.todo:
                x = make()
                for metric, values in self.numbers(x.reshape(len(self.book.config.seeds), self.n, -1)).items():
                    cell.add(metric, values)
                if self.kept:
                    cell.arrays["/".join(filter(None, (self.dataset, method, variant)))] = x[: self.kept].numpy()


def add(cell: Cell, metrics: Metrics, x: Tensor, protocols: Mapping[str, Mapping[str, Any]] | None = None) -> None:
    """The metrics of data (seeds, n, *data), and what more than the cell some depend on."""
    for metric, values in metrics.items():
        cell.add(metric, values(x), **(protocols or {}).get(metric, {}))
