"""Run the samplers of chapter 6 on exact scores, and for Table 6.2 also on a trained network."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
import torch
from torch import Tensor

from reproductions.deis.methods import GRIDS, INGREDIENTS, ORDERED, table_cells
from rescore.data.digits import load_digits
from rescore.experiments.axes import Axes
from rescore.experiments.book import Book
from rescore.models.evaluate import Sampling, TrainedModels
from rescore.problems import ExactProblem
from rescore.problems.distances import solver_errors, sw2
from rescore.problems.flow import by_quantiles, by_rho_rk4
from rescore.processes import VP
from rescore.samplers import Sampler

MIXTURE_MEANS = torch.tensor([[-1.0], [0.3], [1.2]], dtype=torch.float64)
MIXTURE_STDS = {"mixture1d": 0.1, "mixture1d_narrow": 0.01}
CHANGE_TIMES = tuple(k / 20 for k in range(19, 0, -1))
CHANGE_SPLIT = 0.15  # fig. 6.4: above this time the noise prediction hardly changes
TIME, ABOVE, BELOW = Axes("t={t:g}"), Axes("t>={t:g}"), Axes("t<{t:g}")
ORDER, STEPS = Axes("order-{order}"), Axes("steps-{steps}")
ORDER_GRID = "quadratic"


def make_problem(name: str, seeds: tuple[int, ...], samples: int) -> ExactProblem:
    """A data set by its name, float64."""
    common = {"stream": ("deis", name), "seeds": seeds, "n": samples}
    if name == "digits_exact":
        return ExactProblem.of_points(name, VP(), load_digits(), **common)
    return ExactProblem.of_mixture(name, VP(), MIXTURE_MEANS, MIXTURE_STDS[name], **common)


@dataclass(frozen=True)
class Data:
    """One data set: the starting points of all seeds, the same for every sampler, and where the exact flow takes them."""

    book: Book
    problem: ExactProblem

    @classmethod
    def of(cls, book: Book, name: str) -> Data:
        config = book.config
        data = cls(book, make_problem(name, config.seeds, config.datasets[name].samples))
        exact = "quantiles" if data.on_line else f"rho4RK with {config.reference_steps} steps in log rho"
        book.protocol |= {"process": "vp", "score": "exact", "t0": config.t0, "denoise": "none", "samples": data.problem.n,
                          "reference": exact, "start": "N(0, I)", "dtype": "float64"}  # fmt: skip
        return data

    @property
    def on_line(self) -> bool:
        return self.problem.modes is not None

    @cached_property
    def start(self) -> Tensor:
        """(seeds * samples, *data), as all states."""
        return self.problem.start()

    @cached_property
    def end(self) -> Tensor:
        """Of the exact flow, (seeds, samples, *data)."""
        return self.problem.by_seed(self.flow([self.book.config.t0])[0])

    def flow(self, times: list[float]) -> list[Tensor]:
        """The probability flow from the start to each of the decreasing `times`."""
        process, score = self.problem.process, self.problem.score
        if self.on_line:
            return [by_quantiles(score, self.start, process.T, t) for t in times]
        return by_rho_rk4(process, score, self.start, times, self.book.config.reference_steps)

    def run(self, sampler: Sampler) -> Tensor:
        """Its end points, (seeds, samples, *data)."""
        return self.problem.run(sampler, self.start)


def table(book: Book, dataset: str) -> None:
    """The cells of Table 6.2, with what exact draws of p_t0 and the exact flow give in their place.

    `sw2` is the distance to the data, in which few samples hide all but gross errors; `sw2_flow` that to the end points of the
    exact flow from the same starting points, which is 0 for an exact solver.
    """
    data, settings, t0 = Data.of(book, dataset), book.config.table, book.config.t0
    problem, projections = data.problem, settings.projections
    for place, sampler in table_cells(settings, problem.process, t0):
        protocol = {"grid": settings.grid, "projections": projections}
        with book.cell("6.2", dataset, **place, nfe=sampler.nfe, protocol=protocol, n=problem.n) as cell:
            if cell.todo:
                x = data.run(sampler)
                distances = {"sw2": sw2(x, problem.points, projections), "sw2_flow": sw2(x, data.end, projections)}
                for metric, values in (distances | solver_errors(x, data.end)).items():
                    cell.add(metric, values)
    for method in ("exact flow", "exact draws"):
        with book.cell("6.2", dataset, method, protocol={"projections": projections}, n=problem.n) as cell:
            if cell.todo:
                x = data.end if method == "exact flow" else problem.draws("deis", "draws", t=t0)
                cell.add("sw2", sw2(x, problem.points, projections))


def ingredients(book: Book, dataset: str) -> None:
    """Figs. 6.3 and 6.5: every ingredient on every grid; the variant is the grid."""
    data, settings, process = Data.of(book, dataset), book.config.ingredients, VP()
    for grid in settings.grids:
        for nfe in settings.nfes:
            for method, make in INGREDIENTS.items():
                sampler = make(process, GRIDS[grid](process, nfe, t0=book.config.t0))
                with book.cell("fig6.5", dataset, method, grid, sampler.nfe, {"grid": grid}, n=data.problem.n) as cell:
                    if cell.todo:
                        for metric, values in solver_errors(data.run(sampler), data.end).items():
                            cell.add(metric, values)


def orders(book: Book, dataset: str) -> None:
    """The slope of log median error against log steps, fitted for each seed."""
    data, steps, process = Data.of(book, dataset), book.config.orders.steps, VP()

    @cache
    def errors(method: str, n: int) -> list[float]:
        sampler = ORDERED[method](process, GRIDS[ORDER_GRID](process, n, t0=book.config.t0))
        return solver_errors(data.run(sampler), data.end)["solver_median"]

    for method, make in ORDERED.items():
        for n in steps:
            protocol = {"grid": ORDER_GRID, "steps": n}
            with book.cell("orders", dataset, method, STEPS(steps=n), protocol=protocol, n=data.problem.n) as cell:
                if cell.todo:
                    cell.add("solver_median", errors(method, n))
        protocol = {"grid": ORDER_GRID, "steps": "/".join(map(str, steps)), "error": "solver_median"}
        with book.cell("orders", dataset, method, ORDER(order=make.order), protocol=protocol, n=data.problem.n) as cell:
            if cell.todo:
                cell.add("order", -np.polyfit(np.log(steps), np.log([errors(method, n) for n in steps]), 1)[0])


def change(book: Book, dataset: str) -> None:
    """Fig. 6.4: how much score and noise prediction change along the exact flow in 1/20 of the time, relative to their size."""
    data, late = Data.of(book, dataset), np.array(CHANGE_TIMES) < CHANGE_SPLIT - 1e-9
    curves = cache(lambda: change_curves(data))
    parts = {TIME(t=t): [k] for k, t in enumerate(CHANGE_TIMES)} | {ABOVE(t=CHANGE_SPLIT): ~late, BELOW(t=CHANGE_SPLIT): late}
    for name in ("score", "eps"):
        for variant, which in parts.items():
            with book.cell("fig6.4", dataset, name, variant, protocol={"interval": 0.05}, n=data.problem.n) as cell:
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
    models, settings = TrainedModels(book), book.config.table
    cells = table_cells(settings, models.process("vp"), book.config.t0)
    samplings = [Sampling("6.2", **place, model="vp", sampler=sampler, protocol={"grid": settings.grid}) for place, sampler in cells]
    models.measure(samplings, "Table 6.2, trained")
    models.floor("6.2")
    models.training()


SECTIONS = {"table": table, "ingredients": ingredients, "orders": orders, "change": change, "trained": trained}
