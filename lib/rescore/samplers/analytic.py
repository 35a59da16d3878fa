"""Analytic-DDIM: DDIM's mean with the reverse variance of least KL divergence (Bao et al. 2022, arXiv 2201.06503)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from rescore.errors import RescoreError
from rescore.processes import Isotropic, grids
from rescore.processes.base import LinearSDE, require
from rescore.random import Noise, make_generator
from rescore.samplers.base import Denoise, OneStep, Sampler, Times
from rescore.samplers.method import Method, method
from rescore.scores import Score, to_noise


@method(applies=Isotropic)
def analytic_ddim(
    process: LinearSDE,
    times: Times,
    powers: Sequence[float] | float = 0.0,
    half_range: float | None = None,
    denoise: Denoise = "none",
) -> OneStep:
    """u <- Psi u + c eps + sqrt(v) z, c = sqrt(Sigma_t) - Psi sqrt(Sigma_s), v = c^2 (1 - Gamma) (theorem 1, lambda_n = 0).

    Gamma = E|eps(u_s)|^2 / d is the power of the noise prediction, so that 1 - Gamma is the mean variance of the noise that is
    left once u_s is known. For Gaussian data with one variance and exact Gamma every marginal of the chain is exact.

    Args:
        powers: Gamma at each of the N times, in [0, 1] or clipped to it (`noise_powers`); one number stands for all.
        half_range: (b - a) / 2 for data in [a, b]^d: v is at most (half_range (m_t - sqrt(Sigma_t / Sigma_s) m_s))^2, their
            theorem 2. None: no bound.

    Raises RescoreError unless there is a power for every step.
    """
    require(process, Isotropic, "analytic_ddim")
    times = grids.check(process, times)
    s, t = times[:-1], times[1:]
    gamma = torch.as_tensor(powers, dtype=torch.float64)
    if gamma.shape not in ((), s.shape):
        raise RescoreError(f"analytic_ddim: {len(gamma)} powers; allowed are one, or one for each of the {len(s)} steps")
    psi, root, end = process.Psi(t, s), process.R(s), process.R(t)
    direction = end - psi @ root
    variance = direction.values.square() * (1 - gamma.clamp(0, 1))
    if half_range is not None:
        reach = process.mean(t) - end @ root.inv() @ process.mean(s)
        variance = torch.minimum(variance, (half_range * reach.values).square())
    spread = direction.identity() * variance.sqrt()
    return OneStep(process, times, psi, -(direction @ root), spread, denoise)


def noise_powers(process: Isotropic, score: Score, x: Tensor, times: Sequence[float], noise: Noise) -> list[float]:
    """E|eps(u_t, t)|^2 / d at each time, over one draw of u_t for each data point x (n, *data).

    The authors count these evaluations apart, for they are made once for a network and a grid.
    """
    eps = to_noise(process, score)
    return [eps(process.perturb(x, t, noise, "R")[0], t).double().square().mean().item() for t in times]


def with_noise_powers(method: Method, sampler: Sampler, x: Tensor, names: Sequence[object], score: Score) -> Sampler:
    """`analytic_ddim` with a score's powers over the data x, for a `method` and the `sampler` that it made without them.

    The draws of u_t are `make_generator(*names)`'s: the same whenever the same score is prepared again.
    """
    process = require(sampler.process, Isotropic, "noise powers")
    powers = noise_powers(process, score, x, sampler.times[:-1], make_generator(*names, device=x.device))
    return method(sampler.process, sampler.grid, powers)
