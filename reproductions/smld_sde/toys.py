"""Langevin dynamics on separated modes with exact scores: the note's example and NCSN's mixture in the plane."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from scipy.optimize import brentq
from torch import Tensor

from reproductions.smld_sde.config import Annealing, Config
from rescore.metrics import sliced_wasserstein
from rescore.processes import VE, VP, grids
from rescore.random import make_generator
from rescore.samplers import AnnealedLangevin, langevin
from rescore.scores import GaussianMixture, Score

EXAMPLE = {"means": (2.0, -2.0), "stds": (0.5, 0.2), "weights": (0.6, 0.4), "reach": 3.0}  # note fig. 7
TOY = {"means": (5.0, -5.0), "weights": (0.8, 0.2), "reach": 8.0}  # NCSN fig. 3, both coordinates
EQUATION_17 = "x + tau s + sqrt(2 tau) z"


@dataclass(frozen=True)
class Outcome:
    """Particles of one run.

    Args:
        x: (seeds, particles, d).
        nfe: score evaluations of a particle, None where there are none.
        numbers: what was measured besides the particles' law, one value a seed.
    """

    table: str
    dataset: str
    method: str
    variant: str
    nfe: int | None
    x: Tensor
    protocol: Mapping[str, object]
    numbers: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def function_evaluations(self) -> int:
        return (self.nfe or 0) * self.x.shape[0] * self.x.shape[1]


def _uniform(name: str, reach: float, shape: tuple[int, ...]) -> Tensor:
    return (2 * torch.rand(shape, generator=make_generator("smld_sde", name, "start"), dtype=torch.float64) - 1) * reach


def _mixture(process: VE | VP) -> GaussianMixture:
    means, stds, weights = (torch.tensor(EXAMPLE[key], dtype=torch.float64) for key in ("means", "stds", "weights"))
    return GaussianMixture(process, means[:, None], stds, weights)


def basin_boundary() -> float:
    """The unstable zero of the example's score between its modes."""
    data = _mixture(VP())
    return brentq(lambda x: data(torch.tensor([[x]], dtype=torch.float64), 0.0).item(), -1.5, 1.5)


def _annealed(annealing: Annealing) -> AnnealedLangevin:
    """Its levels go from sigma_first down to sigma_last, geometric."""
    process = VE(annealing.sigma_last, annealing.sigma_first)
    times = grids.uniform(process, annealing.levels - 1, 0.0)
    return AnnealedLangevin(process, times, annealing.step_size, annealing.steps_per_level)


def _annealing_protocol(annealing: Annealing) -> dict[str, object]:
    return {"levels": annealing.levels, "sigma": f"{annealing.sigma_first:g}..{annealing.sigma_last:g}",
            "steps_per_level": annealing.steps_per_level, "step_size": annealing.step_size,
            "update": "x + (a / 2) s + sqrt(a) z"}  # fmt: skip


def run_example(config: Config) -> Iterator[Outcome]:
    """The note's example, what changes it, and annealing."""
    settings, seeds = config.example, len(config.seeds)
    data = _mixture(VP())  # at t = 0: p itself

    def score(x: Tensor) -> Tensor:
        return data(x, 0.0)

    def outcome(method: str, variant: str, nfe: int | None, x: Tensor, **protocol: object) -> Outcome:
        protocol = {"score": "exact", "particles": len(x) // seeds, "start": "uniform[-3,3]"} | protocol
        return Outcome("fig7", "mixture1d", method, variant, nfe, x.reshape(seeds, -1, 1), protocol)

    def start(n: int) -> Tensor:
        # the same places for every run of n particles
        return _uniform("example", EXAMPLE["reach"], (seeds * n, 1))

    def generator(*names: object) -> torch.Generator:
        return make_generator("smld_sde", "example", *names)

    u, tau, steps = start(settings.particles), settings.step_size, settings.steps
    yield outcome("uniform start", "", None, u)
    for size in (tau, *settings.other_step_sizes):
        x = langevin(score, u, size, steps, generator("langevin"))
        variant = "" if size == tau else f"step size {size:g}"
        yield outcome("Langevin", variant, steps, x, steps=steps, step_size=size, update=EQUATION_17)
    x = _without_noise(score, u, tau, steps)
    yield outcome("Langevin", "no noise", steps, x, steps=steps, step_size=tau, update="x + tau s")
    x = _printed_noise(score, u, tau, steps, generator("langevin"))
    yield outcome("Langevin", "eq. 14", steps, x, steps=steps, step_size=tau, update="x + tau s + sqrt(2) tau z")
    x = langevin(score, start(settings.long_particles), tau, settings.long_steps, generator("long"))
    protocol = {"steps": settings.long_steps, "step_size": tau, "update": EQUATION_17}
    yield outcome("Langevin", "long", settings.long_steps, x, **protocol)
    sampler = _annealed(settings.annealing)
    x = sampler(_mixture(sampler.process), start(settings.annealed_particles), generator("annealed"))
    yield outcome("annealed Langevin", "", sampler.nfe, x, **_annealing_protocol(settings.annealing))
    yield outcome("exact draws", "", None, data.sample(len(u), 0.0, generator("exact")), start="none")


def _without_noise(score: Score, x: Tensor, tau: float, steps: int) -> Tensor:
    for _ in range(steps):
        x = x + tau * score(x)
    return x


def _printed_noise(score: Score, x: Tensor, tau: float, steps: int, generator: torch.Generator) -> Tensor:
    """Note eq. 14: the noise is multiplied by tau, with sigma = sqrt(2) as in eq. 17."""
    for _ in range(steps):
        z = torch.randn(x.shape, generator=generator, dtype=x.dtype)
        x = x + tau * score(x) + math.sqrt(2) * tau * z
    return x


def mode_numbers(x: Tensor, boundary: float) -> dict[str, np.ndarray]:
    """Weight, mean and standard deviation on each side of the boundary, one value a seed, for x (seeds, particles, 1)."""
    numbers: dict[str, list[float]] = {}
    for seed in x[..., 0]:
        for side, part in (("right", seed[seed > boundary]), ("left", seed[seed <= boundary])):
            values = {"weight": len(part) / len(seed), "mean": part.mean().item(), "std": part.std(correction=0).item()}
            for name, value in values.items():
                numbers.setdefault(f"{name}_{side}", []).append(value)
    return {name: np.array(values) for name, values in numbers.items()}


def run_toy(config: Config) -> Iterator[Outcome]:
    """NCSN's toy: 0.8 N((5, 5), I) + 0.2 N((-5, -5), I), particles uniform in [-8, 8]^2.

    Its levels are the components' own widths, so the data are two points and the last level is the mixture.
    """
    settings, seeds = config.toy, len(config.seeds)
    sampler = _annealed(settings.annealing)
    data = GaussianMixture(sampler.process, torch.tensor(TOY["means"])[:, None].expand(2, 2), 0.0, torch.tensor(TOY["weights"]))
    u = _uniform("toy", TOY["reach"], (seeds * settings.particles, 2))

    def generator(*names: object) -> torch.Generator:
        return make_generator("smld_sde", "toy", *names)

    exact, other = (data.sample(len(u), 0.0, generator(name)) for name in ("exact", "reference"))
    fixed = langevin(lambda x: data(x, 0.0), u, settings.step_size / 2, settings.steps, generator("langevin"))
    fixed_protocol = {"steps": settings.steps, "step_size": settings.step_size / 2, "update": EQUATION_17}
    ratio = _signal_to_noise(sampler, data, generator("ratio"), seeds)
    runs = (
        ("uniform start", None, u, {}, {}),
        ("Langevin", settings.steps, fixed, fixed_protocol, {}),
        ("annealed Langevin", sampler.nfe, sampler(data, u, generator("annealed")), _annealing_protocol(settings.annealing),
         {"snr_ratio": ratio.max(0) / ratio.min(0)}),
        ("exact draws", None, exact, {"start": "none"}, {}),
    )  # fmt: skip
    for method, nfe, x, protocol, numbers in runs:
        x, reference = (v.reshape(seeds, -1, 2) for v in (x, other))
        numbers = {
            "weight_right": (x.sum(2) > 0).double().mean(1).numpy(),
            "sw2": np.array([sliced_wasserstein(*pair) for pair in zip(x, reference, strict=True)]),
        } | numbers
        protocol = {"score": "exact", "particles": settings.particles, "start": "uniform[-8,8]^2"} | protocol
        yield Outcome("ncsn-toy", "mixture2d", method, "", nfe, x, protocol, numbers)


def _signal_to_noise(sampler: AnnealedLangevin, data: GaussianMixture, generator: torch.Generator, seeds: int) -> np.ndarray:
    """E|alpha s| / E|2 sqrt(alpha) z| at each level's own density (note section 1.5), (levels, seeds)."""
    ratios = []
    for t, size in zip(sampler.times, sampler.sizes, strict=True):
        x = data.sample(seeds * 1000, t, generator)
        z = torch.randn(x.shape, generator=generator, dtype=x.dtype)
        signal, noise = ((v.norm(dim=1)).reshape(seeds, -1).mean(1) for v in (size * data(x, t), 2 * math.sqrt(size) * z))
        ratios.append((signal / noise).numpy())
    return np.stack(ratios)
