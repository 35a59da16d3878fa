"""The sections without samples: Langevin dynamics from one point, the weights ell_t, and samplers on Gaussian data."""

from collections.abc import Callable
from functools import cache, partial

import numpy as np
import torch
from rescore.data.digits import load_digits
from rescore.experiments.axes import Axes
from rescore.experiments.book import Book
from rescore.problems import gaussian
from rescore.problems.gaussian import GaussianLaw, GaussianProblem, exact_score, law_after, law_at, prior_law
from rescore.problems.langevin import decay_rate, langevin_law, last_above
from rescore.problems.score_norms import target_variance
from rescore.processes import CLD, LinearSDE

from reproductions.cld.problems import CLD_METHODS, GRIDS, MAIN, PROCESSES, RECIPES, STRIDINGS, sampler_of

FRICTION = Axes("Gamma/critical={ratio:g}")
STABILISED = Axes("eps_num={eps_num:g}")
STABILISED_AT = Axes("eps_num={eps_num:g} t={t:g}")
ABLATIONS = {  # variant -> (table, process)
    "M^-1=1": ("4", CLD(M=1.0, eps0=0.0)),
    "M^-1=4": ("4", MAIN),
    "M^-1=16": ("4", CLD(M=1 / 16, eps0=0.0)),
    "gamma=1": ("5", CLD(gamma=1.0, eps0=0.0)),
}


def damping(book: Book) -> None:
    """Fig. 5: how Langevin dynamics from x_0 = 1 nears its equilibrium for several frictions."""
    settings, M = book.config.damping, MAIN.M
    b = torch.linspace(0, settings.horizon, settings.points, dtype=torch.float64)[1:]
    start = torch.tensor([1.0, 0.0], dtype=torch.float64), torch.diag(torch.tensor([0.0, MAIN.gamma * M], dtype=torch.float64))
    keep = slice(None, None, max(1, len(b) // 2000))
    book.arrays |= {"damping/B": b[keep].numpy(), "damping/ratios": np.array(settings.ratios)}
    for ratio in settings.ratios:
        Gamma = ratio * MAIN.Gamma
        protocol = {"M": M, "Gamma": Gamma, "start": "x0 at 1", "clock": "B"}
        protocol |= {"kl_below": settings.tolerance, "w2_below": settings.tolerance**0.5}
        with book.cell("fig5", "one_point", "Langevin", FRICTION(ratio=ratio), None, protocol, n=0) as cell:
            if not cell.todo:
                continue
            law, equilibrium = langevin_law(b, M, Gamma, *start), prior_law(MAIN, (len(b),))
            kl, w2 = gaussian.kl_divergence(law, equilibrium), gaussian.squared_wasserstein(law, equilibrium).sqrt()
            cell.exact("decay_rate", decay_rate(M, Gamma))
            cell.exact("mixing_time", last_above(b, kl, settings.tolerance))
            cell.exact("mixing_time_w2", last_above(b, w2, settings.tolerance**0.5))
            cell.exact("overshoot", max(0.0, -law.mean[0].min().item()))
            for name, series in {"kl": kl, "w2": w2, "mean": law.mean[0]}.items():
                cell.arrays[f"damping/{name}/{ratio:g}"] = series[keep].numpy()


def weights(book: Book) -> None:
    """Fig. 6: ell_t of HSM and DSM, its slope at t -> 0, and the variance of the regression target on Gaussian data."""
    settings = book.config.weights
    fine = torch.logspace(-8, 0, 161, dtype=torch.float64)
    book.arrays["weights/times"] = fine.numpy()
    for method, gamma in {"HSM": MAIN.gamma, "DSM": 0.0}.items():
        for eps_num in settings.stabilisers:
            process = CLD(gamma=gamma, eps0=0.0, eps_num=eps_num)
            ell, noise = process.ell(fine), target_variance(process, fine, settings.data_variance)
            book.arrays[f"weights/ell/{method}/{eps_num:g}"] = ell.numpy()
            book.arrays[f"weights/target_variance/{method}/{eps_num:g}"] = noise.numpy()
            protocol = {"M": process.M, "gamma": gamma, "beta": process.beta_min, "eps_num": eps_num}
            slope = (ell[1] / ell[0]).log() / (fine[1] / fine[0]).log()
            book.exact(
                "fig6",
                "closed_form",
                method,
                STABILISED(eps_num=eps_num),
                None,
                protocol | {"t_from": 1e-8},
                ell_slope_at_0=slope.item,
                ell_max=ell.max().item,
            )
            for t in settings.times:
                at, variant = torch.tensor(t, dtype=torch.float64), STABILISED_AT(eps_num=eps_num, t=t)
                variance = target_variance(process, at, settings.data_variance)
                book.exact("fig6", "closed_form", method, variant, None, protocol, ell=process.ell(at).item)
                on_data = protocol | {"data_variance": settings.data_variance}
                book.exact("fig6", "gaussian", method, variant, None, on_data, target_variance=variance.item)


def splitting(book: Book) -> None:
    """Fig. 8: the error of the covariance that EM and SSCS leave on N(0, v) data and on the equilibrium."""
    settings = book.config.splitting
    data = GaussianLaw.independent(torch.zeros(1), torch.tensor([settings.data_variance], dtype=torch.float64))
    equilibrium = prior_law(MAIN, (1,))
    problems = {  # the score, the law at T and the law at t0
        "gaussian": (exact_score(MAIN, data), law_at(MAIN, data, MAIN.T), law_at(MAIN, data, MAIN.eps)),
        "equilibrium": (lambda u, t: equilibrium.score(u), equilibrium, equilibrium),
    }
    common = {"process": MAIN.label, "score": "exact", "t0": MAIN.eps, "denoise": "none", "start": "exact"}
    for dataset, (score, start, end) in problems.items():
        more = {"data_variance": settings.data_variance} if dataset == "gaussian" else {}
        for name, method in CLD_METHODS.items():
            for striding in STRIDINGS:

                @cache
                def error(n: int, method=method, striding=striding, score=score, start=start, end=end) -> float:
                    law = law_after(method(MAIN, GRIDS[striding](MAIN, n)), score, start)
                    return (law.covariance - end.covariance).abs().max().item()

                place = ("fig8", dataset, "CLD", f"{name}-{striding}")
                protocol = common | {"grid": striding} | more
                for nfe in settings.nfe:
                    book.exact(*place, nfe, protocol | {"steps": nfe}, covariance_error=partial(error, nfe))
                if dataset == "gaussian":
                    before, last = settings.nfe[-2:]
                    book.exact(
                        *place, None, protocol | {"steps": f"{before} to {last}"}, order=partial(_order, error, before, last)
                    )


def _order(error: Callable[[int], float], before: int, last: int) -> float:
    """Between two numbers of steps."""
    return np.log(error(before) / error(last)) / np.log(last / before)


def frechet(book: Book) -> None:
    """Tables 3 and 9 (samplers and their evaluations), 4 and 5 (M and gamma): the Frechet distance that each sampler leaves.

    The data are the Gaussian with the mean and covariance of the digits, on its principal axes.
    """
    settings = book.config.frechet
    problem = GaussianProblem(GaussianLaw.principal(load_digits())[0])

    def measure(table: str, method: str, variant: str, process: LinearSDE, nfe: int, sampler: str) -> None:
        made, grid = sampler_of(method, sampler, process, nfe, denoise="none"), GRIDS[RECIPES[method, sampler][1]]
        protocol = {
            "process": process.label,
            "score": "exact",
            "grid": grid.__name__,
            "steps": nfe,
            "t0": process.eps,
            "denoise": "none",
            "start": "prior",
        }
        book.exact(
            table,
            "digits_gaussian",
            method,
            variant,
            nfe,
            protocol,
            frechet=lambda: gaussian.frechet(problem.after(made), problem.data),
        )

    for method, variant, nfe in settings.cells:
        measure("9", method, variant, PROCESSES[method], nfe, variant)
    for variant, (table, process) in ABLATIONS.items():
        measure(table, "CLD", variant, process, settings.ablation_nfe, "EM-QS")
