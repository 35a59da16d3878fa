"""Langevin dynamics on separated modes with exact scores: the note's example and NCSN's mixture in the plane."""

import math
from collections.abc import Callable
from functools import partial

import torch
from scipy.optimize import brentq
from torch import Tensor

from reproductions.smld_sde.config import Annealing
from rescore.experiments.axes import Axes
from rescore.experiments.book import Book
from rescore.metrics import PROJECTIONS
from rescore.problems import distances
from rescore.problems.score_norms import signal_to_noise
from rescore.processes import VE, VP, Isotropic, grids
from rescore.random import Streams, derive_seed, make_generator
from rescore.samplers import AnnealedLangevin, annealed_langevin, langevin
from rescore.scores import GaussianMixture

EXAMPLE = {"means": (2.0, -2.0), "stds": (0.5, 0.2), "weights": (0.6, 0.4), "reach": 3.0}  # note fig. 7
TOY = {"means": (5.0, -5.0), "weights": (0.8, 0.2), "reach": 8.0}  # NCSN fig. 3, both coordinates
EQUATION_17 = "x + tau s + sqrt(2 tau) z"
STEP_SIZE = Axes("step size {size:g}")
KEPT = 2000  # particles of a run kept for the figures


def example(book: Book) -> None:
    """Fig. 7: the note's example, what changes it, and annealing."""
    settings, seeds, boundary = book.config.example, len(book.config.seeds), basin_boundary()
    data, streams = mixture(VP()), partial(noise_of, book, "example")  # at t = 0: p itself
    score = partial(data, t=0.0)

    def start(particles: int) -> Tensor:
        """The same places for every run of so many particles."""
        return uniform(streams("start", particles), EXAMPLE["reach"], (seeds * particles, 1))

    def measure(method: str, variant: str, nfe: int | None, n: int, end: Callable[[], Tensor], **protocol: object) -> None:
        """A cell of n particles for each seed."""
        protocol = {"score": "exact", "particles": n, "start": "uniform[-3,3]"} | protocol
        with book.cell("fig7", "mixture1d", method, variant, nfe, protocol, n=n) as cell:
            if cell.todo:
                x = end()
                cell.arrays["/".join(filter(None, ("mixture1d", method, variant)))] = x[:KEPT].numpy()
                for metric, values in distances.sides(x.reshape(seeds, -1, 1), boundary).items():
                    cell.add(metric, values)

    def run(variant: str, n: int, steps: int, size: float, noise: float = 1.0, update: str = EQUATION_17, name: str = "langevin"
            ) -> None:  # fmt: skip
        measure("Langevin", variant, steps, n, lambda: langevin(score, start(n), size, steps, streams(name, n), noise),
                steps=steps, step_size=size, update=update)  # fmt: skip

    n, steps, tau = settings.particles, settings.steps, settings.step_size
    measure("uniform start", "", None, n, lambda: start(n))
    run("", n, steps, tau)
    for size in settings.other_step_sizes:
        run(STEP_SIZE(size=size), n, steps, size)
    run("no noise", n, steps, tau, 0.0, "x + tau s")
    run("eq. 14", n, steps, tau, math.sqrt(tau), "x + tau s + sqrt(2) tau z")  # as printed, with sigma = sqrt(2) as in eq. 17
    run("long", settings.long_particles, settings.long_steps, tau, name="long")
    sampler, many = annealed(settings.annealing), settings.annealed_particles
    measure("annealed Langevin", "", sampler.nfe, many,
            lambda: sampler(mixture(sampler.process), start(many), streams("annealed", many)),
            **annealing_protocol(settings.annealing))  # fmt: skip
    measure("exact draws", "", None, n, lambda: data.sample(seeds * n, 0.0, make_generator("smld_sde", "example", "exact")), start="none")


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
    size, sampler, generator = settings.step_size / 2, annealed(settings.annealing), partial(make_generator, "smld_sde", "toy")
    data = GaussianMixture(sampler.process, torch.tensor(TOY["means"])[:, None].expand(2, 2), 0.0, torch.tensor(TOY["weights"]))
    n = seeds * settings.particles
    streams = partial(noise_of, book, "toy", particles=settings.particles)
    u, other = uniform(streams("start"), TOY["reach"], (n, 2)), data.sample(n, 0.0, generator("reference"))
    runs = {  # evaluations, protocol, particles at the end
        "uniform start": (None, {}, lambda: u),
        "Langevin": (settings.steps, {"steps": settings.steps, "step_size": size, "update": EQUATION_17},
                     lambda: langevin(partial(data, t=0.0), u, size, settings.steps, streams("langevin"))),
        "annealed Langevin": (sampler.nfe, annealing_protocol(settings.annealing),
                              lambda: sampler(data, u, streams("annealed"))),
        "exact draws": (None, {"start": "none"}, lambda: data.sample(n, 0.0, generator("exact"))),
    }  # fmt: skip
    for method, (nfe, more, end) in runs.items():
        protocol = {"score": "exact", "particles": settings.particles, "start": "uniform[-8,8]^2"} | more
        with book.cell("ncsn-toy", "mixture2d", method, "", nfe, protocol, n=settings.particles) as cell:
            if not cell.todo:
                continue
            particles = end()
            cell.arrays[f"mixture2d/{method}"] = particles[:KEPT].numpy()
            x, reference = (v.reshape(seeds, -1, 2) for v in (particles, other))
            cell.add("weight_right", (x.sum(2) > 0).double().mean(1).tolist())
            cell.add("sw2", distances.sw2(x, reference, PROJECTIONS))
            if method == "annealed Langevin":
                norms = signal_to_noise(sampler, data, seeds * 1000, generator("ratio"))
                signal, noise = norms.unflatten(2, (seeds, -1)).mean(3)  # at each level, (levels, seeds)
                cell.add("snr_ratio", ((signal / noise).amax(0) / (signal / noise).amin(0)).tolist())


def annealed(annealing: Annealing) -> AnnealedLangevin:
    """Its levels go from sigma_first down to sigma_last, geometric."""
    process = VE(annealing.sigma_last, annealing.sigma_first)
    times = grids.uniform(process, annealing.levels - 1, 0.0)
    return annealed_langevin(process, times, annealing.step_size, annealing.steps_per_level)


def annealing_protocol(annealing: Annealing) -> dict[str, object]:
    return {"levels": annealing.levels, "sigma": f"{annealing.sigma_first:g}..{annealing.sigma_last:g}",
            "steps_per_level": annealing.steps_per_level, "step_size": annealing.step_size,
            "update": "x + (a / 2) s + sqrt(a) z"}  # fmt: skip


def uniform(streams: Streams, reach: float, shape: tuple[int, ...]) -> Tensor:
    """Starting points in [-reach, reach]."""
    return (2 * streams.uniform(shape, torch.float64) - 1) * reach


def noise_of(book: Book, name: str, use: str, particles: int) -> Streams:
    """The noise of so many particles of each seed."""
    return Streams([derive_seed("smld_sde", name, use, seed) for seed in book.config.seeds], particles)
