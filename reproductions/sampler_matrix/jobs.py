"""Run every sampler on every process it applies to within every budget, on the digits' exact score."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from rescore.data.digits import load_digits
from rescore.errors import RescoreError
from rescore.experiments.book import Book
from rescore.models.evaluate import Sampling
from rescore.problems import ExactProblem
from rescore.problems.distances import solver_rmse, sw2
from rescore.problems.flow import by_tolerance
from rescore.problems.runs import ExactRuns
from rescore.progress import progress
from rescore.random import Streams, make_generator
from rescore.samplers import Method, Sampler, within_budget
from rescore.scores import EmpiricalData
from torch import Tensor

from reproductions.sampler_matrix.methods import DETERMINISTIC, METHODS, PROCESSES, grid, options

TABLE = "matrix"


@dataclass(frozen=True)
class Column(ExactRuns):
    """One process: its samplers' results beside the data and beside the end of the exact flow.

    The posterior over the data points is computed in float32, all else in float64.
    """

    name: str = ""

    @classmethod
    def of(cls, book: Book, name: str) -> Column:
        config, process = book.config, PROCESSES[name]
        problem = ExactProblem.of_points(
            "digits_exact", process, load_digits(), (TABLE, name), config.seeds, config.samples, posterior=torch.float32
        )
        return cls(
            book,
            problem,
            {
                "score": "exact",
                "grid": "uniform" if name == "VE" else "quadratic",
                "t0": process.eps,
                "denoise": "none",
                "posterior": "float32",
            },
            name=name,
        )

    def noise(self, one: Sampling) -> Streams:
        return self.problem.streams(TABLE, one.method, one.variant, *one.protocol.values())


def column(book: Book, name: str) -> None:
    """One process with all samplers that apply to it."""
    config, here = book.config, Column.of(book, name)
    problem, process = here.problem, here.problem.process
    to_data = {"sw2": lambda x: sw2(x, problem.points, config.projections)}
    end = problem.by_seed(by_tolerance(process, EmpiricalData(process, problem.points), here.start, config.reference_tolerance))
    to_flow = to_data | {"solver_rmse": lambda x: solver_rmse(x, end)}
    protocols = {"sw2": {"projections": config.projections}, "solver_rmse": {"reference_tolerance": config.reference_tolerance}}

    def draws() -> Tensor:  # the distance that no sampler can be expected to beat
        u = problem.score.sample(problem.size, process.eps, make_generator(TABLE, name, "exact"))
        return problem.by_seed(u.double())

    here.fill(TABLE, "exact draws", draws, to_data, name, protocols=protocols)
    for method, make in progress([(method, make) for method, make in METHODS.items() if make.applies_to(process)], desc=name):
        cells = (within_budgets if make.evaluations_per_step else adaptive)(here, make.where(**options(method, process)))
        for budget, found in cells:
            if isinstance(found, str):
                book.skip(found, table=TABLE, dataset=problem.dataset, method=method, variant=name, nfe=budget)
            else:
                how = {"budget": budget} | ({} if make.evaluations_per_step else {"tolerance": found.rtol})
                one = Sampling(TABLE, method, name, "", found, how)
                here.run(one, to_flow if method in DETERMINISTIC else to_data, protocols=protocols)


def within_budgets(column: Column, make: Method) -> Iterator[tuple[int, Sampler | str]]:
    """A sampler of fixed cost: the most steps that each budget allows, or why there is none."""
    for budget in column.book.config.budgets:
        try:
            found = within_budget(make, column.problem.process, grid, budget)
        except RescoreError as error:
            found = str(error)
        yield budget, found


def adaptive(column: Column, make: Method) -> Iterator[tuple[int, Sampler | str]]:
    """The adaptive solver's cost follows from its tolerance: each budget gets the tightest listed one that it can pay for."""
    process, score, before = column.problem.process, column.problem.score, None
    samplers = [make(process, grid(process, 1), rtol=tol, atol=tol) for tol in column.book.config.tolerances]
    taken = {sampler: sampler.solve(score, column.start).nfe for sampler in samplers}
    for budget in column.book.config.budgets:
        affordable = [sampler for sampler in samplers if taken[sampler] <= budget]
        if not affordable:
            yield budget, f"its loosest tolerance {samplers[0].rtol:g} takes {taken[samplers[0]]} evaluations"
        elif affordable[-1] is before:
            yield budget, f"no listed tolerance takes more than {taken[before]} and at most {budget} evaluations"
        else:
            before = affordable[-1]
            yield budget, before


SECTIONS = {"column": column}
