"""At which times a network is trained.

`draw(process, n, generator)` gives times and weights, both (n,) float64 on the CPU, with which for any f

    E[weight f(time)] = the mean of f over [t0, T]        (over the given times, for `DiscreteTimes`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import torch
from torch import Tensor

from rescore.domain import check_number
from rescore.errors import RescoreError
from rescore.processes.base import LinearSDE
from rescore.processes.quadrature import gauss_legendre
from rescore.random import Noise, host_integers, host_uniform

CELLS = 256  # of the tabulated density; its shape matters to the variance only
T0 = 1e-5  # where Score-SDE, CLD and gDDIM cut their training times


class Ends(Protocol):
    """A process, as far as uniform times know it: it ends at T."""

    @property
    def T(self) -> float: ...


class Times(Protocol):
    """At which times a loss is taken: draws n of them, (n,) float64, with their importance weights, (n,)."""

    def draw(self, process: LinearSDE, n: int, generator: Noise) -> tuple[Tensor, Tensor]: ...


@dataclass(frozen=True)
class UniformTimes:
    """t ~ U[t0, T]. Raises RescoreError unless 0 <= t0, and t0 < T when it draws."""

    t0: float = T0

    def __post_init__(self):
        check_number("uniform times", "t0", self.t0, 0)

    def draw(self, process: Ends, n: int, generator: Noise) -> tuple[Tensor, Tensor]:
        check_number("uniform times", "t0", self.t0, 0, process.T, "[)")
        t = self.t0 + (process.T - self.t0) * host_uniform(n, generator)
        return t, torch.ones_like(t)


@dataclass(frozen=True)
class ImportanceTimes:
    """t with density proportional to tr(G G^T Sigma^-1), g^2 / sigma^2 if isotropic (Song et al. 2021, section 5.1).

    Under it, what the likelihood weight makes of an error in the noise is about the same at all times. The density is
    piecewise constant on cells of equal width in log t; the weights belong to that density, so they are exact.

    Raises RescoreError unless 0 < t0 < T: the density of most processes is infinite at 0.
    """

    t0: float = T0

    def draw(self, process: LinearSDE, n: int, generator: Noise) -> tuple[Tensor, Tensor]:
        return self.quantile(process, host_uniform(n, generator))

    def quantile(self, process: LinearSDE, p: Tensor) -> tuple[Tensor, Tensor]:
        """The time below which a share p, float64 in [0, 1), of the density lies, and its weight; the shapes of p."""
        knots, shares = self.cells(process)
        ends = shares.cumsum(0)
        i = torch.searchsorted(ends, p.contiguous(), right=True).clamp_max(len(shares) - 1)
        width = knots.diff()[i]
        t = knots[i] + width * ((p - ends[i]) / shares[i] + 1).clamp(0, 1)
        return t, width / (shares[i] * (process.T - self.t0))

    def cells(self, process: LinearSDE) -> tuple[Tensor, Tensor]:
        """The cells' ends (CELLS + 1,) and the share of the density in each (CELLS,)."""
        if not 0 < self.t0 < process.T:
            raise RescoreError(f"importance-sampled times: t0 = {self.t0:g}: allowed are values between 0 and {process.T:g}")
        return _cells(process, self.t0)


@dataclass(frozen=True)
class DiscreteTimes:
    """One of finitely many times, one or more, each as likely: the levels of NCSN, the steps of DDPM."""

    times: Sequence[float]

    @classmethod
    def evenly(cls, levels: int) -> "DiscreteTimes":
        """So many times, 2 or more, from 0 to 1: of VE they are NCSN's geometric sigmas."""
        return cls(tuple(i / (levels - 1) for i in range(levels)))

    def __post_init__(self):
        if not len(self.times):
            raise RescoreError("discrete times: there are none; allowed are one or more")
        for i, t in enumerate(self.times):
            check_number("discrete times", f"times[{i}]", float(t), 0)

    def draw(self, process: LinearSDE, n: int, generator: Noise) -> tuple[Tensor, Tensor]:
        i = host_integers(len(self.times), n, generator)
        t = torch.as_tensor(self.times, dtype=torch.float64)[i]
        return t, torch.ones_like(t)


@dataclass(frozen=True)
class RepeatedTimes:
    """Each time of another law for so many rows on end: several draws of x' about one data point (the mean of LCSS eq. 19).

    Raises RescoreError where it draws for a number of rows that is no multiple of `repeats`.
    """

    times: Times
    repeats: int

    def draw(self, process: LinearSDE, n: int, generator: Noise) -> tuple[Tensor, Tensor]:
        if n % self.repeats:
            raise RescoreError(f"times repeated {self.repeats} times for {n} rows; allowed are multiples of {self.repeats}")
        t, weight = self.times.draw(process, n // self.repeats, generator)
        return t.repeat_interleave(self.repeats), weight.repeat_interleave(self.repeats)


@lru_cache(16)
def _cells(process: LinearSDE, t0: float) -> tuple[Tensor, Tensor]:
    ends = torch.tensor([t0, process.T], dtype=torch.float64).log()
    knots = torch.exp(ends[0] + torch.arange(CELLS + 1, dtype=torch.float64) / CELLS * (ends[1] - ends[0]))
    knots[0], knots[-1] = t0, process.T
    x, w = gauss_legendre(4)
    width = knots.diff()
    t = knots[:-1, None] + width[:, None] * (x + 1) / 2
    rate = process.GG(t) @ process.Sigma(t).inv()
    event = tuple(rate.values.shape[t.ndim : t.ndim + rate.event_ndim])
    mass = (rate.trace(process.state_shape(event)) * w).sum(1) * width
    if not (mass.isfinite().all() and (mass > 0).all()):
        raise RescoreError(f"importance-sampled times: the weight of {process} is not positive and finite from t0 to T")
    return knots, mass / mass.sum()
