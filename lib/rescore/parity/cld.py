"""CLD-SGM: coefficients, perturbed data, losses, samplers and likelihood."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from rescore.likelihood import flow_log_prob
from rescore.networks import VelocityPrediction
from rescore.objectives import HSM, VelocityDSM
from rescore.objectives.matching import Weighting
from rescore.parity.networks import cld_states, of_sheet, unet
from rescore.parity.table import Compare, Played, Sheet, read_sheet
from rescore.processes import CLD, grids
from rescore.samplers import SSCS, AdaptiveFlow, Sampler, euler_maruyama
from rescore.samplers.base import Denoise
from rescore.samplers.sscs import analytic_part
from rescore.scores import GaussianMixture, Score

SETS = {
    "cifar": CLD(eps0=0.0, eps_num=1e-9),
    "beta": CLD(eps0=0.0, eps_num=1e-6, beta_min=0.1, beta_max=7.0),
    "raw": CLD(eps0=0.0),
}
ENDS: tuple[tuple[str, Denoise], ...] = (("denoised", "euler"), ("plain", "none"))
WEIGHTINGS: tuple[tuple[str, Weighting], ...] = (("reweightedv2", "simple"), ("likelihood", "likelihood"))
CANCELS = "their Sigma is a difference of close numbers at small t; ours is written without it"
HALVES = (
    "the second half of their step takes beta from its start: off where beta varies; with their integral we agree, next row",
    0.2,
)


def coefficients(sheet: Sheet) -> None:
    """Psi, the integral of beta, Sigma, L and the loss's weight of CLD at the sheet's times."""
    t = sheet["t"]
    late = t >= 1e-2
    for name, process in SETS.items():
        sheet.compare(f"{name}, Psi", process.mean(t).values, f"{name}/Psi", 1e-13)
        sheet.compare(f"{name}, integral of beta", process.B(t), f"{name}/beta_int", 1e-13)
        sheet.compare(f"{name}, weight of the loss", process.Gamma * process.beta(t), f"{name}/loss_multiplier", 1e-13)
        for objective, of in (("hsm", process), ("dsm", replace(process, gamma=0.0))):
            for what, ours, theirs in (
                ("Sigma", of.Sigma(t).values, sheet[f"{name}/{objective}/Sigma"]),
                ("ell", 1 / of.L(t).values[:, 1, 1], -sheet[f"{name}/{objective}/noise_multiplier"]),
            ):
                label = f"{name}, {objective}, {what}"
                share = (ours / theirs).masked_fill((theirs == 0) | (ours == 0), 1)
                one = torch.ones_like(share)
                allowed = 1e-10 if name == "beta" else 1e-12  # its integral of beta is 40 times smaller: theirs cancels sooner
                sheet.compare(f"{label}, t >= 0.01", share[late], one[late], allowed)
                early = (t >= 1e-5) & ~late
                sheet.compare(f"{label}, t < 0.01", share[early], one[early], 1e-12, reason=CANCELS, bound=1e-4)


def losses(sheet: Sheet) -> None:
    """Perturbed data and losses of HSM and DSM with the noise, times and network of the sheet."""
    x0, t, noise = sheet["x0"].double(), sheet["t"], cld_states(sheet["noise"]).double()
    start = sheet["v0_noise"].double()
    network = read_sheet(sheet.folder, "cld_network")
    for objective in ("hsm", "dsm"):
        process = SETS["cifar"] if objective == "hsm" else replace(SETS["cifar"], gamma=0.0)
        v0 = torch.zeros_like(x0) if objective == "hsm" else (0.04 * 0.25) ** 0.5 * start
        u = process.mean(t)(torch.stack((x0, v0), 1)) + process.L(t)(noise)
        sheet.compare(f"perturbed data, {objective}", u.flatten(1, 2), f"perturbed/{objective}", 1e-8)
        if network is None or not network.weights:
            continue
        model = VelocityPrediction(unet(of_sheet(network, "cld")), process, True, "time", SETS["cifar"])
        for name, weighting in WEIGHTINGS:
            make = HSM if objective == "hsm" else VelocityDSM
            found = make(weighting)._velocity_losses(model, process, t, torch.ones_like(t), u.float(), noise.float())
            # their likelihood weight is Gamma beta ell^2, ours half of 2 Gamma beta ell^2
            theirs = sheet[f"loss/{objective}/{name}/eps1e-09"].double()
            late = t > 1e-4
            sheet.compare(f"loss, {objective}, {name}, t > 1e-4", (found / theirs)[late], torch.ones_like(theirs)[late], 1e-5)


def samplers(sheet: Sheet) -> None:
    """The score of a mixture, and where Euler-Maruyama, SSCS and the ODE end from one start with one noise."""
    process = SETS["raw"]
    exact, noise = (
        GaussianMixture(process, sheet["means"], sheet["stds"], sheet["weights"]),
        cld_states_of_noise(sheet["noise"]),
    )
    found = torch.cat([exact(cld_states(sheet["score_u"])[i : i + 1], t) for i, t in enumerate(sheet["score_t"].tolist())])
    sheet.compare("score of a mixture", found.flatten(1, 2), "score", 1e-13)
    u = cld_states(sheet["u_T"])
    for steps in (10, 20):
        for striding, grid in (("linear", grids.uniform), ("quadratic", grids.quadratic_striding)):
            for end, denoise in ENDS:
                n = steps - (denoise == "euler")
                times = grid(process, n)
                em = euler_maruyama(process, times, denoise=denoise)
                sheet.compare(
                    f"em/{steps}/{striding}/{end}", played(em, exact, u, noise[:n]), f"em/{steps}/{striding}/{end}", 1e-10, 0
                )
                sscs = SSCS(process, times, denoise)
                sheet.compare(
                    f"sscs/{steps}/{striding}/{end}",
                    played(sscs, exact, u, noise[: 2 * n]),
                    f"sscs/{steps}/{striding}/{end}",
                    1e-10,
                    0,
                )
    varying = replace(process, beta_min=0.1, beta_max=7.0)
    exact = GaussianMixture(varying, sheet["means"], sheet["stds"], sheet["weights"])
    sscs = SSCS(varying, grids.quadratic_striding(varying, 9), "euler")
    name, (reason, bound) = "sscs/10/quadratic/denoised/beta_0.1_6.9", HALVES
    sheet.compare(name, played(sscs, exact, u, noise[:18]), name, 1e-10, 0, reason=reason, bound=bound)
    first = analytic_part(varying, (sscs.grid[:-1] + sscs.grid[1:]) / 2, sscs.grid[:-1])
    sscs.halves[1] = ([*first[0]], [*first[1].cholesky()])
    sheet.compare(f"{name}, both halves as their first", played(sscs, exact, u, noise[:18]), name, 1e-9, 0)
    exact = GaussianMixture(process, sheet["means"], sheet["stds"], sheet["weights"])
    for text, tolerance, allowed in (("1e-05", 1e-5, 1e-3), ("1e-09", 1e-9, 2e-7)):
        for end, denoise in ENDS:
            flow = AdaptiveFlow(process, [1.0, 1e-3], tolerance, denoise)
            sheet.compare(f"adaptive flow at {text}, {end}", flow(exact, u).flatten(1, 2), f"ode/tol{text}/{end}", allowed, 0)
    sheet.compare("linear grid", 1 - grids.uniform(process, 10), "grid/linear/10", 1e-14, 0)
    sheet.compare("quadratic grid", 1 - grids.quadratic_striding(process, 10), "grid/quadratic/10", 1e-14, 0)


def cld_states_of_noise(noise: Tensor) -> Tensor:
    """Noise of each step, (steps, n, 2 d) with x first, as (steps, n, 2, d)."""
    return noise.unflatten(2, (2, -1))


def played(sampler: Sampler, score: Score, u: Tensor, noise: Tensor) -> Tensor:
    """Where the sampler ends with this noise, x channels first."""
    return sampler.last(score, sampler.run(score, u, Played(*noise).draw)).flatten(1, 2)


def likelihood(sheet: Sheet) -> None:
    """The likelihood of (x, v) by the probability flow with an exact trace, and its latents."""
    process = SETS["raw"]
    exact = GaussianMixture(process, sheet["means"][:, None], sheet["stds"], sheet["weights"])
    u = sheet["u"][:, :, None]
    v = u[:, 1] / (process.gamma * process.M) ** 0.5
    flow = flow_log_prob(exact, process, u[:, 0], Played(v), "exact", 1e-5, 1e-8)
    joint = flow.log_prob + _log_normal(u[:, 1, 0], process.gamma * process.M)
    sheet.compare("-log p(x, v), exact trace", -joint, "nll_joint", 1e-6)
    sheet.compare("latent", flow.latent[..., 0], "latent", 1e-6)


def _log_normal(v: Tensor, variance: float) -> Tensor:
    return torch.distributions.Normal(0.0, variance**0.5).log_prob(v)


COMPARISONS: dict[str, Compare] = {
    "cld_coefficients": coefficients,
    "cld_losses": losses,
    "cld_samplers": samplers,
    "cld_likelihood": likelihood,
}
