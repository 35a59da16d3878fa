"""Run the samplers of chapter 6 on exact scores and turn their errors into records."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from reproductions.deis.config import Config, DatasetName, Experiment, Job
from reproductions.deis.problems import GRIDS, INGREDIENTS, ORDERS, make_score, solve, table_cells
from reproductions.deis.trained import trained_table
from rescore.data.digits import load_digits
from rescore.errors import Diverged
from rescore.experiments.run import Measurement, Notebook, Result, Run
from rescore.metrics import rmse, sliced_wasserstein
from rescore.models.evaluate import TrainedModels
from rescore.processes import VP
from rescore.random import make_generator
from rescore.samplers import Sampler
from rescore.scores import EmpiricalData, GaussianMixture

CHANGE_TIMES = tuple(k / 20 for k in range(19, 0, -1))
CHANGE_SPLIT = 0.15  # fig. 6.4: above this time the noise prediction hardly changes


@dataclass
class Problem:
    """One data set: its score, the starting points of all seeds, and where the exact flow takes them.

    Args:
        start, end: (seeds, samples, *data).
        evaluations: of the score at one point, by all samplers so far.
        skipped: cells that diverged, as rows of `Result.skipped`.
    """

    name: DatasetName
    config: Config
    process: VP
    score: GaussianMixture | EmpiricalData
    start: Tensor
    end: Tensor
    evaluations: int = 0
    skipped: list[dict[str, object]] = field(default_factory=list)

    def attempt(self, table: str, method: str, variant: str, sampler: Sampler) -> Tensor | None:
        """`run`; None if the cell diverged."""
        try:
            return self.run(sampler)
        except Diverged as error:
            cell = {"table": table, "dataset": self.name, "method": method, "variant": variant, "nfe": sampler.nfe}
            self.skipped.append(error.cell(**cell))
            return None

    def run(self, sampler: Sampler) -> Tensor:
        """The sampler's end points, (seeds, samples, *data)."""
        self.evaluations += sampler.nfe * self.start.shape[:2].numel()
        return sampler(self.score, self.start.flatten(0, 1)).unflatten(0, self.start.shape[:2])

    def record(self, table: str, method: str, variant: str, metric: str, nfe: int | None, per_seed: np.ndarray,
               protocol: dict[str, object], started: float) -> Measurement:  # fmt: skip
        """The mean over seeds and its standard error."""
        samples = self.start.shape[1]
        on_line = isinstance(self.score, GaussianMixture)
        exact = "quantiles" if on_line else f"rho4RK with {self.config.reference_steps} steps in log rho"
        common = {"process": "vp", "score": "exact", "t0": self.config.t0, "denoise": "none", "samples": samples,
                  "reference": exact, "start": "N(0, I)", "dtype": "float64"}  # fmt: skip
        size, seconds = len(per_seed) * samples, time.perf_counter() - started
        return Measurement.of_seeds(
            table, self.name, method, variant, metric, nfe, per_seed, size, common | protocol, seconds, over="runs"
        )


def make_problem(name: DatasetName, config: Config) -> Problem:
    """The same starting points for every sampler."""
    process = VP()
    score = make_score(name, process)
    shape = (config.datasets[name].samples, *((1, 8, 8) if name == "digits_exact" else (1,)))
    start = torch.stack(
        [process.prior_sample(shape, make_generator("deis", name, seed), torch.float64) for seed in config.seeds]
    )
    end = solve(process, score, start.flatten(0, 1), [config.t0], config.reference_steps)[0]
    return Problem(name, config, process, score, start, end.unflatten(0, start.shape[:2]))


def solver_errors(problem: Problem, end: Tensor) -> dict[str, np.ndarray]:
    """Distances to the exact solution, per seed; the median resists the few points that end in another mode."""
    distance = (end - problem.end).flatten(2).square().mean(2).sqrt()
    return {
        "solver_rmse": np.array([rmse(a, b) for a, b in zip(end, problem.end, strict=True)]),
        "solver_median": distance.median(1).values.numpy(),
    }


def table(problem: Problem) -> Iterator[Measurement]:
    """The cells of Table 6.2, with what exact draws of p_t0 and the exact flow give in their place.

    `sw2` is the distance to the data, in which few samples hide all but gross errors; `sw2_flow` that to the end points of the
    exact flow from the same starting points, which is 0 for an exact solver.
    """
    config, process = problem.config, problem.process
    data = load_digits()

    def sw2(clouds: Tensor) -> np.ndarray:
        return np.array([sliced_wasserstein(cloud, data, projections=config.projections) for cloud in clouds])

    def sw2_flow(clouds: Tensor) -> np.ndarray:
        pairs = zip(clouds, problem.end, strict=True)
        return np.array([sliced_wasserstein(cloud, exact, projections=config.projections) for cloud, exact in pairs])

    protocol = {"grid": config.table_grid, "projections": config.projections}
    for method, variant, sampler in table_cells(config, process):
        started = time.perf_counter()
        if (end := problem.attempt("6.2", method, variant, sampler)) is None:
            continue
        for metric, values in {"sw2": sw2(end), "sw2_flow": sw2_flow(end), **solver_errors(problem, end)}.items():
            yield problem.record("6.2", method, variant, metric, sampler.nfe, values, protocol, started)
    started = time.perf_counter()
    yield problem.record("6.2", "exact flow", "", "sw2", None, sw2(problem.end), {"projections": config.projections}, started)
    draws = torch.stack([
        problem.score.sample(problem.start.shape[1], config.t0, make_generator("deis", "draws", seed)) for seed in config.seeds
    ])
    yield problem.record("6.2", "exact draws", "", "sw2", None, sw2(draws), {"projections": config.projections}, started)


def ingredients(problem: Problem) -> Iterator[Measurement]:
    """Figs. 6.3 and 6.5: every ingredient on every grid; the variant is the grid."""
    for grid in problem.config.grids:
        for nfe in problem.config.ingredient_nfe:
            for method, make in INGREDIENTS.items():
                started = time.perf_counter()
                sampler = make(problem.process, GRIDS[grid](problem.process, nfe, problem.config.t0))
                if (end := problem.attempt("fig6.5", method, grid, sampler)) is None:
                    continue
                for metric, values in solver_errors(problem, end).items():
                    yield problem.record("fig6.5", method, grid, metric, sampler.nfe, values, {"grid": grid}, started)


def orders(problem: Problem) -> Iterator[Measurement]:
    """The slope of log median error against log steps, fitted for each seed."""
    steps, grid = problem.config.order_steps, "quadratic"
    for method, (order, make) in ORDERS.items():
        started = time.perf_counter()
        errors = [
            solver_errors(problem, problem.run(make(problem.process, GRIDS[grid](problem.process, n, problem.config.t0))))
            for n in steps
        ]
        errors = np.stack([each["solver_median"] for each in errors])
        slopes = -np.polyfit(np.log(steps), np.log(errors), 1)[0]
        protocol = {"grid": grid, "steps": "/".join(map(str, steps)), "error": "solver_median"}
        yield problem.record("orders", method, f"order-{order}", "order", None, slopes, protocol, started)
        for n, per_seed in zip(steps, errors, strict=True):
            protocol = {"grid": grid, "steps": n}
            yield problem.record("orders", method, f"steps-{n}", "solver_median", None, per_seed, protocol, started)


def change(problem: Problem) -> Iterator[Measurement]:
    """Fig. 6.4: how much score and noise prediction change along the exact flow in 1/20 of the time, relative to their size."""
    started = time.perf_counter()
    late = np.array(CHANGE_TIMES) < CHANGE_SPLIT - 1e-9
    for name, curves in change_curves(problem).items():
        parts = {f"t={t:g}": curves[:, k] for k, t in enumerate(CHANGE_TIMES)}
        parts |= {f"t>={CHANGE_SPLIT}": curves[:, ~late].mean(1), f"t<{CHANGE_SPLIT}": curves[:, late].mean(1)}
        for variant, per_seed in parts.items():
            yield problem.record("fig6.4", name, variant, "relative_change", None, per_seed, {"interval": 0.05}, started)


def change_curves(problem: Problem) -> dict[str, np.ndarray]:
    """|f(u_t, t) - f(u_s, s)| / |f(u_s, s)| over a seed's points, s = t + 1/20, at CHANGE_TIMES, (seeds, times)."""
    process, score = problem.process, problem.score
    start = problem.start.flatten(0, 1)
    states = [start, *solve(process, score, start, list(CHANGE_TIMES), problem.config.reference_steps)]
    scores = [score(u, t) for u, t in zip(states, (process.T, *CHANGE_TIMES), strict=True)]
    sizes = {"score": [1.0] * len(scores), "eps": [process.L(t).values.item() for t in (process.T, *CHANGE_TIMES)]}

    def norm(values: Tensor) -> np.ndarray:
        return values.unflatten(0, problem.start.shape[:2]).flatten(1).square().sum(1).sqrt().numpy()

    return {
        name: np.stack([
            norm(b * after - a * before) / norm(a * before)
            for a, b, before, after in zip(size[:-1], size[1:], scores[:-1], scores[1:], strict=True)
        ], 1)
        for name, size in sizes.items()
    }  # fmt: skip


EXPERIMENTS: dict[Experiment, Callable[[Problem], Iterator[Measurement]]] = {
    "table": table, "ingredients": ingredients, "orders": orders, "change": change,
}  # fmt: skip


def measure(job: Job, config: Config, run: Run) -> Result:
    """All experiments of one job; Table 6.2 on a trained network if it uses one."""
    book = Notebook()
    for name, experiments in job.measure.items():
        problem = make_problem(name, config)
        for experiment in experiments:
            book.measurements += EXPERIMENTS[experiment](problem)
        book.function_evaluations += problem.evaluations
        book.skipped += problem.skipped
    if job.models:
        models = TrainedModels(config, run, book.arrays)
        book.measurements += trained_table(config, models)
        book.function_evaluations += models.evaluations
        book.skipped += models.skipped
    return book.result
