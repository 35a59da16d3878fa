"""The optimal control of a Gaussian mixture of one width, in closed form (PIS-GT).

References:
    thesis, chapter 5: PIS, arXiv:2111.15141.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from rescore.control.sde import ControlledSDE, StepControl
from rescore.targets.mixture import GaussianMixture


@dataclass(frozen=True)
class MixtureControl:
    """u* = sigma grad log phi (thesis eq. 5.7 and 5.8, the expectation done by hand).

    With V = sigma^2 T, v(t) = sigma^2 (T - t), a = 1/s^2 - 1/V and b_k = m_k / s^2:

        log phi_k(t, x) = log pi_k + (d/2) log(V/s^2) - |m_k|^2 / (2 s^2)
                          + (-a |x|^2 / 2 + b_k . x + |b_k|^2 v / 2) / (1 + a v) - (d/2) log(1 + a v)
        u*(t, x)        = sigma sum_k softmax_k(log phi_k) (b_k - a x) / (1 + a v)
    """

    sde: ControlledSDE
    target: GaussianMixture

    def log_phi(self, t: float, x: Tensor) -> Tensor:
        """log phi_k without the target's log Z, (..., K)."""
        s2, big_v, v = self.target.std**2, self.sde.prior_variance, self.sde.sigma**2 * (self.sde.horizon - t)
        a, d, means = 1 / s2 - 1 / big_v, self.target.dim, self.target.means.to(x)
        b = means / s2
        squared = -0.5 * a * x.square().sum(-1, keepdim=True) + x @ b.T + 0.5 * v * b.square().sum(-1)
        constant = 0.5 * d * (math.log(big_v / s2) - math.log1p(a * v)) - means.square().sum(-1) / (2 * s2)
        return self.target.weights.to(x).log() + constant + squared / (1 + a * v)

    def on_grid(self, times: Tensor) -> StepControl:
        s2 = self.target.std**2
        a = 1 / s2 - 1 / self.sde.prior_variance

        def control(k: int, x: Tensor) -> Tensor:
            t = float(times[k])
            v = self.sde.sigma**2 * (self.sde.horizon - t)
            b = torch.softmax(self.log_phi(t, x), -1) @ (self.target.means / s2).to(x)
            return self.sde.sigma * (b - a * x) / (1 + a * v)

        return control
