"""Critically damped Langevin diffusion (Dockhorn, Vahdat and Kreis): data coupled to velocities, noise only in the velocities.

All coefficients are functions of B(t), the integral of beta, through y = 4 B / Gamma. They are written without the cancellation
that the printed form E - 1 - 4B/Gamma - 8B^2/Gamma^2 suffers for small B (it is the incomplete gamma function P(3, y) E).

References:
    CLD: arXiv:2112.07068.
    thesis, chapter 7: gDDIM, arXiv:2206.05564.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from rescore.domain import check_number
from rescore.errors import RescoreError
from rescore.processes.base import LinearSDE, Time, as_time, check_times
from rescore.processes.operators import Block, block
from rescore.processes.quadrature import antiderivative, collocation


@dataclass(frozen=True)
class CLD(LinearSDE):
    """du = beta(t) [[0, 1/M], [-1, -Gamma/M]] u dt + (0, sqrt(2 Gamma beta(t))) dw on u = (x, v), with Gamma = 2 sqrt(M).

    (Thesis eq. 7.10 prints +beta in the lower left of F and a wrong G.) A state has shape (batch, 2, *data). Velocities
    start as N(0, gamma M) and are marginalised (hybrid score matching); gamma = 0 conditions on v_0 = 0.

    Args:
        M: the mass.
        beta_min, beta_max: beta(t) = beta_min + t (beta_max - beta_min).
        gamma: the initial velocity variance is gamma M.
        eps0: variance added to x and v at t = 0 and then propagated (gDDIM). R_t turns with log eps0 and has no limit
            eps0 -> 0: a noise prediction is tied to the eps0 it was made for.
        eps_num: variance added to the diagonal of Sigma_t at every t (the CLD paper's stabiliser, 1e-9 in
            its CIFAR-10 config, which trains in fp16); with it R_t does not exist.

    Raises RescoreError unless M > 0, 0 < beta_min <= beta_max, and gamma, eps0, eps_num >= 0.
    """

    M: float = 0.25
    beta_min: float = 4.0
    beta_max: float = 4.0
    gamma: float = 0.04
    eps0: float = 1e-6
    eps_num: float = 0.0
    T: float = 1.0
    eps: float = 1e-3

    def __post_init__(self):
        check_number(self, "M", self.M, 0, brackets="()")
        check_number(self, "beta_min", self.beta_min, 0, brackets="()")
        check_number(self, "beta_max", self.beta_max, self.beta_min)
        for name in ("gamma", "eps0", "eps_num"):
            check_number(self, name, getattr(self, name), 0)
        check_times(self)

    @property
    def Gamma(self) -> float:
        """The critical damping 2 sqrt(M)."""
        return 2 * math.sqrt(self.M)

    @property
    def label(self) -> str:
        added = "".join(f" {name}:{value:g}" for name in ("eps0", "eps_num") if (value := getattr(self, name)))
        return f"CLD M:{self.M:g} gamma:{self.gamma:g} beta:{self.beta_min:g}..{self.beta_max:g}{added}"

    def beta(self, t: Time) -> Tensor:
        return self.beta_min + as_time(t) * (self.beta_max - self.beta_min)

    def B(self, t: Time) -> Tensor:
        """The integral of beta from 0 to t."""
        t = as_time(t)
        return t * (self.beta_min + t * (self.beta_max - self.beta_min) / 2)

    def F(self, t: Time) -> Block:
        return block(0, 1 / self.M, -1, -self.Gamma / self.M) * self.beta(t)

    def GG(self, t: Time) -> Block:
        return block(0, 0, 0, 2 * self.Gamma) * self.beta(t)

    def Psi(self, t: Time, s: Time) -> Block:
        return self._psi(self.B(t) - self.B(s))

    def mean(self, t: Time) -> Block:
        return self._psi(self.B(t))

    def Sigma(self, t: Time) -> Block:
        return self._sigma(self.B(t)) + block(self.eps_num, 0, 0, self.eps_num)

    def Q(self, t: Time, s: Time) -> Block:
        return self._q(self.B(t) - self.B(s))

    def ell(self, t: Time) -> Tensor:
        """ell_t = 1 / L22: the score of p(u_t | x) along v is -ell_t eps_v. Of HSM, and of DSM for gamma = 0."""
        return 1 / self.L(t).values[..., 1, 1]

    def L(self, t: Time) -> Block:
        return self.Sigma(t).cholesky()

    def R(self, t: Time) -> Block:
        """R_t = L_t U(theta_t), a rotation of the Cholesky factor with d theta / dB = -L22 / (M L11).

        This is thesis eq. 7.17 in the frame of L_t: L^-1 (F + G G^T Sigma^-1 / 2) L - L^-1 dL/dt is antisymmetric, and its
        upper right entry is that of L^-1 F L, because L^-1 G points along v.
        """
        theta = -self._angle(self._z(t))
        return self.L(t) @ block(theta.cos(), -theta.sin(), theta.sin(), theta.cos())

    def Psi_hat(self, t: Time, s: Time, lam: float) -> Block:
        """The transition matrix of gDDIM's lambda-SDE.

        L_t W(t) L_s^-1, dW/dB = [[0, a], [-a, lam^2 Gamma / L22^2]] W, W(s) = I, a = L22 / (M L11).
        """
        late, early = torch.broadcast_tensors(as_time(t), as_time(s))
        start, end = self._z(early).reshape(-1), self._z(late).reshape(-1)

        def matrix(z: Tensor) -> Tensor:
            b, db = self._b_of_z(z)
            turn, shrink = self._turning(b)
            return (block(0, turn, -turn, lam**2 * shrink) * db).values

        w = Block(collocation(matrix, start, end).reshape(*late.shape, 2, 2))
        return self.L(late) @ w @ self.L(early).inv()

    @property
    def prior_covariance(self) -> Block:
        return block(1, 0, 0, self.M)

    def state_shape(self, data: tuple[int, ...]) -> tuple[int, ...]:
        return (2, *data)

    def augment(self, x: Tensor) -> Tensor:
        return torch.stack((x, torch.zeros_like(x)), 1)

    def marginal(self, u: Tensor) -> Tensor:
        return u[:, 0]

    def data_covariance(self, variances: Tensor, event_ndim: int = 0) -> Block:
        return block(variances, 0, 0, 0, event_ndim)

    def _psi(self, b: Tensor) -> Block:
        q = 2 * b / self.Gamma
        return block(1 + q, 4 * b / self.Gamma**2, -b, 1 - q) * torch.exp(-q)

    def _q(self, b: Tensor) -> Block:
        y = 4 * b / self.Gamma
        decay = torch.exp(-y)
        xx = torch.special.gammainc(torch.full_like(y, 3), y)
        xv = decay * y**2 * self.Gamma / 4
        vv = self.Gamma**2 / 4 * (-torch.expm1(-y) + decay * y * (1 - y / 2))
        return block(xx, xv, xv, vv)

    def _sigma(self, b: Tensor) -> Block:
        psi = self._psi(b)
        return psi @ block(self.eps0, 0, 0, self.gamma * self.M + self.eps0) @ psi.T + self._q(b)

    def _turning(self, b: Tensor) -> tuple[Tensor, Tensor]:
        """(L22 / (M L11), Gamma / L22^2) at B = b."""
        root = self._sigma(b).cholesky().values
        return root[..., 1, 1] / (self.M * root[..., 0, 0]), self.Gamma / root[..., 1, 1] ** 2

    # R_t turns fast at first and then like 1 / B; in z with B = b0 sinh z the rate is smooth and the range short. b0 is where a
    # variance has doubled: that of x by the velocities or by the noise, or that of v by the noise, whichever is first.
    @property
    def _b0(self) -> float:
        s_v = self.gamma * self.M + self.eps0
        by_velocity, by_noise = self.M * math.sqrt(self.eps0 / s_v), self.Gamma / 4 * (6 * self.eps0) ** (1 / 3)
        return min(by_velocity, by_noise, s_v / (2 * self.Gamma))

    def _z(self, t: Time) -> Tensor:
        if self.eps_num or not self.eps0:
            given = f"eps0={self.eps0}, eps_num={self.eps_num}"
            raise RescoreError(f"CLD with {given}: R_t and gDDIM need eps0 > 0 and eps_num = 0")
        t = as_time(t)
        if (t > self.T).any() or (t < 0).any():
            raise RescoreError(f"CLD: R_t and gDDIM are computed for t in [0, {self.T:g}] only")
        return torch.asinh(self.B(t) / self._b0)

    @cached_property
    def _angle(self) -> Callable[[Tensor], Tensor]:
        """-theta as a function of z."""

        def rate(z: Tensor) -> Tensor:
            b, db = self._b_of_z(z)
            return self._turning(b)[0] * db

        return antiderivative(rate, self._z(self.T).item())

    def _b_of_z(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return self._b0 * torch.sinh(z), self._b0 * torch.cosh(z)


@dataclass(frozen=True)
class Langevin(CLD):
    """The same coupled process at any friction, `friction` times the critical one: below 1 underdamped, above 1 overdamped.

    By matrix exponentials; Q loses its digits for steps of B below about 1e-3, where CLD's closed forms keep theirs.

    Raises RescoreError unless friction > 0.
    """

    friction: float = 1.0

    def __post_init__(self):
        super().__post_init__()
        check_number(self, "friction", self.friction, 0, brackets="()")

    @property
    def Gamma(self) -> float:
        return self.friction * super().Gamma

    @property
    def label(self) -> str:
        return f"{super().label} friction:{self.friction:g}"

    def _psi(self, b: Tensor) -> Block:
        return Block(torch.linalg.matrix_exp(b[..., None, None] * block(0, 1 / self.M, -1, -self.Gamma / self.M).values))

    def _q(self, b: Tensor) -> Block:
        psi, rest = self._psi(b), self.prior_covariance
        return rest - psi @ rest @ psi.T
