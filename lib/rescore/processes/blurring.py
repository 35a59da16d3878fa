"""Blurring diffusion (Hoogeboom and Salimans; thesis eq. 7.11): heat dissipation and noise, diagonal in DCT space.

References:
    Hoogeboom and Salimans: arXiv:2209.05557.
    thesis, chapter 7: gDDIM, arXiv:2206.05564.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from rescore.domain import check_count, check_number
from rescore.errors import RescoreError
from rescore.processes.base import LinearSDE, Time, as_time, check_times
from rescore.processes.operators import Diagonal


@cache
def dct_matrix(n: int) -> Tensor:
    """The orthonormal DCT-II: rows are frequencies, (n, n), float64."""
    k, x = torch.arange(n, dtype=torch.float64)[:, None], torch.arange(n, dtype=torch.float64)
    matrix = torch.cos(math.pi * k * (2 * x + 1) / (2 * n)) * math.sqrt(2 / n)
    matrix[0] /= math.sqrt(2)
    return matrix


def laplacian_eigenvalues(n: int) -> Tensor:
    """(pi k / n)^2 of the frequencies k of n pixels, (n,) float64: heat decays as exp(-lambda tau)."""
    return (math.pi * torch.arange(n, dtype=torch.float64) / n) ** 2


def check_size(owner: object, size: object) -> None:
    """RescoreError unless `size` is (height, width), integers from 1 on."""
    if not isinstance(size, tuple | list | torch.Size) or len(size) != 2:
        raise RescoreError(f"{type(owner).__name__}: size = {size!r}; allowed is (height, width)")
    for name, length in zip(("height", "width"), size, strict=True):
        check_count(owner, name, length)


@dataclass(frozen=True)
class Blurring(LinearSDE):
    """y_t = sqrt(alpha_t) d_t y_0 + sqrt(1 - alpha_t) eps on y = DCT(x), for images of shape (..., height, width).

    alpha_t = cos^2((t + s) / (1 + 2 s) pi / 2), and for frequency (i, j) with lambda = (pi i / height)^2 + (pi j / width)^2
    d_t = (1 - d_min) exp(-lambda tau_t) + d_min, tau_t = sigma_max^2 sin^4(pi t / 2) / 2. The state is y; a model of pixels
    f becomes a model of states by `lambda y, t: process.embed(f(process.project(y), t))`.

    Args:
        size: (height, width).
        sigma_max: the largest blur in pixels (the papers' published runs do not state theirs; 10 is the released default).
        rho_max: T is the time at which sqrt((1 - alpha) / alpha) reaches it.

    Raises RescoreError unless size is two counts, sigma_max, d_min and s >= 0, d_min <= 1, rho_max > 0 and eps < T.
    """

    size: tuple[int, int] = (32, 32)
    sigma_max: float = 10.0
    d_min: float = 0.001
    s: float = 0.004
    rho_max: float = 80.0
    eps: float = 1e-5

    def __post_init__(self):
        check_size(self, self.size)
        check_number(self, "sigma_max", self.sigma_max, 0)
        check_number(self, "d_min", self.d_min, 0, 1)
        check_number(self, "s", self.s, 0)
        check_number(self, "rho_max", self.rho_max, 0, brackets="()")
        check_times(self)

    @property
    def T(self) -> float:  # type: ignore[override]  # it follows from s and rho_max; a field elsewhere, and never set
        return math.atan(self.rho_max) * 2 / math.pi * (1 + 2 * self.s) - self.s

    def _phase(self, t: Tensor) -> Tensor:
        return (t + self.s) / (1 + 2 * self.s) * math.pi / 2

    def _dlog_alpha(self, t: Tensor) -> Tensor:
        return -math.pi / (1 + 2 * self.s) * torch.tan(self._phase(t))

    def _lambda(self) -> Tensor:
        i, j = (laplacian_eigenvalues(n) for n in self.size)
        return i[:, None] + j

    def _decay(self, t: Tensor) -> Tensor:
        """exp(-lambda tau_t), (*t, height, width)."""
        tau = self.sigma_max**2 * torch.sin(math.pi * t / 2) ** 4 / 2
        return (-tau[..., None, None] * self._lambda()).exp_()

    def _dlog_d(self, t: Tensor) -> Diagonal:
        """d log d_t / dt per frequency."""
        dtau = math.pi * self.sigma_max**2 * torch.sin(math.pi * t / 2) ** 3 * torch.cos(math.pi * t / 2)
        decay = (1 - self.d_min) * self._decay(t)
        return Diagonal(-dtau[..., None, None] * self._lambda() * decay / (decay + self.d_min), 2)

    def F(self, t: Time) -> Diagonal:
        t = as_time(t)
        return Diagonal(self._dlog_alpha(t) / 2) + self._dlog_d(t)

    def GG(self, t: Time) -> Diagonal:
        """d Sigma / dt - 2 F Sigma."""
        t = as_time(t)
        return Diagonal(-self._dlog_alpha(t)) - self._dlog_d(t) @ (2 * self.Sigma(t))

    def mean(self, t: Time) -> Diagonal:
        t = as_time(t)
        # In place: at 50 steps of a multistep method this is a million numbers.
        d = self._decay(t).mul_(1 - self.d_min).add_(self.d_min)
        return Diagonal(d.mul_(torch.cos(self._phase(t))[..., None, None]), 2)

    def Sigma(self, t: Time) -> Diagonal:
        return Diagonal(torch.sin(self._phase(as_time(t))) ** 2)

    def Q(self, t: Time, s: Time) -> Diagonal:
        psi = self.mean(t) @ self.mean(s).inv()
        return self.Sigma(t) - psi @ psi @ self.Sigma(s)

    def rotate(self, x: Tensor) -> Tensor:
        rows, columns = (dct_matrix(n).to(x) for n in self.size)
        return rows @ x @ columns.T

    def unrotate(self, x: Tensor) -> Tensor:
        rows, columns = (dct_matrix(n).to(x) for n in self.size)
        return rows.T @ x @ columns
