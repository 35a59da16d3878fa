"""The samplers of chapter 6 under the names it gives them."""

import math
from collections.abc import Iterator
from functools import partial
from itertools import product

from rescore.experiments.axes import Axes
from rescore.models.evaluate import Sampling
from rescore.processes import LinearSDE
from rescore.processes.grids import NAMED as GRIDS
from rescore.processes.grids import by_variances, step_quadratic
from rescore.samplers import (
    HeldToEvaluations,
    Method,
    adaptive_flow,
    adaptive_sde,
    analytic_ddim,
    ancestral,
    ddim,
    euler_maruyama,
    exponential_integrator,
    ipndm,
    ito_taylor,
    pndm,
    rhoab_deis,
    rhork_deis,
    tab_deis,
    with_noise_powers,
    within_budget,
)
from torch import Tensor

from reproductions.deis.config import Ingredients, Rivals, Table, Tableaus

# The columns of Table 6.2, in its order.
TABLE_METHODS: dict[str, Method] = {
    "DDIM": tab_deis.where(order=0),
    "rho2Heun": rhork_deis.where(tableau="heun2"),
    "rho3Kutta": rhork_deis.where(tableau="kutta3"),
    "rho4RK": rhork_deis.where(tableau="rk4"),
    **{f"rhoAB{r}": rhoab_deis.where(order=r) for r in (1, 2, 3)},
    **{f"tAB{r}": tab_deis.where(order=r) for r in (1, 2, 3)},
}
# The ingredients of figs. 6.3 to 6.5; "EI-eps" is DDIM.
INGREDIENTS: dict[str, Method] = {
    "Euler": euler_maruyama.where(lam=0.0),
    "EI-score": exponential_integrator.where(degree=0, factor="I"),
    "EI-eps": TABLE_METHODS["DDIM"],
    **{name: TABLE_METHODS[name] for name in ("tAB1", "tAB2", "tAB3", "rhoAB3")},
}
# Fig. 6.5 on a network: ingredients and rivals, the stochastic ones without the last step's noise; fig. 6.7's other rivals.
LADDER: dict[str, Method] = {
    **{name: INGREDIENTS[name] for name in ("Euler", "EI-score", "EI-eps", "tAB3")},
    "EM": euler_maruyama.where(denoise="mean"),
}
OTHERS: dict[str, Method] = {
    "DDPM": ancestral.where(denoise="mean"),
    "A-DDIM": analytic_ddim.where(half_range=1.0, denoise="mean"),
    "PNDM": pndm,
    "iPNDM": ipndm,
    "Ito-Taylor": ito_taylor.where(denoise="mean"),
}
# FastDPM: an approximate diffusion (its levels) and a reverse process, whose last step ends in the data.
FASTDPM: dict[str, Method] = {
    f"FastDPM {n}": ddim.where(eta=k, denoise="tweedie") for n, k in (("DDIM-rev", 0.0), ("DDPM-rev", 1.0))
}
LEVELS = {
    "VAR linear": by_variances,
    "VAR quadratic": partial(by_variances, kappa=2.0),
    "STEP linear": GRIDS["uniform"],
    "STEP quadratic": step_quadratic,
}
ADAPTIVE: dict[str, Method] = {"RK45": adaptive_flow, "adaptive SDE": adaptive_sde.where(denoise="tweedie")}
AT_MOST = Axes("at most {nfe}")
SECOND_ORDER: dict[str, Method] = {
    f"rho2{name}": rhork_deis.where(tableau=f"{name.lower()}2") for name in ("Heun", "Midpoint", "Ralston")
}
# Whose order of convergence is measured.
ORDERED: dict[str, Method] = {**{name: INGREDIENTS[name] for name in ("Euler", "EI-score")}, **TABLE_METHODS, "iPNDM": ipndm}


def place(column: str) -> dict[str, str]:
    """The key of a column of Table 6.2."""
    return {"method": "DDIM", "variant": ""} if column == "DDIM" else {"method": "DEIS", "variant": column}


def table_cells(table: Table, process: LinearSDE, t0: float) -> Iterator[Sampling]:
    """Table 6.2, row by row."""
    for row in table.rows:
        for name, method in TABLE_METHODS.items():
            steps = math.ceil(row / method.evaluations_per_step)
            sampler = method(process, GRIDS[table.grid](process, steps, t0=t0))
            yield Sampling("6.2", **place(name), model="vp", sampler=sampler, protocol={"grid": table.grid})


def ingredient_cells(ingredients: Ingredients, process: LinearSDE, t0: float) -> Iterator[Sampling]:
    """Figs. 6.3 and 6.5."""
    for grid, nfe, (name, method) in product(ingredients.grids, ingredients.nfes, INGREDIENTS.items()):
        sampler = method(process, GRIDS[grid](process, nfe, t0=t0))
        yield Sampling("fig6.5", name, grid, "vp", sampler, {"grid": grid})


def rival_cells(rivals: Rivals, process: LinearSDE, t0: float, images: Tensor) -> Iterator[Sampling]:
    """Figs. 6.5 and 6.7 on a network. Fixed steps on every grid; adaptive methods at the tightest tolerance within a budget.

    Args:
        images: of the training data, (n, C, H, W) in [-1, 1]: A-DDIM's variances are estimated with them.
    """
    cells = [("fig6.5", name, method) for name, method in LADDER.items()]
    cells += [("fig6.7", name, method) for name, method in OTHERS.items()]
    for grid, nfe, (table, name, method) in product(rivals.grids, rivals.nfes, cells):
        sampler, protocol = within_budget(method, process, partial(GRIDS[grid], t0=t0), nfe), {"grid": grid}
        prepare = partial(with_noise_powers, method, sampler, images, ("deis", "A-DDIM")) if name == "A-DDIM" else None
        protocol |= {"variances": f"from {len(images)} images"} if prepare else {}
        yield Sampling(table, name, grid, "vp", sampler, protocol, prepare=prepare)
    for nfe, (name, method) in product(rivals.nfes, ADAPTIVE.items()):
        sampler, how = (
            HeldToEvaluations(process, [process.T, t0], method, nfe),
            {"grid": "adaptive", "tolerance": "tightest within"},
        )
        yield Sampling("fig6.5", name, AT_MOST(nfe=nfe), "vp", sampler, how)
    for nfe, (levels, grid), (name, method) in product(rivals.nfes, LEVELS.items(), FASTDPM.items()):
        sampler = within_budget(method, process, partial(grid, t0=t0), nfe)
        yield Sampling("fig6.7", name, levels, "vp", sampler, {"grid": levels})


def tableau_cells(tableaus: Tableaus, process: LinearSDE, t0: float) -> Iterator[Sampling]:
    """Second-order Runge-Kutta methods in rho, on quadratic times."""
    for nfe, (name, method) in product(tableaus.nfes, SECOND_ORDER.items()):
        sampler = method(process, GRIDS["quadratic"](process, nfe // 2, t0=t0))
        yield Sampling("section6.5", name, "", "vp", sampler, {"grid": "quadratic"})
