"""Denoising and hybrid score matching, and LCSS.

u_t = m_t e(x0) + K_t eps has the conditional score s = -K_t^{-T} eps. DSM and HSM are weighted squares
of the same residual eps_theta - eps, summed over the coordinates of the state:

| weighting | loss | where it is used |
| --- | --- | --- |
| simple | abs(eps_theta - eps)^2 | DDPM eq. 14, gDDIM, and CLD's image quality (lambda = ell_t^-2) |
| sigma^2 | half of it: 1/2 abs(s_theta - s)^2 in the norm of Sigma_t, sigma_t^2 / 2 | NCSN eqs. 5, 6; Score-SDE's VE |
| likelihood | 1/2 abs(G_t^T (s_theta - s))^2, g^2 / 2; Gamma beta for CLD | Song et al. 2021 eq. 7; CLD eq. 7 |

Score-SDE's code takes 1/2 of the sum over dimensions for VE (`reduce_mean: false`), and the mean for VP and sub-VP.

LCSS has the same weights and leaves out the square of eps. The mean of the last over time, times T - t0, bounds the KL
divergence of a model, of the squares only; see `rescore.likelihood`.

References:
    thesis, chapter 7: gDDIM, arXiv:2206.05564.
    Score-SDE: arXiv:2011.13456.
    DDPM: arXiv:2006.11239.
    NCSN: arXiv:1907.05600.
    LCSS: arXiv:2412.03962.
    CLD: arXiv:2112.07068.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from torch import Tensor

from rescore.domain import check_one_of
from rescore.errors import RescoreError
from rescore.objectives.network import Network, times_for, velocities_only, velocity_part
from rescore.objectives.times import DiscreteTimes, Times, UniformTimes
from rescore.processes import CLD, VE
from rescore.processes.base import Factor, LinearSDE, require
from rescore.random import Noise, normal

Weighting = Literal["simple", "sigma^2", "likelihood"]
Objective = Callable[[Network, LinearSDE, Tensor, Noise], Tensor]


@dataclass(frozen=True)
class _Matching:
    """What all losses have.

    Args:
        weighting: see the table of the module.
        times: at which times; their weights are part of the losses.
    """

    weighting: Weighting = "simple"
    times: Times = UniformTimes()

    def __post_init__(self):
        check_one_of("weighting", self.weighting, get_args(Weighting))

    def _losses(self, process: LinearSDE, t: Tensor, weight: Tensor, residual: Tensor, factor: Factor) -> Tensor:
        """(n,), of the residual eps_theta - eps (n, *state) under K_t = `factor`."""
        residual = self._weighted(process, t, residual, factor)
        return residual.square().flatten(1).sum(1) * self._scale(weight, residual)

    def _weighted(self, process: LinearSDE, t: Tensor, noise: Tensor, factor: Factor) -> Tensor:
        """Noise in the coordinates in which the weighting takes its square."""
        return (process.G(t).T @ process.K(t, factor).T.inv())(noise) if self.weighting == "likelihood" else noise

    def _scale(self, weight: Tensor, like: Tensor) -> Tensor:
        """The weights (n,) of the squares."""
        return (1.0 if self.weighting == "simple" else 0.5) * weight.to(like)


@dataclass(frozen=True)
class _Denoising(_Matching, ABC):
    """An objective over the whole state, from a prediction and the noise that made the state.

    Args:
        predicts: "R" or "L": the network predicts the noise under that factor. "score": it predicts the score itself, and
            eps_theta = -L_t^T s_theta.
        per_dimension: divide by the number of coordinates. Adam does not notice, a gradient clip does: Score-SDE's VP and
            gDDIM take the mean, NCSN, Score-SDE's VE and CLD the sum.
    """

    predicts: Literal["R", "L", "score"] = "R"
    per_dimension: bool = False

    def __post_init__(self):
        super().__post_init__()
        check_one_of(f"{type(self).__name__}: predicts", self.predicts, ("R", "L", "score"))

    def __call__(self, network: Network, process: LinearSDE, x0: Tensor, generator: Noise) -> Tensor:
        """Losses (n,) for data x0 (n, *data); `generator` lives on the device of x0."""
        factor: Factor = "L" if self.predicts == "score" else self.predicts
        t, weight = self.times.draw(process, len(x0), generator)
        u, noise = process.perturb(x0, t, generator, factor)
        output = network(u, times_for(network, t, u))
        predicted = (-process.K(t, factor).T)(output) if self.predicts == "score" else output
        losses = self._compare(process, t, weight, predicted, noise, factor)
        return losses / noise[0].numel() if self.per_dimension else losses

    @abstractmethod
    def _compare(
        self, process: LinearSDE, t: Tensor, weight: Tensor, predicted: Tensor, noise: Tensor, factor: Factor
    ) -> Tensor:
        """Losses (n,) of the predicted noise (n, *state) under K_t = `factor`."""


@dataclass(frozen=True)
class DSM(_Denoising):
    """Denoising score matching over the whole state, for every process (Score-SDE eq. 7; thesis eq. 7.5).

    On CLD the velocities' start is marginalised: this is hybrid score matching with a network of the whole state, as gDDIM
    trains it.
    """

    def _compare(
        self, process: LinearSDE, t: Tensor, weight: Tensor, predicted: Tensor, noise: Tensor, factor: Factor
    ) -> Tensor:
        return self._losses(process, t, weight, predicted - noise, factor)


@dataclass(frozen=True)
class LCSS(_Denoising):
    """Local curvature smoothing with Stein's identity (LCSS eqs. 19 to 21), one draw of x' per data point.

        lambda(t) [gamma s_theta(x', t)^T Sigma_t^-1 (x' - m_t x0) + 1/2 abs(s_theta(x', t))^2],   x' = m_t x0 + K_t eps.

    Eq. 19 has m_t = 1 and Sigma_t = sigma_t^2 I; a sampler of any other process needs its own mean and covariance. With the
    noise as the unknown this is lambda abs(eps_theta)^2 / 2 - gamma lambda eps_theta^T eps: for gamma = 1, DSM without the term
    lambda abs(eps)^2 / 2, in which there is no parameter. The weights are those of the module's table.

    Args:
        gamma: of the first term (eq. 21); the minimiser is gamma times the score.
    """

    gamma: float = 1.0

    def __post_init__(self):
        super().__post_init__()
        if not (math.isfinite(self.gamma) and self.gamma > 0):
            raise RescoreError(f"LCSS: gamma {self.gamma:g}: allowed are positive numbers")

    def _compare(
        self, process: LinearSDE, t: Tensor, weight: Tensor, predicted: Tensor, noise: Tensor, factor: Factor
    ) -> Tensor:
        predicted, noise = (self._weighted(process, t, values, factor) for values in (predicted, noise))
        inner = (predicted * noise).flatten(1).sum(1)
        return (predicted.square().flatten(1).sum(1) - 2 * self.gamma * inner) * self._scale(weight, predicted)


@dataclass(frozen=True)
class HSM(_Matching):
    """Hybrid score matching for the velocities (CLD eq. 8): v_0 ~ N(0, gamma M) is marginalised, given x_0 alone.

    The network predicts the velocities' noise alpha, s_v = -ell_t alpha with ell_t = 1 / L22 of the Cholesky factor;
    "likelihood" weighs it by Gamma beta ell_t^2.
    """

    def __call__(self, network: Network, process: LinearSDE, x0: Tensor, generator: Noise) -> Tensor:
        """Losses (n,) for data x0 (n, *data); `generator` lives on the device of x0."""
        process = require(process, CLD, "HSM")
        t, weight = self.times.draw(process, len(x0), generator)
        u, noise = process.perturb(x0, t, generator, "L")
        return self._velocity_losses(network, process, t, weight, u, noise)

    def _velocity_losses(self, network: Network, process: CLD, t: Tensor, weight: Tensor, u: Tensor, noise: Tensor) -> Tensor:
        residual = velocity_part(network(u, times_for(network, t, u)), u) - noise[:, 1]
        return self._losses(process, t, weight, velocities_only(residual), "L")


@dataclass(frozen=True)
class VelocityDSM(HSM):
    """Denoising score matching for the velocities, the ablation of CLD: v_0 ~ N(0, gamma M) is drawn and conditioned on.

    ell_t and the noise are those of the process with gamma = 0: `score_of` has to be given that process.
    """

    def __call__(self, network: Network, process: LinearSDE, x0: Tensor, generator: Noise) -> Tensor:
        """Losses (n,) for data x0 (n, *data); `generator` lives on the device of x0."""
        process = require(process, CLD, "VelocityDSM")
        conditional = replace(process, gamma=0.0)
        t, weight = self.times.draw(conditional, len(x0), generator)
        start = normal(x0.shape, generator, x0.dtype, x0.device)
        noise = normal((len(x0), 2, *x0.shape[1:]), generator, x0.dtype, x0.device)
        u0 = torch.stack((x0, math.sqrt(process.gamma * process.M) * start), 1)
        u = conditional.mean(t)(u0) + conditional.L(t)(noise)
        return self._velocity_losses(network, conditional, t, weight, u, noise)


def ncsn(process: VE, levels: int) -> DSM:
    """NCSN eqs. 5, 6: 1/2 sigma_i^2 abs(s(x + sigma_i z, t_i) + z / sigma_i)^2, averaged over geometric levels sigma_i.

    sigma_i runs from sigma_min to sigma_max, at the times t_i = i / (levels - 1). Raises RescoreError for fewer than 2 levels.
    """
    require(process, VE, "ncsn")
    if levels < 2:
        raise RescoreError(f"ncsn with {levels} levels: needs at least 2")
    return DSM(weighting="sigma^2", times=DiscreteTimes.evenly(levels), predicts="score")
