"""Samplers for corruptions x_t = C_t x_0 + sigma_t eta (Daras et al. 2022, algorithms 1 and 2, eqs. 16 and 44).

They take a clean prediction h(x_t, t) of x_0, called once a step (Heun's method: twice), and return the last prediction: what a
literal last step would add to it is noise of sigma_{t_1}, as in every Score-SDE sampler.
"""

from __future__ import annotations

import math
from abc import abstractmethod

import torch
from torch import Tensor

from rescore.corruptions.process import Clean, Corruption
from rescore.domain import check_count
from rescore.errors import RescoreError
from rescore.samplers.base import Draw, Sampler, Times


def uniform_times(steps: int) -> Tensor:
    """1 = t_K > ... > t_0 = 0, equally spaced (the samplers' Delta t)."""
    check_count("time grid", "steps", steps)
    return torch.arange(steps, -1, -1, dtype=torch.float64) / steps


class _CleanSampler(Sampler):
    """Runs down a grid of times that ends in 0; `sampler(clean, x_1, generator)` gives clean images."""

    predicts = "clean prediction"

    def __init__(self, process: Corruption, times: Times):
        super().__init__(process, times)  # type: ignore[arg-type]  # no LinearSDE, but it ends at T and has a prior, as one
        if self.times[-1] != 0:
            raise RescoreError(f"{type(self).__name__}: the times end at {self.times[-1]:g}; allowed: a grid down to 0")
        self.C = [process.C(t) for t in self.times]
        self.variance = process.sigma(self.grid).square().tolist()

    def run(self, score: Clean, u: Tensor, draw: Draw) -> Tensor:
        for i in range(self.steps - 1):
            u = self.advance(i, score, u, draw)
        return score(u, self.times[-2])

    def advance(self, i: int, clean: Clean, x: Tensor, draw: Draw) -> Tensor:
        """From x at times[i] to times[i + 1], above 0."""
        return self.step(i, clean(x, self.times[i]), x, draw)

    @abstractmethod
    def step(self, i: int, clean: Tensor, x: Tensor, draw: Draw) -> Tensor:
        """From x at times[i] to times[i + 1], given the clean prediction for x."""


class NaiveSampler(_CleanSampler):
    """x_s = C_s h + sigma_s eta (algorithm 1): predict the clean image, corrupt it again a little less."""

    stochastic = True

    def step(self, i: int, clean: Tensor, x: Tensor, draw: Draw) -> Tensor:
        return self.C[i + 1](clean) + self.variance[i + 1] ** 0.5 * draw(x)


class MomentumSampler(_CleanSampler):
    """x_s = x_t + (C_s - C_t) h + (1 - sigma_s^2 / sigma_t^2) (C_t h - x_t) + sqrt(sigma_t^2 - sigma_s^2) eta (eq. 16)."""

    stochastic = True
    share = 1.0

    def step(self, i: int, clean: Tensor, x: Tensor, draw: Draw) -> Tensor:
        removed = max(0.0, self.variance[i] - self.variance[i + 1])
        before = self.C[i](clean)
        share = self.share * removed / self.variance[i] if removed else 0.0  # without noise nothing is removed
        x_s = x + (self.C[i + 1](clean) - before) + share * (before - x)
        return x_s + removed**0.5 * draw(x) if self.stochastic and removed else x_s


class FlowMomentumSampler(MomentumSampler):
    """The Probability Flow Momentum Sampler: half of the denoising term and no noise (eq. 44)."""

    stochastic = False
    share = 0.5


class HeunFlowSampler(FlowMomentumSampler):
    """Heun's method for the flow of eq. 42, dx = dC_t h + (x - C_t h) d log sigma_t, where the paper takes Euler's (eq. 44).

    The trapezoidal rule in the two clocks C_t and log sigma_t, which need no derivative: second order in the step. Two
    evaluations a step but for the last, which returns the clean prediction as the other samplers do: 2 K - 1 of K steps.
    """

    @property
    def nfe(self) -> int:
        return 2 * self.steps - 1

    def advance(self, i: int, clean: Clean, x: Tensor, draw: Draw) -> Tensor:
        before = self._increment(i, i, clean(x, self.times[i]), x)
        x_s = x + before
        return x + (before + self._increment(i, i + 1, clean(x_s, self.times[i + 1]), x_s)) / 2

    def _increment(self, i: int, at: int, clean: Tensor, x: Tensor) -> Tensor:
        """The change over step i at the rates of (x, times[at])."""
        shrunk = math.log(self.variance[i + 1] / self.variance[i]) / 2 if self.variance[i] else 0.0
        return self.C[i + 1](clean) - self.C[i](clean) + shrunk * (x - self.C[at](clean))
