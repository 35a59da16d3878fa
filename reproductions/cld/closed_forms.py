"""What needs no sampling: Langevin dynamics at any friction (fig. 5), ell_t (fig. 6), what a sampler does to a
Gaussian (fig. 8)."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from rescore.processes import CLD
from rescore.processes.base import LinearSDE
from rescore.samplers import Sampler
from rescore.scores import GaussianMixture, Score

SEGMENT = 16  # steps; a longer one costs larger batches, a shorter one more set-up


def langevin_moments(b: Tensor, M: float, Gamma: float, mean: Tensor, covariance: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (n, 2) and covariance (n, 2, 2) of u = (x, v) after B = b of the paper's SDE, at any friction Gamma.

    Its equilibrium is N(0, diag(1, M)), so that Sigma_B = Sigma_inf + Psi (Sigma_0 - Sigma_inf) Psi^T, Psi = exp(B F / beta).

    Args:
        b: (n,), integrals of beta.
        mean, covariance: of u_0, (2,) and (2, 2).
    """
    F = torch.tensor([[0, 1 / M], [-1, -Gamma / M]], dtype=torch.float64)
    psi = torch.linalg.matrix_exp(b[:, None, None] * F)
    equilibrium = torch.diag(torch.tensor([1.0, M], dtype=torch.float64))
    return psi @ mean, equilibrium + psi @ (covariance - equilibrium) @ psi.mT


def kl_to_prior(mean: Tensor, covariance: Tensor, M: float) -> Tensor:
    """KL(N(mean, covariance) || N(0, diag(1, M))), shape (n,)."""
    precision = torch.tensor([1.0, 1 / M], dtype=torch.float64)
    square = (precision * (covariance.diagonal(dim1=1, dim2=2) + mean**2)).sum(1)
    return (square - 2 + math.log(M) - torch.logdet(covariance)) / 2


def w2_to_prior(mean: Tensor, covariance: Tensor, M: float) -> Tensor:
    """The 2-Wasserstein distance of N(mean, covariance) to N(0, diag(1, M)), shape (n,).

    The trace of a root of a 2x2 matrix A is sqrt(tr A + 2 sqrt(det A)).
    """
    prior = torch.tensor([1.0, M], dtype=torch.float64)
    diagonal = covariance.diagonal(dim1=1, dim2=2)
    root = ((prior * diagonal).sum(1) + 2 * (M * torch.linalg.det(covariance)).clamp_min(0).sqrt()).sqrt()
    return (mean.square().sum(1) + (diagonal + prior).sum(1) - 2 * root).clamp_min(0).sqrt()


def decay_rate(M: float, Gamma: float) -> float:
    """The rate at which Langevin dynamics forgets its start: the smallest -Re of the eigenvalues of F / beta."""
    discriminant = max(0.0, Gamma**2 - 4 * M)
    return (Gamma - math.sqrt(discriminant)) / (2 * M)


def last_above(clock: Tensor, values: Tensor, tolerance: float) -> float:
    """The time from which on `values` stay below `tolerance`; the last time if they never do."""
    above = (values > tolerance).nonzero()
    return clock[min(int(above.max()) + 1, len(clock) - 1)].item() if len(above) else clock[0].item()


def ell(process: CLD, t: Tensor) -> Tensor:
    """ell_t = 1 / L22: the score of p(u_t | x_0) along v is -ell_t eps_v; DSM for gamma = 0, else HSM (paper, app. B.4)."""
    return 1 / process.L(t).values[..., 1, 1]


def target_variance(process: CLD, t: Tensor, data_variance: float) -> Tensor:
    """E |target - score|^2 a coordinate, target = -ell_t eps_v, on data N(0, data_variance): the noise of the regression.

    The score is the mean of the target given u_t, so this is E target^2 - E score^2 = ell_t^2 - 1 / L22(u_t)^2.

    Args:
        process: with gamma = 0, v_0 is given too (DSM); the marginal law of u_t is then taken at the paper's gamma.
    """
    marginalised = CLD(process.M, process.beta_min, process.beta_max, eps0=process.eps0, eps_num=process.eps_num)
    mean, data = process.mean(t), process.data_covariance(torch.tensor(data_variance))
    marginal = (mean @ data @ mean.T + marginalised.Sigma(t)).cholesky().values[..., 1, 1]
    return ell(process, t) ** 2 - 1 / marginal**2


def equilibrium_score(process: CLD) -> Score:
    """The score -(x, v / M) of the prior."""
    return lambda u, t: torch.stack((-u[:, 0], -u[:, 1] / process.M), 1)


def gaussian_score(process: LinearSDE, mean: Tensor, variances: Tensor) -> GaussianMixture:
    """The exact score for data with independent coordinates N(mean_i, variances_i), each (d,)."""
    return GaussianMixture(process, mean[None], variances.sqrt()[None])


def gaussian_law(process: LinearSDE, t: float, mean: Tensor, variances: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (p, d) and covariances (d, p, p) of u_t for the same data; p = 2 for CLD, else 1."""
    d = len(mean)
    m = process.mean(t)
    covariance = (m @ process.data_covariance(variances, 1) @ m.T).values + process.Sigma(t).values
    return m(process.embed(mean[None])).reshape(-1, d), covariance.reshape(d, *_pair(process))


def prior_law(process: LinearSDE, d: int) -> tuple[Tensor, Tensor]:
    """The prior in the same form."""
    pair = _pair(process)
    return torch.zeros(pair[0], d, dtype=torch.float64), process.prior_covariance.values.reshape(1, *pair).repeat(d, 1, 1)


def law_after(
    make: Callable[..., Sampler], process: LinearSDE, times: Tensor, score: Score, mean: Tensor, covariance: Tensor
) -> tuple[Tensor, Tensor]:
    """The exact law that a one-step sampler makes of N(mean, covariance) when the score is affine in each coordinate.

    The end is affine in the start and in every draw: one batch holds the mean path and the response to a unit of each. Long
    grids go in segments, because a one-step sampler on a part of a grid takes the same steps.

    Args:
        make: (process, times) -> sampler.
        mean, covariance: (p, d) and (d, p, p), as `gaussian_law` gives them.
    """
    for first in range(0, len(times) - 1, SEGMENT):
        sampler = make(process, times[first : first + SEGMENT + 1])
        mean, covariance = _segment(sampler, score, mean, covariance)
    return mean, covariance


def _segment(sampler: Sampler, score: Score, mean: Tensor, covariance: Tensor) -> tuple[Tensor, Tensor]:
    p, d = mean.shape
    draws = 2 * sampler.steps  # at most
    batch = mean.repeat(1 + p + p * draws, 1, 1)
    batch[1 : 1 + p] += torch.linalg.cholesky_ex(covariance)[0].permute(2, 1, 0)
    row = 1 + p

    def draw(like: Tensor) -> Tensor:
        """A unit of each component in rows of its own, nothing in the others."""
        nonlocal row
        noise = torch.zeros(len(like), p, d, dtype=like.dtype)
        noise[row : row + p] = torch.eye(p, dtype=like.dtype)[:, :, None]
        row += p
        return noise.reshape(like.shape)

    state = sampler.process.state_shape((d,))
    end = sampler.run(score, batch.reshape(-1, *state), draw).reshape(-1, p, d)
    response = end[1:] - end[0]
    return end[0], torch.einsum("kpd,kqd->dpq", response, response)


def frechet(process: LinearSDE, mean: Tensor, covariance: Tensor, data_mean: Tensor, variances: Tensor) -> float:
    """The squared Frechet distance, FID's formula, of the data part of N(mean, covariance) to N(data_mean, diag(variances))."""
    x = process.marginal(mean.reshape(1, *process.state_shape(data_mean.shape)))[0]
    spread = (covariance[:, 0, 0].clamp_min(0).sqrt() - variances.sqrt()).square().sum()
    return ((x - data_mean).square().sum() + spread).item()


def _pair(process: LinearSDE) -> tuple[int, int]:
    p = process.state_shape((1,))[0] if isinstance(process, CLD) else 1
    return p, p
