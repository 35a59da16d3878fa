"""The exact-score problems, their probability-flow solutions, and the samplers of chapter 6 under the names it gives them."""

import math
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

from reproductions.deis.config import Config, DatasetName, GridName
from rescore.data.digits import load_digits
from rescore.processes import VP, grids
from rescore.processes.base import LinearSDE
from rescore.samplers import Sampler, euler_maruyama, exponential_integrator, ipndm, rhoab_deis, rhork_deis, tab_deis
from rescore.scores import EmpiricalData, GaussianMixture

MIXTURE_MEANS = (-1.0, 0.3, 1.2)
MIXTURE_STDS = {"mixture1d": 0.1, "mixture1d_narrow": 0.01}

GRIDS: dict[GridName, Callable[[LinearSDE, int, float], Tensor]] = {
    "uniform": lambda process, n, t0: grids.uniform(process, n, t0),
    "quadratic": lambda process, n, t0: grids.quadratic(process, n, t0),
    "rho7": lambda process, n, t0: grids.rho_power(process, n, 7.0, t0),
    "log-rho": lambda process, n, t0: grids.log_rho(process, n, t0),
}

# The columns of Table 6.2, in its order: evaluations per step and (process, times) -> sampler.
TABLE_METHODS: dict[str, tuple[int, Callable[[LinearSDE, Tensor], Sampler]]] = {
    "DDIM": (1, partial(tab_deis, order=0)),
    "rho2Heun": (2, partial(rhork_deis, tableau="heun2")),
    "rho3Kutta": (3, partial(rhork_deis, tableau="kutta3")),
    "rho4RK": (4, partial(rhork_deis, tableau="rk4")),
    **{f"rhoAB{r}": (1, partial(rhoab_deis, order=r)) for r in (1, 2, 3)},
    **{f"tAB{r}": (1, partial(tab_deis, order=r)) for r in (1, 2, 3)},
}
# The ingredients of figs. 6.3 to 6.5; "EI-eps" is DDIM.
INGREDIENTS: dict[str, Callable[[LinearSDE, Tensor], Sampler]] = {
    "Euler": partial(euler_maruyama, lam=0.0),
    "EI-score": partial(exponential_integrator, degree=0, factor="I"),
    "EI-eps": TABLE_METHODS["DDIM"][1],
    **{name: TABLE_METHODS[name][1] for name in ("tAB1", "tAB2", "tAB3", "rhoAB3")},
}
# Methods and their order of convergence; iPNDM's weights ignore that the transfer varies within a step.
ORDERS: dict[str, tuple[int, Callable[[LinearSDE, Tensor], Sampler]]] = {
    "Euler": (1, INGREDIENTS["Euler"]),
    "EI-score": (1, INGREDIENTS["EI-score"]),
    "DDIM": (1, INGREDIENTS["EI-eps"]),
    **{f"{family}{r}": (r + 1, TABLE_METHODS[f"{family}{r}"][1]) for family in ("tAB", "rhoAB") for r in (1, 2, 3)},
    **{name: (stages, TABLE_METHODS[name][1]) for name, stages in (("rho2Heun", 2), ("rho3Kutta", 3), ("rho4RK", 4))},
    "iPNDM": (2, ipndm),
}


def make_score(dataset: DatasetName, process: VP) -> GaussianMixture | EmpiricalData:
    """The exact score of a data set's name, in float64."""
    if dataset == "digits_exact":
        return EmpiricalData(process, load_digits())
    return GaussianMixture(process, torch.tensor(MIXTURE_MEANS, dtype=torch.float64)[:, None], MIXTURE_STDS[dataset])


def solve(process: VP, score: GaussianMixture | EmpiricalData, u: Tensor, times: list[float], steps: int) -> list[Tensor]:
    """The probability flow from u at T to each of the decreasing `times`.

    On the line the flow is monotone and keeps quantiles: F_t(u_t) = F_T(u_T), inverted to rounding. Elsewhere rho4RK, with
    `steps` steps in log rho from T to the last time.
    """
    if isinstance(score, GaussianMixture) and u[0].numel() == 1:
        return [_same_quantile(score, u, process.T, t) for t in times]
    ends = [process.T, *times]
    log_rho = torch.tensor([process.rho(t).log().item() for t in ends], dtype=torch.float64)
    states = []
    for start, end, low, high in zip(ends[:-1], ends[1:], log_rho[:-1], log_rho[1:], strict=True):
        n = math.ceil(steps * ((low - high) / (log_rho[0] - log_rho[-1])).item())
        grid = process.time_of_rho(torch.linspace(low.item(), high.item(), n + 1, dtype=torch.float64).exp())
        grid[0], grid[-1] = start, end
        u = rhork_deis(process, grid, "rk4")(score, u)
        states.append(u)
    return states


def _log_tail(score: GaussianMixture, u: Tensor, t: float, side: Tensor) -> Tensor:
    """log F_t(u) where side is 1, log (1 - F_t(u)) where it is -1; u and side (n,)."""
    mean, process = score.process.mean(t), score.process
    spread = (mean @ score.covariance @ mean.T + process.Sigma(t)).cholesky().values
    z = side[:, None] * (u[:, None] - mean(score.means).flatten()) / spread
    return (torch.special.log_ndtr(z) + score.weights.log()).logsumexp(1)


def _same_quantile(score: GaussianMixture, u: Tensor, s: float, t: float) -> Tensor:
    """The u_t with F_t(u_t) = F_s(u), by bisection on the smaller tail; (n, 1)."""
    u = u.flatten()
    below, above = (_log_tail(score, u, s, sign * torch.ones_like(u)) for sign in (1, -1))
    side, level = torch.where(below < above, 1.0, -1.0).to(u), torch.minimum(below, above)
    left, right = torch.full_like(u, -20.0), torch.full_like(u, 20.0)
    for _ in range(56):
        middle = (left + right) / 2
        too_low = (_log_tail(score, middle, t, side) - level) * side < 0
        left, right = torch.where(too_low, middle, left), torch.where(too_low, right, middle)
    return ((left + right) / 2)[:, None]


def table_cells(config: Config, process: VP) -> Iterator[tuple[str, str, Sampler]]:
    """Table 6.2: method, variant and sampler of each cell, row by row."""
    for row in config.table_rows:
        for name, (stages, make) in TABLE_METHODS.items():
            sampler = make(process, GRIDS[config.table_grid](process, math.ceil(row / stages), config.t0))
            yield *(("DDIM", "") if name == "DDIM" else ("DEIS", name)), sampler
