"""Schedules: from a time t in [0, 1] to a noise level sigma_t or to the level of a family.

References:
    Soft Diffusion: arXiv:2209.05442.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rescore.corruptions.families import Family
from rescore.domain import check_count, check_number
from rescore.errors import RescoreError
from rescore.processes.base import Time, as_time
from rescore.processes.isotropic import VE

Schedule = Callable[[Time], Tensor]
"""t of any shape -> float64 numbers of that shape, non-decreasing in t."""


@dataclass(frozen=True)
class GeometricNoise:
    """sigma_t grows geometrically from sigma_min to sigma_max up to t = `until`, then stays (Soft Diffusion, section 4).

    sigma_0 is 0 itself: the data. until = 1 is the noise of the VE process.

    Raises RescoreError unless 0 < sigma_min <= sigma_max and 0 < until <= 1.
    """

    sigma_min: float = 0.01
    sigma_max: float = 0.1
    until: float = 0.2

    def __post_init__(self):
        check_number(self, "sigma_min", self.sigma_min, 0, brackets="()")
        check_number(self, "sigma_max", self.sigma_max, self.sigma_min)
        check_number(self, "until", self.until, 0, 1, "(]")

    def __call__(self, t: Time) -> Tensor:
        t = as_time(t)
        sigma = self.sigma_min * (self.sigma_max / self.sigma_min) ** (t / self.until).clamp(max=1)
        return torch.where(t > 0, sigma, 0.0)


@dataclass(frozen=True)
class Constant:
    """One level >= 0 at all times."""

    level: float = 0.0

    def __post_init__(self):
        check_number(self, "level", self.level, 0)

    def __call__(self, t: Time) -> Tensor:
        return torch.full_like(as_time(t), self.level)


@dataclass(frozen=True)
class Interpolated:
    """Straight lines between levels at increasing times; constant before the first and after the last.

    Raises RescoreError unless there are as many finite levels as finite times, one or more, the times increase and the levels,
    >= 0, do not decrease.
    """

    times: tuple[float, ...]
    levels: tuple[float, ...]

    def __post_init__(self):
        for name, values in (("times", self.times), ("levels", self.levels)):
            for i, value in enumerate(values):
                check_number("schedule", f"{name}[{i}]", value, 0)
        equal = len(self.times) == len(self.levels) > 0
        if not equal or (np.diff(self.times) <= 0).any() or (np.diff(self.levels) < 0).any():
            raise RescoreError(
                f"schedule of {len(self.times)} times and {len(self.levels)} levels: "
                "allowed are as many levels as times, times increasing, levels not decreasing"
            )

    def __call__(self, t: Time) -> Tensor:
        return torch.from_numpy(np.asarray(np.interp(as_time(t).numpy(), self.times, self.levels)))

    @classmethod
    def spread(cls, levels: Sequence[float], start: float) -> Interpolated:
        """Levels at equally spaced times from `start`, in [0, 1), to 1."""
        check_number("schedule", "start", start, 0, 1, "[)")
        return cls(tuple(np.linspace(start, 1, len(levels)).tolist()), tuple(map(float, levels)))


def mse_matched(
    family: Family, noise: Schedule, images: Tensor, ve: VE, knots: int = 257, candidates: int = 1025
) -> Interpolated:
    """The levels at which E|x_0 - x_t|^2 / E|x_0 - x_1|^2 is what it is for a VE process at the same t (Soft Diffusion eq. 45).

    Where the noise alone is already more than that, the level is the lowest.

    Args:
        images: (n, C, H, W), in the range that the noise refers to.
        knots: times of the schedule.
        candidates: levels between which is interpolated.
    """
    check_count("MSE-matched schedule", "knots", knots, 2)
    check_count("MSE-matched schedule", "candidates", candidates, 2)
    levels = np.linspace(family.lowest, family.highest, candidates)
    x = images.double()
    mse = np.array([(x - family(level)(x)).square().flatten(1).sum(1).mean().item() for level in levels])
    mse = np.maximum.accumulate(mse)
    t = torch.linspace(0, 1, knots, dtype=torch.float64)
    noises = x[0].numel() * noise(t).numpy() ** 2
    ratio = (ve.Sigma(t).values / ve.Sigma(1.0).values).numpy()
    wanted = ratio * (mse[-1] + noises[-1]) - noises
    found = np.interp(wanted, mse, levels)
    found[0] = family.lowest  # C_0 = I, although sigma_0 = 0 leaves an error to be had
    return Interpolated(tuple(t.tolist()), tuple(np.maximum.accumulate(found).tolist()))
