"""Time grids of DiffFlow, from the data (t_0) to the prior (t_N = T), and the schedule of their length (thesis section 3.3.3).

The thesis prints t_i = (i/N)^beta T with beta = 0.9 and says that the steps grow towards x_N. They do for
t_i = (i/N)^(1/beta) T, which is also what the authors' code computes and what is meant by `beta` here.

References:
    thesis, chapter 3: DiffFlow, arXiv:2110.07579.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rescore.domain import check_count, check_number
from rescore.errors import RescoreError


def l_beta(n: int, t0: float = 0.001, T: float = 0.05, beta: float = 0.9) -> Tensor:
    """L_beta: t_i = (t0^beta + (i/N) (T^beta - t0^beta))^(1/beta), N + 1 increasing times, float64.

    Raises RescoreError unless n >= 1, 0 <= t0 < T and beta > 0.
    """
    check_count("time grid L_beta", "steps", n)
    return _powered(torch.arange(n + 1, dtype=torch.float64) / n, t0, T, beta)


def hat_l_beta(n: int, generator: torch.Generator, t0: float = 0.001, T: float = 0.05, beta: float = 0.9) -> Tensor:
    """hat L_beta: the ends of L_beta and, between them, a uniform draw in each of N - 1 equal cells of t^beta; N + 1 times.

    Raises RescoreError unless n >= 2, 0 <= t0 < T and beta > 0.
    """
    check_count("random time grid", "steps", n, 2)
    place = torch.rand(n - 1, generator=generator, dtype=torch.float64, device=generator.device).cpu()
    inner = (torch.arange(n - 1, dtype=torch.float64) + place) / (n - 1)
    ends = torch.tensor([0.0, 1.0], dtype=torch.float64)
    return check_grid(_powered(torch.cat((ends[:1], inner, ends[1:])), t0, T, beta))


def _powered(share: Tensor, t0: float, T: float, beta: float) -> Tensor:
    check_number("time grid", "T", T, 0, brackets="()")
    check_number("time grid", "t0", t0, 0, T, "[)")
    check_number("time grid", "beta", beta, 0, brackets="()")
    times = (t0**beta + share * (T**beta - t0**beta)) ** (1 / beta)
    times[0], times[-1] = t0, T  # without rounding
    return times


def check_grid(times: Tensor | Sequence[float]) -> Tensor:
    """`times` as float64 on the CPU; RescoreError unless it has two or more finite, strictly increasing times >= 0."""
    times = torch.as_tensor(times, dtype=torch.float64, device="cpu")
    if times.ndim != 1 or len(times) < 2 or not times.isfinite().all() or times[0] < 0:
        raise RescoreError(f"time grid of shape {tuple(times.shape)}: needs two or more finite times >= 0, from the data on")
    steps = times.diff()
    if (steps == 0).any():
        i = int((steps == 0).nonzero()[0])
        raise RescoreError(f"time grid: the time {times[i].item():g} is repeated (entries {i} and {i + 1}); all must differ")
    if (steps < 0).any():
        i = int((steps < 0).nonzero()[0])
        raise RescoreError(
            f"time grid: entry {i + 1} ({times[i + 1].item():g}) is below entry {i} ({times[i].item():g}); "
            "times must increase from the data to the prior"
        )
    return times


@dataclass(frozen=True)
class Progressive:
    """Progressive training: N grows with the iteration.

    Args:
        steps: N of each stage, increasing.
        shares: the fraction of the iterations in each stage; they sum to 1.

    Raises RescoreError otherwise. `Progressive((30,), (1.0,))` is a fixed N.
    """

    steps: tuple[int, ...]
    shares: tuple[float, ...]

    def __post_init__(self):
        increasing = all(a < b for a, b in zip(self.steps, self.steps[1:], strict=False))
        if not self.steps or len(self.steps) != len(self.shares) or not increasing or self.steps[0] < 2:
            raise RescoreError(f"progressive N {self.steps}, shares {self.shares}: needs a share for each of increasing N >= 2")
        if min(self.shares) <= 0 or abs(sum(self.shares) - 1) > 1e-9:
            raise RescoreError(f"progressive N: shares {self.shares}; allowed are positive ones that sum to 1")

    def at(self, iteration: int, iterations: int) -> int:
        """N in one of `iterations` iterations, counted from 0."""
        end = 0.0
        for n, share in zip(self.steps, self.shares, strict=True):
            end += share
            if iteration < round(end * iterations):
                return n
        return self.steps[-1]
