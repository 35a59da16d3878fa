"""The rows and columns of the matrix: samplers and the processes they apply to."""

from rescore.processes import CLD, VE, VP, Blurring, CosineVP, LinearSDE, SubVP, grids
from rescore.samplers import (
    Method,
    adaptive_flow,
    adaptive_sde,
    analytic_ddim,
    ancestral,
    annealed_langevin,
    ddim,
    euler_maruyama,
    exponential_integrator,
    gddim,
    gddim_corrected,
    gddim_stochastic,
    ipndm,
    ito_taylor,
    pndm,
    predictor_corrector,
    probability_flow,
    reverse_diffusion,
    rhoab_deis,
    rhork_deis,
    runge_kutta,
    sscs,
    tab_deis,
)
from torch import Tensor

from reproductions.sampler_matrix.config import ProcessName

PROCESSES: dict[ProcessName, LinearSDE] = {
    "VE": VE(),
    "VP": VP(),
    "cosine VP": CosineVP(),
    "sub-VP": SubVP(),
    "CLD": CLD(),
    "BDM": Blurring((8, 8)),
}
STOCHASTIC: dict[str, Method] = {
    "EM": euler_maruyama,
    "reverse diffusion": reverse_diffusion,
    "ancestral": ancestral,
    "DDIM eta=0.5": ddim.where(eta=0.5),
    "gDDIM lambda=0.5": gddim_stochastic.where(lam=0.5),
    "PC": predictor_corrector,
    "annealed Langevin": annealed_langevin.where(steps_per_level=5),
    "SSCS": sscs,
    "A-DDIM": analytic_ddim.where(half_range=1.0),
    "Ito-Taylor": ito_taylor,
    "adaptive SDE": adaptive_sde.where(atol=None),
}
DETERMINISTIC: dict[str, Method] = {
    "Euler": euler_maruyama.where(lam=0.0),
    "probability flow": probability_flow,
    "Heun": runge_kutta.where(tableau="heun2"),
    "RK45": adaptive_flow,
    "DDIM": ddim,
    "EI-score": exponential_integrator.where(factor="I"),
    "tAB3": tab_deis.where(order=3),
    "rhoAB3": rhoab_deis.where(order=3),
    "rho4RK": rhork_deis.where(tableau="rk4"),
    "PNDM": pndm,
    "iPNDM": ipndm,
    "gDDIM-1": gddim.where(order=1),
    "gDDIM-3": gddim.where(order=3),
    "gDDIM-2 corrected": gddim_corrected.where(order=2),
    "quasi-Taylor": ito_taylor.where(lam=0.0),
}
METHODS = STOCHASTIC | DETERMINISTIC


def grid(process: LinearSDE, n: int) -> Tensor:
    """One rule for a process, whatever the sampler: VE's noise levels are geometric in t; others take quadratic times."""
    return grids.uniform(process, n) if isinstance(process, VE) else grids.quadratic(process, n)


def options(method: str, process: LinearSDE) -> dict[str, float]:
    """Annealed Langevin's step is half of the last level's variance; the others need none."""
    variance = process.Sigma(process.eps).values.flatten()[0].item()
    return {"size": variance / 2} if method == "annealed Langevin" else {}
