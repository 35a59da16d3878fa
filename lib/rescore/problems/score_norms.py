"""How hard a score is to learn: its distance from a Normal's, how steep and how noisy what is learned.

Also Langevin's ratio, and what samples of a score of the wrong length look like.
"""

import math
from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor

from rescore.processes import CLD, VE, LinearSDE
from rescore.samplers import AnnealedLangevin
from rescore.scores import Score


def noisy(process: LinearSDE, u: Tensor) -> Tensor:
    """The coordinates that the noise acts on: the velocities of CLD, all of another process."""
    return u[:, 1] if isinstance(process, CLD) else u


def distance_to_normal(process: LinearSDE, score: Score, u: Tensor, t: float) -> float:
    """E |grad_v log p(v | x) + v / M|^2 of CLD, E |grad log p(x) + x|^2 of another process, at draws u of u_t."""
    mass = process.M if isinstance(process, CLD) else 1.0
    return (noisy(process, score(u, t)) + noisy(process, u) / mass).square().flatten(1).sum(1).mean().item()


def jacobian_norms(process: LinearSDE, score: Score, u: Tensor, t: float) -> tuple[float, float]:
    """E |d alpha / d u|^2 (Frobenius) of the alpha that makes score = -ell_t alpha exact, and of that for the mixed score.

    u are draws of u_t, (batch, *state). The mixed score is -v / Svv_t - ell_t alpha on CLD, -x - ell_t alpha with
    ell_t = 1 / sigma_t on an isotropic process.
    """
    u = u.detach().requires_grad_()
    spread = process.Sigma(t).values
    ell, shift = (process.ell(t), 1 / spread[1, 1]) if isinstance(process, CLD) else (1 / spread.sqrt(), 1.0)
    alpha = -noisy(process, score(u, t)) / ell
    return jacobian_norm(alpha, u), jacobian_norm(alpha - noisy(process, u) * shift / ell, u)


def jacobian_norm(y: Tensor, u: Tensor) -> float:
    """E |d y / d u|^2 (Frobenius), each row of y a function of the same row of u, which asks for gradients."""
    rows = [torch.autograd.grad(column.sum(), u, retain_graph=True)[0] for column in y.flatten(1).unbind(1)]
    return sum(row.square().flatten(1).sum(1).mean().item() for row in rows)


def probed_jacobian_norm(y: Tensor, u: Tensor, probes: Tensor) -> float:
    """Hutchinson's estimate of `jacobian_norm`: the mean over rows and probes v of |v^T dy / du|^2, as E v v^T = I.

    Its expectation is tr(J J^T) = |J|^2; probes sqrt(d) e_1, ..., sqrt(d) e_d give that itself.

    Args:
        probes: (M, *y), a direction in the space of y for each row of y.
    """
    products = (torch.autograd.grad(y, u, v, retain_graph=True)[0] for v in probes)
    return sum(row.square().flatten(1).sum(1).mean().item() for row in products) / len(probes)


def target_variance(process: CLD, t: Tensor, data_variance: float) -> Tensor:
    """E |target - score|^2 a coordinate, target = -ell_t eps_v, on data N(0, data_variance): the noise of the regression.

    The score is the mean of the target given u_t, so this is E target^2 - E score^2 = ell_t^2 - 1 / L22(u_t)^2.

    Args:
        process: with gamma = 0, v_0 is given too (DSM); the marginal law of u_t is then taken at the class's gamma.
    """
    marginalised = replace(process, gamma=process.gamma or CLD.gamma)
    mean, data = process.mean(t), process.data_covariance(torch.tensor(data_variance))
    marginal = (mean @ data @ mean.T + marginalised.Sigma(t)).cholesky().values[..., 1, 1]
    return process.ell(t) ** 2 - 1 / marginal**2


class Noised(Protocol):
    """Data with noise: draws of u_t, (n, *state), and the score there, exact or learned."""

    def sample(self, n: int, t: float, generator: torch.Generator) -> Tensor: ...

    def __call__(self, u: Tensor, t: float) -> Tensor: ...


def signal_to_noise(sampler: AnnealedLangevin, data: Noised, n: int, generator: torch.Generator) -> Tensor:
    """|a s| and |2 sqrt(a) z| at n draws of each level's own density (note section 1.5): (2, levels, n)."""
    norms = []
    for t, size in zip(sampler.times, sampler.sizes, strict=True):
        x = data.sample(n, t, generator)
        z = torch.randn(x.shape, generator=generator, dtype=x.dtype)
        norms.append(torch.stack([values.flatten(1).norm(dim=1) for values in (size * data(x, t), 2 * math.sqrt(size) * z)]))
    return torch.stack(norms, 1)


def scaled_score_ratio(process: VE, gamma: float, s: float) -> float:
    """Var / S of the reverse VE diffusion on N(0, S) under gamma times the score, sigma_min -> 0.

    With y = S + sigma^2 from Y down to S, dv/dy = 2 gamma v / y - 1 and v(Y) = sigma_max^2: 1 / (2 gamma - 1) for large
    sigma_max.
    """
    top = s + process.sigma_max**2
    start, power = process.sigma_max**2 * (s / top) ** (2 * gamma), 2 * gamma - 1
    rest = math.log(top / s) * s if power == 0 else s * (1 - (s / top) ** power) / power
    return (start + rest) / s
