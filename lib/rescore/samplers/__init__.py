"""Samplers. Each is made by `method(process, times, **options)` and run by `sampler(score, u_T, generator) -> u_0`.

| method | applies to | evaluations per step |
| --- | --- | --- |
| `euler_maruyama`, `reverse_diffusion`, `ancestral`, `probability_flow` | all | 1 |
| `PredictorCorrector` | isotropic | 1 + corrector steps |
| `AnnealedLangevin` | isotropic | steps per level, at N + 1 levels |
| `RungeKutta` (clock "t"), `AdaptiveFlow` | all | 2, 3, 4; adaptive |
| `ddim` (eta) | isotropic, blurring | 1 |
| `exponential_integrator`, `tab_deis`, `ipndm` | all | 1 |
| `rhoab_deis`, `rhork_deis` | isotropic | 1; 2, 3, 4 |
| `gddim`, `gddim_stochastic` (lambda) | all | 1 |
| `GDDIMCorrected` | all | 2 |
| `SSCS` | CLD | 1 |
| `NaiveSampler`, `MomentumSampler`, `FlowMomentumSampler` | corruptions, from a clean prediction in the place of a score | 1 |
"""

from rescore.samplers.base import Sampler, within_budget
from rescore.samplers.ddim import ddim
from rescore.samplers.deis import exponential_integrator, rhoab_deis, rhork_deis, tab_deis
from rescore.samplers.em import euler_maruyama
from rescore.samplers.flow import AdaptiveFlow, RungeKutta
from rescore.samplers.gddim import GDDIMCorrected, gddim, gddim_stochastic
from rescore.samplers.ipndm import ipndm
from rescore.samplers.langevin import AnnealedLangevin, langevin
from rescore.samplers.momentum import FlowMomentumSampler, MomentumSampler, NaiveSampler, uniform_times
from rescore.samplers.predictor_corrector import PredictorCorrector, ancestral, probability_flow, reverse_diffusion
from rescore.samplers.sscs import SSCS

__all__ = [
    "SSCS",
    "AdaptiveFlow",
    "AnnealedLangevin",
    "FlowMomentumSampler",
    "GDDIMCorrected",
    "MomentumSampler",
    "NaiveSampler",
    "PredictorCorrector",
    "RungeKutta",
    "Sampler",
    "ancestral",
    "ddim",
    "euler_maruyama",
    "exponential_integrator",
    "gddim",
    "gddim_stochastic",
    "ipndm",
    "langevin",
    "probability_flow",
    "reverse_diffusion",
    "rhoab_deis",
    "rhork_deis",
    "tab_deis",
    "uniform_times",
    "within_budget",
]
