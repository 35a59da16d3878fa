"""Run every sampler on every process it applies to within every budget, on the digits' exact score."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from rescore.data.digits import load_digits
from rescore.errors import Diverged, RescoreError
from rescore.experiments.book import Book
from rescore.models.evaluate import Sampling
from rescore.problems import ExactProblem
from rescore.problems.distances import solver_rmse, sw2
from rescore.problems.flow import by_tolerance
from rescore.problems.runs import ExactRuns
from rescore.progress import progress
from rescore.random import Streams, make_generator
from rescore.samplers import Method, Solution, solve_within, with_noise_powers, within_budget
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

    def skip(self, method: str, budget: int, reason: str) -> None:
        self.book.skip(reason, table=TABLE, dataset=self.problem.dataset, method=method, variant=self.name, nfe=budget)

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
        make = make.where(**options(method, process))
        metrics = to_flow if method in DETERMINISTIC else to_data
        if not make.evaluations_per_step:
            adaptive(here, method, make, partial(here.run, metrics=metrics, protocols=protocols))
            continue
        for budget in config.budgets:
            try:
                sampler = within_budget(make, process, grid, budget)
            except RescoreError as error:
                here.skip(method, budget, str(error))
                continue
            how, prepare = {"budget": budget}, None
            if method == "A-DDIM":
                images = problem.points[: config.images]
                prepare = partial(with_noise_powers, make, sampler, images, (TABLE, name, method))
                how |= {"variances": f"from {len(images)} images"}
            here.run(Sampling(TABLE, method, name, "", sampler, how, prepare=prepare), metrics, protocols=protocols)


def adaptive(column: Column, method: str, make: Method, run: Callable[..., None]) -> None:
    """An adaptive solver's cost follows from its tolerance: each budget gets the tightest listed one that it can pay for."""
    problem, config = column.problem, column.book.config
    budgets, tolerances = sorted(config.budgets), sorted(config.tolerances, reverse=True)
    samplers = {tolerance: make(problem.process, grid(problem.process, 1), tolerance=tolerance) for tolerance in tolerances}
    found: dict[float, Solution] = {}
    outcome: dict[float, str] = {}
    for tolerance, sampler in samplers.items():
        noise = problem.streams(TABLE, method, column.name, tolerance)
        try:
            tried = solve_within(sampler, problem.score, column.start, noise, max(budgets))
        except Diverged as error:  # a tighter one need not
            outcome[tolerance] = f"diverged: {error}"
            continue
        if tried is None:  # nor, as a rule, can a tighter one be paid for
            outcome[tolerance] = f"takes more than {max(budgets)} evaluations"
            break
        found[tolerance], outcome[tolerance] = tried, f"takes {tried.nfe} evaluations"
    before, loosest = None, tolerances[0]
    for budget in budgets:
        tightest = min((tolerance for tolerance, tried in found.items() if tried.nfe <= budget), default=None)
        if tightest is None:
            column.skip(method, budget, f"its loosest tolerance {loosest:g} {outcome[loosest]}")
        elif tightest == before:
            column.skip(
                method, budget, f"no listed tolerance takes more than {found[before].nfe} and at most {budget} evaluations"
            )
        else:
            before = tightest
            one = Sampling(TABLE, method, column.name, "", samplers[tightest], {"budget": budget, "tolerance": tightest})
            run(one, solve=partial(found.get, tightest))


SECTIONS = {"column": column}
