"""The two discrete chains of fig. 17 as processes, the cells of the figure, and the scores a doubled chain is given."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial

import torch
from torch import Tensor

from reproductions.smld_sde.config import BETA_MAX
from rescore.errors import RescoreError
from rescore.processes import DiscreteVP, Isotropic
from rescore.processes.base import Time, as_time
from rescore.processes.operators import Diagonal
from rescore.samplers import PredictorCorrector, Sampler, ancestral, probability_flow, reverse_diffusion
from rescore.samplers.base import OneStep

SIGMA_MIN, SIGMA_MAX = 0.01, 50.0  # Score-SDE appendix C: CIFAR-10 with pixels in [0, 1]
BETA_MIN = 0.1  # pixels in [-1, 1]; BETA_MAX is the config's, which checks steps against it
PREDICTORS = ("ancestral", "reverse diffusion", "probability flow")
CORRECTOR = "corrector only"
# Score-SDE Table 5: the signal-to-noise ratio of the corrector with each predictor, chosen there for the FID on CIFAR-10.
SNR = {
    "VE": {"ancestral": 0.17, "reverse diffusion": 0.16, "probability flow": 0.17, CORRECTOR: 0.22},
    "VP": {"ancestral": 0.01, "reverse diffusion": 0.01, "probability flow": 0.04, CORRECTOR: 0.27},
}


@dataclass(frozen=True, eq=False)
class DiscreteVE(Isotropic):
    """SMLD's chain u_i = u_{i-1} + sqrt(sigma_i^2 - sigma_{i-1}^2) z, sigma_0 = 0 (note eq. 44), at t = i / N.

    Between those times sigma^2 is linear.

    Args:
        sigmas: (N,), positive and increasing.
    """

    sigmas: Tensor
    T: float = 1.0
    eps: float = 0.0

    def __post_init__(self):
        ends = torch.cat((torch.zeros(1).to(self.sigmas), self.sigmas.flatten()))
        if self.sigmas.ndim != 1 or len(ends) < 2 or not ends.isfinite().all() or not (ends.diff() > 0).all():
            raise RescoreError("DiscreteVE: sigmas must be one or more finite numbers, positive and increasing")

    @cached_property
    def _knots(self) -> Tensor:
        return torch.cat((torch.zeros(1, dtype=torch.float64), self.sigmas.to(torch.float64) ** 2))

    def _step(self, t: Time) -> tuple[Tensor, Tensor]:
        """t in steps, and the step that ends at or after it."""
        position = as_time(t) * len(self.sigmas)
        return position, (torch.ceil(position - 1e-9).long() - 1).clamp(0, len(self.sigmas) - 1)

    def F(self, t: Time) -> Diagonal:
        return Diagonal(torch.zeros_like(as_time(t)))

    def GG(self, t: Time) -> Diagonal:
        return Diagonal(self._knots.diff()[self._step(t)[1]] * len(self.sigmas))

    def mean(self, t: Time) -> Diagonal:
        return Diagonal(torch.ones_like(as_time(t)))

    def Sigma(self, t: Time) -> Diagonal:
        position, i = self._step(t)
        return Diagonal(self._knots[i] + (position - i) * self._knots.diff()[i])

    def time_of_rho(self, rho: Time) -> Tensor:
        variance = as_time(rho) ** 2
        i = (torch.searchsorted(self._knots, variance) - 1).clamp(0, len(self.sigmas) - 1)
        return (i + (variance - self._knots[i]) / self._knots.diff()[i]) / len(self.sigmas)

    def Q(self, t: Time, s: Time) -> Diagonal:
        return self.Sigma(t) - self.Sigma(s)

    @property
    def prior_covariance(self) -> Diagonal:
        return Diagonal(self._knots[-1])


def chain(kind: str, levels: int, sigma_max: float = SIGMA_MAX, side: float = 1.0) -> Isotropic:
    """SMLD's geometric levels or DDPM's betas; twice the levels keep the ends of sigma and halve the betas.

    `side` is the length of the pixels' range under SMLD: 1 for [0, 1], where its sigmas are stated, 2 for [-1, 1].
    """
    if kind == "VE":
        return DiscreteVE(side * torch.linspace(math.log(SIGMA_MIN), math.log(sigma_max), levels, dtype=torch.float64).exp())
    return DiscreteVP(torch.linspace(BETA_MIN / levels, BETA_MAX / levels, levels, dtype=torch.float64))


def chain_times(levels: int) -> Tensor:
    """i / N from N down to 0."""
    return torch.arange(levels, -1, -1, dtype=torch.float64) / levels


def predictor(name: str, kind: str) -> Callable[..., OneStep]:
    """The figure's predictors. DDPM draws with the forward variance (note eq. 39), SMLD with the posterior's (eq. 51)."""
    if name == "ancestral":
        return partial(ancestral, variance="forward" if kind == "VP" else "posterior")
    return {"reverse diffusion": reverse_diffusion, "probability flow": probability_flow}[name]


def last_step(name: str) -> str:
    """`denoise` of a predictor: its last step is without noise."""
    return "none" if name == "probability flow" else "mean"


@dataclass(frozen=True)
class Cell:
    """One number of fig. 17, or of Score-SDE Table 1.

    Args:
        kind: VE or VP.
        budget: P1000, P2000, C2000 or PC1000, with the config's levels in place of 1000.
        process: whose scores are used.
        scores: of a doubled chain: `rounding` takes the score of the original chain's level, `linear` its own level's.
    """

    table: str
    kind: str
    method: str
    budget: str
    sampler: Sampler
    process: Isotropic
    scores: str = "own"

    @property
    def variant(self) -> str:
        return f"{self.kind} {self.budget}"


def cells(levels: int, side: float = 1.0) -> Iterator[Cell]:
    """All cells of fig. 17, and the P2000 column of Score-SDE Table 1; `side` as for `chain`."""
    for kind in ("VE", "VP"):
        single, double = (chain(kind, n, side=side) for n in (levels, 2 * levels))
        times, fine = chain_times(levels), chain_times(2 * levels)
        for name in PREDICTORS:
            method, last = predictor(name, kind), last_step(name)
            doubled = method(double, fine, denoise=last)
            both = PredictorCorrector(single, times, method, SNR[kind][name], denoise=last)
            yield Cell("fig17", kind, name, f"P{levels}", method(single, times, denoise=last), single)
            yield Cell("fig17", kind, name, f"P{2 * levels}", doubled, single, "rounding")
            yield Cell("score-sde-1", kind, name, f"P{2 * levels}", doubled, double, "linear")
            yield Cell("fig17", kind, name, f"PC{levels}", both, single)
        alone = PredictorCorrector(single, times, None, SNR[kind][CORRECTOR], corrector_steps=2)
        yield Cell("fig17", kind, CORRECTOR, f"C{2 * levels}", alone, single)


def score_time(t: float, levels: int, scores: str) -> float:
    """The time whose score a step at t uses: with `rounding` that of the label floor(i / 2), i = 0, 1, ... of 2 N levels."""
    return math.ceil(t * levels - 1e-9) / levels if scores == "rounding" else t
