"""Sections 3.3.2, 3.3.3 and 3.6 in numbers: memory of the adjoint, progressive N, and cost beside DDPM."""

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from reproductions.diffflow import methods
from reproductions.diffflow.config import Config, CostJob
from reproductions.diffflow.planar import Problem
from rescore.experiments.run import Notebook, Run
from rescore.neural_sde import adjoint_loss, draw_noise, l_beta, path_loss
from rescore.objectives import DSM
from rescore.random import make_generator
from rescore.cost.saved_bytes import SavedBytes
from rescore.training.loop import Adam

PUBLISHED = "2-D toys"


def measure(book: Notebook, job: CostJob, config: Config, run: Run) -> None:
    problem = Problem(job.dataset, config)
    time_iterations(book, problem, job)
    count_memory(book, problem, job)
    compare_schedules(book, problem, job, run)


def time_iterations(book: Notebook, problem: Problem, job: CostJob) -> None:
    """CPU seconds of an iteration, data, loss, gradient and optimiser, at one batch size; ratios within each seed."""
    config = problem.config
    batch, n = config.diffflow.batch, job.fixed_steps
    process, objective = methods.TrainedDDPM.process, DSM()
    seconds: dict[str, list[float]] = {}
    for seed in config.seeds:
        generator = make_generator("diffflow", "cost", seed)
        pair = methods.diffflow_pair(config.diffflow, 2, "diffflow", "cost", seed)
        ddpm = methods.ddpm_network(config.ddpm, "diffflow", "cost", seed)

        def data(generator: torch.Generator = generator) -> Tensor:
            return problem.train[torch.randint(len(problem.train), (batch,), generator=generator)]

        def path(loss: Callable, pair: nn.Module = pair, generator: torch.Generator = generator) -> Tensor:
            x = data()
            return loss(pair, x, l_beta(n), draw_noise(x, n, generator)).mean()

        losses = {
            "adjoint": (pair, lambda: path(adjoint_loss)),
            "autograd": (pair, lambda: path(path_loss)),
            "DDPM": (ddpm, lambda ddpm=ddpm, g=generator: objective(ddpm, process, data(), g).mean()),
        }
        for name, (model, loss) in losses.items():
            seconds.setdefault(name, []).append(seconds_of_iteration(model, loss, job.timed))
    protocol = {"N": n, "batch": batch, "clock": "CPU seconds of one thread", "timed": job.timed, "data": problem.name}
    ratios = {
        ("text", PUBLISHED, "DiffFlow", "", "train_time_ratio"): ("adjoint", "DDPM"),
        ("text", PUBLISHED, "DiffFlow", "autograd", "train_time_ratio"): ("autograd", "DDPM"),
        ("text", PUBLISHED, "DiffFlow", "adjoint", "autograd_time_ratio"): ("adjoint", "autograd"),
    }
    for (table, dataset, method, variant, metric), (above, below) in ratios.items():
        values = [a / b for a, b in zip(seconds[above], seconds[below], strict=True)]
        book.record(table, dataset, method, variant, metric, None, values, len(values) * batch, protocol, sum(seconds[above]),
                    over="runs")  # fmt: skip


def seconds_of_iteration(model: nn.Module, loss: Callable[[], Tensor], repeats: int) -> float:
    """The median, after one iteration that does not count: of the process's CPU, or on a GPU by the clock."""
    on_gpu = next(model.parameters()).is_cuda
    clock = time.perf_counter if on_gpu else time.process_time
    optimizer = Adam(1, 1e-4).optimizer(model)
    found = []
    for _ in range(repeats + 1):
        began = clock()
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
        if on_gpu:
            torch.cuda.synchronize()
        found.append(clock() - began)
    return statistics.median(found[1:])


def count_memory(book: Notebook, problem: Problem, job: CostJob) -> None:
    """Bytes that graphs hold at most in a step of the adjoint and of plain back-propagation, beside those of the states."""
    config = problem.config
    batch, n = config.diffflow.batch, job.fixed_steps
    generator = make_generator("diffflow", "memory")
    x, pair = problem.train[:batch], methods.diffflow_pair(config.diffflow, 2, "diffflow", "memory", 0)
    peaks = {}
    for name, loss in {"adjoint": adjoint_loss, "autograd": path_loss}.items():
        with SavedBytes(pair) as saved:
            loss(pair, x, l_beta(n), draw_noise(x, n, generator)).mean().backward()
        peaks[name] = saved.peak
    states = (n + 1) * x.numel() * x.element_size()
    protocol = {"N": n, "batch": batch, "data": problem.name, "counted": "tensors saved by graphs"}
    for metric, value in {
        "states_percent_of_adjoint": 100 * states / peaks["adjoint"],
        "states_percent_of_autograd": 100 * states / peaks["autograd"],
        "adjoint_over_autograd_memory": peaks["adjoint"] / peaks["autograd"],
    }.items():
        book.exact("text", problem.name, "DiffFlow", "", metric, value, protocol)


def compare_schedules(book: Notebook, problem: Problem, job: CostJob, run: Run) -> None:
    """As many iterations with progressive and with fixed N, from the same weights: wall time, and the bound at the fixed N."""
    config = problem.config
    progressive = config.diffflow.model_copy(update={"iterations": job.iterations})
    fixed = progressive.model_copy(update={"steps": (job.fixed_steps,), "shares": (1.0,)})
    found: dict[tuple[str, str], list[float]] = {}
    for seed in config.seeds:
        for variant, fit in {"progressive": progressive, "fixed": fixed}.items():
            folder = run.folder / f"{variant}-{seed}"
            model = methods.train_diffflow_points(fit, problem.train, folder, "diffflow", "schedule", problem.name, seed)
            test = problem.draws(seed, "test", config.samples)
            bound = model.elbo(test, job.fixed_steps, make_generator("diffflow", "paths", seed))
            found.setdefault((variant, "nll"), []).append(-bound.mean().item())
            found.setdefault((variant, "train_seconds"), []).append(model.seconds)
    ratio = [f / p for f, p in zip(found["fixed", "train_seconds"], found["progressive", "train_seconds"], strict=True)]
    found["", "progressive_time_ratio"] = ratio
    protocol = {"iterations": job.iterations, "batch": fixed.batch, "fixed_N": job.fixed_steps}
    protocol |= {"progressive_N": " ".join(map(str, progressive.steps)), "shares": " ".join(map(str, progressive.shares))}
    for (variant, metric), values in found.items():
        table = "text" if not variant else "section-3.3.3"
        how = protocol if metric == "nll" else protocol | {"clock": "wall"}
        book.record(table, problem.name, "DiffFlow", variant, metric, None, values, len(values) * config.samples, how, over="trainings")
