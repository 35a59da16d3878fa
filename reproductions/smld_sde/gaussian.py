"""The law of a sampler's result when data are Gaussian: every step is affine, so mean and variances follow exactly.

There is no sampling error: the distances are those of infinitely many samples.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from reproductions.smld_sde.chains import Cell, score_time
from rescore.data.digits import load_digits
from rescore.metrics import PROJECTIONS
from rescore.processes import Isotropic
from rescore.samplers import PredictorCorrector
from rescore.samplers.base import OneStep, Sampler


@dataclass(frozen=True)
class Gaussian:
    """N(mean, diag(variance)), both (d,)."""

    mean: np.ndarray
    variance: np.ndarray

    def affine(self, gain: np.ndarray, shift: np.ndarray, noise: float) -> "Gaussian":
        """The law of gain x + shift + sqrt(noise) z."""
        return Gaussian(gain * self.mean + shift, gain**2 * self.variance + noise)

    def scaled(self, scale: float, shift: float | np.ndarray = 0.0) -> "Gaussian":
        return Gaussian(scale * self.mean + shift, scale**2 * self.variance)


@dataclass(frozen=True)
class DigitsGaussian:
    """`digits_gaussian`: the Gaussian with the mean and covariance of the 8x8 digits in [-1, 1], in eigenvector coordinates.

    Attributes:
        axes: (64, 64), columns are eigenvectors.
    """

    law: Gaussian
    axes: np.ndarray

    @classmethod
    def load(cls) -> "DigitsGaussian":
        x = load_digits().flatten(1).numpy()
        variance, axes = np.linalg.eigh(np.cov(x.T, bias=True))
        return cls(Gaussian(x.mean(0) @ axes, variance.clip(0)), axes)

    def on_pixels(self, kind: str) -> Gaussian:
        """VP takes pixels in [-1, 1], VE in [0, 1]."""
        return self.law if kind == "VP" else self.law.scaled(0.5, 0.5 * self._ones)

    def distance(self, result: Gaussian, kind: str) -> float:
        """`sw2` to the data for pixels in [-1, 1]: exact over the directions of `rescore.metrics.sliced_wasserstein`."""
        result = result if kind == "VP" else result.scaled(2.0, -self._ones)
        mean = (result.mean - self.law.mean) @ self._directions
        std = [np.sqrt(law.variance @ self._directions**2) for law in (result, self.law)]
        return float(np.sqrt(np.mean(mean**2 + (std[0] - std[1]) ** 2)))

    @cached_property
    def _ones(self) -> np.ndarray:
        """The vector of ones in the eigenvectors' coordinates."""
        return self.axes.sum(0)

    @cached_property
    def _directions(self) -> np.ndarray:
        import ot  # slow to import

        return self.axes.T @ ot.sliced.get_random_projections(len(self.axes), PROJECTIONS, seed=0)


def mean_norm(law: Gaussian) -> float:
    """E|x| = (4 pi)^-1/2 int_0^inf (1 - E exp(-t |x|^2)) t^-3/2 dt, by the trapezoidal rule in log t."""
    step = 0.5
    y = np.arange(-36, 36, step) - np.log((law.variance + law.mean**2).sum())
    t = np.exp(y)[:, None]
    damped = 1 + 2 * t * law.variance
    log_transform = -(0.5 * np.log(damped) + t * law.mean**2 / damped).sum(1)
    return float((-np.expm1(log_transform) * np.exp(-y / 2)).sum() * step / np.sqrt(4 * np.pi))


def result_law(sampler: Sampler, process: Isotropic, data: Gaussian, levels: int, scores: str = "own") -> Gaussian:
    """The law of a predictor's or predictor-corrector's result, started from the prior, with the exact score.

    The corrector's step size has the norms' expectations in place of batch means.

    Args:
        process: of the scores.
        levels, scores: see `score_time`.
    """
    d = len(data.mean)
    law = Gaussian(np.zeros(d), np.full(d, sampler.process.prior_covariance.values.item()))
    corrected = isinstance(sampler, PredictorCorrector)
    steps: OneStep | None = sampler.predictor if corrected else sampler
    at = torch.tensor([score_time(t, levels, scores) for t in sampler.times[:-1]], dtype=torch.float64)
    means, variances = process.mean(at).values.tolist(), process.Sigma(at).values.tolist()
    unit = mean_norm(Gaussian(np.zeros(d), np.ones(d)))
    for i, (m, variance) in enumerate(zip(means, variances, strict=True)):
        centre, precision = m * data.mean, 1 / (m**2 * data.variance + variance)
        for _ in range(sampler.corrector_steps if corrected else 0):
            score = law.affine(-precision, precision * centre, 0.0)
            size = 2 * sampler.signal[i] * (sampler.snr * unit / mean_norm(score)) ** 2
            law = law.affine(1 - size * precision, size * precision * centre, 2 * size)
        if steps:
            a, b = steps.A[i].values.item(), steps.B[i].values.item()
            noise = 0.0 if steps.C[i] is None else steps.C[i].values.item() ** 2
            law = law.affine(a - b * precision, b * precision * centre, noise)
    return law


def cell_distance(cell: Cell, digits: DigitsGaussian, levels: int) -> float:
    """`sw2` of one cell of fig. 17 on `digits_gaussian`."""
    law = result_law(cell.sampler, cell.process, digits.on_pixels(cell.kind), levels, cell.scores)
    return digits.distance(law, cell.kind)
