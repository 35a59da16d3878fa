"""Score-SDE: predictors, correctors, samplers, likelihoods and losses, on exact scores and given noise."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from rescore.likelihood import bits_per_dim, flow_log_prob
from rescore.objectives import DSM
from rescore.objectives.matching import Weighting
from rescore.parity.table import Compare, Played, Sheet
from rescore.processes import VE, VP, DiscreteVP, SubVP
from rescore.processes.base import LinearSDE
from rescore.samplers import (
    AdaptiveFlow,
    Method,
    PredictorCorrector,
    ancestral,
    euler_maruyama,
    probability_flow,
    reverse_diffusion,
    score_sde_sampler,
)
from rescore.samplers.base import Denoise, OneStep
from rescore.samplers.langevin import langevin_step
from rescore.samplers.predictor_corrector import _norm
from rescore.scores import GaussianMixture, Score

FLOAT32 = 2e-6  # of losses in float32
TABLES = 1e-6  # of what uses their float32 tables of betas and sigmas
SNR = 0.16
WEIGHTINGS: tuple[tuple[str, Weighting], ...] = (("sigma2", "sigma^2"), ("likelihood", "likelihood"))
PROCESSES: dict[str, LinearSDE] = {"vp": VP(), "ve": VE(), "subvp": SubVP()}
ANCESTRAL = {"vp": ancestral.where(variance="forward"), "ve": ancestral}  # DDPM's and SMLD's
EULER = (
    "their 30 steps are of 1 / N at times (1 - eps) / (N - 1) apart, also the last, at eps; ours keep to the clock (the same "
    "where N eps = 1)",
    0.05,
)
REMOVAL = (
    "their last step is of DDPM's chain on VP, Euler's on sub-VP, with the beta of one end, 9 % off its mean from 0 to eps; "
    "ours is Tweedie's estimate"
)
PROBES = (
    "a Gaussian probe sees the linear part of the drift too, whose trace is exact here: one draw differs, the mean does not",
    0.05,
)
CANCELS = ("their std of VP at t = 1e-5 is off by 0.6 % in float32, where 1 - exp cancels", 0.02)


def mixture(sheet: Sheet, process: LinearSDE) -> GaussianMixture:
    """The exact score of the mixture that the sheet names, on a process."""
    return GaussianMixture(process, sheet["means"], sheet["stds"], sheet["weights"])


def chain(kind: str, n: int) -> tuple[LinearSDE, list[float]]:
    """Their chain of N levels as a process of ours, and its times: number i of theirs is times[i]; VP's has 0 below it."""
    if kind == "vp":
        return DiscreteVP(torch.linspace(0.1 / n, 20 / n, n, dtype=torch.float64)), [(i + 1) / n for i in range(n)]
    return VE(), [i / (n - 1) for i in range(n)]


def single_steps(sheet: Sheet) -> None:
    """One step of each predictor and corrector, with score and noise of the sheet."""
    for kind, process in PROCESSES.items():
        n = 20 if kind == "ve" else 40
        x, z, t, score, places = (sheet[f"{kind}/{name}"] for name in ("x", "z", "t", "score", "timestep"))
        exact = mixture(sheet, process)
        found = torch.cat([exact(x[i : i + 1], time) for i, time in enumerate(t.tolist())])
        sheet.compare(f"score of a mixture, {kind}", found, f"{kind}/score", 1e-14)

        euler = [_euler(process, time, time - 1 / n) for time in t.tolist()]
        _steps(sheet, f"{kind}/euler_maruyama", x, z, score, euler, 0, 1e-12)
        if kind == "subvp":  # which has no chain: its reverse diffusion is Euler's step, in float32
            _steps(sheet, f"{kind}/reverse_diffusion", x, z, score, euler, 0, TABLES)
            signal = 1 - torch.linspace(0.1 / n, 20 / n, n, dtype=torch.float64)[places]
        else:
            discrete, times = chain(kind, n)
            below = [0.0 if kind == "vp" and i == 0 else times[i - 1] if i else None for i in places.tolist()]
            for name, make, function in (
                ("reverse_diffusion", reverse_diffusion, 0),
                ("ancestral_sampling", ANCESTRAL[kind], 0),
            ):
                steps = [
                    None if end is None else make(discrete, [times[i], end])
                    for i, end in zip(places.tolist(), below, strict=True)
                ]
                _steps(sheet, f"{kind}/{name}", x, z, score, steps, function, TABLES)
            steps = [
                None if end is None else probability_flow(discrete, [times[i], end])
                for i, end in zip(places.tolist(), below, strict=True)
            ]
            rows, moved = _moved(steps, x, z, score)
            sheet.compare(
                f"{kind}/reverse_diffusion, probability flow", moved, sheet[f"{kind}/reverse_diffusion/flow_mean"][rows], TABLES
            )
            signal = 1 - discrete.betas[places] if isinstance(discrete, DiscreteVP) else torch.ones_like(t)
        size = 2 * signal[:, None, None, None] * (SNR * _norm(z) / _norm(score)) ** 2
        sheet.compare(f"{kind}/langevin", langevin_step(x, score, z, size), f"{kind}/langevin/x", TABLES)


def _euler(process: LinearSDE, start: float, end: float) -> OneStep | None:
    return euler_maruyama(process, [start, end]) if end >= 0 else None


def _said(score: Tensor, u: Tensor, t: float) -> Tensor:
    return score


def _moved(steps: list[OneStep | None], x: Tensor, z: Tensor, score: Tensor, noise: bool = True) -> tuple[list[int], Tensor]:
    """Each row by its own step, and which rows have one."""
    there = [(i, step) for i, step in enumerate(steps) if step]
    z = z if noise else torch.zeros_like(z)
    moved = [step.step(0, partial(_said, score[i : i + 1]), x[i : i + 1], Played(z[i : i + 1]).draw) for i, step in there]
    return [i for i, _ in there], torch.cat(moved)


def _steps(
    sheet: Sheet, name: str, x: Tensor, z: Tensor, score: Tensor, steps: list[OneStep | None], function: int, tolerance: float
) -> None:
    for output, noise in (("x", True), ("mean", False)):
        rows, moved = _moved(steps, x, z, score, noise)
        sheet.compare(f"{name}/{output}", moved, sheet[f"{name}/{output}"][rows], tolerance, function)


def pc_samplers(sheet: Sheet) -> None:
    """Chains of predictor and corrector from one start, with the score of a mixture and the noise of the sheet."""
    for kind, n in (("vp", 30), ("ve", 12)):
        process, times = chain(kind, n)
        their_times, exact = sheet[f"{kind}/times"].tolist(), mixture(sheet, PROCESSES[kind])
        ours = [*reversed(times), 0.0] if kind == "vp" else list(reversed(times))
        clock = dict(zip(ours, their_times, strict=False))

        def score(u: Tensor, t: float, exact: Score = exact, clock: dict[float, float] = clock) -> Tensor:
            """At the time that they pair with this level."""
            return exact(u, min(clock.items(), key=lambda pair: abs(pair[0] - t))[1])

        start = sheet["start"] * (50 if kind == "ve" else 1)
        for name, make in (("reverse_diffusion", reverse_diffusion), ("ancestral_sampling", ANCESTRAL[kind]), ("none", None)):
            for m in (0, 1, 2) if make else (1, 2):
                full = f"{kind}/{name}/{'none' if m == 0 else f'langevin{m}'}"
                for end in ("denoised", "plain"):
                    if f"{full}/{end}" in sheet:
                        found = _sampled(sheet, kind, process, ours, make, m, end, score, start)
                        sheet.compare(f"{full}/{end}", found, f"{full}/{end}", TABLES)
        flow = probability_flow(process, ours)
        u = flow.run(score, start, Played().draw)
        if kind == "ve":
            u = u + 0.5 * process.Sigma(ours[-1])(score(u, ours[-1]))
        sheet.compare(f"{kind}/probability flow of reverse diffusion", u, f"{kind}/flow/none/denoised", TABLES)
        full = f"{kind}/euler_maruyama/none/denoised"
        sheet.compare(full, _euler_steps(sheet, PROCESSES[kind], their_times, exact, start), full, 1e-11)
        if kind == "ve":
            for m in (0, 1, 2):
                full = f"ve/reverse_diffusion/{'none' if m == 0 else f'langevin{m}'}/denoised"
                sampler = score_sde_sampler(process, ours, SNR, m)
                played = Played(*(part for i in range(n) for part in (*sheet["noise"][i, :m], sheet["noise"][i, 2])))
                sheet.compare(f"{full}, Table 3's sampler", sampler(score, start, played), full, TABLES)
        else:
            sampler = score_sde_sampler(PROCESSES[kind], their_times, SNR)
            played = Played(*sheet["noise"][: n - 1, 2])
            reason, bound = EULER
            sheet.compare(f"{full}, Table 3's sampler", sampler(exact, start, played), full, TABLES, reason=reason, bound=bound)


def _euler_steps(sheet: Sheet, process: LinearSDE, times: list[float], score: Score, u: Tensor) -> Tensor:
    """Euler-Maruyama at their times in their steps of 1 / N; the last, which passes 0, as a multiple of one from there to 0."""
    step = 1 / len(times)
    for i, t in enumerate(times[:-1]):
        u = euler_maruyama(process, [t, t - step]).step(0, score, u, Played(sheet["noise"][i, 2]).draw)
    end = euler_maruyama(process, times, denoise="euler").last(score, u)
    return u + (end - u) * (step / times[-1])


def _sampled(
    sheet: Sheet,
    kind: str,
    process: LinearSDE,
    times: list[float],
    make: Method[OneStep] | None,
    m: int,
    end: str,
    score: Score,
    start: Tensor,
) -> Tensor:
    """All steps of a predictor and m corrector steps; VE's last step, from sigma_min to 0, is Tweedie's estimate there."""
    noise, ve = sheet["noise"], kind == "ve"
    last: Denoise = "none" if make is None else "tweedie" if ve else "mean" if end == "denoised" else "none"
    sampler = PredictorCorrector(process, times, make, SNR, m, denoise=last, correct_last=ve)
    played = Played(*(part for i in range(len(times) - 1 + ve) for part in (*noise[i, :m], *(noise[i, 2:] if make else ()))))
    u = sampler(score, start, played)
    if not ve or make in (None, ANCESTRAL["ve"]) or end == "denoised":  # the posterior at 0 has no variance
        return u
    return u + process.R(times[-1])(played.draw(u))


def ode_sampler(sheet: Sheet) -> None:
    """Where the adaptive probability flow ends, at two tolerances, and what is left when the noise there is removed."""
    for kind, process in PROCESSES.items():
        start = sheet["start"] * (50 if kind == "ve" else 1)
        for text, tolerance, allowed in (("1e-05", 1e-5, 1e-4), ("1e-07", 1e-7, 1e-6)):
            sampler = AdaptiveFlow(process, [1.0, process.eps], tolerance)
            exact, name = mixture(sheet, process), f"{kind}/tol{text}"
            sheet.compare(f"{kind}, adaptive flow at {text}", sampler(exact, start), f"{name}/plain", allowed)
            removal = AdaptiveFlow(process, [1.0, process.eps], tolerance, denoise="tweedie")
            found, denoised = removal(exact, start), sheet[f"{name}/denoised"]
            removed = ((denoised - sheet[f"{name}/plain"]).abs().max() / denoised.abs().max()).item()
            reason, bound = (REMOVAL, allowed + 0.1 * removed) if kind != "ve" else ("", 0.0)
            sheet.compare(f"{kind}, adaptive flow at {text}, denoised", found, denoised, allowed, reason=reason, bound=bound)


def likelihood(sheet: Sheet) -> None:
    """Bits per dimension and latents with the probes of the sheet, at two tolerances."""
    for kind, process in PROCESSES.items():
        x, levels = sheet["x"].double(), 256 if kind == "ve" else 128
        for trace in ("rademacher", "gaussian"):
            for text, tolerance, allowed in (("1e-05", 1e-5, 5e-4), ("1e-07", 1e-7, 2e-6)):
                exact = mixture(sheet, process)
                flow = flow_log_prob(exact, process, x, Played(sheet[trace].double()), trace, 1e-5, tolerance)
                found, name = bits_per_dim(flow.log_prob, x[0].numel(), levels), f"{kind}/{trace}/tol{text}"
                reason, bound = PROBES if trace == "gaussian" else ("", 0.0)
                sheet.compare(f"{name}, bits per dimension", found, f"{name}/bpd", allowed / 8, reason=reason, bound=bound)
                if trace == "rademacher":
                    sheet.compare(f"{name}, latent", flow.latent, f"{name}/latent", allowed)


def losses(sheet: Sheet) -> None:
    """Losses of denoising score matching by both weightings, with times and noise of the sheet."""
    x, z, t = (sheet[name].double() for name in ("x0", "z", "t"))
    d, times = x[0].numel(), t[:, None, None, None]
    for kind, process in PROCESSES.items():
        u = process.mean(t)(x) + process.R(t)(z)
        score = -u / (1 + times) + 0.3 * torch.sin(3 * u)
        for name, weighting in WEIGHTINGS:
            found = DSM(weighting, predicts="score")._compare(process, t, torch.ones_like(t), -process.L(t)(score), z, "L")
            for form, ours in (("half_sum", found), ("mean", 2 * found / d)):
                share = ours / sheet[f"{kind}/{name}/{form}"].double()  # losses of small times are far larger: each by itself
                late, one = t > 1e-4, torch.ones_like(share)
                sheet.compare(f"{kind}/{name}/{form}, t > 1e-4", share[late], one[late], FLOAT32)
                reason, bound = CANCELS if kind != "ve" else ("", 0.0)
                sheet.compare(f"{kind}/{name}/{form}, t = 1e-5", share[~late], one[~late], TABLES, reason=reason, bound=bound)
    labels = sheet["labels"]

    def network(u: Tensor) -> Tensor:
        return 0.5 * u * torch.cos(labels / 7)[:, None, None, None] + 0.1 * torch.sin(u)

    ddpm, ones = DiscreteVP(torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)), torch.ones_like(t)
    at = (labels + 1) / 1000
    u = ddpm.mean(at)(x) + ddpm.R(at)(z)
    sheet.compare(
        "ddpm, mean", DSM("simple", per_dimension=True)._compare(ddpm, at, ones, network(u), z, "R") / d, "ddpm/mean", TABLES, 0
    )
    at = 1 - labels / 999
    u = VE().mean(at)(x) + VE().R(at)(z)
    predicted = -VE().L(at)(network(u))
    sheet.compare(
        "smld, half the sum",
        DSM("sigma^2", predicts="score")._compare(VE(), at, ones, predicted, z, "L"),
        "smld/half_sum",
        TABLES,
        0,
    )


COMPARISONS: dict[str, Compare] = {
    "score_sde_single_steps": single_steps,
    "score_sde_pc_samplers": pc_samplers,
    "score_sde_ode_sampler": ode_sampler,
    "score_sde_likelihood": likelihood,
    "score_sde_losses": losses,
}
