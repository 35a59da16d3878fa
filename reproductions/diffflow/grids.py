"""Section 3.3.3: fixed times, L_beta, beside random ones, hat L_beta, by their losses and by what the paper calls stability."""

from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import get_args

import numpy as np
import torch
from rescore.experiments.book import Book
from rescore.neural_sde import DiffFlow, Progressive, TrainedDiffFlow, hat_l_beta, l_beta
from rescore.random import make_generator

from reproductions.diffflow import config as settings
from reproductions.diffflow.images import Pictures, fid_cell
from reproductions.diffflow.methods import diffflow_training, train, trained_once
from reproductions.diffflow.planar import make_problem

GRIDS = "L_beta", "hat L_beta"
TABLE = "section-3.3.3"
PAIRED = "hat L_beta less L_beta, {}".format
SHOWN = 10  # steps of the grids that figure 3.3 shows


def measure(book: Book, name: str) -> None:
    (images if name in get_args(settings.Pictures) else points)(book, name)


def jump(losses: np.ndarray, schedule: Progressive, window: int) -> float:
    """The mean over changes of N of how far the loss rises there: `window` iterations after it less as many before, on average.

    Args:
        losses: (iterations,), of a training under `schedule`.
    """
    numbers = np.array([schedule.at(i, len(losses)) for i in range(len(losses))])
    changes = np.flatnonzero(np.diff(numbers)) + 1
    return float(np.mean([losses[i : i + window].mean() - losses[max(0, i - window) : i].mean() for i in changes]))


def points(book: Book, name: str) -> None:
    """Four trainings a seed from the same weights: both grids, with progressive and with fixed N.

    Each is judged by its bound on the fixed grid of the last N, and on random ones of as many steps: what a network that has
    learned the times of one grid loses on others.
    """
    its, config, problem = book.config.grids, book.config, make_problem(book.config, name)
    n, likelihoods = max(its.progressive), config.plane.likelihoods
    base = config.plane.diffflow.lasting(its.points)
    schedules = {"progressive": its.progressive, "fixed": {n: 1.0}}
    fits = {
        (grid, kind): base.model_copy(update={"grid": grid, "progressive": progressive, "sampling_steps": n})
        for grid in GRIDS
        for kind, progressive in schedules.items()
    }

    @cache
    def trained(grid: str, kind: str, seed: int) -> TrainedDiffFlow:
        fit = fits[grid, kind]
        make = partial(train, "DiffFlow", fit, problem.train)
        names = "diffflow", "grids", name, seed
        return trained_once(book, fit, f"grids-{name}-{seed}", lambda folder: make(folder, *names), config.plane.train_points)

    @cache
    def judged(grid: str, kind: str, seed: int) -> Mapping[str, float]:
        model, test = trained(grid, kind, seed), problem.draws(seed, "test", likelihoods)
        paths, fit = make_generator("diffflow", "grids", "paths", seed), fits[grid, kind]
        drawn = [
            hat_l_beta(n, make_generator("diffflow", "grids", seed, k), fit.t0, fit.T, fit.beta)
            for k in range(its.random_grids)
        ]
        fixed, *others = (-model.elbo(test, paths, times=times).mean().item() for times in (model.training.times(n), *drawn))
        losses = model.losses.numpy()
        found = {"nll": fixed, "nll_random_grids": float(np.mean(others)), "loss_std": float(losses[-its.window :].std(ddof=1))}
        if kind == "progressive":
            found["loss_jump"] = jump(losses, diffflow_training(fit).schedule, its.window)
        return found

    judging = {"N": n, "random_grids": its.random_grids, "window": its.window, "train_points": config.plane.train_points}
    open_cell = partial(book.cell, TABLE, name, "DiffFlow", nfe=n, n=likelihoods, over="trainings")
    for (grid, kind), fit in fits.items():
        with open_cell(f"{grid}, {kind}", protocol=fit.of_points() | judging) as cell:
            if cell.todo:
                cell.add_each([judged(grid, kind, seed) for seed in config.seeds])
                cell.arrays[f"losses/{name}/{grid}, {kind}"] = trained(grid, kind, config.seeds[0]).losses.numpy()
    for kind in schedules:  # of the same weights: what the random times change, without the spread between trainings
        both = {"train_grid": " and ".join(GRIDS)}
        with open_cell(PAIRED(kind), protocol=fits[GRIDS[0], kind].of_points() | both | judging) as cell:
            if cell.todo:
                pairs = [[judged(grid, kind, seed) for grid in GRIDS] for seed in config.seeds]
                cell.add_each([{f"{metric}_difference": hat[metric] - fixed[metric] for metric in hat} for fixed, hat in pairs])
    book.arrays |= timestamps(base)


def timestamps(fit: settings.DiffFlow) -> dict[str, np.ndarray]:
    """Figure 3.3: the fixed times of a grid, and a draw of the random ones."""
    ends = fit.t0, fit.T, fit.beta
    drawn = hat_l_beta(SHOWN, make_generator("diffflow", "figure 3.3"), *ends)
    return {"times/L_beta": l_beta(SHOWN, *ends).numpy(), "times/hat L_beta": drawn.numpy()}


def images(book: Book, name: str) -> None:
    """Table 3.3's rows of bounds and FID: L_beta as `images` has hat L_beta; or both, alike, cut to fewer iterations."""
    cut, whole, seeds = book.config.grids.images, book.config.images.training, book.config.seeds
    fit, grids = (whole.lasting(cut), GRIDS) if cut else (whole, GRIDS[:1])
    pictures = {grid: Pictures(book, name, fit.model_copy(update={"grid": grid})) for grid in grids}
    here = pictures[grids[0]]

    @cache
    def model(grid: str, seed: int) -> DiffFlow:
        return pictures[grid].model(seed)

    def generator(seed: int, use: str) -> torch.Generator:
        return make_generator("diffflow", name, seed, "grids", use, device=here.device)

    @cache
    def bpd(grid: str, seed: int) -> float:
        return here.bits(seed, generator(seed, "paths"), model(grid, seed).elbo)

    @cache
    def fid(grid: str, seed: int) -> float:
        drawn = here.drawn(model(grid, seed), book.config.evaluation.samples, fit.sampling_steps, generator(seed, "samples"))
        return here.judge(drawn, ["fid"])["fid"]

    tested = {"test_images": min(here.settings.test_images, len(here.held_out)), "bound": "elbo"}

    def enter(variant: str, metric: str, value: Callable[[int], float]) -> None:
        protocol = (
            pictures[names[variant]].protocol if variant in names else here.protocol | {"train_grid": " and ".join(GRIDS)}
        )
        place = TABLE if cut else "3.3", name, "DiffFlow", variant, fit.sampling_steps
        if metric == "bpd":
            opened = book.cell(*place, protocol | tested, n=tested["test_images"], over="trainings")
        else:
            opened = fid_cell(here, place[0], fit.sampling_steps, "DiffFlow", variant, protocol)
        with opened as cell:
            if cell.todo:
                cell.add(metric if variant in names else f"{metric}_difference", [value(seed) for seed in seeds])

    names = {(f"{grid}, progressive" if cut else grid): grid for grid in grids}
    for metric, of in (("bpd", bpd), ("fid", fid)):
        for variant, grid in names.items():
            enter(variant, metric, partial(of, grid))
        if cut:
            enter(PAIRED("progressive"), metric, lambda seed, of=of: of(GRIDS[1], seed) - of(GRIDS[0], seed))
