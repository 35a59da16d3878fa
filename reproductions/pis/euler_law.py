"""What Euler's steps make of the optimal control, without a sample: end laws, their distance to the target, weights' variance.

On a Gaussian target the control is affine, so the chain is Gaussian and all follows from scalar recursions. On a mixture in one
dimension the law of the next state is a Gaussian mixture with a component for each point of a grid. A product of such mixtures
has independent coordinates under its optimal control, and its squared W2 distance is the sum of theirs.

References:
    thesis, chapter 5: PIS, arXiv:2111.15141.
"""

import math
from dataclasses import dataclass

import torch
from rescore.control.exact import MixtureControl
from rescore.control.sde import ControlledSDE
from rescore.targets.mixture import GaussianMixture
from torch import Tensor

REACH = 8.0  # standard deviations beyond the outermost mode where the grids end
FINE = 40_001  # points of the distance's grid
POINTS_A_STD = 3  # of the propagation's grid, a standard deviation of one step: the trapezium rule is then exact to 1e-12


def gaussian_control(sde: ControlledSDE, mean: float, std: float) -> tuple[Tensor, Tensor]:
    """c_k and g_k, (N,) float64, of the optimal control u*(t_k, x) = c_k - g_k x of the target N(mean, std^2), a coordinate."""
    a = 1 / std**2 - 1 / sde.prior_variance
    denominator = 1 + a * sde.sigma**2 * (sde.horizon - sde.times())
    return sde.sigma * mean / std**2 / denominator, sde.sigma * a / denominator


def gaussian_end(sde: ControlledSDE, mean: float, std: float, shift: float = 0.0) -> tuple[float, float]:
    """Mean and standard deviation of x_N, a coordinate, under u* + shift."""
    m, variance, push = 0.0, 0.0, sde.sigma * sde.dt
    for c, g in zip(*(values.tolist() for values in gaussian_control(sde, mean, std)), strict=True):
        m = m + push * (c + shift - g * m)
        variance = (1 - push * g) ** 2 * variance + sde.sigma**2 * sde.dt
    return m, math.sqrt(variance)


def gaussian_w2(sde: ControlledSDE, mean: float, std: float, dim: int, error: float = 0.0) -> float:
    """W2 of the end law to N(mean 1, std^2 I) in `dim` dimensions, under a control with |u - u*|^2 = dim error everywhere."""
    m, s = gaussian_end(sde, mean, std, math.sqrt(error))
    return math.sqrt(dim) * math.hypot(m - mean, s - std)


def gaussian_ess(sde: ControlledSDE, mean: float, std: float, shift: float) -> float:
    """ESS = 1 / E[w^2] of the weights dQ*/dQ^u (thesis Theorem 4) under u* + shift, in one dimension; 0 if E[w^2] is infinite.

    With b_k = sigma dt u_k and p the step's normal law, w^2 has under Q^u the density ratio p(y - x)^2 / p(y - x - b)
    = p(y - x + b) exp(u^2 dt): backwards from (mu / mu0)^2, E[w^2 | x_k = x] = exp(-P x^2 / 2 + q x + r).
    """
    v, s2, push, step = sde.prior_variance, std**2, sde.sigma * sde.dt, sde.sigma**2 * sde.dt
    p, q, r = 2 / s2 - 2 / v, 2 * mean / s2, math.log(v / s2) - mean**2 / s2
    for c, g in zip(*(values.flip(0).tolist() for values in gaussian_control(sde, mean, std)), strict=True):
        c, spread = c + shift, 1 + p * step
        if spread <= 0:
            return 0.0
        alpha, beta = 1 + push * g, -push * c  # the mean of y is alpha x + beta
        r = r - 0.5 * math.log(spread) + (q * beta + 0.5 * q * q * step - 0.5 * p * beta**2) / spread + sde.dt * c * c
        p, q = p * alpha**2 / spread - 2 * sde.dt * g * g, alpha * (q - p * beta) / spread - 2 * sde.dt * c * g
    return math.exp(-r)


@dataclass(frozen=True)
class EndLaw:
    """sum_j weights_j N(means_j, std^2) in one dimension, weights and means (n,), float64."""

    means: Tensor
    weights: Tensor
    std: float

    def cdf(self, x: Tensor) -> Tensor:
        """(m,) -> (m,)."""
        return torch.cat([torch.special.ndtr((part[:, None] - self.means) / self.std) @ self.weights for part in x.split(1000)])


def mixture_end(sde: ControlledSDE, target: GaussianMixture) -> EndLaw:
    """The law of x_N under the optimal control of a mixture in one dimension."""
    control, step = MixtureControl(sde, target).on_grid(sde.times()), sde.sigma * math.sqrt(sde.dt)
    low, high = _reach(target)
    x = torch.linspace(low, high, math.ceil((high - low) / step * POINTS_A_STD) + 1, dtype=torch.float64)
    means, weights = sde.sigma * sde.dt * control(0, torch.zeros(1, 1, dtype=torch.float64))[:, 0], torch.ones(1).double()
    for k in range(1, sde.steps):
        density = torch.exp(-0.5 * ((x[:, None] - means) / step) ** 2) @ weights
        means, weights = x + sde.sigma * sde.dt * control(k, x[:, None])[:, 0], density / density.sum()
    return EndLaw(means, weights, step)


def w2(law: EndLaw, target: GaussianMixture) -> float:
    """W2 of a law in one dimension to a mixture: the root of int (x - G^-1(F(x)))^2 dF(x), by the trapezium rule."""
    x = torch.linspace(*_reach(target), FINE, dtype=torch.float64)
    theirs = EndLaw(target.means[:, 0], target.weights, target.std).cdf(x)
    ours = law.cdf(x)
    at = torch.searchsorted(theirs, ours).clamp(1, FINE - 1)  # G^-1(F(x)), linear between grid points
    rise = (theirs[at] - theirs[at - 1]).clamp_min(1e-300)
    there = x[at - 1] + (x[at] - x[at - 1]) * ((ours - theirs[at - 1]) / rise).clamp(0, 1)
    moved = (x - there).square()
    return math.sqrt((0.5 * (moved[1:] + moved[:-1]) * ours.diff()).sum().item())


def _reach(target: GaussianMixture) -> tuple[float, float]:
    means = target.means[:, 0]
    return means.min().item() - REACH * target.std, means.max().item() + REACH * target.std
