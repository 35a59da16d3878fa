"""Gaussians and mixtures of Gaussians of one width: the targets whose optimal control is known exactly."""

import math

import torch
from torch import Tensor

from rescore.targets.base import Target


class GaussianMixture(Target):
    """muhat = Z sum_k pi_k N(m_k, std^2 I).

    Args:
        means: (K, d).
        std: the common standard deviation, > 0.
        weights: pi_k, positive, normalised here; equal by default.
        log_z: log Z; a density scaled by c has log_z = log c.
        name: spelling in the ledger.
    """

    log_z: float

    def __init__(self, means: Tensor, std: float, weights: Tensor | None = None, log_z: float = 0.0, name: str = "mixture"):
        self.means = torch.as_tensor(means, dtype=torch.float64)
        self.std = float(std)
        n_modes, self.dim = self.means.shape
        weights = torch.ones(n_modes) if weights is None else torch.as_tensor(weights)
        self.weights = weights.double() / weights.double().sum()
        self.log_z = log_z
        self.name = name

    def _log_joint(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Differences m_k - x, (..., K, d), and log pi_k N(x; m_k), (..., K)."""
        delta = self.means.to(x) - x[..., None, :]
        log_norm = self.weights.log() - 0.5 * self.dim * math.log(2 * math.pi * self.std**2)
        return delta, log_norm.to(x) - delta.square().sum(-1) / (2 * self.std**2)

    def log_prob(self, x: Tensor) -> Tensor:
        return self.log_z + torch.logsumexp(self._log_joint(x)[1], -1)

    def score(self, x: Tensor) -> Tensor:
        return self.log_prob_and_score(x)[1]

    def log_prob_and_score(self, x: Tensor) -> tuple[Tensor, Tensor]:
        delta, log_joint = self._log_joint(x)
        score = (torch.softmax(log_joint, -1)[..., None, :] @ delta).squeeze(-2) / self.std**2
        return self.log_z + torch.logsumexp(log_joint, -1), score

    def sample(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        mode = torch.multinomial(self.weights, math.prod(shape), replacement=True, generator=generator)
        noise = torch.randn(*shape, self.dim, dtype=torch.float64, generator=generator)
        return self.means[mode].reshape(noise.shape) + self.std * noise


def gaussian(mean: Tensor, std: float, log_z: float = 0.0) -> GaussianMixture:
    """muhat = Z N(mean, std^2 I), mean of shape (d,)."""
    return GaussianMixture(torch.as_tensor(mean)[None], std, log_z=log_z, name="gaussian")


def nine_modes(apart: float = 5.0) -> GaussianMixture:
    """`mg`: nine equal modes at {-5, 0, 5}^2 with covariance 0.3 I, log Z = 0; `mg<apart>`: the same at another distance.

    The paper says only "mixture of Gaussian in 2-dimension"; this grid is the one whose plain importance-sampling
    numbers agree with the printed HMC and NUTS rows.
    """
    axis = torch.tensor([-apart, 0.0, apart])
    return GaussianMixture(torch.cartesian_prod(axis, axis), math.sqrt(0.3), name="mg" if apart == 5 else f"mg{apart:g}")


def three_modes() -> GaussianMixture:
    """`mg_released`: what PIS's released code runs where its config says "nine": three modes on the unit circle, width 0.15."""
    angles = torch.tensor([0.0, 2 / 3, 4 / 3], dtype=torch.float64) * math.pi
    return GaussianMixture(torch.stack((angles.cos(), angles.sin()), 1), 0.15, name="mg_released")


def forty_modes() -> GaussianMixture:
    """`gmm40`: 40 equal modes on [-40, 40]^2 of width softplus(1), log Z = 0, means from torch's seed 0 (arXiv:2208.01893)."""
    means = 80 * (torch.rand(40, 2, generator=torch.Generator().manual_seed(0)) - 0.5)
    return GaussianMixture(means, math.log1p(math.e), name="gmm40")
