"""The rows and columns of the matrix: samplers and the processes they apply to."""

from collections.abc import Callable
from functools import partial

from torch import Tensor

from reproductions.sampler_matrix.config import ProcessName
from rescore.errors import RescoreError
from rescore.processes import CLD, VE, VP, Blurring, CosineVP, LinearSDE, SubVP, grids
from rescore.samplers import (
    SSCS,
    AdaptiveFlow,
    AnnealedLangevin,
    GDDIMCorrected,
    PredictorCorrector,
    RungeKutta,
    Sampler,
    ancestral,
    ddim,
    euler_maruyama,
    exponential_integrator,
    gddim,
    gddim_stochastic,
    ipndm,
    probability_flow,
    reverse_diffusion,
    rhoab_deis,
    rhork_deis,
    tab_deis,
)

PROCESSES: dict[ProcessName, LinearSDE] = {
    "VE": VE(),
    "VP": VP(),
    "cosine VP": CosineVP(),
    "sub-VP": SubVP(),
    "CLD": CLD(),
    "BDM": Blurring((8, 8)),
}


def grid(process: LinearSDE, n: int) -> Tensor:
    """One rule for a process, whatever the sampler: VE's noise levels are geometric in t already; the others take quadratic times."""
    return grids.uniform(process, n) if isinstance(process, VE) else grids.quadratic(process, n)


def annealed_langevin(process: LinearSDE, times: Tensor) -> AnnealedLangevin:
    """Five steps a level, each of half the level's variance."""
    variance = process.Sigma(float(times[-1])).values.flatten()[0].item()
    return AnnealedLangevin(process, times, size=variance / 2, steps_per_level=5)


Make = Callable[[LinearSDE, Tensor], Sampler]
STOCHASTIC: dict[str, Make] = {
    "EM": euler_maruyama,
    "reverse diffusion": reverse_diffusion,
    "ancestral": ancestral,
    "DDIM eta=0.5": partial(ddim, eta=0.5),
    "gDDIM lambda=0.5": partial(gddim_stochastic, lam=0.5),
    "PC": PredictorCorrector,
    "annealed Langevin": annealed_langevin,
    "SSCS": SSCS,
}
DETERMINISTIC: dict[str, Make] = {
    "Euler": partial(euler_maruyama, lam=0.0),
    "probability flow": probability_flow,
    "Heun": partial(RungeKutta, tableau="heun2"),
    "RK45": AdaptiveFlow,
    "DDIM": ddim,
    "EI-score": partial(exponential_integrator, factor="I"),
    "tAB3": partial(tab_deis, order=3),
    "rhoAB3": partial(rhoab_deis, order=3),
    "rho4RK": partial(rhork_deis, tableau="rk4"),
    "iPNDM": ipndm,
    "gDDIM-1": partial(gddim, order=1),
    "gDDIM-3": partial(gddim, order=3),
    "gDDIM-2 corrected": partial(GDDIMCorrected, order=2),
}
METHODS = STOCHASTIC | DETERMINISTIC


def applies(make: Make, process: LinearSDE) -> bool:
    """Whether the sampler accepts the process."""
    try:
        make(process, grid(process, 4))
    except RescoreError as error:
        if "does not apply" not in str(error):
            raise
        return False
    return True
