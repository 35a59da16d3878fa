"""Run the samplers of chapter 6 on exact scores, and for Table 6.2 also on a trained network."""

from __future__ import annotations

from functools import cache, cached_property

import numpy as np
import torch
from torch import Tensor

from reproductions.deis.methods import GRIDS, INGREDIENTS, ORDERED, table_cells
from rescore.data.digits import load_digits
from rescore.experiments.axes import Axes
from rescore.experiments.book import Book, Cell
from rescore.models.evaluate import Sampling, TrainedModels
from rescore.problems import ExactProblem
from rescore.problems.distances import solver_median, solver_rmse, sw2
from rescore.problems.flow import by_quantiles, by_rho_rk4
from rescore.problems.runs import ExactRuns, Metrics
from rescore.processes import VP

MIXTURE_MEANS = torch.tensor([[-1.0], [0.3], [1.2]], dtype=torch.float64)
MIXTURE_STDS = {"mixture1d": 0.1, "mixture1d_narrow": 0.01}
CHANGE_TIMES = tuple(k / 20 for k in range(19, 0, -1))
CHANGE_SPLIT = 0.15  # fig. 6.4: above this time the noise prediction hardly changes
TIME, ABOVE, BELOW = Axes("t={t:g}"), Axes("t>={t:g}"), Axes("t<{t:g}")
ORDER, STEPS = Axes("order-{order}"), Axes("steps-{steps}")


def make_problem(name: str, seeds: tuple[int, ...], samples: int) -> ExactProblem:
    """A data set by its name, float64."""
    common = {"stream": ("deis", name), "seeds": seeds, "n": samples}
    if name == "digits_exact":
        return ExactProblem.of_points(name, VP(), load_digits(), **common)
    return ExactProblem.of_mixture(name, VP(), MIXTURE_MEANS, MIXTURE_STDS[name], **common)


class Data(ExactRuns):
    """One data set, and where the exact flow takes the starting points of all seeds."""

    @classmethod
    def of(cls, book: Book, name: str) -> Data:
        config = book.config
        problem = make_problem(name, config.seeds, config.datasets[name].samples)
        exact = "quantiles" if problem.modes is not None else f"rho4RK with {config.reference_steps} steps in log rho"
        return cls(book, problem, {"process": "vp", "score": "exact", "t0": config.t0, "denoise": "none", "samples": problem.n,
                                   "reference": exact, "start": "N(0, I)", "dtype": "float64"})  # fmt: skip

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

    def cell(self, table: str, method: str, variant: str, **protocol: object) -> Cell:
        """A cell at no number of evaluations."""
        return self.book.cell(table, self.problem.dataset, method, variant, None, {**self.protocol, **protocol}, n=self.problem.n)


def table(book: Book, dataset: str) -> None:
    """The cells of Table 6.2, with what exact draws of p_t0 and the exact flow give in their place.

    `sw2` is the distance to the data, in which few samples hide all but gross errors; `sw2_flow` that to the end points of the
    exact flow from the same starting points, which is 0 for an exact solver.
    """
    data, settings, t0 = Data.of(book, dataset), book.config.table, book.config.t0
    problem, projections = data.problem, settings.projections
    to_data = {"sw2": lambda x: sw2(x, problem.points, projections)}
    metrics = to_data | {"sw2_flow": lambda x: sw2(x, data.end, projections)} | data.errors
    for one in table_cells(settings, problem.process, t0):
        data.measure(one, metrics, projections=projections)
    data.fill("6.2", "exact flow", lambda: data.end, to_data, projections=projections)
    data.fill("6.2", "exact draws", lambda: problem.draws("deis", "draws", t=t0), to_data, projections=projections)


def ingredients(book: Book, dataset: str) -> None:
    """Figs. 6.3 and 6.5: every ingredient on every grid; the variant is the grid."""
    data, settings = Data.of(book, dataset), book.config.ingredients
    for grid in settings.grids:
        for nfe in settings.nfes:
            for method, make in INGREDIENTS.items():
                sampler = make(VP(), GRIDS[grid](VP(), nfe, t0=book.config.t0))
                data.measure(Sampling("fig6.5", method, grid, "vp", sampler, {"grid": grid}), data.errors)


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
    process = data.problem.process
    times = (process.T, *CHANGE_TIMES)
    states = [data.start, *data.flow(list(CHANGE_TIMES))]
    scores = [data.problem.score(u, t) for u, t in zip(states, times, strict=True)]
    noises = [process.L(t)(score) for score, t in zip(scores, times, strict=True)]  # up to the sign

    def norm(values: Tensor) -> np.ndarray:
        return data.problem.by_seed(values).flatten(1).norm(dim=1).numpy()

    def changes(values: list[Tensor]) -> np.ndarray:
        return np.stack([norm(b - a) / norm(a) for a, b in zip(values[:-1], values[1:], strict=True)], 1)

    return {"score": changes(scores), "eps": changes(noises)}


def trained(book: Book) -> None:
    """Table 6.2 with trained networks: FID and inception score of every cell, over training seeds; and those of real images."""
    models = TrainedModels(book)
    models.measure(table_cells(book.config.table, models.process("vp"), book.config.t0), "Table 6.2, trained")
    models.floor("6.2")
    models.training()


SECTIONS = {"table": table, "ingredients": ingredients, "orders": orders, "change": change, "trained": trained}
