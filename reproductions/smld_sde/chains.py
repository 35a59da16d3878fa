"""The two discrete chains of fig. 17, and the figure's cells: a sampler each, and the scores that it is given."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch
from rescore.experiments.axes import Axes
from rescore.processes import DiscreteVE, DiscreteVP, Isotropic, grids
from rescore.samplers import (
    Method,
    PredictorCorrector,
    Sampler,
    ancestral,
    predictor_corrector,
    probability_flow,
    reverse_diffusion,
)
from rescore.scores import Score

from reproductions.smld_sde.config import BETA_MAX

# Score-SDE appendix C: SMLD's sigma on pixels in [0, 1]; here it is scaled to the length of DDPM's [-1, 1].
SIDE, SIGMA_MIN, SIGMA_MAX = 2.0, 0.01, 50.0
BETA_MIN = 0.1  # BETA_MAX is the config's, which checks steps against it
KINDS = {"VE": "SMLD", "VP": "DDPM"}
PREDICTORS = ("ancestral", "reverse diffusion", "probability flow")
CORRECTOR = "corrector only"
# Score-SDE Table 5: the signal-to-noise ratio of the corrector with each predictor, chosen there for the FID on CIFAR-10.
SNR = {
    "VE": {"ancestral": 0.17, "reverse diffusion": 0.16, "probability flow": 0.17, CORRECTOR: 0.22},
    "VP": {"ancestral": 0.01, "reverse diffusion": 0.01, "probability flow": 0.04, CORRECTOR: 0.27},
}
CELL = Axes("{kind} {budget}")


def chain(kind: str, levels: int, sigma_max: float = SIGMA_MAX) -> Isotropic:
    """SMLD's geometric levels or DDPM's betas; twice the levels keep the ends of sigma and halve the betas."""
    if kind == "VE":
        return DiscreteVE(SIDE * torch.linspace(math.log(SIGMA_MIN), math.log(sigma_max), levels, dtype=torch.float64).exp())
    return DiscreteVP(torch.linspace(BETA_MIN / levels, BETA_MAX / levels, levels, dtype=torch.float64))


def predictor(name: str, kind: str) -> Method:
    """One of the figure's, its last step without noise.

    DDPM draws with the forward variance (note eq. 39), SMLD with the posterior's (eq. 51).
    """
    if name == "ancestral":
        return ancestral.where(variance="forward" if kind == "VP" else "posterior", denoise="mean")
    return {"reverse diffusion": reverse_diffusion.where(denoise="mean"), "probability flow": probability_flow}[name]


def budgets(levels: int) -> tuple[str, str, str, str]:
    """Predictor steps, twice as many, predictor steps with a corrector step each, corrector steps alone."""
    return f"P{levels}", f"P{2 * levels}", f"PC{levels}", f"C{2 * levels}"


@dataclass(frozen=True)
class ChainSampler:
    """One cell of fig. 17, or of Score-SDE Table 1.

    Args:
        kind: of `KINDS`.
        budget: of `budgets`.
        process: whose scores are used.
        levels: of the chain that is doubled, or not.
        scores: of a doubled chain: `rounding` takes the score of the original chain's level, `linear` its own level's.
    """

    table: str
    kind: str
    method: str
    budget: str
    sampler: Sampler
    process: Isotropic
    levels: int
    scores: str = "own"

    @property
    def variant(self) -> str:
        return CELL(kind=self.kind, budget=self.budget)

    @property
    def correction(self) -> Mapping[str, object]:
        """The protocol of its corrector."""
        if not isinstance(self.sampler, PredictorCorrector):
            return {}
        return {"snr": self.sampler.snr, "corrector_steps": self.sampler.corrector_steps}

    def at_levels(self, score: Score) -> Score:
        """The score as the sampler sees it."""
        return (lambda u, t: score(u, label_time(t, self.levels))) if self.scores == "rounding" else score


def label_time(t: float, levels: int) -> float:
    """The time of the label floor(i / 2), i = 0, 1, ... of 2 N levels, that a step at t takes the score of; N = `levels`."""
    return math.ceil(t * levels - 1e-9) / levels


def chain_samplers(levels: int, kinds: Iterable[str] = tuple(SNR)) -> Iterator[ChainSampler]:
    """All cells of fig. 17, and the P2000 column of Score-SDE Table 1, of some kinds."""
    steps, doubled, corrected, corrections = budgets(levels)
    for kind in kinds:
        snr = SNR[kind]
        single, double = (chain(kind, n) for n in (levels, 2 * levels))
        times, fine = grids.uniform(single, levels), grids.uniform(double, 2 * levels)
        for name in PREDICTORS:
            method = predictor(name, kind)
            alone = method(single, times)
            both = predictor_corrector(single, times, method, snr[name], denoise=alone.denoise)
            yield ChainSampler("fig17", kind, name, steps, alone, single, levels)
            yield ChainSampler("fig17", kind, name, doubled, method(double, fine), single, levels, "rounding")
            yield ChainSampler("score-sde-1", kind, name, doubled, method(double, fine), double, levels, "linear")
            yield ChainSampler("fig17", kind, name, corrected, both, single, levels)
        corrector = predictor_corrector(single, times, None, snr[CORRECTOR], corrector_steps=2)
        yield ChainSampler("fig17", kind, CORRECTOR, corrections, corrector, single, levels)
