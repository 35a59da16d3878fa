"""Run gDDIM and its rivals on exact scores: Prop. 7, fig. 7.1 and Tables 7.1 to 7.3, these on trained networks too."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from reproductions.gddim import problems, tables
from reproductions.gddim.config import Config, Job
from reproductions.gddim.problems import PROCESSES, Problem
from reproductions.gddim.trained import trained_tables
from rescore.errors import Diverged
from rescore.experiments.run import Notebook, Result, Run
from rescore.metrics import rmse, sliced_wasserstein
from rescore.metrics.points import check_finite
from rescore.models.evaluate import TrainedModels
from rescore.processes.grids import quadratic
from rescore.progress import progress
from rescore.random import make_generator
from rescore.samplers import AdaptiveFlow, Sampler, euler_maruyama, gddim

ORDERS = (1, 2, 3)
ON_MODE = 4.0  # standard deviations
PATHS, TRACED = 32, 3  # states and pixels of fig. 7.1

Metrics = Mapping[str, Callable[[Tensor, int], float]]
"""Functions of the data of one seed and of that seed's place."""


@dataclass(kw_only=True)
class Book(Notebook):
    """The notebook of a job with this config."""

    config: Config

    def per_seed(self, x: Tensor) -> Tensor:
        return x.reshape(len(self.config.seeds), -1, *x.shape[1:])

    def record_each(
        self, table: str, problem: Problem, method: str, variant: str, nfe: int | None,
        values: Mapping[str, list[float]], n: int, protocol: Mapping[str, object], seconds: float,
    ) -> None:  # fmt: skip
        """One measurement for each metric, from its value at each seed."""
        protocol = {"process": problem.name, "score": "exact", "dtype": str(problem.dtype).removeprefix("torch.")} | protocol
        for metric, by_seed in values.items():
            self.record(table, problem.dataset, method, variant, metric, nfe, by_seed, n, protocol, seconds, over="runs")

    def sample(self, table: str, problem: Problem, start: Tensor, method: str, variant: str, sampler: Sampler,
               metrics: Metrics, **protocol: object) -> Tensor | None:  # fmt: skip
        """Run one sampler from `start` and record the metrics of its data; None if it left the finite numbers."""
        began = time.perf_counter()
        generator = make_generator("gddim", table, problem.dataset, method, variant, sampler.steps)
        try:
            x = problem.process.project(sampler(problem.score, start, generator))
            values = {name: [f(part, i) for i, part in enumerate(self.per_seed(x))] for name, f in metrics.items()}
        except Diverged as error:
            cell = {"table": table, "dataset": problem.dataset, "method": method, "variant": variant, "nfe": sampler.nfe}
            self.skipped.append(error.cell(**cell))
            return None
        self.function_evaluations += sampler.nfe * len(start)
        how = {"grid": "quadratic", "t0": sampler.times[-1], "denoise": sampler.denoise}
        how |= {"samples": len(start) // len(self.config.seeds)} | protocol
        self.record_each(table, problem, method, variant, sampler.nfe, values, len(start), how, time.perf_counter() - began)
        return x

    def distances(self, problem: Problem, n: int) -> Metrics:
        """sw2 to the data; and the fraction of samples off every mode, or their RMS distance to the nearest data point."""
        exact = [problem.exact(seed, n) for seed in self.config.seeds]

        def nearest(x: Tensor, points: Tensor) -> Tensor:
            check_finite(x, "nearest")
            return torch.cdist(x.double().flatten(1), points.flatten(1), compute_mode="donot_use_mm_for_euclid_dist").amin(1)

        metrics = {"sw2": lambda x, i: sliced_wasserstein(x, exact[i], projections=self.config.projections)}
        if problem.modes is not None:
            radius = ON_MODE * problems.MODE_STD
            metrics["off_mode"] = lambda x, i: (nearest(x, problem.modes) > radius).double().mean().item()
        else:
            metrics["off_data"] = lambda x, i: (nearest(x, exact[i]).square().mean() / x[0].numel()).sqrt().item()
        return metrics

    def floor(self, table: str, problem: Problem, n: int) -> None:
        """The same metrics for exact draws of the data."""
        metrics = self.distances(problem, n)
        draws = [problem.draws(seed, n) for seed in self.config.seeds]
        values = {name: [f(x, i) for i, x in enumerate(draws)] for name, f in metrics.items()}
        if values.pop("off_data", None):  # of draws of the data: 0, whatever is drawn
            how = {"process": problem.name, "score": "exact", "samples": n}
            self.exact(table, problem.dataset, "exact draws", "", "off_data", 0.0, how)
        self.record_each(table, problem, "exact draws", "", None, values, n * len(draws), {"samples": n}, 0.0)


def measure(job: Job, config: Config, run: Run) -> Result:
    """All parts of the paper that one job measures; Tables 7.1 to 7.3 on trained networks if it has them."""
    book = Book(config=config)
    for section in job.measure:
        SECTIONS[section](book)
    if job.models:
        models = TrainedModels(config, run, book.arrays)
        book.measurements += trained_tables(config, models)
        book.function_evaluations += models.evaluations
        book.skipped += models.skipped
    return book.result


def recovery(book: Book) -> None:
    """Prop. 7: from T to t0 on a single image (and, beyond the proposition, a Gaussian around it), against the exact flow."""
    config = book.config
    for make in (problems.one_point, problems.gaussian):
        for name, process in PROCESSES.items():
            problem = make(name)
            u = problem.start(config.seeds, config.samples)
            end = _one_point_flow(problem, u) if make is problems.one_point else problem.solve(u, config.reference_steps)
            exact = process.project(end)
            targets = book.per_seed(exact)
            metrics = {"recovery_rmse": lambda x, i, targets=targets: rmse(x, targets[i])}
            samplers = {("gDDIM", f"{name}, K=R"): (gddim, {"factor": "R"}), ("Euler", name): (euler_maruyama, {"lam": 0.0})}
            if name == "CLD":
                samplers["gDDIM", "CLD, K=L"] = (gddim, {"factor": "L"})
            for (method, variant), (maker, options) in samplers.items():
                for steps in config.recovery_steps:
                    sampler = maker(process, quadratic(process, steps), **options)
                    x = book.sample("prop7", problem, u, method, variant, sampler, metrics, **options)
                    if make is problems.one_point and steps == 1 and x is not None:
                        book.arrays[f"recovery/{method}, {variant}"] = x[0, 0].numpy()
            book.arrays[f"recovery/start, {name}"] = process.project(u)[0, 0].numpy()


def _one_point_flow(problem: Problem, u: Tensor) -> Tensor:
    """The flow of one data point from T to t0 in closed form: u_t - m_t e(x) = R_t R_T^-1 (u_T - m_T e(x))."""
    process = problem.process
    x = process.embed(problem.exact(0, 1)[:1])
    epsilon = process.R(process.T).inv()(u - process.mean(process.T)(x))
    return process.mean(process.eps)(x) + process.R(process.eps)(epsilon)


def noise(book: Book) -> None:
    """Fig. 7.1: how much eps changes along the exact flow under R_t, and under L_t (of whose channels only v enters)."""
    config = book.config
    for problem in (problems.one_point("CLD"), problems.digits("CLD")):
        began = time.perf_counter()
        start = problem.start(config.seeds, max(1, PATHS // len(config.seeds)))
        times, states, scores = problem.trace(start, config.reference_steps)
        seconds = time.perf_counter() - began
        book.function_evaluations += config.reference_steps * len(start)
        protocol = {"grid": "quadratic", "t0": problem.process.eps, "reference_steps": config.reference_steps}
        pixels = _pixels(problem)
        for factor, channels in {"R": slice(0, 2), "L": slice(1, 2)}.items():
            epsilon = -problem.process.K(times, factor).T(scores)[:, channels]
            change = epsilon.std(0, correction=0).transpose(0, 1)  # over times equally spaced in sqrt(t)
            values = {"noise_change": [part.square().mean().sqrt().item() for part in book.per_seed(change)]}
            how = protocol | {"factor": factor}
            book.record_each("fig7.1", problem, "exact flow", f"K={factor}", None, values, len(start), how, seconds)
            book.arrays[f"noise/{problem.dataset}/{factor}"] = epsilon[:, :, 0].flatten(2)[..., pixels].numpy()
        book.arrays[f"noise/{problem.dataset}/u"] = states[:, :, 0].flatten(2)[..., pixels].numpy()
        book.arrays["noise/times"] = times.numpy()


def _pixels(problem: Problem) -> list[int]:
    """Pixels in the middle of the image, where the digits differ most."""
    height, width = problem.data[-2:]
    middle = height // 2 * width + width // 2
    return list(range(middle - TRACED // 2, middle + TRACED // 2 + 1))


def _cld_problems(config: Config) -> Iterator[tuple[Problem, int]]:
    yield problems.mixture(), config.samples_2d
    yield problems.digits("CLD"), config.samples


def factors(book: Book) -> None:
    """Table 7.1: predictors of 1 to 3 steps under R_t and L_t (the printed rows are taken to have 3), and naive Euler."""
    config = book.config
    for problem, n in _cld_problems(config):
        u = problem.start(config.seeds, n)
        exact = book.per_seed(problem.process.project(problem.solve(u, config.reference_steps, "euler")))
        metrics = {**book.distances(problem, n), "solver_rmse": lambda x, i, exact=exact: rmse(x, exact[i])}
        book.floor("7.1", problem, n)
        cells = list(tables.factors(config, problem.process, ORDERS))
        if problem.modes is not None:
            cells += tables.naive_euler(config, problem.process)
        for cell in progress(cells, desc=f"Table 7.1, {problem.dataset}"):
            book.sample("7.1", problem, u, cell.method, cell.variant, cell.sampler, metrics, **cell.options,
                        reference_steps=config.reference_steps)  # fmt: skip


def lambdas(book: Book) -> None:
    """Table 7.2, and Euler-Maruyama with the drift of the released code."""
    config = book.config
    for problem, n in _cld_problems(config):
        u = problem.start(config.seeds, n)
        metrics = book.distances(problem, n)
        for cell in progress(list(tables.lambdas(config, problem.process)), desc=f"Table 7.2, {problem.dataset}"):
            book.sample("7.2", problem, u, cell.method, cell.variant, cell.sampler, metrics, **cell.options)


def grid(book: Book) -> None:
    """Table 7.3 on the digits: its printed rows, and each sampler on the processes where none is printed."""
    config = book.config
    for name, process in PROCESSES.items():
        problem, n = problems.digits(name), config.samples
        u = problem.start(config.seeds, n)
        metrics = book.distances(problem, n)
        if name == "DDPM":
            book.floor("7.3", problem, n)
        for cell in progress(list(tables.grid(config, name, process)), desc=f"Table 7.3, {name}"):
            book.sample("7.3", problem, u, cell.method, cell.variant, cell.sampler, metrics, **cell.options)
        for tolerance in config.rk45_tolerances:
            sampler = AdaptiveFlow(process, [process.T, process.eps], tolerance, tolerance)
            book.sample("7.3", problem, u, "Prob.Flow RK45", f"{name}, tolerance {tolerance:g}", sampler, metrics,
                        grid="adaptive", rtol=tolerance, atol=tolerance)  # fmt: skip


SECTIONS = {"recovery": recovery, "noise": noise, "factors": factors, "lambdas": lambdas, "grid": grid}
