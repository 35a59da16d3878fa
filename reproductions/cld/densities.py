"""Figs. 1 and 5: the joint density of data and velocities from two modes, and paths, below, at and above critical damping."""

import torch
from rescore.experiments.book import Book
from rescore.problems import gaussian
from rescore.problems.gaussian import prior_law
from rescore.problems.langevin import langevin_law, last_above
from rescore.processes import Langevin
from rescore.random import Streams, make_generator
from rescore.scores import GaussianMixture
from torch import Tensor

from reproductions.cld.exact import FRICTION
from reproductions.cld.problems import MAIN

MODES, MODE_STD = torch.tensor([[-1.0], [1.0]], dtype=torch.float64), 0.1
REACH = 4.0  # of the grid, in standard deviations of the prior
DRAWN_TO = 8.0  # the beta t to which paths and marginals are kept


def density_of(ratio: float, horizon: float) -> GaussianMixture:
    """The two modes, diffused at a friction; time is beta t."""
    process = Langevin(M=MAIN.M, beta_min=1.0, beta_max=1.0, gamma=MAIN.gamma, eps0=0.0, T=horizon, friction=ratio)
    return GaussianMixture(process, MODES, MODE_STD)


def states(M: float, n: int) -> tuple[Tensor, float, float]:
    """A grid of states (n * n, 2, 1), x fastest, and its spacings along x and v."""
    axis = torch.linspace(-REACH, REACH, n, dtype=torch.float64)
    v, x = torch.meshgrid(axis * M**0.5, axis, indexing="ij")
    step = 2 * REACH / (n - 1)
    return torch.stack((x.flatten(), v.flatten()), 1)[..., None], step, step * M**0.5


def densities(book: Book) -> None:
    """By friction: when the joint density, and when its mean and covariance, are near the prior's for good; and oscillation.

    `mixing_time_tv` is of the total variation, by quadrature on the grid; `mixing_time_moments` of the 2-Wasserstein distance
    of Gaussians with the mean and covariance; `autocorrelation` is the least correlation, in equilibrium, of x with itself at
    any earlier time: negative where paths swing back.
    """
    settings = book.config.densities
    b = torch.linspace(0, settings.horizon, settings.points, dtype=torch.float64)
    drawn, n = b[b <= DRAWN_TO].tolist(), settings.cells
    u, dx, dv = states(MAIN.M, n)
    book.arrays["densities/B"] = b.numpy()
    for ratio in settings.ratios:
        score, name = density_of(ratio, settings.horizon), f"{ratio:g}"
        process = score.process
        protocol = {"M": process.M, "Gamma": process.Gamma, "start": "x0 at -1 and 1", "std": MODE_STD, "clock": "B"}
        protocol |= {"tolerance": settings.tolerance, "times": settings.points, "cells": n}
        with book.cell("fig5", "two_modes", "Langevin", FRICTION(ratio=ratio), None, protocol, n=0) as cell:
            if not cell.todo:
                continue
            density = torch.stack([score.log_prob(u, t).exp() for t in b.tolist()])
            tv = (density - process.prior_log_prob(u).exp()).abs().sum(1) * dx * dv / 2
            start = torch.diag(torch.tensor([1 + MODE_STD**2, process.gamma * process.M], dtype=torch.float64))
            law = langevin_law(b, process.M, process.Gamma, torch.zeros(2, dtype=torch.float64), start)
            w2 = gaussian.squared_wasserstein(law, prior_law(process, (len(b),))).sqrt()
            cell.exact("mixing_time_tv", last_above(b, tv, settings.tolerance))
            cell.exact("mixing_time_moments", last_above(b, w2, settings.tolerance))
            cell.exact("autocorrelation", process.mean(b).values[:, 0, 0].min().item())
            begin = score.sample(settings.paths, 0.0, make_generator("cld", "densities"))
            paths = process.path(begin, drawn, Streams.named("cld", "densities", n=settings.paths))
            cell.arrays |= {
                f"densities/tv/{name}": tv.numpy(),
                f"densities/w2/{name}": w2.numpy(),
                f"densities/x/{name}": (density[: len(drawn)].reshape(-1, n, n).sum(1) * dv).float().numpy(),
                f"densities/paths/{name}": paths[..., 0].float().numpy(),
            }
            for t in settings.shown:
                cell.arrays[f"densities/joint/{name}/{t:g}"] = score.log_prob(u, t).exp().reshape(n, n).float().numpy()
