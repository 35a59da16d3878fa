"""Sections 3.3.2, 3.3.3 and 3.6 in numbers: memory of the adjoint, progressive N, and cost beside DDPM."""

from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from rescore.cost.saved_bytes import peak_bytes
from rescore.cost.timing import iteration_seconds
from rescore.experiments.book import Book, Cell
from rescore.neural_sde import TrainedDiffFlow, adjoint_loss, l_beta, on_new_paths, path_loss
from rescore.objectives import DSM
from rescore.problems.planar import PlanarProblem
from rescore.random import make_generator
from rescore.training.loop import SETTLING
from torch import Tensor

from reproductions.diffflow import methods
from reproductions.diffflow.planar import make_problem

RATIOS = {  # (variant, metric): what takes so many times as long as what
    ("", "train_time_ratio"): ("adjoint", "DDPM"),
    ("autograd", "train_time_ratio"): ("autograd", "DDPM"),
    ("adjoint", "autograd_time_ratio"): ("adjoint", "autograd"),
}


def measure(book: Book, name: str) -> None:
    problem = make_problem(book.config, name)
    time_iterations(book, problem)
    count_memory(book, problem)
    compare_schedules(book, problem)


def time_iterations(book: Book, problem: PlanarProblem) -> None:
    """Seconds of an iteration, data, loss, gradient and optimiser, at one batch size; ratios within each seed."""
    config, fit, settings = book.config, book.config.plane.diffflow, book.config.cost
    protocol = {
        "N": settings.fixed_steps,
        "train_batch": fit.batch,
        **fit.network.protocol("network"),
        **config.plane.ddpm.network.protocol("ddpm_network"),
        "clock": "CPU seconds of one thread",
        "timed": settings.timed,
        "data": problem.name,
    }

    @cache
    def seconds(seed: int) -> dict[str, float]:
        generator, times = make_generator("diffflow", "cost", seed), l_beta(settings.fixed_steps)
        pair = methods.diffflow_pair(fit, 2, "diffflow", "cost", seed)
        ddpm, objective = methods.ddpm_network(config.plane.ddpm, "diffflow", "cost", seed), DSM()

        def data() -> Tensor:
            return problem.train[torch.randint(len(problem.train), (fit.batch,), generator=generator)]

        return iteration_seconds(
            {
                "adjoint": (pair, lambda: on_new_paths(adjoint_loss, pair, data(), times, generator)),
                "autograd": (pair, lambda: on_new_paths(path_loss, pair, data(), times, generator)),
                "DDPM": (ddpm, lambda: objective(ddpm, ddpm.process, data(), generator)),
            },
            settings.timed,
        )

    for (variant, metric), (above, below) in RATIOS.items():
        ratio = {metric: lambda seed, above=above, below=below: seconds(seed)[above] / seconds(seed)[below]}
        book.repeat("text", "2-D toys", "DiffFlow", variant, None, protocol, config.seeds, fit.batch, **ratio)


def count_memory(book: Book, problem: PlanarProblem) -> None:
    """Bytes that graphs hold at most in a step of the adjoint and of plain back-propagation, beside those of the states."""
    fit, n = book.config.plane.diffflow, book.config.cost.fixed_steps
    protocol = {
        "N": n,
        "train_batch": fit.batch,
        **fit.network.protocol("network"),
        "data": problem.name,
        "counted": "tensors saved by graphs",
    }
    with book.cell("text", problem.name, "DiffFlow", "", None, protocol) as cell:
        if cell.todo:
            x, pair = problem.train[: fit.batch], methods.diffflow_pair(fit, 2, "diffflow", "memory", 0)
            paths, states = (pair, x, l_beta(n), make_generator("diffflow", "memory")), (n + 1) * x.nbytes
            adjoint, autograd = (peak_bytes(pair, partial(on_new_paths, loss, *paths)) for loss in (adjoint_loss, path_loss))
            cell.exact("states_percent_of_adjoint", 100 * states / adjoint)
            cell.exact("states_percent_of_autograd", 100 * states / autograd)
            cell.exact("adjoint_over_autograd_memory", adjoint / autograd)


def compare_schedules(book: Book, problem: PlanarProblem) -> None:
    """As many iterations with progressive and with fixed N, from the same weights: wall time, and the bound at the fixed N.

    A training of its own warms the process up, so that all iterations of the others count: the first have the least N.
    """
    config, settings, samples = book.config, book.config.cost, book.config.plane.samples
    progressive = config.plane.diffflow.lasting(settings.iterations)
    fits = {"progressive": progressive, "fixed": progressive.model_copy(update={"progressive": {settings.fixed_steps: 1.0}})}
    judged = {"N": settings.fixed_steps, "train_points": config.plane.train_points}
    how = {variant: fit.of_points() | judged for variant, fit in fits.items()}
    how[""] = how["progressive"] | {"fixed_N": settings.fixed_steps}  # of both

    names = "diffflow", "schedule", problem.name

    @cache
    def warm_up() -> None:
        with TemporaryDirectory() as folder:
            methods.train_pair(fits["fixed"].lasting(SETTLING), problem.train, Path(folder), *names, "warm-up")

    @cache
    def trained(variant: str, seed: int) -> TrainedDiffFlow:
        warm_up()
        return methods.train_pair(fits[variant], problem.train, book.run.folder / f"{variant}-{seed}", *names, seed, settling=0)

    def bound(variant: str, seed: int) -> float:
        test, paths = problem.draws(seed, "test", samples), make_generator("diffflow", "paths", seed)
        return -trained(variant, seed).elbo(test, paths, settings.fixed_steps).mean().item()

    def seconds(variant: str, seed: int) -> float:
        return trained(variant, seed).seconds_per_step * settings.iterations

    timing = {"clock": "wall", "timed": "all iterations", "warm_up": SETTLING}

    def open_cell(table: str, variant: str = "") -> Cell:
        place = table, problem.name, "DiffFlow", variant, None, how[variant]
        return book.cell(*place, n=samples, over="trainings")

    for variant in fits:
        with open_cell("section-3.3.3", variant) as cell:
            if cell.todo:
                cell.add("nll", [bound(variant, seed) for seed in config.seeds])
                cell.add("train_seconds", [seconds(variant, seed) for seed in config.seeds], **timing)
    with open_cell("text") as cell:
        if cell.todo:
            ratios = [seconds("fixed", seed) / seconds("progressive", seed) for seed in config.seeds]
            cell.add("progressive_time_ratio", ratios, **timing)
