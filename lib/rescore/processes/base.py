"""What a forward process is: a linear SDE du = F_t u dt + G_t dw with Gaussian transitions in closed form (thesis eq. 7.1).

References:
    thesis, chapter 7: gDDIM, arXiv:2206.05564.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar, Literal, TypeVar, cast

import torch
from torch import Tensor

from rescore.domain import check_number, check_one_of
from rescore.errors import RescoreError
from rescore.processes.operators import Diagonal, Operator
from rescore.random import Noise, normal

Time = float | Tensor
SDE = TypeVar("SDE", bound="LinearSDE")
Factor = Literal["R", "L", "I"]


def as_time(t: Time) -> Tensor:
    """t as float64 on the CPU, where all coefficients live."""
    return torch.as_tensor(t, dtype=torch.float64, device="cpu")


class LinearSDE(ABC):
    """A linear SDE on t in [0, T], started at u_0 ~ N(m_0 e(x), Sigma_0) for a data point x.

        p(u_t | x) = N(m_t e(x), Sigma_t),    m_t = Psi(t, 0) m_0,    Sigma_t = Psi(t, s) Sigma_s Psi(t, s)^T + Q(t, s).

    e = `embed` moves data into the coordinates of the state: it appends a zero velocity (CLD) or is a DCT (blurring diffusion).
    Every coefficient takes t (and s) as a float or a tensor of any shape and returns an operator with those times, in float64.
    An isotropic or diagonal process defines `mean`, `Sigma`, `F`, `GG` and `Q`; the rest follows here.

    Attributes:
        T: the time at which u is (nearly) the prior, > 0.
        eps: the time at which its papers stop sampling, in [0, T).
        smooth: whether F and G G^T are continuous in t; those of a chain of levels jump there.
    """

    T: float
    eps: float
    smooth: ClassVar[bool] = True

    @property
    def label(self) -> str:
        """How protocols name it."""
        return type(self).__name__

    @abstractmethod
    def F(self, t: Time) -> Operator:
        """The drift matrix F_t."""

    @abstractmethod
    def GG(self, t: Time) -> Operator:
        """G_t G_t^T."""

    @abstractmethod
    def mean(self, t: Time) -> Operator:
        """m_t, with E[u_t | x] = m_t e(x)."""

    @abstractmethod
    def Sigma(self, t: Time) -> Operator:
        """The covariance of u_t given x."""

    @abstractmethod
    def Q(self, t: Time, s: Time) -> Operator:
        """The covariance of u_t given u_s, for s <= t."""

    def Psi(self, t: Time, s: Time) -> Operator:
        """The transition matrix from s to t, in either direction.

        It solves dPsi(t, s)/dt = F_t Psi(t, s) with Psi(s, s) = I.
        """
        return self.mean(t) @ self.mean(s).inv()

    def G(self, t: Time) -> Operator:
        """The diffusion matrix: the lower triangular root of G_t G_t^T."""
        return self.GG(t).cholesky()

    def L(self, t: Time) -> Operator:
        """The Cholesky factor of Sigma_t."""
        return self.Sigma(t).cholesky()

    def R(self, t: Time) -> Operator:
        """gDDIM's factor of Sigma_t: dR/dt = (F + G G^T Sigma^-1 / 2) R, R_0 = L_0 (thesis eq. 7.17). L_t if diagonal."""
        return self.L(t)

    def K(self, t: Time, factor: Factor) -> Operator:
        """K_t of the parameterisation score = -K_t^{-T} eps (thesis eq. 7.4): R_t, L_t, or I for minus the score itself."""
        check_one_of("factor", factor, ("R", "L", "I"))
        return self.mean(t).identity() if factor == "I" else getattr(self, factor)(t)

    def Psi_hat(self, t: Time, s: Time, lam: float) -> Operator:
        """The transition matrix from s to t of F + (1 + lam^2)/2 G G^T Sigma^-1 (thesis Prop. 9)."""
        ratio = self.R(t) @ self.R(s).inv()
        back = cast(Diagonal, ratio @ self.Psi(s, t))  # a process of blocks has a method of its own
        return ratio @ back.power(lam**2)

    @property
    def prior_covariance(self) -> Operator:
        """The prior is N(0, this)."""
        return Diagonal(torch.ones((), dtype=torch.float64))

    def prior_sample(
        self, shape: tuple[int, ...], generator: Noise, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
    ) -> Tensor:
        """Draws of the prior, of state shape (batch, *state_shape(data))."""
        return self.prior_covariance.cholesky()(normal(shape, generator, dtype, device))

    def prior_log_prob(self, u: Tensor) -> Tensor:
        """log density of the prior at u of shape (batch, *state), shape (batch,)."""
        return gaussian_log_prob(u, self.prior_covariance)

    def state_shape(self, data: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of one state, from the shape of one data point."""
        return tuple(data)

    def rotate(self, x: Tensor) -> Tensor:
        """The orthonormal change of data coordinates that makes the coefficients diagonal; keeps the shape."""
        return x

    def unrotate(self, x: Tensor) -> Tensor:
        """Undoes `rotate`."""
        return x

    def augment(self, x: Tensor) -> Tensor:
        """Rotated data (batch, *data) as a state (batch, *state)."""
        return x

    def marginal(self, u: Tensor) -> Tensor:
        """The data part of a state: undoes `augment` and is its adjoint."""
        return u

    def embed(self, x: Tensor) -> Tensor:
        """e(x): data (batch, *data) as a state (batch, *state)."""
        return self.augment(self.rotate(x))

    def project(self, u: Tensor) -> Tensor:
        """States (batch, *state) back to data (batch, *data)."""
        return self.unrotate(self.marginal(u))

    def data_covariance(self, variances: Tensor, event_ndim: int = 0) -> Operator:
        """The covariance of e(x) for rotated data with these variances: shape (*times, *event), as the operators have it."""
        return Diagonal(variances.to(torch.float64), event_ndim)

    def perturb(self, x: Tensor, t: Time, generator: Noise, factor: Factor = "R") -> tuple[Tensor, Tensor]:
        """(u_t, eps) with u_t = m_t e(x) + K_t eps, for x (batch, *data) and one time or one per sample."""
        u = self.embed(x)
        noise = normal(u.shape, generator, u.dtype, u.device)
        return self.mean(t)(u) + self.K(t, factor)(noise), noise

    def path(self, u: Tensor, times: Sequence[float], generator: Noise) -> Tensor:
        """States at the rising `times`, (len(times), n, *state): u (n, *state), then exact draws on one path each."""
        states = [u]
        for s, t in pairwise(times):
            noise = normal(u.shape, generator, u.dtype, u.device)
            states.append(self.Psi(t, s)(states[-1]) + self.Q(t, s).cholesky()(noise))
        return torch.stack(states)


def require(process: LinearSDE, kind: type[SDE] | tuple[type[SDE], ...], method: str) -> SDE:
    """The process, known to be of a class that `method` applies to; RescoreError for another."""
    if not isinstance(process, kind):
        names = ", ".join(k.__name__ for k in (kind if isinstance(kind, tuple) else (kind,)))
        raise RescoreError(f"{method} does not apply to {type(process).__name__}: allowed are processes of class {names}")
    return process


def check_times(process: LinearSDE) -> None:
    """RescoreError unless 0 <= eps < T."""
    check_number(process, "T", process.T, 0, brackets="()")
    check_number(process, "eps", process.eps, 0, process.T, "[)")


def gaussian_log_prob(u: Tensor, covariance: Operator) -> Tensor:
    """log N(u; 0, covariance) for u of shape (*lead, *state) and an operator with `lead` or no times; shape (*lead)."""
    lead = max(1, covariance.values.ndim - covariance.event_ndim - covariance.matrix_ndim)
    state = tuple(u.shape[lead:])
    square = (u * covariance.inv()(u)).flatten(lead).sum(-1)
    normaliser = covariance.logdet(state) + math.prod(state) * math.log(2 * math.pi)
    return -0.5 * (square + normaliser.to(u))
