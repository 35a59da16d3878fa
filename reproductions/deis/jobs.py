"""Run the samplers of chapter 6 on exact scores, and for Table 6.2 also on a trained network."""

from __future__ import annotations

from functools import cache, cached_property

import numpy as np
import torch
from rescore.data.digits import load_digits
from rescore.experiments.axes import Axes
from rescore.experiments.book import Book
from rescore.likelihood import exact_divergence, flow_log_prob
from rescore.models.evaluate import TrainedModels
from rescore.problems import ExactProblem
from rescore.problems.distances import relative_changes, solver_median, solver_rmse, sw2
from rescore.problems.flow import by_quantiles, by_rho_rk4
from rescore.problems.runs import ExactRuns, Metrics
from rescore.processes import VP
from rescore.random import make_generator
from rescore.scores import Score
from torch import Tensor

from reproductions.deis.errors import extrapolation_trained, fitting, measure_extrapolation
from reproductions.deis.methods import GRIDS, ORDERED, ingredient_cells, table_cells, tableau_cells
from reproductions.deis.networks import best_grids, by_method, likelihood_trained, rivals, tableaus_trained

MIXTURE_MEANS = torch.tensor([[-1.0], [0.3], [1.2]], dtype=torch.float64)
MIXTURE_STDS = {"mixture1d": 0.1, "mixture1d_narrow": 0.01}
CHANGE_TIMES = tuple(k / 20 for k in range(19, 0, -1))
CHANGE_SPLIT = 0.15  # fig. 6.4: above this time the noise prediction hardly changes
TIME, ABOVE, BELOW = Axes("t={t:g}"), Axes("t>={t:g}"), Axes("t<{t:g}")
ORDER, STEPS = Axes("order-{order}"), Axes("steps-{steps}")


class Data(ExactRuns):
    """One data set, and where the exact flow takes the starting points of all seeds."""

    @classmethod
    def of(cls, book: Book, name: str) -> Data:
        config = book.config
        common = {"stream": ("deis", name), "seeds": config.seeds, "n": config.datasets[name].samples}
        if name == "digits_exact":
            problem = ExactProblem.of_points(name, VP(), load_digits(), **common)
            reference = f"rho4RK with {config.reference_steps} steps in log rho"
        else:
            problem = ExactProblem.of_mixture(name, VP(), MIXTURE_MEANS, MIXTURE_STDS[name], **common)
            reference = "quantiles"
        return cls(
            book,
            problem,
            {
                "process": "vp",
                "score": "exact",
                "t0": config.t0,
                "denoise": "none",
                "samples": problem.n,
                "reference": reference,
                "start": "N(0, I)",
                "dtype": "float64",
            },
        )

    def flow(self, times: list[float]) -> list[Tensor]:
        """The exact probability flow from the start to each of the decreasing `times`, as states."""
        process, score = self.problem.process, self.problem.score
        if self.problem.modes is not None:
            return [by_quantiles(score, self.start, process.T, t) for t in times]
        return by_rho_rk4(process, score, self.start, times, self.book.config.reference_steps)

    @cached_property
    def end(self) -> Tensor:
        """Its end at t0, (seeds, samples, *data)."""
        return self.problem.by_seed(self.flow([self.book.config.t0])[0])

    @property
    def errors(self) -> Metrics:
        """Distances to the exact solution."""
        return {"solver_rmse": lambda x: solver_rmse(x, self.end), "solver_median": lambda x: solver_median(x, self.end)}


def table(book: Book, dataset: str) -> None:
    """The cells of Table 6.2, with what exact draws of p_t0 and the exact flow give in their place.

    `sw2` is the distance to the data, in which few samples hide all but gross errors; `sw2_flow` that to the end points of the
    exact flow from the same starting points, which is 0 for an exact solver.
    """
    data, settings, t0 = Data.of(book, dataset), book.config.table, book.config.t0
    problem, projections = data.problem, settings.projections
    to_data = {"sw2": lambda x: sw2(x, problem.points, projections)}
    metrics = to_data | {"sw2_flow": lambda x: sw2(x, data.end, projections)} | data.errors
    data.measure(table_cells(settings, problem.process, t0), "Table 6.2", metrics, projections=projections)
    data.fill("6.2", "exact flow", lambda: data.end, to_data, projections=projections)
    data.fill("6.2", "exact draws", lambda: problem.draws("deis", "draws", t=t0), to_data, projections=projections)


def ingredients(book: Book, dataset: str) -> None:
    """Figs. 6.3 and 6.5: every ingredient on every grid; the variant is the grid."""
    data = Data.of(book, dataset)
    cells = ingredient_cells(book.config.ingredients, data.problem.process, book.config.t0)
    data.measure(cells, f"fig. 6.5, {dataset}", data.errors)


def orders(book: Book, dataset: str) -> None:
    """The slope of log median error against log steps, fitted for each seed."""
    data, steps, grid = Data.of(book, dataset), book.config.orders.steps, "quadratic"

    @cache
    def errors(method: str, n: int) -> list[float]:
        sampler = ORDERED[method](VP(), GRIDS[grid](VP(), n, t0=book.config.t0))
        return solver_median(data.problem.run(sampler, data.start), data.end)

    for method, make in ORDERED.items():
        for n in steps:
            with data.cell("orders", method, STEPS(steps=n), grid=grid, steps=n) as cell:
                if cell.todo:
                    cell.add("solver_median", errors(method, n))
        protocol = {"grid": grid, "steps": "/".join(map(str, steps)), "error": "solver_median"}
        with data.cell("orders", method, ORDER(order=make.order), **protocol) as cell:
            if cell.todo:
                cell.add("order", -np.polyfit(np.log(steps), np.log([errors(method, n) for n in steps]), 1)[0])


def change(book: Book, dataset: str) -> None:
    """Fig. 6.4: how much score and noise prediction change along the exact flow in 1/20 of the time, relative to their size."""
    data, late = Data.of(book, dataset), np.array(CHANGE_TIMES) < CHANGE_SPLIT - 1e-9
    curves = cache(lambda: change_curves(data))
    parts = {TIME(t=t): [k] for k, t in enumerate(CHANGE_TIMES)} | {ABOVE(t=CHANGE_SPLIT): ~late, BELOW(t=CHANGE_SPLIT): late}
    for name in ("score", "eps"):
        for variant, which in parts.items():
            with data.cell("fig6.4", name, variant, interval=0.05) as cell:
                if cell.todo:
                    cell.add("relative_change", curves()[name][:, which].mean(1))


def change_curves(data: Data) -> dict[str, np.ndarray]:
    """|f(u_t, t) - f(u_s, s)| / |f(u_s, s)| over a seed's points, s = t + 1/20, at CHANGE_TIMES, (seeds, times)."""
    problem, times = data.problem, (data.problem.process.T, *CHANGE_TIMES)
    scores = [problem.score(u, t) for u, t in zip((data.start, *data.flow(list(CHANGE_TIMES))), times, strict=True)]
    noises = [problem.process.L(t)(score) for score, t in zip(scores, times, strict=True)]  # up to the sign
    return {name: relative_changes([problem.by_seed(f) for f in of]) for name, of in {"score": scores, "eps": noises}.items()}


def trained(book: Book) -> None:
    """Table 6.2 with trained networks: FID and inception score of every cell, over training seeds; and those of real images."""
    models = TrainedModels(book)
    models.measure(table_cells(book.config.table, models.process("vp"), book.config.t0), "Table 6.2, trained")
    models.floor("6.2")
    models.training()


def extrapolation(book: Book, dataset: str) -> None:
    """Fig. 6.4b with an exact score: a polynomial through past noise predictions, along the exact flow."""
    data = Data.of(book, dataset)
    process, score = data.problem.process, data.problem.score

    def paths(times: list[float]) -> list[tuple[Score, list[Tensor]]]:
        states = [data.start, *data.flow(times[1:])]
        return [
            (score, [u.unflatten(0, (len(book.config.seeds), -1))[i] for u in states]) for i in range(len(book.config.seeds))
        ]

    measure_extrapolation(book, process, data.cell, paths)


def tableaus(book: Book, dataset: str) -> None:
    """Section 6.5: second-order Runge-Kutta methods in rho."""
    data = Data.of(book, dataset)
    cells = tableau_cells(book.config.tableaus, data.problem.process, book.config.t0)
    data.measure(cells, f"second order, {dataset}", data.errors)


def likelihood(book: Book, dataset: str) -> None:
    """Section 6.1: log p of exact draws at t0 by DEIS and by dopri5, against the exact density."""
    data, config = Data.of(book, dataset), book.config
    settings, process, score, t0 = config.likelihood, data.problem.process, data.problem.score, config.t0
    draws = [score.sample(data.problem.n, t0, make_generator("deis", "likelihood", dataset, seed)) for seed in config.seeds]
    u = torch.cat(draws)
    exact = score.log_prob(u, t0)

    def errors(log_prob: Tensor) -> list[float]:
        return (log_prob - exact).abs().unflatten(0, (len(draws), -1)).mean(1).tolist()

    with data.cell("likelihood", "dopri5", tolerance=settings.tolerance) as cell:
        if cell.todo:
            found = flow_log_prob(score, process, u, None, "exact", t0, settings.tolerance)
            cell.add("nats_error", errors(found.log_prob))
            cell.exact("evaluations", found.nfe)
    for name, nfe, solve in by_method(settings, process, t0, score, u, exact_divergence):
        with data.cell("likelihood", name, nfe=nfe, grid=settings.grid) as cell:
            if cell.todo:
                cell.add("nats_error", errors(solve().log_prob))


SECTIONS = {
    one.__name__: one
    for one in (
        table,
        ingredients,
        orders,
        change,
        trained,
        extrapolation,
        tableaus,
        likelihood,
        rivals,
        best_grids,
        extrapolation_trained,
        likelihood_trained,
        tableaus_trained,
        fitting,
    )
}
