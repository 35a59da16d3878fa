"""Samplers. Each is made by a method, `method(process, times, **options)`, and run by `sampler(score, u_T, generator) -> u_0`.

A method says what it `applies_to`, its `order` and its `evaluations_per_step`; `method.where(**options)` fixes options:

| method | applies to | evaluations per step |
| --- | --- | --- |
| `euler_maruyama`, `reverse_diffusion`, `ancestral`, `probability_flow` | all | 1 |
| `predictor_corrector` | isotropic | 1 + corrector steps |
| `annealed_langevin` | isotropic | steps per level, at N + 1 levels |
| `runge_kutta` (clock "t"), `adaptive_flow`, `adaptive_sde` | all | 2, 3, 4; adaptive; adaptive |
| `ddim` (eta) | isotropic, blurring | 1 |
| `analytic_ddim` (its variances need the score first) | isotropic | 1 |
| `ito_taylor` (lambda) | isotropic | 1 |
| `exponential_integrator`, `tab_deis`, `ipndm`, `pndm` (after three steps of 4) | all | 1 |
| `rhoab_deis`, `rhork_deis` | isotropic | 1; 2, 3, 4 |
| `gddim`, `gddim_stochastic` (lambda) | all | 1 |
| `gddim_corrected` | all | 2 |
| `sscs` | CLD | 1 |
| `NaiveSampler`, `MomentumSampler`, `FlowMomentumSampler` | corruptions, from a clean prediction in place of a score | 1 |
| `HeunFlowSampler` | corruptions, likewise | 2, in the last step 1 |

`with_noise_powers` gives `analytic_ddim` the variances of a score. `HeldToEvaluations` runs an adaptive method within so many
evaluations; `solve_within` gives up where a solver takes more. FastDPM is no sampler of its own: its reverse process is `ddim`
with `denoise="tweedie"` (eta 0 its DDIM-rev, eta 1 its DDPM-rev) on the times `grids.by_variances` (VAR), or `uniform` and
`step_quadratic` (STEP).
"""

from rescore.samplers.adaptive import AdaptiveSDE, HeldToEvaluations, adaptive_sde, solve_within
from rescore.samplers.analytic import analytic_ddim, noise_powers, with_noise_powers
from rescore.samplers.base import Sampler, Solution, Solver, within_budget
from rescore.samplers.ddim import ddim
from rescore.samplers.deis import exponential_integrator, rhoab_deis, rhork_deis, tab_deis
from rescore.samplers.em import euler_maruyama
from rescore.samplers.gddim import GDDIMCorrected, gddim, gddim_corrected, gddim_stochastic
from rescore.samplers.ipndm import ipndm
from rescore.samplers.langevin import AnnealedLangevin, annealed_langevin, langevin
from rescore.samplers.method import Method
from rescore.samplers.momentum import FlowMomentumSampler, HeunFlowSampler, MomentumSampler, NaiveSampler, uniform_times
from rescore.samplers.ode import AdaptiveFlow, RungeKutta, adaptive_flow, runge_kutta
from rescore.samplers.pndm import PNDM, pndm
from rescore.samplers.predictor_corrector import (
    PredictorCorrector,
    ancestral,
    predictor_corrector,
    probability_flow,
    reverse_diffusion,
    score_sde_sampler,
)
from rescore.samplers.sscs import SSCS, sscs
from rescore.samplers.taylor import ito_taylor

__all__ = [
    "PNDM",
    "SSCS",
    "AdaptiveFlow",
    "AdaptiveSDE",
    "AnnealedLangevin",
    "FlowMomentumSampler",
    "GDDIMCorrected",
    "HeldToEvaluations",
    "HeunFlowSampler",
    "Method",
    "MomentumSampler",
    "NaiveSampler",
    "PredictorCorrector",
    "RungeKutta",
    "Sampler",
    "Solution",
    "Solver",
    "adaptive_flow",
    "adaptive_sde",
    "analytic_ddim",
    "ancestral",
    "annealed_langevin",
    "ddim",
    "euler_maruyama",
    "exponential_integrator",
    "gddim",
    "gddim_corrected",
    "gddim_stochastic",
    "ipndm",
    "ito_taylor",
    "langevin",
    "noise_powers",
    "pndm",
    "predictor_corrector",
    "probability_flow",
    "reverse_diffusion",
    "rhoab_deis",
    "rhork_deis",
    "runge_kutta",
    "score_sde_sampler",
    "solve_within",
    "sscs",
    "tab_deis",
    "uniform_times",
    "with_noise_powers",
    "within_budget",
]
