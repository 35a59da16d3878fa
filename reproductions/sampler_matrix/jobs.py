"""Run every sampler on every process it applies to within every budget, on the digits' exact score."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from reproductions.sampler_matrix.methods import DETERMINISTIC, METHODS, PROCESSES, grid, options
from rescore.data.digits import load_digits
from rescore.errors import RescoreError
from rescore.experiments.book import Book, Cell
from rescore.problems import ExactProblem
from rescore.problems.distances import solver_rmse, sw2
from rescore.problems.flow import by_tolerance
from rescore.processes import LinearSDE
from rescore.progress import progress
from rescore.random import make_generator
from rescore.samplers import Method, Sampler, within_budget
from rescore.scores import EmpiricalData

TABLE = "matrix"


@dataclass(frozen=True)
class Column:
    """One process: the starting points, and where the exact flow takes them.

    The posterior over the data points is computed in float32, all else in float64.
    """

    book: Book
    name: str
    problem: ExactProblem
    data: Tensor
    start: Tensor
    end: Tensor

    @property
    def process(self) -> LinearSDE:
        return self.problem.process

    def cell(self, method: str, nfe: int | None, **protocol: object) -> Cell:
        common = {"score": "exact", "grid": "uniform" if self.name == "VE" else "quadratic", "t0": self.process.eps, "denoise": "none",
                  "samples": self.problem.n, "posterior": "float32"}  # fmt: skip
        return self.book.cell(TABLE, self.problem.dataset, method, self.name, nfe, common | protocol, n=self.problem.n)

    def add_sw2(self, cell: Cell, x: Tensor) -> None:
        projections = self.book.config.projections
        cell.add("sw2", sw2(x, self.data, projections), projections=projections)

    def run(self, method: str, sampler: Sampler, nfe: int, **protocol: object) -> None:
        """Measure one cell, or say why it has no value."""
        with self.cell(method, nfe, **protocol) as cell:
            if cell.todo:
                x = self.problem.run(sampler, self.start, TABLE, method, self.name, *protocol.values())
                self.add_sw2(cell, x)
                if method in DETERMINISTIC:
                    cell.add("solver_rmse", solver_rmse(x, self.end), reference_tolerance=self.book.config.reference_tolerance)

    def skip(self, method: str, budget: int, reason: str) -> None:
        self.book.skip(reason, table=TABLE, dataset=self.problem.dataset, method=method, variant=self.name, nfe=budget)


def column(book: Book, name: str) -> None:
    """One process with all samplers that apply to it."""
    config, process, data, stream = book.config, PROCESSES[name], load_digits(), (TABLE, name)
    problem = ExactProblem.of_points("digits_exact", process, data, stream, config.seeds, config.samples, posterior=torch.float32)
    start = problem.start()
    end = problem.by_seed(by_tolerance(process, EmpiricalData(process, data), start, config.reference_tolerance))
    here = Column(book, name, problem, data, start, end)
    with here.cell("exact draws", None) as cell:  # the distance that no sampler can be expected to beat
        if cell.todo:
            u = problem.score.sample(problem.size, process.eps, make_generator(TABLE, name, "exact")).double()
            here.add_sw2(cell, problem.by_seed(u))
    for method, make in progress([(method, make) for method, make in METHODS.items() if make.applies_to(process)], desc=name):
        (within_budgets if make.evaluations_per_step else adaptive)(here, method, make.where(**options(method, process)))


def within_budgets(column: Column, method: str, make: Method) -> None:
    """A sampler of fixed cost: the most steps that a budget allows."""
    for budget in column.book.config.budgets:
        try:
            sampler = within_budget(make, column.process, grid, budget)
        except RescoreError as error:
            column.skip(method, budget, str(error))
        else:
            column.run(method, sampler, sampler.nfe, budget=budget)


def adaptive(column: Column, method: str, make: Method) -> None:
    """The adaptive solver's cost follows from its tolerance: each budget gets the tightest listed one that it can pay for."""
    samplers = [make(column.process, grid(column.process, 1), rtol=tol, atol=tol) for tol in column.book.config.tolerances]
    taken = {sampler: sampler.solve(column.problem.score, column.start).nfe for sampler in samplers}
    before = None
    for budget in column.book.config.budgets:
        affordable = [sampler for sampler in samplers if taken[sampler] <= budget]
        if not affordable:
            column.skip(method, budget, f"its loosest tolerance {samplers[0].rtol:g} takes {taken[samplers[0]]} evaluations")
        elif affordable[-1] is before:
            column.skip(method, budget, f"no listed tolerance takes more than {taken[before]} and at most {budget} evaluations")
        else:
            before = affordable[-1]
            column.run(method, before, taken[before], budget=budget, tolerance=before.rtol)


SECTIONS = {"column": column}
