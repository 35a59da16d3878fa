"""The samplers of chapter 6 under the names it gives them."""

import math
from collections.abc import Iterator
from itertools import product

from rescore.models.evaluate import Sampling
from rescore.processes import LinearSDE
from rescore.processes.grids import NAMED as GRIDS
from rescore.samplers import Method, euler_maruyama, exponential_integrator, ipndm, rhoab_deis, rhork_deis, tab_deis

from reproductions.deis.config import Ingredients, Table

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
