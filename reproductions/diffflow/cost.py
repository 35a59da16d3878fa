"""Sections 3.3.2, 3.3.3 and 3.6 in numbers: memory of the adjoint, progressive N, and cost beside DDPM."""

from collections.abc import Callable
from functools import cache, partial

import numpy as np
import torch
from torch import Tensor

from reproductions.diffflow import methods
from reproductions.diffflow.planar import make_problem
from rescore.cost.saved_bytes import SavedBytes
from rescore.cost.timing import interleaved, training_step
from rescore.experiments.book import Book
from rescore.neural_sde import NeuralSDE, adjoint_loss, draw_noise, l_beta, path_loss
from rescore.objectives import DSM
from rescore.problems.planar import PlanarProblem
from rescore.random import make_generator

PUBLISHED = "2-D toys"
PathLoss = Callable[[NeuralSDE, Tensor, Tensor, Tensor], Tensor]


def measure(book: Book, name: str) -> None:
    problem = make_problem(book.config, name)
    time_iterations(book, problem)
    count_memory(book, problem)
    compare_schedules(book, problem)


def on_a_path(loss: PathLoss, pair: NeuralSDE, x: Tensor, times: Tensor, generator: torch.Generator) -> Tensor:
    """A loss of DiffFlow on one path of each of x."""
    return loss(pair, x, times, draw_noise(x, len(times) - 1, generator))


def peak_bytes(loss: PathLoss, pair: NeuralSDE, x: Tensor, times: Tensor, generator: torch.Generator) -> int:
    """The most that graphs hold in a step of training."""
    with SavedBytes(pair) as saved:
        on_a_path(loss, pair, x, times, generator).mean().backward()
    return saved.peak


def states_bytes(x: Tensor, steps: int) -> int:
    """Of a trajectory, its start included."""
    return (steps + 1) * x.numel() * x.element_size()


def time_iterations(book: Book, problem: PlanarProblem) -> None:
    """Seconds of an iteration, data, loss, gradient and optimiser, at one batch size; ratios within each seed."""
    config, fit, settings = book.config, book.config.plane.diffflow, book.config.cost
    protocol = {"N": settings.fixed_steps, "batch": fit.batch, "clock": "CPU seconds of one thread", "timed": settings.timed,
                "data": problem.name}  # fmt: skip

    @cache
    def seconds(seed: int) -> dict[str, float]:
        generator, times = make_generator("diffflow", "cost", seed), l_beta(settings.fixed_steps)
        pair = methods.diffflow_pair(fit, 2, "diffflow", "cost", seed)
        ddpm, objective = methods.ddpm_network(config.plane.ddpm, "diffflow", "cost", seed), DSM()

        def data() -> Tensor:
            return problem.train[torch.randint(len(problem.train), (fit.batch,), generator=generator)]

        steps = {
            "adjoint": training_step(pair, lambda: on_a_path(adjoint_loss, pair, data(), times, generator)),
            "autograd": training_step(pair, lambda: on_a_path(path_loss, pair, data(), times, generator)),
            "DDPM": training_step(ddpm, lambda: objective(ddpm, ddpm.process, data(), generator)),
        }
        return {name: np.median(found) for name, found in interleaved(steps, settings.timed).items()}

    for variant, metric, above, below in (
        ("", "train_time_ratio", "adjoint", "DDPM"),
        ("autograd", "train_time_ratio", "autograd", "DDPM"),
        ("adjoint", "autograd_time_ratio", "adjoint", "autograd"),
    ):
        with book.cell("text", PUBLISHED, "DiffFlow", variant, None, protocol, n=fit.batch) as cell:
            if cell.todo:
                cell.add(metric, [seconds(seed)[above] / seconds(seed)[below] for seed in config.seeds])


def count_memory(book: Book, problem: PlanarProblem) -> None:
    """Bytes that graphs hold at most in a step of the adjoint and of plain back-propagation, beside those of the states."""
    fit, n = book.config.plane.diffflow, book.config.cost.fixed_steps
    protocol = {"N": n, "batch": fit.batch, "data": problem.name, "counted": "tensors saved by graphs"}
    with book.cell("text", problem.name, "DiffFlow", "", None, protocol) as cell:
        if cell.todo:
            x, pair = problem.train[: fit.batch], methods.diffflow_pair(fit, 2, "diffflow", "memory", 0)
            generator = make_generator("diffflow", "memory")
            adjoint, autograd = (peak_bytes(loss, pair, x, l_beta(n), generator) for loss in (adjoint_loss, path_loss))
            cell.exact("states_percent_of_adjoint", 100 * states_bytes(x, n) / adjoint)
            cell.exact("states_percent_of_autograd", 100 * states_bytes(x, n) / autograd)
            cell.exact("adjoint_over_autograd_memory", adjoint / autograd)


def compare_schedules(book: Book, problem: PlanarProblem) -> None:
    """As many iterations with progressive and with fixed N, from the same weights: wall time, and the bound at the fixed N."""
    config, settings, samples = book.config, book.config.cost, book.config.plane.samples
    progressive = config.plane.diffflow.model_copy(update={"iterations": settings.iterations})
    fixed = progressive.model_copy(update={"steps": (settings.fixed_steps,), "shares": (1.0,)})
    protocol = {"iterations": settings.iterations, "batch": fixed.batch, "fixed_N": settings.fixed_steps}
    protocol |= {"progressive_N": " ".join(map(str, progressive.steps)), "shares": " ".join(map(str, progressive.shares))}

    @cache
    def trained(variant: str, seed: int) -> methods.TrainedDiffFlow:
        fit, folder = {"progressive": progressive, "fixed": fixed}[variant], book.run.folder / f"{variant}-{seed}"
        return methods.train_diffflow_points(fit, problem.train, folder, "diffflow", "schedule", problem.name, seed)

    def bound(variant: str, seed: int) -> float:
        test, paths = problem.draws(seed, "test", samples), make_generator("diffflow", "paths", seed)
        return -trained(variant, seed).elbo(test, settings.fixed_steps, paths).mean().item()

    open_cell = partial(book.cell, nfe=None, protocol=protocol, n=samples, over="trainings")
    for variant in ("progressive", "fixed"):
        with open_cell("section-3.3.3", problem.name, "DiffFlow", variant) as cell:
            if cell.todo:
                cell.add("nll", [bound(variant, seed) for seed in config.seeds])
                cell.add("train_seconds", [trained(variant, seed).seconds for seed in config.seeds], clock="wall")
    with open_cell("text", problem.name, "DiffFlow") as cell:
        if cell.todo:
            ratios = [trained("fixed", seed).seconds / trained("progressive", seed).seconds for seed in config.seeds]
            cell.add("progressive_time_ratio", ratios, clock="wall")
