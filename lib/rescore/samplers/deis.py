"""DEIS: exponential integrators on the probability flow with polynomials in t or rho (thesis chapter 6).

References:
    thesis, chapter 6: DEIS, arXiv:2204.13902.
"""

from typing import Literal

from rescore.errors import RescoreError
from rescore.processes import Isotropic, grids
from rescore.processes.base import Factor, LinearSDE, require
from rescore.samplers.base import Denoise, Multistep, Times, require_steps
from rescore.samplers.method import method
from rescore.samplers.ode import RungeKutta, runge_kutta
from rescore.samplers.weights import past, rho_weights, transfer_weights, warm_started


@method(order=lambda its: its.degree + 1)
def exponential_integrator(
    process: LinearSDE, times: Times, degree: int = 0, factor: Factor = "L", denoise: Denoise = "none"
) -> Multistep:
    """u <- Psi u + sum_j C_ij eps_{i+j}, with polynomials of this degree in t (thesis eqs. 6.14, 6.15).

    factor "I" and degree 0 is the integrator on the score itself (eq. 6.8, "ingredient 1"); "L" and degree 0 is eq. 6.11.
    One evaluation per step; the first steps use degrees 0, 1, ...
    """
    require_steps(times, degree + 1, f"an exponential integrator of degree {degree}")
    grid = grids.check(process, times)
    s, t = grid[:-1], grid[1:]

    def weights(steps: slice, count: int):
        return transfer_weights(process, s[steps], t[steps], past(grid, steps, count), factor)

    return Multistep(process, grid, process.Psi(t, s), warm_started(len(s), degree, weights), process.K(s, factor), denoise)


@method(order=lambda its: its.order + 1)
def tab_deis(process: LinearSDE, times: Times, order: int = 3, denoise: Denoise = "none") -> Multistep:
    """tAB-DEIS of order 0 to 3 (thesis algorithm 5): noise under L_t, polynomials in t. Order 0 is DDIM on VP (Prop. 2)."""
    _check_order("tAB-DEIS", order)
    return exponential_integrator(process, times, order, "L", denoise)


@method(applies=Isotropic, order=lambda its: its.order + 1)
def rhoab_deis(process: LinearSDE, times: Times, order: int = 3, denoise: Denoise = "none") -> Multistep:
    """rhoAB-DEIS of order 0 to 3: Adams-Bashforth on dy/drho = eps (thesis eq. 6.17), polynomials in rho. Isotropic only."""
    process = require(process, Isotropic, "rhoAB-DEIS")
    _check_order("rhoAB-DEIS", order)
    require_steps(times, order + 1, f"rhoAB-DEIS of order {order}")
    grid = grids.check(process, times)
    rho, mean = process.rho(grid), process.mean(grid)

    def weights(steps: slice, count: int):
        return rho_weights(rho[:-1][steps], rho[1:][steps], past(rho, steps, count)) * mean.values[1:][steps, None]

    s, t = grid[:-1], grid[1:]
    return Multistep(process, grid, process.Psi(t, s), warm_started(len(s), order, weights), process.R(s), denoise)


@method(applies=Isotropic, order=runge_kutta.of_order, evaluations_per_step=runge_kutta.per_step)
def rhork_deis(
    process: LinearSDE,
    times: Times,
    tableau: Literal["heun2", "midpoint2", "ralston2", "kutta3", "rk4"] = "heun2",
    denoise: Denoise = "none",
) -> RungeKutta:
    """rhoRK-DEIS: a classical Runge-Kutta method on dy/drho = eps; 2, 3 or 4 evaluations per step. Isotropic only."""
    return RungeKutta(process, times, tableau, "rho", denoise)


def _check_order(method: str, order: int) -> None:
    if not 0 <= order <= 3:
        raise RescoreError(f"{method} order {order}: allowed are 0 to 3")
