"""gDDIM on CLD and on blurring diffusion: coefficients and samples."""

from __future__ import annotations

import torch
from torch import Tensor

from rescore.parity.deis import RIEMANN
from rescore.parity.table import Compare, Sheet
from rescore.processes import CLD, Blurring, grids
from rescore.processes.operators import Block
from rescore.samplers import AdaptiveFlow, GDDIMCorrected, ddim, euler_maruyama, gddim
from rescore.samplers.base import Multistep
from rescore.scores import GaussianMixture

EULER = ("their R by Euler's method with steps of 1e-5, the default, is off; by Runge-Kutta with 1e-6 we agree", 1e-2)
COVARIANCE = ("their covariance has F-hat on both sides, where the right one is to be transposed: it is not symmetric", 5.0)


def states(u: Tensor) -> Tensor:
    """(n, d, 2), x and v last, as (n, 2, d), and back."""
    return u.transpose(1, 2)


def cld(sheet: Sheet) -> None:
    """Coefficients of CLD, weights of gDDIM, and where its samplers end from one start."""
    process, t = CLD(), sheet["t"]
    sheet.compare("Psi(t, 0)", process.Psi(t, 0.0).values, "Psi", 1e-14, 0)
    sheet.compare("Psi back in time", process.Psi(t[:-1], t[1:]).values, "Psi_back", 1e-14, 0)
    sheet.compare("R", process.R(t).values, "R/rk_1e-6", 2e-9, 0)
    reason, bound = EULER
    sheet.compare("R by Euler's method", process.R(t).values, "R/euler_1e-5", 2e-9, 0, reason=reason, bound=bound)
    sheet.compare("Sigma", process.Sigma(t).values, "Sigma/rk_1e-6", 4e-9, 0)
    sheet.compare("L", process.L(t).values, "L", 2e-9, 0)
    exact = GaussianMixture(process, sheet["means"], sheet["stds"], sheet["weights"])
    u = states(sheet["u_T"])
    for n in (10, 20):
        times = grids.quadratic(process, n)
        sheet.compare(f"grid, {n} steps", times, f"grid/{n}", 1e-14, 0)
        for q in range(4):
            for factor in ("R", "L"):
                name = f"{factor}{q}/{n}"
                sampler = gddim(process, times, q + 1, factor)
                ours = _coefficients(sampler, q + 1)
                if f"coef_fine/{name}" in sheet:
                    sheet.compare(f"weights without the error of their sum, {name}", ours, f"coef_fine/{name}", 3e-7, 1)
                sheet.compare(f"weights, {name}", ours, f"coef/{name}", 3e-7, 1, reason=RIEMANN, bound=5e-4)
                if f"sample_fine/{name}/plain" in sheet:
                    sheet.compare(
                        f"samples without it, {name}", states(sampler(exact, u)), f"sample_fine/{name}/plain", 2e-6, 2
                    )
                _with_weights(sampler, sheet[f"coef/{name}"])
                sheet.compare(f"samples with their weights, {name}", states(sampler(exact, u)), f"sample/{name}/plain", 1e-5, 2)
            if q:
                corrected = GDDIMCorrected(process, times, q + 1)
                ours = torch.zeros(n, q + 1, 2, 2, dtype=torch.float64)
                for i, weights in enumerate(corrected.corrections):
                    ours[i, : len(weights)] = torch.stack([weight.values for weight in weights])
                sheet.compare(
                    f"weights of the corrector, {q}/{n}", ours, f"coef/corrector{q}/{n}", 3e-7, 1, reason=RIEMANN, bound=5e-4
                )
        euler = euler_maruyama(process, times, lam=0.0)
        sheet.compare(
            f"Euler's method on the flow, {n} steps", states(euler(exact, u)), f"sample/euler_flow/{n}/plain", 1e-12, 2
        )
    flow = AdaptiveFlow(process, [1.0, 1e-3], 1e-7)
    sheet.compare("adaptive flow at 1e-7", states(flow(exact, u)), "sample/ode_1e-7", 1e-4, 2)
    times = grids.quadratic(process, 10)
    s, end = times[:-1], times[1:]
    for text in ("0.3", "1"):
        hat, psi = process.Psi_hat(end, s, float(text)), process.Psi(end, s)
        theirs = sheet[f"lambda{text}/order0/10"]
        sheet.compare(f"Psi-hat, lambda {text}", hat.values, f"lambda{text}/hat_psi/10", 1e-4, 0)
        sheet.compare(f"weight of the noise, lambda {text}", ((hat - psi) @ process.R(s)).values, theirs[:, 1], 1e-5, 0)
        covariance = process.Sigma(end) - hat @ process.Sigma(s) @ hat.T
        reason, bound = COVARIANCE
        sheet.compare(f"covariance, lambda {text}", covariance.values, theirs[:, 3], 1e-5, 0, reason=reason, bound=bound)


def _coefficients(sampler: Multistep, count: int) -> Tensor:
    found = torch.zeros(sampler.steps, 1 + count, 2, 2, dtype=torch.float64)
    for i in range(sampler.steps):
        values = [sampler.transfer[i].values, *(weight.values for weight in sampler.weights[i])]
        found[i, : len(values)] = torch.stack(values)
    return found


def _with_weights(sampler: Multistep, theirs: Tensor) -> None:
    for i, row in enumerate(theirs):
        sampler.transfer[i] = Block(row[0])
        sampler.weights[i] = [Block(weight) for weight in row[1 : 1 + len(sampler.weights[i])]]


def blurring(sheet: Sheet) -> None:
    """Coefficients of the blurring process, its DCT, perturbed images, and where its samplers end."""
    process, t = Blurring((32, 32)), sheet["t"]
    rows, columns = sheet["rows"][:, None], sheet["columns"]
    sheet.compare("alpha", 1 - process.Sigma(t).values, "alpha", 1e-14, 0)
    sheet.compare("start of sampling", torch.tensor([process.T]), "sampling_T", 1e-6, 0)
    sheet.compare("mean", process.mean(t).values[:, rows, columns], "mean", 1e-14, 0)
    sheet.compare("std", process.R(t).values, "std", 1e-14, 0)
    sheet.compare("Psi", process.Psi(t[1:], t[:-1]).values[:, rows, columns], "Psi", 1e-14, 0)
    image = sheet["image"].permute(0, 3, 1, 2)
    sheet.compare("DCT", process.rotate(image).permute(0, 2, 3, 1), "dct", 1e-13, 1)
    for text in ("0.1", "0.5", "0.9"):
        mean = process.unrotate(process.mean(float(text))(process.rotate(image)))
        found = mean + process.R(float(text))(sheet["noise"].permute(0, 3, 1, 2))
        sheet.compare(f"perturbed image, t = {text}", found.permute(0, 2, 3, 1), f"perturbed/{text}", 1e-13, 0)
    exact = GaussianMixture(process, process.unrotate(sheet["mean_0"])[None, None], sheet["variance_0"].sqrt()[None, None])
    y = sheet["y_T"].permute(0, 3, 1, 2)
    for kappa in (1, 2):
        for n in (10, 20):
            times = grids.power(process, n, float(kappa))
            sheet.compare(f"grid ts{kappa}, {n} steps", times, f"grid/ts{kappa}/{n}", 1e-6, 2)
            for name, make in (("ddim", ddim), ("gddim", gddim)):
                found = process.project(make(process, times)(exact, y)).permute(0, 2, 3, 1)
                sheet.compare(f"{name} on ts{kappa}, {n} steps, samples", found, f"sample/ts{kappa}/{n}", 1e-6, 2)


COMPARISONS: dict[str, Compare] = {"gddim_cld": cld, "gddim_blurring": blurring}
