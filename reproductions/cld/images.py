"""Digits in place of CIFAR-10: as a Gaussian, on which samplers act exactly, and as a data set with its exact score."""

import torch

from reproductions.cld import closed_forms as exact
from reproductions.cld.config import Config
from reproductions.cld.problems import MAIN, Problem, cld_method, cld_sampler, vp_ddim, vp_em
from reproductions.cld.sections import Findings, process_label, sampler_protocol
from rescore.data.digits import load_digits
from rescore.errors import Diverged
from rescore.metrics import rmse, sliced_wasserstein
from rescore.metrics.points import check_finite
from rescore.processes import CLD, VP, grids
from rescore.samplers import AdaptiveFlow, Sampler, ddim, euler_maruyama
from rescore.scores import EmpiricalData

TABLE = "9"
ABLATIONS = {
    "M^-1=1": CLD(M=1.0, eps0=0.0),
    "M^-1=4": MAIN,
    "M^-1=16": CLD(M=1 / 16, eps0=0.0),
    "gamma=1": CLD(gamma=1.0, eps0=0.0),
}


def on_gaussian_digits(config: Config, found: Findings) -> None:
    """Tables 3 and 9 (samplers and their evaluations), 4 and 5 (M and gamma): the Frechet distance that each sampler leaves.

    The data are the Gaussian with the mean and covariance of the digits, in the coordinates of its principal axes. The score is
    affine there, so the law of the samples is an exact recursion.
    """
    settings = config.frechet
    points = load_digits().flatten(1)
    variances, axes = torch.linalg.eigh(torch.cov(points.T, correction=0))
    data = points.mean(0) @ axes, variances.clamp_min(0)

    def run(method: str, variant: str, process, make, grid, nfe: int, table: str = TABLE) -> None:
        start = exact.prior_law(process, len(variances))
        law = exact.law_after(make, process, grid(process, nfe), exact.gaussian_score(process, *data), *start)
        found.function_evaluations += nfe
        protocol = {
            "process": process_label(process), "score": "exact", "grid": grid.__name__, "steps": nfe, "t0": process.eps,
            "denoise": "none", "start": "prior",
        }  # fmt: skip
        value = {"frechet": exact.frechet(process, *law, *data)}
        found.add_exact((table, "digits_gaussian", method, variant), nfe, value, protocol)

    for variant, budgets in settings.cld.items():
        for nfe in budgets:
            run("CLD", variant, MAIN, *cld_method(variant), nfe)
    for nfe in settings.vp_em:
        run("VPSDE", "EM-US", VP(), euler_maruyama, grids.uniform, nfe)
    for nfe in settings.vp_ddim:
        run("VPSDE", "DDIM", VP(), ddim, grids.quadratic, nfe)
    for variant, process in ABLATIONS.items():
        table = "5" if variant.startswith("gamma") else "4"
        run("CLD", variant, process, *cld_method("EM-QS"), settings.ablation_nfe, table)


def digits() -> Problem:
    """All 1,797 digits in [-1, 1]^64; `sw2` of generated points to all of them, `nearest`: RMS distance to the nearest."""
    points = load_digits().float()
    flat = points.flatten(1)

    def draw(n: int, generator: torch.Generator) -> torch.Tensor:
        return points[torch.randint(len(points), (n,), generator=generator)]

    def nearest(x: torch.Tensor, _: object) -> float:
        check_finite(x, "nearest")
        closest = flat[torch.cdist(x.flatten(1), flat).argmin(1)]
        return rmse(x.flatten(1), closest)

    return Problem(
        "digits_exact",
        tuple(points.shape[1:]),
        torch.float32,
        lambda process: EmpiricalData(process, points),
        draw,
        {"sw2": lambda x, _: sliced_wasserstein(x, points, projections=100), "nearest": nearest},
    )


def on_digits(config: Config, found: Findings) -> None:
    """Samplers and their evaluations on the exact score of the digits, and the ODE solver's tolerance (fig. 17)."""
    settings, seeds, problem = config.digits, config.seeds, digits()
    n, size, nothing = settings.samples, settings.samples * len(seeds), [None] * len(seeds)
    scores = {process: problem.score(process) for process in (MAIN, VP())}
    floor = problem.statistics(problem.data(n, seeds), nothing)
    key = (TABLE, problem.name, "exact", "")
    floor.pop("nearest")  # of draws of the data: 0, whatever is drawn
    found.add(key, None, floor, {"samples": "exact"}, size)
    found.add_exact(key, None, {"nearest": 0.0}, {"samples": "exact"})

    def run(sampler: Sampler, method: str, variant: str, grid: str) -> None:
        key = (TABLE, problem.name, method, variant)
        try:
            points = problem.generate(sampler, scores[sampler.process], n, seeds, f"{method}-{variant}-{sampler.nfe}")
        except Diverged as error:
            found.skip(key, sampler.nfe, error)
            return
        found.function_evaluations += sampler.nfe * size
        found.add(key, sampler.nfe, problem.statistics(points, nothing), sampler_protocol(sampler, grid), size)

    for variant, budgets in settings.cld.items():
        for nfe in budgets:
            run(cld_sampler(variant, nfe), "CLD", variant, variant)
    for nfe in settings.vp_em:
        run(vp_em("US", nfe), "VPSDE", "EM-US", "US")
    for nfe in settings.vp_ddim:
        run(vp_ddim(nfe), "VPSDE", "DDIM", "quadratic")
    reference = None
    for tolerance in settings.tolerances:
        sampler = AdaptiveFlow(MAIN, [MAIN.T, MAIN.eps], tolerance, tolerance, denoise="euler")
        key = (TABLE, problem.name, "CLD", f"ODE-RK45-{tolerance:.0e}".replace("e-0", "e-"))
        try:
            points = problem.generate(sampler, scores[MAIN], n, seeds, "flow")
        except Diverged as error:
            found.skip(key, None, error)
            continue
        found.function_evaluations += sampler.nfe * size
        statistics = problem.statistics(points, nothing)
        if tolerance == settings.tolerances[0]:
            reference = points
        elif reference is not None:
            statistics["solver_rmse"] = [rmse(x, y) for x, y in zip(points, reference, strict=True)]
        protocol = sampler_protocol(sampler, "adaptive") | {"steps": "adaptive", "tolerance": tolerance, "together": size}
        found.add(key, sampler.nfe, statistics, protocol, size)
