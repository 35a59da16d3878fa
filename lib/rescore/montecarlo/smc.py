"""Annealed particle samplers: one loop for SMC and, with a transport before each temperature, for AFT."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rescore.cost.evaluations import note
from rescore.errors import RescoreError
from rescore.montecarlo.hmc import Particles, hmc_step
from rescore.montecarlo.logz import ess
from rescore.random import fill_normal, fill_uniform
from rescore.specs.montecarlo import AnnealingSettings
from rescore.targets.base import Target

PATH_TIMES = (0.0, 0.25, 0.5, 1.0)

Transport = Callable[[Tensor], tuple[Tensor, Tensor]]
"""x (..., d) -> T(x) (..., d) and log |det dT/dx| (...)."""

TransportAt = Callable[[int, Particles, Tensor], Transport | None]
"""(k, particles, log weights) before temperature k = 1..n_temperatures -> the transport to apply; None is the identity."""


@dataclass(frozen=True)
class Annealing:
    """The schedule: log gamma_k = (1 - beta_k) log N(0, I) + beta_k log muhat, beta_k = k / n_temperatures.

    Attributes:
        n_temperatures: jumps from beta 0 to 1. With 1 the estimate is plain importance sampling.
        n_hmc_steps: moves at each temperature.
        n_leapfrog: leapfrog steps a move.
        step_sizes: of the leapfrog at path times 0, 1/4, 1/2 and 1, linear in between.
        resample_below: resample a run when its ESS, as a fraction, is below this.
    """

    n_temperatures: int = 10
    n_hmc_steps: int = 10
    n_leapfrog: int = 10
    step_sizes: tuple[float, float, float, float] = (0.5, 0.5, 0.5, 0.3)
    resample_below: float = 0.3

    @classmethod
    def of(cls, its: AnnealingSettings, step_sizes: tuple[float, float, float, float]) -> "Annealing":
        """The schedule that settings mean."""
        return cls(its.temperatures, its.hmc_steps, its.leapfrogs, step_sizes, its.resample_below)

    @property
    def steps_per_temperature(self) -> int:
        return self.n_hmc_steps * self.n_leapfrog

    @property
    def protocol(self) -> dict[str, object]:
        """What records say about it."""
        sizes = "/".join(f"{size:g}" for size in self.step_sizes)
        return {
            "temperatures": self.n_temperatures,
            "steps_per_temperature": self.steps_per_temperature,
            "leapfrogs": self.n_leapfrog,
            "step_sizes": sizes,
            "resample_below": self.resample_below,
        }

    def beta(self, k: int) -> float:
        return k / self.n_temperatures

    def step_size(self, k: int) -> float:
        return float(np.interp(self.beta(k), PATH_TIMES, self.step_sizes))


@dataclass(frozen=True)
class AnnealedRuns:
    """What `anneal` returns.

    Attributes:
        log_z: estimates, (runs,), float64; exp(log_z) is unbiased for Z.
        x: final particles, (runs, n, d).
        log_weights: of the final particles, (runs, n), float64, each run's weights sum to 1.
        acceptance: of the HMC moves, (runs, n_temperatures).
        n_evaluations: of the target, per particle.
    """

    log_z: Tensor
    x: Tensor
    log_weights: Tensor
    acceptance: Tensor
    n_evaluations: int


def no_transport(k: int, particles: Particles, log_weights: Tensor) -> None:
    """SMC: every transport is the identity."""


@torch.no_grad()
def anneal(
    target: Target,
    annealing: Annealing,
    n_particles: int,
    generators: list[torch.Generator],
    transport_at: TransportAt = no_transport,
    dtype: torch.dtype = torch.float32,
) -> AnnealedRuns:
    """Independent runs from N(0, I), side by side: transport, reweight, resample if needed, move.

    Weights: log w += log gamma_k(T x) + log |det dT/dx| - log gamma_{k-1}(x), in float64. Resampling is multinomial.
    All randomness of run r comes from generators[r], so its result does not depend on the runs beside it. Memory is
    about 6 runs * n_particles * dim numbers: call it in batches of runs where that is too much.

    Raises:
        RescoreError: all weights of a run vanish or one is NaN.
    """
    runs, device = len(generators), generators[0].device
    x = torch.empty(runs, n_particles, target.dim, dtype=dtype, device=device)
    particles = Particles.at(fill_normal(x, generators), target)
    momentum = torch.empty_like(x)
    log_uniform = torch.empty(runs, n_particles, dtype=torch.float64, device=device)
    log_weights = torch.full_like(log_uniform, -np.log(n_particles))
    log_z = torch.zeros(runs, dtype=torch.float64, device=device)
    acceptance = torch.zeros(runs, annealing.n_temperatures, dtype=torch.float64, device=device)
    n_evaluations = 1

    for k in range(1, annealing.n_temperatures + 1):
        beta = annealing.beta(k)
        log_increment = -particles.tempered_log_prob(annealing.beta(k - 1))
        transport = transport_at(k, particles, log_weights)
        if transport is not None:
            y, log_det = transport(particles.x)
            particles = Particles.at(y, target)
            log_increment += log_det
            n_evaluations += 1
        log_weights += log_increment + particles.tempered_log_prob(beta)
        log_mean = torch.logsumexp(log_weights, -1)
        if not log_mean.isfinite().all():
            where = f"temperature {k} of {annealing.n_temperatures}"
            raise RescoreError(f"target {target.name}: all weights of a run vanish or one is NaN at {where}")
        log_z += log_mean
        log_weights -= log_mean[:, None]
        _resample(particles, log_weights, ess(log_weights) < annealing.resample_below, generators)
        for _ in range(annealing.n_hmc_steps):
            fill_normal(momentum, generators)
            fill_uniform(log_uniform, generators).log_()
            step_size = annealing.step_size(k)
            accepted = hmc_step(target, particles, momentum, log_uniform, beta, step_size, annealing.n_leapfrog)
            acceptance[:, k - 1] += accepted.double().mean(-1) / annealing.n_hmc_steps
        n_evaluations += annealing.n_hmc_steps * annealing.n_leapfrog
    note(runs * n_particles * n_evaluations)
    return AnnealedRuns(log_z, particles.x, log_weights, acceptance, n_evaluations)


def _resample(particles: Particles, log_weights: Tensor, which: Tensor, generators: list[torch.Generator]) -> None:
    """Multinomial resampling, in place, of the runs where `which` (runs,) holds; their weights become equal."""
    n = log_weights.shape[-1]
    for run in which.nonzero().flatten().tolist():
        index = torch.multinomial(log_weights[run].exp(), n, replacement=True, generator=generators[run])
        for values in (particles.x, particles.log_prob, particles.score):
            values[run] = values[run, index]
        log_weights[run] = -np.log(n)
