"""The sections with samples on exact scores: what a network must represent, the mixture, the digits in place of CIFAR-10."""

from __future__ import annotations

from functools import cache, partial

import numpy as np
from rescore.experiments.axes import Axes
from rescore.experiments.book import Book
from rescore.models.evaluate import Sampling
from rescore.problems import ExactProblem, distances
from rescore.problems.runs import ExactRuns, add
from rescore.problems.score_norms import distance_to_normal, jacobian_norms
from rescore.processes import CLD, VP
from rescore.random import Streams, make_generator
from rescore.samplers import Solver
from torch import Tensor

from reproductions.cld import problems
from reproductions.cld.problems import MAIN, OFF_MODE, PROCESSES, RECIPES, flow, sampling

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
    runs = {name: Runs.of(book, problems.mixture(book.config, of, settings.samples)) for name, of in PROCESSES.items()}
    exact, data = runs["VPSDE"].problem, ("cld", "mixture9", "data")
    book.arrays["mixture/data"] = exact.draws(*data)[0].float().numpy()
    metrics = runs["VPSDE"].to_data(50, *data, radius=OFF_MODE)
    with book.cell("fig11", "mixture9", "exact", "", None, {"samples": "exact"}, n=settings.samples) as cell:
        if cell.todo:
            add(cell, metrics, exact.draws("cld", "mixture9", "exact"))
    for method, variant in RECIPES:
        for nfe in settings.nfe if variant != "DDIM" else ():
            one = sampling("fig11", method, variant, PROCESSES[method], nfe)
            runs[method].run(one, metrics, f"mixture/{method}/{variant}/{nfe}")


def digits(book: Book) -> None:
    """Samplers and their evaluations on the exact score of the digits, and the ODE solver's tolerance (fig. 17)."""
    settings = book.config.digits
    runs = {name: Runs.of(book, problems.digits(book.config, of, settings.samples)) for name, of in PROCESSES.items()}
    main = runs["CLD"]
    problem, points = main.problem, main.problem.points
    metrics = {"sw2": lambda x: distances.sw2(x, points, projections=100), "nearest": lambda x: distances.off_data(x, points)}
    with book.cell("9", problem.dataset, "exact", "", None, {"samples": "exact"}, n=settings.samples) as cell:
        if cell.todo:
            cell.add("sw2", metrics["sw2"](problem.draws("cld", problem.dataset, "data")))
            cell.exact("nearest", 0.0, n=0)  # draws of the data are data
    for method, variant, nfe in settings.cells:
        runs[method].run(sampling("9", method, variant, PROCESSES[method], nfe), metrics)

    flows = {tolerance: flow("9", MAIN, tolerance) for tolerance in settings.tolerances}
    ends, tightest = cache(lambda tolerance: main.solve(flows[tolerance])), settings.tolerances[0]
    with_error = metrics | {"solver_rmse": lambda x: distances.solver_rmse(x, problem.by_seed(ends(tightest).u))}
    for tolerance, one in flows.items():
        measured = metrics if tolerance == tightest else with_error
        main.run(one, measured, solve=partial(ends, tolerance), steps="adaptive", drawn_at_once=problem.size)


class Runs(ExactRuns):
    """Samplers on one of the exact problems."""

    @classmethod
    def of(cls, book: Book, problem: ExactProblem) -> Runs:
        return cls(book, problem, {"process": problem.process.label, "score": "exact", "start": "prior"})

    def noise(self, one: Sampling) -> Streams:
        label = "flow" if one.sampler.nfe is None else f"{one.method}-{one.variant}-{one.sampler.nfe}"
        return self.problem.streams("cld", self.problem.dataset, label)

    def about(self, sampler: Solver) -> dict[str, object]:
        return {"steps": sampler.steps, "t0": sampler.times[-1], "denoise": sampler.denoise}

    def shown(self, x: Tensor) -> np.ndarray:
        """All samples of the first seed."""
        return x[0].float().numpy()
