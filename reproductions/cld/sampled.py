"""The sections with samples on exact scores: what a network must represent, the mixture, the digits in place of CIFAR-10."""

from collections.abc import Callable
from functools import cache, partial

import numpy as np
from torch import Tensor

from reproductions.cld import problems
from reproductions.cld.problems import MAIN, MODES, OFF_MODE, PROCESSES, RECIPES, ode_variant
from rescore.experiments.axes import Axes
from rescore.experiments.book import Book, Cell
from rescore.problems import ExactProblem, distances
from rescore.problems.runs import Metrics
from rescore.problems.score_norms import distance_to_normal, jacobian_norms
from rescore.processes import CLD, VP
from rescore.random import make_generator
from rescore.samplers import Sampler, Solution, adaptive_flow

FIG_2 = {  # M = gamma = 1; beta is not stated. The second has the integral of beta that VPSDE has.
    "CLD": (CLD(M=1.0, gamma=1.0, eps0=0.0), "4"),
    "CLD-VP-beta": (CLD(M=1.0, beta_min=0.1, beta_max=20.0, gamma=1.0, eps0=0.0), "0.1..20"),
    "VPSDE": (VP(), "0.1..20"),
}
AT = Axes("t={t:g}")


def scores(book: Book) -> None:
    """Fig. 2: xi(t) = E |score - score of N(0, I)|^2 along the noisy coordinates, and E |Jacobian of alpha|^2 (Frobenius)."""
    settings = book.config.scores
    book.arrays["scores/times"] = np.array(settings.times)
    for method, (process, beta) in FIG_2.items():
        score = problems.mixture(book.config, process, settings.samples).score
        for t in settings.times:
            protocol = {"process": process.label, "beta": beta, "score": "exact", "t": t}
            with book.cell("fig2", "mixture9", method, AT(t=t), None, protocol, n=settings.samples) as cell:
                if not cell.todo:
                    continue
                found = []
                for seed in book.config.seeds:
                    u = score.sample(settings.samples, t, make_generator("cld", "scores", method, t, seed))
                    found.append((distance_to_normal(process, score, u, t), *jacobian_norms(process, score, u, t)))
                for metric, values in zip(("xi", "jacobian", "jacobian_mixed"), zip(*found, strict=True), strict=True):
                    cell.arrays[f"scores/{method}/{metric}/{t:g}"] = np.array(cell.add(metric, values))


def mixture(book: Book) -> None:
    """Fig. 11: VPSDE with EM, CLD with EM and SSCS on the mixture, uniform and quadratic striding."""
    settings = book.config.mixture
    exact = {name: problems.mixture(book.config, process, settings.samples) for name, process in PROCESSES.items()}
    data = exact["VPSDE"].draws("cld", "mixture9", "data")
    book.arrays["mixture/data"] = data[0].float().numpy()
    metrics = {
        "sw2": lambda x: distances.sw2(x, data, projections=50),
        "off_mode": lambda x: distances.off_modes(x, MODES, OFF_MODE),
    }
    with book.cell("fig11", "mixture9", "exact", "", None, {"samples": "exact"}, n=settings.samples) as cell:
        if cell.todo:
            add(cell, metrics, exact["VPSDE"].draws("cld", "mixture9", "exact"))
    for (method, variant), recipe in RECIPES.items():
        for nfe in settings.nfe if recipe.striding in problems.STRIDINGS else ():
            problem, sampler = exact[method], recipe.within(PROCESSES[method], nfe)
            solve = partial(generate, problem, sampler, f"{method}-{variant}-{nfe}")
            place, array = ("fig11", method, variant), f"mixture/{method}/{variant}/{nfe}"
            measure(book, problem, place, sampler, solve, metrics, array, grid=recipe.striding)


def digits(book: Book) -> None:
    """Samplers and their evaluations on the exact score of the digits, and the ODE solver's tolerance (fig. 17)."""
    settings = book.config.digits
    exact = {name: problems.digits(book.config, process, settings.samples) for name, process in PROCESSES.items()}
    main, points = exact["CLD"], exact["CLD"].points
    metrics = {"sw2": lambda x: distances.sw2(x, points, projections=100), "nearest": lambda x: distances.off_data(x, points)}
    with book.cell("9", main.dataset, "exact", "", None, {"samples": "exact"}, n=settings.samples) as cell:
        if cell.todo:
            cell.add("sw2", metrics["sw2"](main.draws("cld", main.dataset, "data")))
            cell.exact("nearest", 0.0, n=0)  # draws of the data are data
    for method, variant, nfe in settings.cells:
        recipe, problem = RECIPES[method, variant], exact[method]
        sampler = recipe.within(PROCESSES[method], nfe)
        solve = partial(generate, problem, sampler, f"{method}-{variant}-{sampler.nfe}")
        measure(book, problem, ("9", method, variant), sampler, solve, metrics, grid=recipe.striding)

    def solver(tolerance: float) -> Sampler:
        return adaptive_flow(MAIN, [MAIN.T, MAIN.eps], tolerance, tolerance, denoise="euler")

    ends, tightest = cache(lambda tolerance: generate(main, solver(tolerance), "flow")), settings.tolerances[0]
    with_error = metrics | {"solver_rmse": lambda x: distances.solver_rmse(x, main.by_seed(ends(tightest).u))}
    for tolerance in settings.tolerances:
        protocol = {"grid": "adaptive", "steps": "adaptive", "tolerance": tolerance, "together": main.size}
        place, measured = ("9", "CLD", ode_variant(tolerance)), metrics if tolerance == tightest else with_error
        measure(book, main, place, solver(tolerance), partial(ends, tolerance), measured, **protocol)


def measure(book: Book, problem: ExactProblem, place: tuple[str, str, str], sampler: Sampler, solve: Callable[[], Solution],
            metrics: Metrics, array: str = "", **more: object) -> None:  # fmt: skip
    """The cell of a sampler on an exact score; place: table, method and variant; `array` names the first seed's samples."""
    table, method, variant = place
    protocol = {"process": problem.process.label, "score": "exact", "steps": sampler.steps, "t0": sampler.times[-1],
                "denoise": sampler.denoise, "start": "prior"} | more  # fmt: skip
    with book.cell(table, problem.dataset, method, variant, sampler.nfe, protocol, n=problem.n) as cell:
        if cell.todo:
            u, cell.nfe = solve()
            x = problem.by_seed(u)
            add(cell, metrics, x)
            if array:
                cell.arrays[array] = x[0].float().numpy()


def generate(problem: ExactProblem, sampler: Sampler, label: str) -> Solution:
    """Samples of all seeds in one batch."""
    return sampler.solve(problem.score, problem.start(), problem.streams("cld", problem.dataset, label))


def add(cell: Cell, metrics: Metrics, x: Tensor) -> None:
    for metric, values in metrics.items():
        cell.add(metric, values(x))
