"""Isotropic processes: every coefficient is one number per time (thesis table 6.1; Score-SDE, appendix B).

In y = u / m_t and rho = sqrt(Sigma_t) / m_t the probability-flow ODE of each of them is dy/drho = eps (thesis eq. 6.17 with
alpha_0 = 1), which is what `rho` and `time_of_rho` are for.

References:
    thesis, chapter 6: DEIS, arXiv:2204.13902.
    thesis, chapter 7: gDDIM, arXiv:2206.05564.
    Score-SDE: arXiv:2011.13456.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from rescore.domain import check_number
from rescore.errors import RescoreError
from rescore.processes.base import LinearSDE, Time, as_time, check_times
from rescore.processes.operators import Diagonal


class Isotropic(LinearSDE):
    """A process whose coefficients are numbers."""

    def rho(self, t: Time) -> Tensor:
        """sqrt(Sigma_t) / m_t, increasing in t."""
        return (self.R(t) @ self.mean(t).inv()).values

    @abstractmethod
    def time_of_rho(self, rho: Time) -> Tensor:
        """The inverse of `rho`."""

    def time_of_log_rho(self, log_rho: Tensor, first: float, last: float) -> float:
        """The time at which log rho is this, from `first` to `last` whatever rounding says."""
        return self.time_of_rho(log_rho.exp()).clamp(min(first, last), max(first, last)).item()

    @abstractmethod
    def GG_integral(self, t: Time, s: Time) -> Diagonal:
        """The integral of G G^T from s to t, in closed form."""


@dataclass(frozen=True)
class VE(Isotropic):
    """Variance exploding: du = sqrt(d sigma_t^2 / dt) dw, sigma_t = sigma_min (sigma_max / sigma_min)^t.

    u_0 already carries noise of variance sigma_min^2, so that Sigma_t = sigma_t^2, as Score-SDE has it.

    Raises RescoreError unless 0 < sigma_min < sigma_max.
    """

    sigma_min: float = 0.01
    sigma_max: float = 50.0
    T: float = 1.0
    eps: float = 1e-5

    def __post_init__(self):
        check_number(self, "sigma_min", self.sigma_min, 0, brackets="()")
        check_number(self, "sigma_max", self.sigma_max, self.sigma_min, brackets="()")
        check_times(self)

    @property
    def _rate(self) -> float:
        return math.log(self.sigma_max / self.sigma_min)

    def F(self, t: Time) -> Diagonal:
        return Diagonal(torch.zeros_like(as_time(t)))

    def GG(self, t: Time) -> Diagonal:
        return self.Sigma(t) * (2 * self._rate)

    def mean(self, t: Time) -> Diagonal:
        return Diagonal(torch.ones_like(as_time(t)))

    def Sigma(self, t: Time) -> Diagonal:
        return Diagonal(self.sigma_min**2 * torch.exp(2 * self._rate * as_time(t)))

    def Q(self, t: Time, s: Time) -> Diagonal:
        t, s = as_time(t), as_time(s)
        return self.Sigma(s) * torch.expm1(2 * self._rate * (t - s))

    def time_of_rho(self, rho: Time) -> Tensor:
        return torch.log(as_time(rho) / self.sigma_min) / self._rate

    def GG_integral(self, t: Time, s: Time) -> Diagonal:
        return self.Q(t, s)

    @property
    def prior_covariance(self) -> Diagonal:
        return Diagonal(torch.tensor(self.sigma_max**2, dtype=torch.float64)) if self.T == 1 else self.Sigma(self.T)


class _Decaying(Isotropic):
    """A process with mean sqrt(alpha_t): F = (d log alpha / dt) / 2."""

    @abstractmethod
    def log_alpha(self, t: Time) -> Tensor:
        """log alpha_t, decreasing in t from 0."""

    @abstractmethod
    def dlog_alpha(self, t: Time) -> Tensor:
        """d log alpha / dt = -beta(t)."""

    @abstractmethod
    def time_of_log_alpha(self, log_alpha: Tensor) -> Tensor:
        """The inverse of `log_alpha`."""

    def F(self, t: Time) -> Diagonal:
        return Diagonal(self.dlog_alpha(t) / 2)

    def mean(self, t: Time) -> Diagonal:
        return Diagonal(torch.exp(self.log_alpha(t) / 2))

    def Psi(self, t: Time, s: Time) -> Diagonal:
        return Diagonal(torch.exp((self.log_alpha(t) - self.log_alpha(s)) / 2))


class VariancePreserving(_Decaying):
    """Sigma_t = 1 - alpha_t and G_t^2 = -d log alpha / dt (thesis eq. 7.8). Subclasses say what alpha_t is."""

    def GG(self, t: Time) -> Diagonal:
        return Diagonal(-self.dlog_alpha(t))

    def Sigma(self, t: Time) -> Diagonal:
        return Diagonal(-torch.expm1(self.log_alpha(t)))

    def Q(self, t: Time, s: Time) -> Diagonal:
        return Diagonal(-torch.expm1(self.log_alpha(t) - self.log_alpha(s)))

    def time_of_rho(self, rho: Time) -> Tensor:
        return self.time_of_log_alpha(-torch.log1p(as_time(rho) ** 2))

    def GG_integral(self, t: Time, s: Time) -> Diagonal:
        return Diagonal(self.log_alpha(s) - self.log_alpha(t))


class _LinearBeta:
    """beta(t) = beta_min + t (beta_max - beta_min). Raises RescoreError unless 0 < beta_min <= beta_max."""

    beta_min: float
    beta_max: float

    def __post_init__(self):
        check_number(self, "beta_min", self.beta_min, 0, brackets="()")
        check_number(self, "beta_max", self.beta_max, self.beta_min)
        check_times(self)

    def log_alpha(self, t: Time) -> Tensor:
        t = as_time(t)
        return -t * (self.beta_min + t * (self.beta_max - self.beta_min) / 2)

    def dlog_alpha(self, t: Time) -> Tensor:
        return -(self.beta_min + as_time(t) * (self.beta_max - self.beta_min))

    def time_of_log_alpha(self, log_alpha: Tensor) -> Tensor:
        slope = self.beta_max - self.beta_min
        return -2 * log_alpha / (self.beta_min + torch.sqrt(self.beta_min**2 - 2 * slope * log_alpha))


@dataclass(frozen=True)
class VP(_LinearBeta, VariancePreserving):
    """Variance preserving with linear beta(t); T = 1."""

    beta_min: float = 0.1
    beta_max: float = 20.0
    T: float = 1.0
    eps: float = 1e-3


@dataclass(frozen=True)
class SubVP(_LinearBeta, _Decaying):
    """Sub-VP (Score-SDE eq. 13): the mean of VP, Sigma_t = (1 - alpha_t)^2, G_t^2 = beta(t) (1 - alpha_t^2)."""

    beta_min: float = 0.1
    beta_max: float = 20.0
    T: float = 1.0
    eps: float = 1e-3

    def GG(self, t: Time) -> Diagonal:
        return Diagonal(self.dlog_alpha(t) * torch.expm1(2 * self.log_alpha(t)))

    def Sigma(self, t: Time) -> Diagonal:
        return Diagonal(torch.expm1(self.log_alpha(t)) ** 2)

    def Q(self, t: Time, s: Time) -> Diagonal:
        a, b = self.log_alpha(t), self.log_alpha(s)
        return Diagonal(4 * a.exp() * torch.sinh((a + b) / 2) * torch.sinh((a - b) / 2))

    def time_of_rho(self, rho: Time) -> Tensor:
        return self.time_of_log_alpha(-2 * torch.asinh(as_time(rho) / 2))

    def GG_integral(self, t: Time, s: Time) -> Diagonal:
        a, b = self.log_alpha(t), self.log_alpha(s)
        return Diagonal(b - a + (torch.exp(2 * a) - torch.exp(2 * b)) / 2)


@dataclass(frozen=True)
class CosineVP(VariancePreserving):
    """Variance preserving with alpha_t = f(t) / f(0), f(t) = cos^2((t + s) / (1 + s) pi / 2) (Nichol and Dhariwal, eq. 17).

    f(1) = 0, where F is infinite, so T lies a little below 1 (our choice: alpha_T is 6e-5, near the linear schedule's 4e-5).

    Raises RescoreError unless s >= 0 and T < 1.
    """

    s: float = 0.008
    T: float = 0.995
    eps: float = 1e-3

    def __post_init__(self):
        check_number(self, "s", self.s, 0)
        check_times(self)
        check_number(self, "T", self.T, 0, 1, "()")

    def _phase(self, t: Tensor) -> Tensor:
        return (t + self.s) / (1 + self.s) * math.pi / 2

    def log_alpha(self, t: Time) -> Tensor:
        # cos(a) / cos(b) = 1 - 2 sin((a + b) / 2) sin((a - b) / 2) / cos(b): keeps its digits for small t.
        a, b = self._phase(as_time(t)), self._phase(torch.zeros((), dtype=torch.float64))
        return 2 * torch.log1p(-2 * torch.sin((a + b) / 2) * torch.sin((a - b) / 2) / torch.cos(b))

    def dlog_alpha(self, t: Time) -> Tensor:
        return -math.pi / (1 + self.s) * torch.tan(self._phase(as_time(t)))

    def time_of_log_alpha(self, log_alpha: Tensor) -> Tensor:
        start = torch.cos(self._phase(torch.zeros((), dtype=torch.float64)))
        return torch.acos(torch.exp(log_alpha / 2) * start) * (2 / math.pi) * (1 + self.s) - self.s


@dataclass(frozen=True, eq=False)
class DiscreteVP(VariancePreserving):
    """The chain u_i = sqrt(1 - beta_i) u_{i-1} + sqrt(beta_i) z: exact at t = i / N, log alpha linear between.

    Args:
        betas: (N,), N >= 1, each in (0, 1).
        T: at most 1, the end of the chain.

    Raises RescoreError otherwise.
    """

    smooth = False

    betas: Tensor
    T: float = 1.0
    eps: float = 0.0

    def __post_init__(self):
        if self.betas.ndim != 1 or not len(self.betas):
            raise RescoreError(f"DiscreteVP: betas of shape {tuple(self.betas.shape)}; allowed is (N,) with N >= 1")
        if not ((self.betas > 0) & (self.betas < 1)).all():
            raise RescoreError(f"DiscreteVP: betas from {self.betas.min():g} to {self.betas.max():g}: betas must lie in (0, 1)")
        check_times(self)
        check_number(self, "T", self.T, 0, 1, "(]")

    @cached_property
    def _knots(self) -> Tensor:
        log_alpha = torch.log1p(-self.betas.to(torch.float64)).cumsum(0)
        return torch.cat((torch.zeros(1, dtype=torch.float64), log_alpha))

    def log_alpha(self, t: Time) -> Tensor:
        t = as_time(t)
        i = _piece(t, len(self.betas))
        return self._knots[i] + (t * len(self.betas) - i) * (self._knots[i + 1] - self._knots[i])

    def dlog_alpha(self, t: Time) -> Tensor:
        i = _piece(as_time(t), len(self.betas))
        return (self._knots[i + 1] - self._knots[i]) * len(self.betas)

    def time_of_log_alpha(self, log_alpha: Tensor) -> Tensor:
        i = (torch.searchsorted(-self._knots, -log_alpha.contiguous()) - 1).clamp(0, len(self.betas) - 1)
        return (i + (log_alpha - self._knots[i]) / (self._knots[i + 1] - self._knots[i])) / len(self.betas)


@dataclass(frozen=True, eq=False)
class DiscreteVE(Isotropic):
    """SMLD's chain u_i = u_{i-1} + sqrt(sigma_i^2 - sigma_{i-1}^2) z, sigma_0 = 0: exact at t = i / N, sigma^2 linear between.

    Args:
        sigmas: (N,), N >= 1, finite, positive and increasing.
        T: at most 1, the end of the chain.

    Raises RescoreError otherwise.
    """

    smooth = False

    sigmas: Tensor
    T: float = 1.0
    eps: float = 0.0

    def __post_init__(self):
        if self.sigmas.ndim != 1 or not len(self.sigmas):
            raise RescoreError(f"DiscreteVE: sigmas of shape {tuple(self.sigmas.shape)}; allowed is (N,) with N >= 1")
        if not self.sigmas.isfinite().all() or not (self._knots.diff() > 0).all():
            raise RescoreError("DiscreteVE: sigmas must be finite, positive and increasing")
        check_times(self)
        check_number(self, "T", self.T, 0, 1, "(]")

    @cached_property
    def _knots(self) -> Tensor:
        return torch.cat((torch.zeros(1, dtype=torch.float64), self.sigmas.to(torch.float64) ** 2))

    def F(self, t: Time) -> Diagonal:
        return Diagonal(torch.zeros_like(as_time(t)))

    def GG(self, t: Time) -> Diagonal:
        n = len(self.sigmas)
        return Diagonal(self._knots.diff()[_piece(as_time(t), n)] * n)

    def mean(self, t: Time) -> Diagonal:
        return Diagonal(torch.ones_like(as_time(t)))

    def Sigma(self, t: Time) -> Diagonal:
        t, n = as_time(t), len(self.sigmas)
        i = _piece(t, n)
        return Diagonal(self._knots[i] + (t * n - i) * self._knots.diff()[i])

    def Q(self, t: Time, s: Time) -> Diagonal:
        return self.Sigma(t) - self.Sigma(s)

    def time_of_rho(self, rho: Time) -> Tensor:
        variance = as_time(rho) ** 2
        i = (torch.searchsorted(self._knots, variance) - 1).clamp(0, len(self.sigmas) - 1)
        return (i + (variance - self._knots[i]) / self._knots.diff()[i]) / len(self.sigmas)

    def GG_integral(self, t: Time, s: Time) -> Diagonal:
        return self.Q(t, s)

    @property
    def prior_covariance(self) -> Diagonal:
        return Diagonal(self._knots[-1]) if self.T == 1 else self.Sigma(self.T)


def _piece(t: Tensor, n: int) -> Tensor:
    """The index i of the piece (i/n, (i+1)/n] of a chain that holds t."""
    return (torch.ceil(t * n - 1e-9).long() - 1).clamp(0, n - 1)
