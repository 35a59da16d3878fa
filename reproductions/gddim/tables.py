"""The cells of Tables 7.1 to 7.3: method, variant and sampler, for exact scores and trained networks alike."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from reproductions.gddim.config import Config
from rescore.processes import LinearSDE
from rescore.processes.grids import quadratic, rho_power
from rescore.samplers import RungeKutta, Sampler, ancestral, euler_maruyama, gddim, gddim_stochastic, within_budget
from rescore.samplers.base import OneStep

# Table 7.3 does not say how many steps its predictors have; README.md says why these.
GRID_ORDERS = {"DDPM": 4, "BDM": 3, "CLD": 3}


@dataclass(frozen=True)
class TableCell:
    """A sampler with its place in a table; `options` are what its protocol says of it."""

    method: str
    variant: str
    sampler: Sampler
    options: dict[str, Any]


def factors(config: Config, process: LinearSDE, orders: Sequence[int]) -> Iterator[TableCell]:
    """Table 7.1: predictors under R_t and L_t; the printed rows are taken to have 3 steps."""
    for factor in ("R", "L"):
        for order in orders:
            for nfe in config.factor_nfes:
                options = {"order": order, "factor": factor}
                sampler = within_budget(gddim, process, quadratic, nfe, **options, denoise="euler")
                yield TableCell("gDDIM", f"K={factor}" if order == 3 else f"K={factor}, q={order}", sampler, options)


def naive_euler(config: Config, process: LinearSDE) -> Iterator[TableCell]:
    for nfe in config.euler_nfes:
        sampler = within_budget(euler_maruyama, process, quadratic, nfe, lam=0.0, denoise="euler")
        yield TableCell("Euler", "CLD", sampler, {"lam": 0.0})


def lambdas(config: Config, process: LinearSDE) -> Iterator[TableCell]:
    """Table 7.2, and Euler-Maruyama with the drift of the released code."""
    methods = {"gDDIM": gddim_stochastic, "EM": euler_maruyama, "EM as released": released_euler_maruyama}
    for method, make in methods.items():
        for lam in config.lambdas:
            sampler = within_budget(make, process, quadratic, config.lambda_nfe, lam=lam, denoise="euler")
            yield TableCell(method, f"lam={lam:g}", sampler, {"lam": lam})


def released_euler_maruyama(process: LinearSDE, times: Sequence[float], lam: float, denoise: str = "none") -> OneStep:
    """Euler-Maruyama with (1 + lam) / 2 before the score, where eq. 7.6 has (1 + lam^2) / 2."""
    sampler = euler_maruyama(process, times, lam, denoise)
    sampler.B = [b * ((1 + lam) / (1 + lam**2)) for b in sampler.B]
    return sampler


def grid(config: Config, name: str, process: LinearSDE) -> Iterator[TableCell]:
    """Table 7.3 for one process: its printed rows but RK45, and each sampler where none is printed."""
    samplers = {
        "gDDIM": (gddim, quadratic, {"order": GRID_ORDERS[name]}),
        "gDDIM, q=1": (gddim, quadratic, {"order": 1}),
        "EM": (euler_maruyama, quadratic, {}),
        "Ancestral": (ancestral, quadratic, {}),
        "Prob.Flow Heun": (RungeKutta, quadratic, {"tableau": "heun2", "clock": "t"}),
    }
    printed = {"gDDIM", "Ancestral" if name == "BDM" else "EM"}  # RK45, and Heun for it, converge long before
    if name == "DDPM":
        samplers["2nd Heun"] = (RungeKutta, rho_power, {"tableau": "heun2", "clock": "rho"})
        printed.add("2nd Heun")
    cells = [(method, nfe) for method in samplers for nfe in config.grid_nfes]
    cells += [(method, config.long_nfe) for method in samplers if config.long_nfe and method in printed]
    for method, nfe in cells:
        make, times, options = samplers[method]
        sampler = within_budget(make, process, times, nfe, **options)
        yield TableCell(method, name, sampler, {"grid": times.__name__} | options)
