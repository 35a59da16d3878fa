"""Soft Score Matching and its rival for corruptions x_t = C_t x_0 + sigma_t eta (Daras et al. 2022).

The network phi predicts the residual x_0 - x_t, so that the clean image is h = phi + x_t (eq. 10) and the score
(C_t h - x_t) / sigma_t^2 (eq. 8). The same loss can train a network that gives h itself, or the score (eq. 7).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

import torch
from torch import Tensor

from rescore.corruptions import pseudo_inverse
from rescore.corruptions.process import Clean, Corruption
from rescore.domain import check_one_of
from rescore.errors import RescoreError
from rescore.objectives.network import Network, one_time
from rescore.objectives.times import UniformTimes
from rescore.processes.operators import Diagonal
from rescore.scores import Score

SoftWeighting = Literal["1/sigma^2", "1"]
SoftPredicts = Literal["residual", "image", "score"]
"""What a network gives: x_0 - x_t (eq. 10), the clean image (eq. 8), or the score times sigma_t, minus the noise (eq. 7)."""


@dataclass(frozen=True)
class SoftScoreMatching:
    """w(t) |C_t (phi(x_t, t) - (x_0 - x_t))|^2, summed over pixels (eq. 12).

    With C_t = I and w = 1 / sigma^2 this is denoising score matching with lambda = sigma^2, |sigma s + eta|^2. Its minimiser is
    E[x_0 | x_t] where C_t is invertible; what C_t removes entirely it leaves free.

    Args:
        weighting: w(t); 1 / sigma_t^2 in all the paper's experiments.
        times: at which times; uniform on (0, 1].
        predicts: what the network gives. Of a score the loss is that of C_t h = x_t + sigma_t^2 s, and so w(t) sigma_t^4 times
            that of eq. 7: of equal scores it is the same under every parametrisation.
    """

    weighting: SoftWeighting = "1/sigma^2"
    times: UniformTimes = field(default_factory=UniformTimes)
    predicts: SoftPredicts = "residual"

    def __post_init__(self):
        for name, allowed in (("weighting", SoftWeighting), ("predicts", SoftPredicts)):
            check_one_of(name, getattr(self, name), get_args(allowed))

    def __call__(self, network: Network, process: Corruption, x0: Tensor, generator: torch.Generator) -> Tensor:
        """Losses (n,) for images x0 (n, C, H, W); `generator` lives on the device of x0."""
        t, x = self.pairs(process, x0, generator)
        return self.losses(process, network(x, t.to(x)), x0, x, t)

    def pairs(self, process: Corruption, x0: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Times (n,) float64 on the CPU and corrupted images x_t (n, C, H, W)."""
        t, _ = self.times.draw(process, len(x0), generator)
        return t, process.perturb(x0, t, generator)[0]

    def losses(self, process: Corruption, phi: Tensor, x0: Tensor, x: Tensor, t: Tensor) -> Tensor:
        """(n,), of predictions phi (n, C, H, W) at `pairs`."""
        errors = self.errors(process, phi, x0, x, t).square().flatten(1).sum(1)
        return errors if self.weighting == "1" else errors / process.sigma(t).square().to(errors)

    def errors(self, process: Corruption, phi: Tensor, x0: Tensor, x: Tensor, t: Tensor) -> Tensor:
        """C_t (h - x_0), the shape of x."""
        if self.predicts == "score":
            return x + Diagonal(process.sigma(t))(phi) - process.C(t)(x0)
        return self.filtered(process, phi - (x0 - x) if self.predicts == "residual" else phi - x0, t)

    def filtered(self, process: Corruption, errors: Tensor, t: Tensor) -> Tensor:
        """C_t applied to errors of the prediction."""
        return process.C(t)(errors)


@dataclass(frozen=True)
class CleanPrediction(SoftScoreMatching):
    """w(t) |phi(x_t, t) - (x_0 - x_t)|^2: the same without C_t, an upper bound where |C_t| <= 1 (Bansal et al. 2022)."""

    def __post_init__(self):
        super().__post_init__()
        if self.predicts == "score":
            raise RescoreError("CleanPrediction of a score: it says C_t h, not h; allowed are residual, image")

    def filtered(self, process: Corruption, errors: Tensor, t: Tensor) -> Tensor:
        return errors


def clean_of(network: Network, predicts: SoftPredicts = "residual") -> Clean:
    """h = phi + x_t (eq. 10) of a network of residuals, or of one of images, at one time for all.

    Raises RescoreError for a network of scores: see `clean_of_score`.
    """
    if predicts == "score":
        raise RescoreError("a score alone says C_t h: clean_of_score inverts C_t; allowed here are residual, image")

    def clean(x: Tensor, t: float) -> Tensor:
        phi = network(x, one_time(t, x))
        return phi + x if predicts == "residual" else phi

    return clean


def clean_of_score(network: Network, process: Corruption, cutoff: float) -> Clean:
    """h = C_t^+ (x_t + sigma_t^2 s), eq. 8 solved for h, of a network of sigma_t s: what samplers need of it.

    Args:
        cutoff: singular values of C_t below it count as 0. What they hide stays 0 in h.
    """

    def clean(x: Tensor, t: float) -> Tensor:
        scaled = network(x, one_time(t, x))
        return pseudo_inverse(process.C(t), cutoff)(x + Diagonal(process.sigma(t))(scaled))

    return clean


def score_of_clean(process: Corruption, clean: Clean) -> Score:
    """(C_t h - x_t) / sigma_t^2 (eq. 8)."""
    return lambda x, t: Diagonal(process.sigma(t) ** -2)(process.C(t)(clean(x, t)) - x)
