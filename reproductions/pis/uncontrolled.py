"""The control estimated from uncontrolled trajectories (thesis eq. 5.8): importance sampling, the prior process proposing.

References:
    thesis, chapter 5: PIS, arXiv:2111.15141.
"""

import math

import torch
from rescore.control.sde import ControlledSDE
from rescore.targets.base import Target
from torch import Tensor


def estimated_control(sde: ControlledSDE, target: Target, t: float, x: Tensor, noise: Tensor) -> Tensor:
    """u*(t, x) as E[exp(-Psi(x_T)) int_t^T dw] / ((T - t) E[exp(-Psi(x_T))]) over trajectories from x, (d,) float64.

    The paper has int_t^s dw with s near t in its numerator; given x_T its mean is (s - t) / (T - t) int_t^T dw for every s, and
    s = T has the least variance.

    Args:
        x: the state, (d,).
        noise: standard normals, (n, d): of int_t^T dw. The end x_T needs no steps, for nothing steers it.
    """
    moved = math.sqrt(sde.horizon - t) * noise.double()
    end = x.double() + sde.sigma * moved
    weights = torch.softmax(target.log_prob(end) - sde.prior_log_prob(end), 0)
    return weights @ moved / (sde.horizon - t)


def log_weight_moment(sde: ControlledSDE, mean: float, std: float) -> float:
    """log E[w^2], nats a coordinate, of weights mu / mu0 of uncontrolled ends, mu = N(mean, std^2); infinite from std^2 = 2V.

    The trajectories that a given error takes grow with its exponential, and so exponentially with the dimension.
    """
    ratio, v = std**2 / sde.prior_variance, sde.prior_variance
    return math.inf if ratio >= 2 else mean**2 / (2 * v - std**2) - 0.5 * math.log(ratio * (2 - ratio))
