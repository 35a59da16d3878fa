"""Densities of the checkerboard by four objectives (Table 1, fig. 8), with the published network of log density."""

from collections.abc import Callable

import numpy as np
import torch
from rescore.data.planar import PLANAR
from rescore.experiments.book import Book, Cell
from rescore.metrics.maps import density_map, total_variation
from rescore.networks.ensemble import Ensemble
from rescore.networks.mlp import scalar_mlp
from rescore.objectives.pointwise import PointScore, dsm, fd_ssm, gradient_of, lcss, probes, ssm_vr
from rescore.random import derive_seed, make_generator
from rescore.training import Adam
from rescore.training.ensemble import Tracked, spikes, train_ensemble
from torch import Tensor, nn

METHODS = ("SSM", "FD-SSM", "DSM", "LCSS")
NOISED = ("DSM", "LCSS")  # SSM and FD-SSM see the data as they are
HALF_WIDTH = 4.5  # of the square on which densities are compared
PROBES = 2000  # points of the score error
BOARD = PLANAR["checkerboard"]


def checkerboard(book: Book) -> None:
    """Total variation to the data's density, error of the score, and spikes; the distance that the noise alone makes."""
    settings = book.config.checkerboard
    network = {"network": f"MLP 2-{settings.width}-{settings.width}-1", "cells": settings.cells, "optimiser": "Adam"}
    for method in METHODS:
        protocol = settings.protocol | network | {"sigma": settings.sigma if method in NOISED else 0}
        with book.cell("1", "checkerboard", method, "MLP", None, protocol, over="trainings") as cell:
            if cell.todo:
                learn(cell, method)
    how = {"sigma": settings.sigma, "cells": settings.cells}
    with book.cell("1", "checkerboard", "data with noise", "MLP", None, how) as cell:
        if cell.todo:
            truth, noised = (exact_map(settings.cells, sigma) for sigma in (0.0, settings.sigma))
            cell.exact("tv", total_variation(noised, truth).item())
            cell.arrays["density/data"] = truth.numpy().astype(np.float32)


def learn(cell: Cell, method: str) -> None:
    """Train one ensemble; all objectives start from the same weights and see the same data and, where they can, noise."""
    settings, run = cell.book.config.checkerboard, cell.book.run
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
        """Mean square of s - grad log p_sigma over that of grad log p_sigma, at noised data, (members,)."""
        found = score(at.repeat(members, 1)).detach().double().unflatten(0, (members, -1))
        return (found - target).square().sum((1, 2)) / target.square().sum()

    tracked = Tracked(ensemble, settings.steps, every=max(1, settings.steps // 20)).to(run.device)
    draws = make_generator("lcss", "checkerboard", device=run.device)
    train_ensemble(tracked, step, error, Adam.of(settings), draws, run.folder / f"checkerboard-{method}", method)
    cell.add("score_error", error().tolist())
    tracked.cpu()  # the ensemble with it
    losses, networks = tracked.losses.numpy(), [ensemble.member(i).requires_grad_(False) for i in range(members)]
    maps = torch.stack([density_map(lambda y, f=network: f(y)[:, 0], HALF_WIDTH, settings.cells) for network in networks])
    cell.add("tv", total_variation(maps, exact_map(settings.cells)).tolist())
    if (jumps := spikes(losses)) is not None:
        cell.add("spikes", jumps)
    cell.arrays |= {f"density/{method}": maps[0].numpy().astype(np.float32), f"board_losses/{method}": losses}


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
