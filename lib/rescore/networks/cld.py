"""CLD's parametrisation of the score: of the velocities only, and mixed (Dockhorn et al., section 3.2 and appendix B)."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor, nn

from rescore.errors import RescoreError
from rescore.networks.parametrise import NoisePrediction
from rescore.processes.base import LinearSDE, Time
from rescore.processes.cld import CLD
from rescore.processes.operators import Diagonal


def _mix(process: LinearSDE, hybrid: CLD, t: Time) -> Diagonal:
    """1 / (ell_t S_vv) of `VelocityPrediction`."""
    return Diagonal(process.L(t).values[..., 1, 1] / hybrid.Sigma(t).values[..., 1, 1])


_mix_at = lru_cache(4096)(_mix)  # samplers come back to their times; two covariances of CLD take as long as a small network


class VelocityPrediction(NoisePrediction):
    """eps = (0, alpha), with grad_v log p_t(u) = -ell_t alpha(u, t), ell_t = 1 / L22 and L_t L_t^T = Sigma_t.

    alpha is the network's output, plus v / (ell_t S_vv) if `mixed`, so that a network of zero gives the score -v / S_vv of
    independent Gaussian velocities. S_vv is Sigma_vv of the hybrid process, whose velocities start as N(0, gamma M), under
    plain denoising score matching too (so in the authors' code): without a first variance it vanishes at t = 0. Only the
    velocity part of the score means anything: the samplers of CLD (Euler-Maruyama, SSCS, gDDIM with L_t) and their Euler
    denoising use no other, the Tweedie denoising does. Hybrid score matching is |alpha - eps_v|^2 for
    (u, eps) = perturb(x, t, generator, "L").

    Args:
        network: takes x and v as twice the channels of the data, gives as many as the data have.
        process: the CLD; gamma = 0 is plain denoising score matching.
        mixed: the mixed score.
        level: as in `NoisePrediction`.
        hybrid: the CLD of S_vv; `process` if None.

    Raises RescoreError for another process.
    """

    def __init__(
        self,
        network: nn.Module,
        process: CLD,
        mixed: bool = True,
        level: Literal["steps", "time"] = "time",
        hybrid: CLD | None = None,
    ):
        if not isinstance(process, CLD):
            raise RescoreError(f"a velocity prediction does not apply to {type(process).__name__}: allowed is CLD")
        super().__init__(network, process, level, factor="L")
        self.mixed, self.hybrid = mixed, hybrid or process

    def alpha(self, u: Tensor, t: Time) -> Tensor:
        """The prediction of eps_v: (batch, *data) from u (batch, 2, *data)."""
        v = u[:, 1]
        alpha = self.evaluate(u, t).reshape(v.shape)
        if not self.mixed:
            return alpha
        mix = _mix_at if isinstance(t, float) else _mix
        return alpha + mix(self.process, self.hybrid, t)(v)

    def forward(self, u: Tensor, t: Time) -> Tensor:
        alpha = self.alpha(u, t)
        return torch.stack((torch.zeros_like(alpha), alpha), 1)
