"""DEIS: grids, coefficients and samples."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from rescore.parity.table import Compare, Sheet
from rescore.processes import VP, CosineVP, grids
from rescore.processes.operators import Diagonal
from rescore.samplers import Method, ddim, ipndm, rhoab_deis, rhork_deis, tab_deis
from rescore.samplers.base import Multistep
from rescore.scores import GaussianMixture

GRIDS: dict[str, Callable[[VP, int], Tensor]] = {
    "t1": grids.uniform,
    "t2": grids.quadratic,
    "t3": partial(grids.power, kappa=3.0),
    "log1": grids.log_rho,
    "rho7": grids.rho_power,
}
RUNGE_KUTTA = {"rho2heun": "heun2", "rho3kutta": "kutta3", "rho4rk": "rk4"}
RIEMANN = "they integrate weights by a left Riemann sum of 10000 points; against the same function without its error we agree"
COSINE = ("their cosine alpha is not divided by its value at 0", 2e-4)


def deis(sheet: Sheet) -> None:
    """Time grids, weights of the multistep rules, and where the samplers end from one start."""
    process = VP()
    for n in (5, 10):
        for name, grid in GRIDS.items():
            sheet.compare(f"grid {name}, {n} steps", grid(process, n), f"grid/{name}/{n}", 1e-14, 1)
        times = grids.quadratic(process, n)
        sheet.compare(f"rho, {n} steps", process.rho(times), f"rho/{n}", 1e-14, 3)
        for order in range(4):
            ours = _coefficients(tab_deis(process, times, order), order + 1)
            sheet.compare(
                f"tAB{order}, {n} steps, weights without the error of their sum", ours, f"coef_fine/tab{order}/{n}", 1e-9, 2
            )
            sheet.compare(f"tAB{order}, {n} steps, weights", ours, f"coef/tab{order}/{n}", 1e-9, 2, reason=RIEMANN, bound=5e-4)
            sampler = rhoab_deis(process, times, order)
            weights = _coefficients(sampler, order + 1)[:, 1:] / process.mean(times).values[1:, None]
            exact: dict[str, Any] = {"reason": RIEMANN, "bound": 2e-6} if order else {}
            sheet.compare(f"rhoAB{order}, {n} steps, weights in rho", weights, f"coef/rhoab{order}/{n}", 1e-12, 2, **exact)
    score = GaussianMixture(process, sheet["means"], sheet["stds"], sheet["weights"])
    for n in (5, 10):
        for name in ("t2", "rho7"):
            times = GRIDS[name](process, n)
            methods: dict[str, Method] = {f"tab{q}": tab_deis.where(order=q) for q in range(4)}
            methods |= {f"rhoab{q}": rhoab_deis.where(order=q) for q in range(4)}
            methods |= {theirs: rhork_deis.where(tableau=ours) for theirs, ours in RUNGE_KUTTA.items()} | {"rho1euler": ddim}
            for theirs, make in methods.items():
                bound = 5e-3 if theirs.startswith("tab") else 2e-5 if theirs[:5] == "rhoab" and theirs != "rhoab0" else 0.0
                sampler = make(process, times)
                found = sampler(score, sheet["x_T"])
                sheet.compare(
                    f"{theirs} on {name}, {n} steps, samples",
                    found,
                    f"sample/{theirs}/{name}/{n}",
                    1e-12,
                    0,
                    reason=RIEMANN if bound else "",
                    bound=bound,
                )
                if bound and name == "t2":
                    _with_weights(
                        sampler, sheet[f"coef/{theirs}/{n}"], process.mean(times).values[1:] if theirs[:3] == "rho" else None
                    )
                    found = sampler(score, sheet["x_T"])
                    sheet.compare(
                        f"{theirs} on {name}, {n} steps, samples with their weights",
                        found,
                        f"sample/{theirs}/{name}/{n}",
                        1e-12,
                        0,
                    )
        found = ipndm(process, grids.uniform(process, n))(score, sheet["x_T"])
        sheet.compare(f"iPNDM, {n} steps, samples", found, f"sample/ipndm/t1/{n}", 1e-12, 0)
    t = sheet["alpha/t"]
    sheet.compare("alpha, linear beta", process.mean(t).values ** 2, "alpha/linear", 1e-14, 3)
    reason, bound = COSINE
    cosine = CosineVP(T=0.9999).mean(t).values ** 2
    sheet.compare("alpha, cosine", cosine, "alpha/cos", 1e-12, 3, reason=reason, bound=bound)
    sheet.compare(
        "alpha, cosine, both as shares of that at the first time",
        cosine / cosine[0],
        sheet["alpha/cos"] / sheet["alpha/cos"][0],
        1e-12,
        3,
    )


def _coefficients(sampler: Multistep, count: int) -> Tensor:
    """Psi and the weights, latest first, (N, 1 + count): 0 where the start has fewer."""
    found = torch.zeros(sampler.steps, 1 + count, dtype=torch.float64)
    for i in range(sampler.steps):
        values = [sampler.transfer[i].values, *(weight.values for weight in sampler.weights[i])]
        found[i, : len(values)] = torch.stack(values)
    return found


def _with_weights(sampler: Multistep, theirs: Tensor, mean: Tensor | None) -> None:
    """Put their weights in place of ours: Psi and those of t, or those of rho, which count in units of the mean."""
    for i, row in enumerate(theirs):
        if mean is None:
            sampler.transfer[i] = Diagonal(row[0])
        weights = row[1:] if mean is None else row * mean[i]
        sampler.weights[i] = [Diagonal(weight) for weight in weights[: len(sampler.weights[i])]]


COMPARISONS: dict[str, Compare] = {"deis": deis}
