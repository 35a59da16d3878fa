"""What each section of a job measures, as rows and arrays; `rescore.ledger` sees them through jobs.py."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from reproductions.cld import closed_forms as exact
from reproductions.cld.config import Config
from reproductions.cld.problems import CLD_METHODS, GRIDS, MAIN, cld_sampler, mean_and_stderr, mixture, mixture_score, vp_em
from rescore.errors import Diverged
from rescore.experiments.run import Measurement, Notebook
from rescore.processes import CLD, VP, LinearSDE
from rescore.random import make_generator
from rescore.scores import GaussianMixture

# Fig. 2 has M = gamma = 1; its beta is not stated. The second has the integral of beta that VPSDE has.
FIG_2 = {
    "CLD": (CLD(M=1.0, gamma=1.0, eps0=0.0), "beta=4"),
    "CLD-VP-beta": (CLD(M=1.0, beta_min=0.1, beta_max=20.0, gamma=1.0, eps0=0.0), "beta=0.1..20"),
    "VPSDE": (VP(), "beta=0.1..20"),
}


@dataclass
class Findings(Notebook):
    """A notebook whose rows are timed from one to the next."""

    started: float = field(default_factory=time.perf_counter)

    def add(
        self,
        key: tuple[str, str, str, str],
        nfe: int | None,
        values: Mapping[str, Sequence[float]],
        protocol: Mapping[str, object],
        samples: int,
    ) -> None:
        """One row for each metric, from its value at each seed; key = (table, dataset, method, variant)."""
        seconds = self._lap()
        for metric, each in values.items():
            self.record(*key, metric, nfe, each, samples, protocol, seconds, over="runs")

    def add_exact(
        self, key: tuple[str, str, str, str], nfe: int | None, values: Mapping[str, float], protocol: Mapping[str, object]
    ) -> None:
        """The same of numbers without an error."""
        seconds = self._lap()
        self.measurements += [Measurement.exact(*key, metric, nfe, value, protocol, seconds, n_samples=0)
                              for metric, value in values.items()]  # fmt: skip

    def _lap(self) -> float:
        """Seconds since the row before."""
        before, self.started = self.started, time.perf_counter()
        return self.started - before

    def skip(self, key: tuple[str, str, str, str], nfe: int | None, error: Diverged) -> None:
        """A cell that diverged."""
        named = dict(zip(("table", "dataset", "method", "variant"), key, strict=True))
        self.skipped.append(error.cell(**named, nfe=nfe))


def scores(config: Config, found: Findings) -> None:
    """Fig. 2: xi(t) = E |score - score of N(0, I)|^2 along the noisy coordinates, and E |Jacobian of alpha|^2 (Frobenius)."""
    settings, seeds = config.scores, config.seeds
    size = settings.samples * len(seeds)
    found.arrays["scores/times"] = np.array(settings.times)
    for method, (process, beta) in FIG_2.items():
        score = mixture_score(process)
        for t in settings.times:
            draws = [score.sample(settings.samples, t, make_generator("cld", "scores", method, t, seed)) for seed in seeds]
            values = {"xi": [xi(process, score, u, t) for u in draws]}
            values["jacobian"], values["jacobian_mixed"] = zip(*(jacobians(process, score, u, t) for u in draws), strict=True)
            found.function_evaluations += 2 * size
            protocol = {"process": process_label(process), "beta": beta.removeprefix("beta="), "score": "exact", "t": t}
            found.add(("fig2", "mixture9", method, f"t={t:g}"), None, values, protocol, size)
            for metric, each in values.items():
                found.arrays[f"scores/{method}/{metric}/{t:g}"] = np.array(mean_and_stderr(each))


def noisy(process: LinearSDE, u: Tensor) -> Tensor:
    """The coordinates that the noise acts on: velocities of CLD, all of VPSDE."""
    return u[:, 1] if isinstance(process, CLD) else u


def xi(process: LinearSDE, score: GaussianMixture, u: Tensor, t: float) -> float:
    """E |grad_v log p(v | x) + v / M|^2 for CLD, E |grad log p(x) + x|^2 for VPSDE, at draws u of u_t."""
    mass = process.M if isinstance(process, CLD) else 1.0
    return (noisy(process, score(u, t)) + noisy(process, u) / mass).square().sum(1).mean().item()


def jacobians(process: LinearSDE, score: GaussianMixture, u: Tensor, t: float) -> tuple[float, float]:
    """E |d alpha / d u|^2 of the alpha that makes score = -ell_t alpha exact, and of that for the mixed score.

    The mixed score is -v / Svv_t - ell_t alpha (VPSDE: ell_t = 1 / sigma_t and -x). It is what a network must represent, in place
    of a trained one.
    """
    u = u.requires_grad_()
    spread = process.Sigma(t).values
    is_cld = isinstance(process, CLD)
    scale = exact.ell(process, torch.tensor(t)) if is_cld else 1 / spread.sqrt()
    alpha = -noisy(process, score(u, t)) / scale
    rows = [torch.autograd.grad(column.sum(), u, retain_graph=True)[0] for column in alpha.unbind(1)]
    u.requires_grad_(False)
    plain = sum(row.square().flatten(1).sum(1).mean().item() for row in rows)
    for i, row in enumerate(rows):
        noisy(process, row)[:, i] -= 1 / (scale * (spread[1, 1] if is_cld else 1.0))
    return plain, sum(row.square().flatten(1).sum(1).mean().item() for row in rows)


def damping(config: Config, found: Findings) -> None:
    """Fig. 5: how Langevin dynamics from x_0 = 1 nears its equilibrium for several frictions, exactly."""
    settings, M = config.damping, MAIN.M
    b = torch.linspace(0, settings.horizon, settings.points, dtype=torch.float64)[1:]
    start = torch.tensor([1.0, 0.0], dtype=torch.float64), torch.diag(torch.tensor([0.0, MAIN.gamma * M], dtype=torch.float64))
    keep = slice(None, None, max(1, len(b) // 2000))
    found.arrays |= {"damping/B": b[keep].numpy(), "damping/ratios": np.array(settings.ratios)}
    for ratio in settings.ratios:
        Gamma = ratio * MAIN.Gamma
        mean, covariance = exact.langevin_moments(b, M, Gamma, *start)
        kl, w2 = exact.kl_to_prior(mean, covariance, M), exact.w2_to_prior(mean, covariance, M)
        values = {
            "decay_rate": exact.decay_rate(M, Gamma),
            "mixing_time": exact.last_above(b, kl, settings.tolerance),
            "mixing_time_w2": exact.last_above(b, w2, settings.tolerance**0.5),
            "overshoot": max(0.0, -mean[:, 0].min().item()),
        }
        protocol = {"M": M, "Gamma": Gamma, "start": "x0 at 1", "tolerance": settings.tolerance, "clock": "B"}
        found.add_exact(("fig5", "one_point", "Langevin", f"Gamma/critical={ratio:g}"), None, values, protocol)
        for name, series in {"kl": kl, "w2": w2, "mean": mean[:, 0]}.items():
            found.arrays[f"damping/{name}/{ratio:g}"] = series[keep].numpy()


def weights(config: Config, found: Findings) -> None:
    """Fig. 6: ell_t of HSM and DSM, its slope at t -> 0, and the variance of the regression target on Gaussian data."""
    settings = config.weights
    times = torch.tensor(settings.times, dtype=torch.float64)
    fine = torch.logspace(-8, 0, 161, dtype=torch.float64)
    found.arrays["weights/times"] = fine.numpy()
    for method, gamma in {"HSM": MAIN.gamma, "DSM": 0.0}.items():
        for stabiliser in settings.stabilisers:
            process = CLD(gamma=gamma, eps0=0.0, eps_num=stabiliser)
            protocol = {"M": process.M, "gamma": gamma, "beta": process.beta_min, "eps_num": stabiliser}
            name = f"eps_num={stabiliser:g}"
            noise = exact.target_variance(process, times, settings.data_variance)
            for t, value, variance in zip(settings.times, exact.ell(process, times).tolist(), noise.tolist(), strict=True):
                found.add_exact(("fig6", "closed_form", method, f"{name} t={t:g}"), None, {"ell": value}, protocol)
                more = protocol | {"data_variance": settings.data_variance}
                found.add_exact(("fig6", "gaussian", method, f"{name} t={t:g}"), None, {"target_variance": variance}, more)
            curve = exact.ell(process, fine)
            slope = ((curve[1] / curve[0]).log() / (fine[1] / fine[0]).log()).item()
            summary = {"ell_slope_at_0": slope, "ell_max": curve.max().item()}
            found.add_exact(("fig6", "closed_form", method, name), None, summary, protocol | {"t_from": 1e-8})
            found.arrays[f"weights/ell/{method}/{stabiliser:g}"] = curve.numpy()
            variances = exact.target_variance(process, fine, settings.data_variance)
            found.arrays[f"weights/target_variance/{method}/{stabiliser:g}"] = variances.numpy()


def splitting(config: Config, found: Findings) -> None:
    """Fig. 8: the error of the covariance that EM and SSCS leave on N(0, v) data and on the equilibrium, without sampling."""
    settings = config.splitting
    data = torch.zeros(1, dtype=torch.float64), torch.tensor([settings.data_variance], dtype=torch.float64)
    equilibrium = exact.prior_law(MAIN, 1)
    problems = {
        "gaussian": (exact.gaussian_score(MAIN, *data), *(exact.gaussian_law(MAIN, t, *data) for t in (MAIN.T, MAIN.eps))),
        "equilibrium": (exact.equilibrium_score(MAIN), equilibrium, equilibrium),
    }
    for problem, (score, start, end) in problems.items():
        for method, make in CLD_METHODS.items():
            for striding, grid in GRIDS.items():
                key = ("fig8", problem, "CLD", f"{method}-{striding}")
                protocol = {"score": "exact", "grid": striding, "t0": MAIN.eps, "denoise": "none", "start": "exact"}
                if problem == "gaussian":
                    protocol["data_variance"] = settings.data_variance
                errors = []
                for nfe in settings.nfe:
                    _, covariance = exact.law_after(make, MAIN, grid(MAIN, nfe), score, *start)
                    errors.append((covariance - end[1]).abs().max().item())
                    found.add_exact(key, nfe, {"covariance_error": errors[-1]}, protocol | {"steps": nfe})
                if problem == "gaussian":
                    last, before = settings.nfe[-1], settings.nfe[-2]
                    order = float(np.log(errors[-2] / errors[-1]) / np.log(last / before))
                    found.add_exact(key, None, {"order": order}, protocol | {"steps": f"{before} to {last}"})


def on_mixture(config: Config, found: Findings) -> None:
    """Fig. 11: VPSDE with EM, CLD with EM and SSCS on the mixture, uniform and quadratic striding."""
    settings, seeds, problem = config.mixture, config.seeds, mixture()
    data = problem.data(settings.samples, seeds)
    size = settings.samples * len(seeds)
    floor = problem.statistics(problem.data(settings.samples, seeds, "exact"), data)
    found.add(("fig11", problem.name, "exact", ""), None, floor, {"samples": "exact"}, size)
    variants = [("VPSDE", f"EM-{striding}") for striding in GRIDS]
    variants += [("CLD", f"{method}-{striding}") for method in CLD_METHODS for striding in GRIDS]
    scores = {process: problem.score(process) for process in (MAIN, VP())}
    for method, variant in variants:
        for nfe in settings.nfe:
            sampler = cld_sampler(variant, nfe) if method == "CLD" else vp_em(variant.removeprefix("EM-"), nfe)
            key, label = ("fig11", problem.name, method, variant), f"{method}-{variant}-{nfe}"
            try:
                points = problem.generate(sampler, scores[sampler.process], settings.samples, seeds, label)
            except Diverged as error:
                found.skip(key, sampler.nfe, error)
                continue
            found.function_evaluations += sampler.nfe * size
            found.add(key, sampler.nfe, problem.statistics(points, data), sampler_protocol(sampler, variant), size)
            found.arrays[f"mixture/{method}/{variant}/{nfe}"] = points[0].float().numpy()
    found.arrays["mixture/data"] = data[0].float().numpy()


def sampler_protocol(sampler, grid: str) -> dict[str, object]:
    """How samples were made; `grid` ends in the name of the striding."""
    return {
        "process": process_label(sampler.process), "score": "exact", "grid": grid.split("-")[-1], "steps": sampler.steps,
        "t0": sampler.times[-1], "denoise": sampler.denoise, "start": "prior",
    }  # fmt: skip


def process_label(process: LinearSDE) -> str:
    """A process with its constants, for protocols."""
    if isinstance(process, CLD):
        return f"CLD M:{process.M:g} gamma:{process.gamma:g} beta:{process.beta_min:g}..{process.beta_max:g}"
    return type(process).__name__
