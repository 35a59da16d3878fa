"""Langevin dynamics on separated modes with exact scores: the note's example and NCSN's mixture in the plane."""

import math
from dataclasses import replace
from functools import partial

import torch
from rescore.experiments.axes import Axes
from rescore.experiments.book import Book
from rescore.metrics import PROJECTIONS
from rescore.problems import distances
from rescore.problems.runs import PointRuns
from rescore.problems.score_norms import signal_to_noise
from rescore.processes import VE, VP, Isotropic, grids
from rescore.random import make_generator
from rescore.samplers import AnnealedLangevin, annealed_langevin, langevin
from rescore.scores import GaussianMixture
from scipy.optimize import brentq
from torch import Tensor

from reproductions.smld_sde.config import Annealing

EXAMPLE = {"means": (2.0, -2.0), "stds": (0.5, 0.2), "weights": (0.6, 0.4), "reach": 3.0}  # note fig. 7
TOY = {"means": (5.0, -5.0), "weights": (0.8, 0.2), "reach": 8.0}  # NCSN fig. 3, both coordinates
EQUATION_17 = "x + tau s + sqrt(2 tau) z"
STEP_SIZE = Axes("step size {size:g}")
KEPT = 2000  # particles of a run kept for the figures


def example(book: Book) -> None:
    """Fig. 7: the note's example, what changes it, and annealing."""
    settings, boundary = book.config.example, basin_boundary()
    data = mixture(VP())  # at t = 0: p itself
    score, tau = partial(data, t=0.0), settings.step_size
    runs = PointRuns(
        book,
        "fig7",
        "mixture1d",
        settings.particles,
        partial(distances.sides, boundary=boundary),
        ("smld_sde", "example"),
        {"score": "exact", "start": "uniform[-3,3]"},
        KEPT,
    )
    long, many = replace(runs, n=settings.long_particles), replace(runs, n=settings.annealed_particles)

    def start(of: PointRuns) -> Tensor:
        """The same places for every run of so many particles."""
        return of.in_box(EXAMPLE["reach"], 1, "start")

    def run(
        variant: str,
        size: float = tau,
        noise: float = 1.0,
        update: str = EQUATION_17,
        of: PointRuns = runs,
        steps: int = settings.steps,
        name: str = "langevin",
    ) -> None:
        of.fill(
            "Langevin",
            variant,
            steps,
            lambda: langevin(score, start(of), size, steps, of.streams(name), noise),
            steps=steps,
            step_size=size,
            update=update,
        )

    runs.fill("uniform start", "", None, lambda: start(runs))
    run("")
    for size in settings.other_step_sizes:
        run(STEP_SIZE(size=size), size)
    run("no noise", tau, 0.0, "x + tau s")
    run("eq. 14", tau, math.sqrt(tau), "x + tau s + sqrt(2) tau z")  # as printed, with sigma = sqrt(2) as in eq. 17
    run("long", of=long, steps=settings.long_steps, name="long")
    sampler, protocol = annealed(settings.annealing)
    many.fill(
        "annealed Langevin",
        "",
        sampler.nfe,
        lambda: sampler(mixture(sampler.process), start(many), many.streams("annealed")),
        **protocol,
    )
    draws = make_generator("smld_sde", "example", "exact")
    runs.fill("exact draws", "", None, lambda: data.sample(runs.size, 0.0, draws), start="none")


def mixture(process: Isotropic) -> GaussianMixture:
    """The example's."""
    means, stds, weights = (torch.tensor(EXAMPLE[key], dtype=torch.float64) for key in ("means", "stds", "weights"))
    return GaussianMixture(process, means[:, None], stds, weights)


def basin_boundary() -> float:
    """The unstable zero of the example's score between its modes."""
    data = mixture(VP())
    return brentq(lambda x: data(torch.tensor([[x]], dtype=torch.float64), 0.0).item(), -1.5, 1.5)


def toy(book: Book) -> None:
    """NCSN's toy: 0.8 N((5, 5), I) + 0.2 N((-5, -5), I), particles uniform in [-8, 8]^2.

    Its levels are the components' own widths, so the data are two points and the last level is the mixture.
    """
    settings, seeds = book.config.toy, len(book.config.seeds)
    size, (sampler, annealing) = settings.step_size / 2, annealed(settings.annealing)
    generator = partial(make_generator, "smld_sde", "toy")
    data = GaussianMixture(sampler.process, torch.tensor(TOY["means"])[:, None].expand(2, 2), 0.0, torch.tensor(TOY["weights"]))

    def numbers(x: Tensor) -> dict[str, list[float]]:
        found = {"weight_right": (x.sum(2) > 0).double().mean(1).tolist()}
        return found | {"sw2": distances.sw2(x, reference.reshape(x.shape), PROJECTIONS)}

    def with_ratio(x: Tensor) -> dict[str, list[float]]:
        norms = signal_to_noise(sampler, data, seeds * 1000, generator("ratio"))
        signal, noise = norms.unflatten(2, (seeds, -1)).mean(3)  # at each level, (levels, seeds)
        return numbers(x) | {"snr_ratio": ((signal / noise).amax(0) / (signal / noise).amin(0)).tolist()}

    runs = PointRuns(
        book,
        "ncsn-toy",
        "mixture2d",
        settings.particles,
        numbers,
        ("smld_sde", "toy"),
        {"score": "exact", "start": "uniform[-8,8]^2"},
        KEPT,
    )
    u, reference = runs.in_box(TOY["reach"], 2, "start"), data.sample(runs.size, 0.0, generator("reference"))
    runs.fill("uniform start", "", None, lambda: u)
    runs.fill(
        "Langevin",
        "",
        settings.steps,
        lambda: langevin(partial(data, t=0.0), u, size, settings.steps, runs.streams("langevin")),
        steps=settings.steps,
        step_size=size,
        update=EQUATION_17,
    )
    replace(runs, numbers=with_ratio).fill(
        "annealed Langevin", "", sampler.nfe, lambda: sampler(data, u, runs.streams("annealed")), **annealing
    )
    runs.fill("exact draws", "", None, lambda: data.sample(runs.size, 0.0, generator("exact")), start="none")


def annealed(annealing: Annealing) -> tuple[AnnealedLangevin, dict[str, object]]:
    """Its levels go from sigma_first down to sigma_last, geometric; and its protocol."""
    process = VE(annealing.sigma_last, annealing.sigma_first)
    times = grids.uniform(process, annealing.levels - 1, 0.0)
    protocol = {
        "levels": annealing.levels,
        "sigma": f"{annealing.sigma_first:g}..{annealing.sigma_last:g}",
        "steps_per_level": annealing.steps_per_level,
        "step_size": annealing.step_size,
        "update": "x + (a / 2) s + sqrt(a) z",
    }
    return annealed_langevin(process, times, annealing.step_size, annealing.steps_per_level), protocol
