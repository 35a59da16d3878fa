"""Euler's method on the probability flow with a share of the score, on a mixture whose flow is known."""

import torch
from rescore.experiments.axes import Axes
from rescore.experiments.book import Book
from rescore.problems import ExactProblem, distances, flow
from rescore.processes import VP, LinearSDE, grids
from rescore.samplers.base import OneStep
from rescore.samplers.method import method
from torch import Tensor

SHARE = Axes("share={share:g}")


@method(order=lambda its: 1 if its.share == 1 else 0)
def half_score(process: LinearSDE, times: Tensor, share: float = 1.0) -> OneStep:
    """u <- u + (F u - share GG^T s / 2) h: Euler's method where share = 1 (eq. 1)."""
    times = grids.check(process, times)
    t, h = times[:-1], times.diff()
    drift = process.F(t)
    return OneStep(process, times, drift.identity() + drift * h, process.GG(t) * (-share / 2 * h), None)


def euler(book: Book) -> None:
    """Table 1: the distance to the exact flow."""
    config, process = book.config, VP()
    modes = torch.tensor([[-1.0], [1.0]], dtype=torch.float64)
    problem = ExactProblem.of_mixture("mixture", process, modes, 0.3, ("half_score",), config.seeds, config.samples)
    start = problem.start()
    exact = problem.by_seed(flow.by_quantiles(problem.score, start, process.T, process.eps))
    for share in config.euler.shares:
        for steps in config.euler.steps:
            sampler = half_score(process, grids.quadratic(process, steps), share)
            protocol = {"grid": "quadratic", "denoise": sampler.denoise, "samples": problem.n}
            with book.cell("1", "mixture", "Half-score Euler", SHARE(share=share), sampler.nfe, protocol, n=problem.n) as cell:
                if cell.todo:
                    cell.add("solver_rmse", distances.solver_rmse(problem.run(sampler, start), exact))


SECTIONS = {"euler": euler}
