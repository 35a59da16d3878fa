"""Densities of the checkerboard by four objectives (Table 1, fig. 8, eq. 31), with the published network of log density."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
import torch
from rescore.experiments.book import Book, Cell
from rescore.metrics.maps import density_map, total_variation
from rescore.networks.ensemble import Ensemble
from rescore.networks.mlp import scalar_mlp
from rescore.objectives.pointwise import PointScore, dsm, fd_ssm, gradient_of, lcss, probes, ssm_vr
from rescore.random import derive_seed, make_generator
from rescore.training import Adam
from rescore.training.ensemble import Tracked, spikes, train_ensemble
from torch import Tensor, nn

from reproductions.lcss.langevin import BOARD, chain_protocol, exact_score, sample

METHODS = ("SSM", "FD-SSM", "DSM", "LCSS")
NOISED = ("DSM", "LCSS")  # SSM and FD-SSM see the data as they are
HALF_WIDTH = 4.5  # of the square on which densities are compared
PROBES = 2000  # points of the score error


@dataclass(frozen=True)
class Learnt:
    """What one objective trained.

    Attributes:
        networks: of log density up to its normaliser, one a member, frozen.
        losses: (steps, members).
        errors: mean square of s - grad log p_sigma over that of grad log p_sigma, at noised data, a member.
    """

    networks: list[nn.Module]
    losses: np.ndarray
    errors: list[float]


def checkerboard(book: Book) -> None:
    """Densities of Table 1, losses of fig. 8 and samples of eq. 31; the distance that the noise alone makes."""
    settings, chain = book.config.checkerboard, book.config.langevin
    network = {"network": f"MLP 2-{settings.width}-{settings.width}-1", "optimiser": "Adam"}
    trained = {method: cache(partial(learn, book, method)) for method in METHODS}
    for method, learnt in trained.items():
        how = settings.protocol | network | {"sigma": settings.sigma if method in NOISED else 0}
        how |= {"eps": settings.eps} if method == "FD-SSM" else {}
        with book.cell("1", "checkerboard", method, "MLP", None, how | {"cells": settings.cells}, over="trainings") as cell:
            if cell.todo:
                judge(cell, method, learnt())
        with book.cell("fig8", "checkerboard", method, "MLP", None, how, over="trainings") as cell:
            if cell.todo:
                for metric, values in loss_curve(learnt().losses).items():
                    cell.add(metric, values.tolist())
        with book.cell(
            "eq. 31", "checkerboard", method, "MLP", chain.steps, how | chain_protocol(chain), over="trainings"
        ) as cell:
            if cell.todo:
                sample(cell, chain, method, learnt().networks)
    how = {"sigma": settings.sigma, "cells": settings.cells}
    with book.cell("1", "checkerboard", "data with noise", "MLP", None, how) as cell:
        if cell.todo:
            truth, noised = (exact_map(settings.cells, sigma) for sigma in (0.0, settings.sigma))
            cell.exact("tv", total_variation(noised, truth).item())
            cell.arrays["density/data"] = truth.numpy().astype(np.float32)
    exact_score(book, settings.sigma)
    gap_of_curves(book, trained)


def learn(book: Book, method: str) -> Learnt:
    """Train one ensemble; all objectives start from the same weights and see the same data and, where they can, noise."""
    settings, run = book.config.checkerboard, book.run
    members = settings.members
    ensemble = Ensemble([density_mlp(settings.width, seed) for seed in range(members)]).to(run.device)
    loss, score = objective(method, settings.sigma, settings.eps), gradient_of(lambda y: ensemble(y)[:, 0])
    probing = make_generator("lcss", "checkerboard", "probes")  # noised data, and the score of their density there
    x = BOARD.sample_float32(PROBES, probing)
    x = x + settings.sigma * torch.randn(x.shape, generator=probing)
    at, target = x.to(run.device), BOARD.noised_score(x, settings.sigma).to(run.device)

    def step(draws: torch.Generator) -> Tensor:
        return loss(score, BOARD.sample_float32(members * settings.batch, draws), draws)

    def error() -> Tensor:
        found = score(at.repeat(members, 1)).detach().double().unflatten(0, (members, -1))
        return (found - target).square().sum((1, 2)) / target.square().sum()

    tracked = Tracked(ensemble, settings.steps, every=max(1, settings.steps // 20)).to(run.device)
    draws = make_generator("lcss", "checkerboard", device=run.device)
    train_ensemble(tracked, step, error, Adam.of(settings), draws, run.folder / f"checkerboard-{method}", method)
    errors = error().tolist()
    tracked.cpu()  # the ensemble with it
    networks = [ensemble.member(i).requires_grad_(False) for i in range(members)]
    return Learnt(networks, tracked.losses.numpy(), errors)


def judge(cell: Cell, method: str, learnt: Learnt) -> None:
    """Table 1's numbers: errors of score and density, and how often the loss jumps."""
    cells = cell.book.config.checkerboard.cells
    cell.add("score_error", learnt.errors)
    maps = torch.stack([density_map(lambda y, f=network: f(y)[:, 0], HALF_WIDTH, cells) for network in learnt.networks])
    cell.add("tv", total_variation(maps, exact_map(cells)).tolist())
    if (jumps := spikes(learnt.losses)) is not None:
        cell.add("spikes", jumps)
    cell.arrays |= {f"density/{method}": maps[0].numpy().astype(np.float32), f"board_losses/{method}": learnt.losses}


def loss_curve(losses: np.ndarray) -> dict[str, np.ndarray]:
    """Fig. 8 in numbers, of losses (steps, members), each (members,); means are over a twentieth of the steps.

    `loss_fall` is from the first to the last mean, `early_share` what of it a fifth of the training made, `loss_noise` the
    standard deviation of a step's loss in the second half, from differences of successive ones, which know no trend.
    """
    width, fifth = max(1, len(losses) // 20), len(losses) // 5
    first, early, last = (losses[at : at + width].mean(0) for at in (0, fifth - width // 2, len(losses) - width))
    fall, noise = first - last, np.diff(losses[len(losses) // 2 :], axis=0).std(0) / np.sqrt(2)
    return {"loss_fall": fall, "early_share": (first - early) / fall, "loss_noise": noise, "noise_over_fall": noise / fall}


def gap_of_curves(book: Book, trained: dict[str, Callable[[], Learnt]]) -> None:
    """DSM's loss less LCSS's, step by step: the batch's mean of abs(z)^2 / (2 sigma^2), whatever the networks have learnt."""
    settings = book.config.checkerboard
    how = settings.protocol | {"sigma": settings.sigma}
    with book.cell("fig8", "checkerboard", "DSM less LCSS", "MLP", None, how, over="trainings") as cell:
        if cell.todo:
            gap = trained["DSM"]().losses - trained["LCSS"]().losses
            cell.add("loss_gap", gap.mean(0).tolist())
            cell.add("loss_gap_std", gap.std(0).tolist())
    half = 1 / (2 * settings.sigma**2)  # abs(z)^2 has mean 2 and variance 4 in the plane
    numbers = {"loss_gap": lambda: 2 * half, "loss_gap_std": lambda: 2 * half / math.sqrt(settings.batch)}
    book.exact("fig8", "checkerboard", "closed form", "MLP", None, how, n=1, **numbers)


def density_mlp(width: int, seed: int) -> nn.Module:
    """The published f(x), (n, 1) from (n, 2): two hidden layers; its gradient is the score. Swish is ours."""
    return scalar_mlp(2, width, derive_seed("lcss", "density", seed))


def objective(method: str, sigma: float | Tensor, eps: float = 0.1) -> Callable[[PointScore, Tensor, torch.Generator], Tensor]:
    """Losses (n,) of a score at data x (n, ...); DSM and LCSS add noise to them."""
    return {
        "SSM": lambda score, x, draws: ssm_vr(score, x, probes(x, draws)),
        "FD-SSM": lambda score, x, draws: fd_ssm(score, x, probes(x, draws, "sphere"), eps),
        "DSM": lambda score, x, draws: dsm(score, x, probes(x, draws), sigma),
        "LCSS": lambda score, x, draws: lcss(score, x, probes(x, draws), sigma),
    }[method]


def exact_map(cells: int, sigma: float = 0.0) -> Tensor:
    """The density of the data with noise on the grid, (cells, cells) of sum 1."""
    return density_map(lambda x: BOARD.density(x, sigma).log(), HALF_WIDTH, cells)
