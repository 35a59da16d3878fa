"""Densities of the checkerboard by four objectives (Table 1, fig. 8), with the published network of log density."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from reproductions.lcss.config import Checkerboard
from reproductions.lcss.ensembles import Tracked, train_ensemble
from reproductions.lcss.networks import density_mlp
from rescore.networks.ensemble import Ensemble
from rescore.objectives.pointwise import PointScore, dsm, fd_ssm, gradient_of, lcss, probes, ssm_vr
from rescore.random import make_generator

METHODS = ("SSM", "FD-SSM", "DSM", "LCSS")
HALF_WIDTH = 4.5  # of the square on which densities are compared
CELLS = [(a, b) for a in range(-4, 4, 2) for b in range(-4, 4, 2) if (a // 2 + b // 2) % 2 == 0]
PROBES = 2000  # points of the score error


def draw_checkerboard(n: int, generator: torch.Generator) -> Tensor:
    """(n, 2) float32: uniform on eight squares of side 2 in [-4, 4]^2; twice (u, v - 2 b + floor(u) mod 2)."""
    where = generator.device
    u, v = torch.rand(2, n, generator=generator, device=where)
    u, b = 4 * u - 2, torch.randint(2, (n,), generator=generator, device=where)
    return 2 * torch.stack((u, v - 2 * b + u.floor() % 2), 1)


def density(x: Tensor, sigma: float) -> Tensor:
    """The density of the data with noise of variance sigma^2 at x (n, 2), float64; sigma = 0 is the data's own."""
    return sum(_side(x[:, 0].double(), a, sigma) * _side(x[:, 1].double(), b, sigma) for a, b in CELLS) / len(CELLS)


def noised_score(x: Tensor, sigma: float) -> Tensor:
    """d log density / dx, (n, 2) float64."""
    x = x.double().requires_grad_()
    return torch.autograd.grad(density(x, sigma).log().sum(), x)[0]


def _side(x: Tensor, a: float, sigma: float) -> Tensor:
    """The density of U[a, a + 2] with noise."""
    if sigma == 0:
        return ((x >= a) & (x < a + 2)).double() / 2
    root = sigma * math.sqrt(2)
    return (torch.erf((x - a) / root) - torch.erf((x - a - 2) / root)) / 4


def grid(cells: int) -> Tensor:
    """Centres of cells x cells squares, (cells^2, 2) float32; rows are the second coordinate."""
    axis = (torch.arange(cells) + 0.5) * (2 * HALF_WIDTH / cells) - HALF_WIDTH
    return torch.stack(torch.meshgrid(axis, axis, indexing="xy"), -1).reshape(-1, 2)


def objective(method: str, settings: Checkerboard) -> Callable[[PointScore, Tensor, torch.Generator], Tensor]:
    """Losses (n,) of a score at data x (n, 2). SSM and FD-SSM see the data as they are, DSM and LCSS with noise."""
    if method in ("DSM", "LCSS"):
        loss = dsm if method == "DSM" else lcss
        return lambda score, x, draws: loss(score, x, probes(x, draws), settings.sigma)
    if method == "SSM":
        return lambda score, x, draws: ssm_vr(score, x, probes(x, draws))
    return lambda score, x, draws: fd_ssm(score, x, probes(x, draws, "sphere"), settings.eps)


@dataclass(frozen=True)
class Learnt:
    """What one objective learnt.

    Args:
        maps: the densities of all members on the grid, (members, cells, cells), each of sum 1.
        tv: total variation to the data's density on the grid, (members,).
        score_error: mean square of s - grad log p_sigma over that of grad log p_sigma, at noised data, (members,).
    """

    tracked: Tracked
    maps: np.ndarray
    tv: np.ndarray
    score_error: np.ndarray


def learn(method: str, settings: Checkerboard, folder: Path, device: str = "cpu") -> Learnt:
    """Train one ensemble; all objectives start from the same weights and see the same data and, where they can, noise."""
    ensemble = Ensemble([density_mlp(settings.width, seed) for seed in range(settings.members)]).to(device)
    loss, n = objective(method, settings), settings.members * settings.batch
    at, target = (values.to(device) for values in _probe_points(settings))

    def step(draws: torch.Generator) -> Tensor:
        x = draw_checkerboard(n, draws)
        return loss(gradient_of(lambda y: ensemble(y)[:, 0]), x, draws)

    def error() -> Tensor:
        found = gradient_of(lambda y: ensemble(y)[:, 0])(at.repeat(settings.members, 1)).detach().double()
        squares = (found.unflatten(0, (settings.members, -1)) - target).square()
        return squares.sum((1, 2)) / target.square().sum()

    tracked = Tracked(ensemble, settings.iterations, every=max(1, settings.iterations // 20)).to(device)
    draws = make_generator("lcss", "checkerboard", device=device)
    tracked = train_ensemble(tracked, step, error, settings.lr, draws, folder, method)
    final = error().cpu()
    tracked.cpu()  # the ensemble with it
    points = grid(settings.cells)
    with torch.no_grad():
        logits = torch.stack([ensemble.member(i)(points)[:, 0].double() for i in range(settings.members)])
    maps = torch.softmax(logits, 1)
    tv = 0.5 * (maps - exact_map(settings, 0.0)).abs().sum(1)
    shape = (settings.members, settings.cells, settings.cells)
    return Learnt(tracked, maps.reshape(shape).numpy(), tv.numpy(), final.numpy())


def exact_map(settings: Checkerboard, sigma: float) -> Tensor:
    """The true density on the grid, (cells^2,) of sum 1."""
    values = density(grid(settings.cells), sigma)
    return values / values.sum()


def _probe_points(settings: Checkerboard) -> tuple[Tensor, Tensor]:
    draws = make_generator("lcss", "checkerboard", "probes")
    x = draw_checkerboard(PROBES, draws)
    x = x + settings.sigma * torch.randn(x.shape, generator=draws)
    return x, noised_score(x, settings.sigma)
