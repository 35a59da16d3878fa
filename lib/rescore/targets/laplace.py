"""The Gaussian at a target's mode, and the target seen from it: where annealing from a Gaussian has a short way to go."""

import torch
from torch import Tensor

from rescore.errors import RescoreError
from rescore.targets.base import Target

LEAST_PRECISION = 0.1  # of a direction in which the mode is flat: its standard deviation is at most 3.2
NEWTON_STEPS = 500  # of L-BFGS


class FromGaussian(Target):
    """The target in e, where x = mean + F e: muhat(mean + F e) |det F|, which has the same Z.

    N(0, I) in e is the Gaussian N(mean, F F^T) in x, so that a sampler that anneals from the one starts from the other.

    Args:
        mean: (d,).
        factor: F, (d, d), of a determinant that is not zero.
    """

    def __init__(self, target: Target, mean: Tensor, factor: Tensor):
        self.target, self.mean, self.factor = target, mean.double(), factor.double()
        self.name, self.dim, self.log_z = target.name, target.dim, target.log_z
        self.log_det = torch.linalg.slogdet(self.factor).logabsdet.item()

    def to_target(self, e: Tensor) -> Tensor:
        """x = mean + F e, both (..., d)."""
        return self.mean.to(e) + e @ self.factor.T.to(e)

    def log_prob(self, x: Tensor) -> Tensor:
        return self.target.log_prob(self.to_target(x)) + self.log_det

    def score(self, x: Tensor) -> Tensor:
        return self.log_prob_and_score(x)[1]

    def log_prob_and_score(self, x: Tensor) -> tuple[Tensor, Tensor]:
        log_prob, score = self.target.log_prob_and_score(self.to_target(x))
        return log_prob + self.log_det, score @ self.factor.to(score)


def from_laplace(target: Target) -> FromGaussian:
    """The target seen from the Gaussian at its mode, whose precision is minus the Hessian there, in float64.

    Raises RescoreError where the search for the mode, from the origin, ends in something that is not finite.
    """
    mode = torch.zeros(target.dim, dtype=torch.float64, requires_grad=True)
    search = torch.optim.LBFGS(
        [mode], max_iter=NEWTON_STEPS, tolerance_grad=1e-9, tolerance_change=1e-14, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        search.zero_grad()
        value = -target.log_prob(mode)
        value.backward()
        return value

    search.step(loss)
    mode, (precision, axes) = mode.detach(), _curvature(target, mode.detach())
    mode = mode + axes @ (axes.T @ target.score(mode) / precision)  # a step of Newton: L-BFGS ends at half of float64's digits
    precision, axes = _curvature(target, mode)
    return FromGaussian(target, mode, axes * precision.rsqrt())


def _curvature(target: Target, mode: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues, at least `LEAST_PRECISION`, and eigenvectors of minus the Hessian."""
    hessian = -torch.autograd.functional.hessian(target.log_prob, mode)
    if not hessian.isfinite().all():
        raise RescoreError(f"target {target.name}: the Hessian at its mode is not finite")
    precision, axes = torch.linalg.eigh((hessian + hessian.T) / 2)
    return precision.clamp_min(LEAST_PRECISION), axes
