"""Figures 3.4 and 3.5 and the shape of Tables 3.4 and 3.5 on sets of the plane."""

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor

from reproductions.diffflow import methods
from reproductions.diffflow.config import Config, PlanarJob
from reproductions.diffflow.methods import Model, TrainedDDPM, TrainedDiffFlow
from rescore.data.planar import PlanarSet, planar_set
from rescore.data.standardise import Standardiser
from rescore.errors import Diverged
from rescore.experiments.run import Notebook, Run
from rescore.metrics import sliced_wasserstein
from rescore.random import make_generator

RINGS = ("rings", "olympic_rings")  # of figure 3.4
PARTS = 4  # of a trajectory in that figure
Found = TypeVar("Found")


def measure(book: Notebook, job: PlanarJob, config: Config, run: Run) -> None:
    for name in job.datasets:
        measure_set(book, name, config, run)


class Problem:
    """A planar set in standard coordinates, with the draws of each seed."""

    def __init__(self, name: str, config: Config):
        self.name, self.config, self.set = name, config, planar_set(name)
        raw = self.set.sample(config.train_points, make_generator("diffflow", name, "train"))
        self.scale = Standardiser.of(raw, name)
        self.train = self.scale(raw).float()

    def draws(self, seed: int, use: str, n: int) -> Tensor:
        """Points of the data in standard coordinates, (n, 2) float32."""
        return self.scale(self.set.sample(n, make_generator("diffflow", self.name, seed, use))).float()

    def distance(self, x: Tensor, seed: int) -> float:
        """sw2 to as many draws of the data; a sample that is not finite has none."""
        reference = self.draws(seed, "reference", len(x))
        return sliced_wasserstein(x, reference, seed=seed, projections=self.config.projections)

    def off_support(self, x: Tensor) -> float:
        return self.set.off_support(self.scale.inverse(x))


def train(problem: Problem, seed: int, run: Run) -> Iterator[Model]:
    config = problem.config
    for method, make, fit in (
        ("DiffFlow", methods.train_diffflow_points, config.diffflow),
        ("DDPM", methods.train_ddpm, config.ddpm),
        ("FFJORD", methods.train_ffjord, config.ffjord),
    ):
        yield make(fit, problem.train, run.folder / f"{method}-{problem.name}-{seed}", "diffflow", method, problem.name, seed)


def measure_set(book: Notebook, name: str, config: Config, run: Run) -> None:
    problem = Problem(name, config)
    found: dict[tuple, list[float | Diverged]] = {}
    seconds: dict[str, float] = {}
    for seed in config.seeds:
        for model in train(problem, seed, run):
            began = time.perf_counter()
            for key, value in evaluate(problem, model, seed).items():
                found.setdefault(key, []).append(value)
            seconds[model.method] = seconds.get(model.method, 0.0) + time.perf_counter() - began
            if seed == config.seeds[0]:
                keep_figures(book, problem, model, seed)
                if name == "rings":
                    count = methods.parameters(model.network)
                    where = {"data": "points in the plane"}
                    book.exact("text", "2-D toys", model.method, "", "learnable parameters", count, where)
        exact = problem.draws(seed, "floor", config.samples)
        found.setdefault(("exact draws", "fig3.5", "", "sw2", None), []).append(problem.distance(exact, seed))
    fits = {"DiffFlow": config.diffflow, "DDPM": config.ddpm, "FFJORD": config.ffjord}
    for (method, table, variant, metric, nfe), values in found.items():
        if errors := [value for value in values if isinstance(value, Diverged)]:
            cell = {"table": table, "dataset": name, "method": method, "variant": variant, "metric": metric, "nfe": nfe}
            book.skipped.append(errors[0].cell(**cell))
            continue
        fit = fits.get(method if method != "DDIM" else "DDPM")
        protocol = {"coordinates": "mean 0 and variance 1"}
        protocol |= {"iterations": fit.iterations, "batch": fit.batch} if fit else {}
        n = len(values) * (config.likelihoods if metric.startswith("nll") else config.samples)
        if metric == "sw2_degeneracy" and nfe == config.sweep[-1]:  # the largest N over itself
            book.exact(table, name, method, variant, metric, 1.0, protocol, nfe)
            continue
        over = "runs" if method == "exact draws" else "trainings"
        book.record(table, name, method, variant, metric, nfe, values, n, protocol, seconds.get(method, 0.0), over=over)
    if problem.set.entropy is not None:
        book.exact("fig3.5", name, "entropy of the data", "", "nll", problem.set.entropy - problem.scale.log_scale,
                   {"coordinates": "mean 0 and variance 1"})  # fmt: skip
    if name in RINGS:
        book.arrays[f"ring/{name}"] = problem.set.ring(problem.scale.inverse(figure_points(problem))).numpy()
    book.arrays[f"samples/{name}/data"] = problem.draws(config.seeds[0], "figure", config.samples).numpy()


def attempt(measure: Callable[[], Found]) -> Found | Diverged:
    """What it measures, or why there is none."""
    try:
        return measure()
    except Diverged as error:
        return error


def evaluate(problem: Problem, model: Model, seed: int) -> dict[tuple, float | Diverged]:
    """Values by (method, table, variant, metric, nfe)."""
    config, method, steps = problem.config, model.method, model.sampling_steps
    test = problem.draws(seed, "test", config.likelihoods)
    probes = make_generator("diffflow", "probes", seed)
    nll = attempt(lambda: -model.log_prob(test, config.tolerance, probes).mean().item())
    values = {(method, "fig3.5", "", "nll", None): nll}
    x = attempt(lambda: sample(model, config.samples, seed))
    for metric, of in (("sw2", lambda x: problem.distance(x, seed)), ("off_support", problem.off_support)):
        values[method, "fig3.5", "", metric, steps] = x if isinstance(x, Diverged) else attempt(partial(of, x))
    if isinstance(model, TrainedDiffFlow):
        paths = make_generator("diffflow", "paths", seed)
        values[method, "fig3.5", "ELBO", "nll", steps] = attempt(lambda: -model.elbo(test, steps, paths).mean().item())
        values |= sweep(problem, model, seed, "DiffFlow", "hat L_beta")
    if isinstance(model, TrainedDDPM):
        values |= sweep(problem, model, seed, "DDPM", "L_s") | sweep(problem, model, seed, "DDIM", "", deterministic=True)
    return values


def sweep(
    problem: Problem, model: Model, seed: int, method: str, variant: str, **options: bool
) -> dict[tuple, float | Diverged]:
    """sw2 for each N, and its ratio to that of the largest N."""
    config = problem.config

    def distance(n: int) -> float:
        return problem.distance(sample(model, config.samples, seed, n, **options), seed)

    distances = {n: attempt(partial(distance, n)) for n in config.sweep}
    last = distances[config.sweep[-1]]
    values = {(method, "3.4", variant, "sw2", n): value for n, value in distances.items()}
    for n, value in distances.items():
        errors = [one for one in (value, last) if isinstance(one, Diverged)]
        values[method, "3.5", variant, "sw2_degeneracy", n] = errors[0] if errors else value / last
    return values


def sample(model: Model, n: int, seed: int, steps: int | None = None, **options: bool) -> Tensor:
    return model.sample(n, make_generator("diffflow", "samples", seed), steps, **options)


def figure_points(problem: Problem) -> Tensor:
    return problem.draws(problem.config.seeds[0], "trajectories", problem.config.samples)


def keep_figures(book: Notebook, problem: Problem, model: Model, seed: int) -> None:
    """Samples (n, 2), and forward trajectories (PARTS + 1, n, 2) of rings."""
    x = attempt(lambda: sample(model, problem.config.samples, seed))
    if not isinstance(x, Diverged):
        book.arrays[f"samples/{problem.name}/{model.method}"] = x.numpy()
    if problem.name in RINGS:
        path = model.trajectory(figure_points(problem), PARTS, make_generator("diffflow", "trajectories"))
        book.arrays[f"trajectory/{problem.name}/{model.method}"] = path.numpy()
