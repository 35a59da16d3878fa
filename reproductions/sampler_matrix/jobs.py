"""Run every sampler on every process it applies to within every budget, on the digits' exact score."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from reproductions.sampler_matrix.config import Config, Job, ProcessName
from reproductions.sampler_matrix.methods import DETERMINISTIC, METHODS, PROCESSES, Make, applies, grid
from rescore.data.digits import load_digits
from rescore.errors import Diverged, RescoreError
from rescore.experiments.run import Notebook, Result, Run
from rescore.metrics import rmse, sliced_wasserstein
from rescore.progress import progress
from rescore.random import make_generator
from rescore.samplers import AdaptiveFlow, Sampler, within_budget
from rescore.scores import EmpiricalData

TABLE, DATASET = "matrix", "digits_exact"


@dataclass
class Column:
    """One process: starting points of all seeds and where the exact flow takes them; and the job's notebook.

    The posterior over the data points is computed in float32, all else in float64.

    Args:
        start: (seeds * samples, *state).
        end: of the exact flow, as data, (seeds, samples, *data).
    """

    name: ProcessName
    config: Config
    data: Tensor
    start: Tensor
    score: EmpiricalData
    end: Tensor
    book: Notebook

    def by_seed(self, u: Tensor) -> Tensor:
        """States as data, (seeds, samples, *data)."""
        return PROCESSES[self.name].project(u).unflatten(0, (len(self.config.seeds), -1))

    def run(self, method: str, sampler: Sampler, protocol: Mapping[str, object]) -> None:
        """Measure one cell, or say why it has no value."""
        started = time.perf_counter()
        generator = make_generator(TABLE, method, self.name, *protocol.values())
        try:
            end = self.by_seed(sampler(self.score, self.start, generator))
            values = {"sw2": self.distance_to_data(end)}
            if method in DETERMINISTIC:
                values["solver_rmse"] = [rmse(a, b) for a, b in zip(end, self.end, strict=True)]
            if not np.isfinite(list(values.values())).all():
                raise Diverged("the samples overflow")
        except Diverged as error:
            self.book.skipped.append(error.cell(**self.cell(method, protocol["budget"])))
            return
        self.book.function_evaluations += sampler.nfe * len(self.start)
        for metric, per_seed in values.items():
            self.record(method, metric, sampler.nfe, per_seed, protocol, time.perf_counter() - started)

    def distance_to_data(self, clouds: Tensor) -> list[float]:
        return [sliced_wasserstein(cloud, self.data, projections=self.config.projections) for cloud in clouds]

    def record(self, method: str, metric: str, nfe: int | None, per_seed: list[float], protocol: Mapping[str, object],
               seconds: float) -> None:  # fmt: skip
        common = {"score": "exact", "grid": "uniform" if self.name == "VE" else "quadratic", "t0": PROCESSES[self.name].eps,
                  "denoise": "none", "samples": self.config.samples, "posterior": "float32"}  # fmt: skip
        common |= {"projections": self.config.projections} if metric == "sw2" else {}
        common |= {"reference_tolerance": self.config.reference_tolerance} if metric == "solver_rmse" else {}
        size = len(per_seed) * self.config.samples
        protocol = common | dict(protocol)
        self.book.record(TABLE, DATASET, method, self.name, metric, nfe, per_seed, size, protocol, seconds, over="runs")

    def cell(self, method: str, budget: object) -> dict[str, object]:
        return {"table": TABLE, "dataset": DATASET, "method": method, "variant": self.name, "nfe": budget}

    def skip(self, method: str, budget: object, reason: str) -> None:
        self.book.skipped.append(self.cell(method, budget) | {"reason": reason})


def make_column(name: ProcessName, config: Config, book: Notebook) -> Column:
    """The same starting points for every sampler, and their exact solution by the adaptive solver with a float64 score."""
    process, data = PROCESSES[name], load_digits()
    shape = (config.samples, *process.state_shape(data.shape[1:]))
    start = torch.cat([process.prior_sample(shape, make_generator(TABLE, name, seed), torch.float64) for seed in config.seeds])
    tolerance = config.reference_tolerance
    end = AdaptiveFlow(process, grid(process, 1), tolerance, tolerance)(EmpiricalData(process, data), start)
    column = Column(name, config, data, start, EmpiricalData(process, data.float()), end, book)
    column.end = column.by_seed(end)
    return column


def exact_draws(column: Column) -> None:
    """What draws of p_t0 give: the distance that no sampler can be expected to beat."""
    started = time.perf_counter()
    process, n = PROCESSES[column.name], len(column.start)
    u = column.score.sample(n, process.eps, make_generator(TABLE, column.name, "exact")).double()
    values = column.distance_to_data(column.by_seed(u))
    column.record("exact draws", "sw2", None, values, {}, time.perf_counter() - started)


def within_budgets(column: Column, method: str, make: Make) -> None:
    """A sampler of fixed cost: the most steps that a budget allows."""
    for budget in column.config.budgets:
        try:
            sampler = within_budget(make, PROCESSES[column.name], grid, budget)
        except RescoreError as error:
            column.skip(method, budget, str(error))
        else:
            column.run(method, sampler, {"budget": budget})


def adaptive(column: Column, method: str, make: Make) -> None:
    """The adaptive solver's cost follows from its tolerance: each budget gets the tightest listed one that it can pay for."""
    process = PROCESSES[column.name]
    samplers = [make(process, grid(process, 1), rtol=tol, atol=tol) for tol in column.config.tolerances]
    for sampler in samplers:
        sampler(column.score, column.start)
    before = None
    for budget in column.config.budgets:
        affordable = [sampler for sampler in samplers if sampler.nfe <= budget]
        if not affordable:
            column.skip(method, budget, f"its loosest tolerance {samplers[0].rtol:g} takes {samplers[0].nfe} evaluations")
        elif affordable[-1] is before:
            column.skip(method, budget, f"no listed tolerance takes more than {before.nfe} and at most {budget} evaluations")
        else:
            before = affordable[-1]
            column.run(method, before, {"budget": budget, "tolerance": before.rtol})


def cells(name: ProcessName) -> Iterator[tuple[str, Make]]:
    """The samplers that apply to a process."""
    return ((method, make) for method, make in METHODS.items() if applies(make, PROCESSES[name]))


def measure(job: Job, config: Config, run: Run) -> Result:
    """The job's columns."""
    book = Notebook()
    for name in job.processes:
        column = make_column(name, config, book)
        exact_draws(column)
        for method, make in progress(list(cells(name)), desc=name):
            (adaptive if make is AdaptiveFlow else within_budgets)(column, method, make)
    return book.result
