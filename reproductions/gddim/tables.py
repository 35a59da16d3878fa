"""The cells of Prop. 7 and of Tables 7.1 to 7.3, and their places, for exact scores and trained networks alike."""

from collections.abc import Iterator, Sequence
from itertools import product

from rescore.experiments.axes import Axes
from rescore.models.evaluate import Sampling
from rescore.processes import LinearSDE
from rescore.processes.grids import quadratic, rho_power
from rescore.samplers import (
    HeldToEvaluations,
    Method,
    adaptive_flow,
    ancestral,
    euler_maruyama,
    gddim,
    gddim_corrected,
    gddim_stochastic,
    runge_kutta,
    within_budget,
)
from rescore.samplers.base import OneStep
from rescore.samplers.method import method

from reproductions.gddim.config import Corrected, Factors, Grid, Held, Lambdas, Recovery

MODELS = {"DDPM": "vp", "BDM": "bdm", "CLD": "cld"}
PREDICTOR_ORDERS, MAIN_ORDER = (1, 2, 3), 3  # the printed rows of Table 7.1 are taken to have 3 steps
GRID_ORDERS = {"DDPM": 4, "BDM": 3, "CLD": 3}  # Table 7.3 does not say how many steps; README.md says why these
FACTOR, FACTOR_AND_ORDER, LAM = Axes("K={factor}"), Axes("K={factor}, q={order}"), Axes("lam={lam:g}")
QTH, AT_MOST = Axes("q={order}"), Axes("{process}, at most {nfe}")
WITH_FACTOR, TOLERANCE = Axes("{process}, K={factor}"), Axes("{process}, tolerance {tolerance:g}")


def predictor(factor: str, order: int) -> str:
    """The variant of a row of Table 7.1."""
    return FACTOR(factor=factor) if order == MAIN_ORDER else FACTOR_AND_ORDER(factor=factor, order=order)


@method()
def released_euler_maruyama(process: LinearSDE, times: Sequence[float], lam: float, denoise: str = "none") -> OneStep:
    """Euler-Maruyama with (1 + lam) / 2 before the score, where eq. 7.6 has (1 + lam^2) / 2."""
    sampler = euler_maruyama(process, times, lam, denoise)
    sampler.B = [b * ((1 + lam) / (1 + lam**2)) for b in sampler.B]
    return sampler


STOCHASTIC = {"gDDIM": gddim_stochastic, "EM": euler_maruyama, "EM as released": released_euler_maruyama}  # Table 7.2


def _sampling(
    table: str,
    row: str,
    variant: str,
    model: str,
    make: Method,
    process: LinearSDE,
    nfe: int,
    times=quadratic,
    denoise: str = "none",
) -> Sampling:
    sampler = within_budget(make, process, times, nfe, denoise=denoise)
    return Sampling(table, row, variant, model, sampler, {"grid": times.__name__, **make.options})


def recovery(settings: Recovery, name: str, process: LinearSDE) -> Iterator[Sampling]:
    """Prop. 7 on one process: gDDIM, under L_t too where that differs from R_t, and Euler's method."""
    rows = {("gDDIM", WITH_FACTOR(process=name, factor=k)): gddim.where(factor=k) for k in ("RL" if name == "CLD" else "R")}
    rows["Euler", name] = euler_maruyama.where(lam=0.0)
    for ((row, variant), make), steps in product(rows.items(), settings.steps):
        sampler = make(process, quadratic(process, steps))
        yield Sampling("prop7", row, variant, MODELS[name], sampler, {"grid": "quadratic", **make.options})


def factors(settings: Factors, process: LinearSDE, orders: Sequence[int], naive_euler: bool = False) -> Iterator[Sampling]:
    """Table 7.1, CLD: predictors under R_t and L_t; and Euler's method on the probability flow (section 7.1)."""
    for factor, order, nfe in product(("R", "L"), orders, settings.nfes):
        make = gddim.where(order=order, factor=factor)
        yield _sampling("7.1", "gDDIM", predictor(factor, order), "cld", make, process, nfe, denoise="euler")
    for nfe in settings.euler_nfes if naive_euler else ():
        yield _sampling("7.1", "Euler", "CLD", "cld", euler_maruyama.where(lam=0.0), process, nfe, denoise="euler")


def lambdas(settings: Lambdas, process: LinearSDE) -> Iterator[Sampling]:
    """Table 7.2, CLD, and Euler-Maruyama with the drift of the released code."""
    for (row, make), lam in product(STOCHASTIC.items(), settings.values):
        yield _sampling("7.2", row, LAM(lam=lam), "cld", make.where(lam=lam), process, settings.nfe, denoise="euler")


def grid(settings: Grid, name: str, process: LinearSDE) -> Iterator[Sampling]:
    """Table 7.3 for one process: its printed rows but RK45, and each sampler where none is printed."""
    samplers = {
        "gDDIM": (gddim.where(order=GRID_ORDERS[name]), quadratic),
        "gDDIM, q=1": (gddim.where(order=1), quadratic),
        "EM": (euler_maruyama, quadratic),
        "Ancestral": (ancestral, quadratic),
        "Prob.Flow Heun": (runge_kutta.where(tableau="heun2", clock="t"), quadratic),
    }
    printed = {"gDDIM", "Ancestral" if name == "BDM" else "EM"}  # RK45, and Heun for it, converge long before
    if name == "DDPM":
        samplers["2nd Heun"] = (runge_kutta.where(tableau="heun2", clock="rho"), rho_power)
        printed.add("2nd Heun")
    cells = [(row, nfe) for row in samplers for nfe in settings.nfes]
    cells += [(row, settings.long_nfe) for row in samplers if settings.long_nfe and row in printed]
    for row, nfe in cells:
        make, times = samplers[row]
        yield _sampling("7.3", row, name, MODELS[name], make, process, nfe, times)


def adaptive(settings: Grid, name: str, process: LinearSDE) -> Iterator[Sampling]:
    """RK45 of Table 7.3: it takes as many evaluations as its tolerance asks for."""
    for tolerance in settings.tolerances:
        sampler = adaptive_flow(process, [process.T, process.eps], tolerance=tolerance)
        protocol = {"grid": "adaptive", "rtol": tolerance, "atol": tolerance}
        yield Sampling("7.3", "Prob.Flow RK45", TOLERANCE(process=name, tolerance=tolerance), MODELS[name], sampler, protocol)


def corrected(settings: Corrected, process: LinearSDE) -> Iterator[Sampling]:
    """Section 7.4.1 on CLD: the q-step predictor with a corrector, and alone with as many evaluations."""
    for order, nfe in product(settings.orders, settings.nfes):
        for name, make in (("predictor-corrector", gddim_corrected), ("predictor", gddim)):
            yield _sampling("7.4.1", name, QTH(order=order), "cld", make.where(order=order), process, nfe, denoise="euler")


def held(settings: Held, name: str, process: LinearSDE) -> Iterator[Sampling]:
    """RK45 of Table 7.3 at the tightest tolerance that takes at most the printed evaluations."""
    for nfe in settings.nfes:
        sampler = HeldToEvaluations(process, [process.T, process.eps], adaptive_flow, nfe)
        how = {"grid": "adaptive", "tolerance": "tightest within"}
        yield Sampling("7.3", "Prob.Flow RK45", AT_MOST(process=name, nfe=nfe), MODELS[name], sampler, how)
