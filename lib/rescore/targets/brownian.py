"""The posterior of a Brownian motion of unknown scales, seen with noise and not at all in the middle.

References:
    Sountsov, Radul and contributors, Inference Gym (2020), part of TensorFlow Probability: `brownian_motion.py`, and the
    observations in `datasets/brownian_motion_missing_middle_observations.py` (Apache License 2.0).
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, softplus

from rescore.errors import RescoreError
from rescore.targets.base import Target

OBSERVED = """
    0.21592641 0.118771404 -0.07945447 0.037677474 -0.27885845 -0.1484156 -0.3250906 -0.22957903 -0.44110894 -0.09830782
    nan nan nan nan nan nan nan nan nan nan
    -0.8786016 -0.83736074 -0.7384849 -0.8939254 -0.7774566 -0.70238715 -0.87771565 -0.51853573 -0.6948214 -0.6202789
"""
"""Generated there with scales of 0.1 and 0.15, which the model does not know; float32."""

PRIOR_STD = 2.0  # of the logarithm of either scale, about 0
RANGE, POINTS = 20.0, 401  # of the trapezium rule over each of these: ten standard deviations, exact in float64


class BrownianMotion(Target):
    """x = (u, v, l_1, ..., l_T), the scales a = softplus(u) of innovations and b = softplus(v) of observations.

    a, b ~ LogNormal(0, 2^2), l_t | l_{t-1} ~ N(l_{t-1}, a^2) with l_0 = 0, and y_t ~ N(l_t, b^2) where there is a y_t. muhat
    is the joint density of x and y, so that Z = p(y). Given the scales the model is linear and Gaussian: log p(y | a, b) is a
    Kalman filter's, and log Z a quadrature of it over the two scales.

    It computes in float64, for a scale may be tiny.

    Args:
        observed: y, (T,), NaN where there is none; those of the Inference Gym by default, T = 30, of which 20 are seen.
        name: spelling in the ledger.

    Raises RescoreError where nothing is observed.
    """

    def __init__(self, observed: Tensor | None = None, name: str = "brownian"):
        values = torch.tensor([float(y) for y in OBSERVED.split()]) if observed is None else observed
        if values.ndim != 1 or values.isnan().all():
            raise RescoreError(f"{name}: observations of shape {tuple(values.shape)}; (T,), not all NaN, are needed")
        self.name, self.steps, self.dim = name, len(values), len(values) + 2
        self.seen = ~values.isnan()
        self.observed = values.double().nan_to_num()
        self.log_z = self.quadrature()

    def quadrature(self, points: int = POINTS) -> float:
        """log Z by the trapezium rule over log a and log b, with so many points along each."""
        axis = torch.linspace(-RANGE, RANGE, points, dtype=torch.float64)
        log_scales = torch.cartesian_prod(axis, axis)
        terms = _log_normal(log_scales / PRIOR_STD).sum(-1) - 2 * math.log(PRIOR_STD) + self.log_evidence(log_scales)
        return torch.logsumexp(terms, 0).item() + 2 * math.log(2 * RANGE / (points - 1))

    def log_evidence(self, log_scales: Tensor) -> Tensor:
        """log p(y | a, b), (...), of (log a, log b), (..., 2), by the Kalman filter, float64."""
        innovation, noise = (2 * log_scales.double()).exp().unbind(-1)
        mean, variance, total = (torch.zeros_like(innovation) for _ in range(3))
        for seen, y in zip(self.seen.tolist(), self.observed, strict=True):
            variance = variance + innovation
            if seen:
                predicted = variance + noise
                total = total + _log_normal((y - mean) * predicted.rsqrt()) - 0.5 * predicted.log()
                gain = variance / predicted
                mean, variance = mean + gain * (y - mean), gain * noise
        return total

    def log_prob(self, x: Tensor) -> Tensor:
        return self.log_prob_and_score(x)[0]

    def score(self, x: Tensor) -> Tensor:
        return self.log_prob_and_score(x)[1]

    def log_prob_and_score(self, x: Tensor) -> tuple[Tensor, Tensor]:
        device = x.device
        free, path = x[..., :2].double(), x[..., 2:].double()
        log_scale = softplus(free).log()
        inverse = (-log_scale).exp()[..., None]
        seen = self.seen.to(device)
        steps = inverse[..., 0, :] * torch.diff(path, dim=-1, prepend=torch.zeros_like(path[..., :1]))
        misses = inverse[..., 1, :] * (self.observed.to(device) - path) * seen
        counts = torch.tensor([self.steps, int(seen.sum())], dtype=torch.float64, device=device)
        squares = torch.stack((steps.square().sum(-1), misses.square().sum(-1)), -1)

        normals = -0.5 * squares - counts * (log_scale + 0.5 * math.log(2 * math.pi))
        prior = _log_normal(log_scale / PRIOR_STD) - math.log(PRIOR_STD) - log_scale
        log_prob = (normals + prior + logsigmoid(free)).sum(-1)

        by_log_scale = squares - counts - log_scale / PRIOR_STD**2 - 1
        score_free = by_log_scale * (logsigmoid(free) - log_scale).exp() + torch.sigmoid(-free)
        pull = inverse[..., 0, :] * steps
        later = torch.cat((pull[..., 1:], torch.zeros_like(pull[..., :1])), -1)
        score = torch.cat((score_free, later - pull + inverse[..., 1, :] * misses), -1)
        return log_prob.to(x.dtype), score.to(x.dtype)


def _log_normal(z: Tensor) -> Tensor:
    """log N(z; 0, 1)."""
    return -0.5 * z.square() - 0.5 * math.log(2 * math.pi)
