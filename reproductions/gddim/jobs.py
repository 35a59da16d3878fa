"""Run gDDIM and its rivals on exact scores: Prop. 7, fig. 7.1 and Tables 7.1 to 7.3, these on trained networks too."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, partial
from itertools import product

import torch
from rescore.data.digits import load_digits
from rescore.experiments.book import Book
from rescore.models.evaluate import Sampling, TrainedModels
from rescore.problems import ExactProblem
from rescore.problems.distances import solver_rmse
from rescore.problems.flow import exact_end, trace
from rescore.problems.mixtures import nine_modes
from rescore.problems.runs import ExactRuns, Metrics
from rescore.processes import CLD, VP, Blurring, LinearSDE
from rescore.processes.grids import quadratic
from rescore.samplers import gddim
from rescore.samplers.base import Denoise

from reproductions.gddim import paths, tables
from reproductions.gddim.tables import FACTOR, MAIN_ORDER, MODELS, PREDICTOR_ORDERS

# Blur of at most 10 pixels on 32x32, as in the released code, is 2.5 pixels on 8x8: the same fraction of the image.
PROCESSES: Mapping[str, LinearSDE] = {"DDPM": VP(), "BDM": Blurring((8, 8), sigma_max=2.5), "CLD": CLD()}
MODE_STD, GAUSSIAN_STD = 0.1, 0.5
ON_MODE = 4.0  # standard deviations
PATHS = 32  # states of fig. 7.1
CLD_DATA = ("mixture2d_grid", "digits_exact")  # of Tables 7.1 and 7.2


class Case(ExactRuns):
    """Data under one of the processes, and what the results are compared with."""

    @classmethod
    def of(cls, book: Book, dataset: str, name: str, n: int | None = None) -> Case:
        """A data set by its name, n states a seed (as configured if None)."""
        config, digits = book.config, load_digits()
        n = n or (config.samples_2d if dataset == "mixture2d_grid" else config.samples)
        common = {"stream": ("gddim", dataset, name, "prior"), "seeds": config.seeds, "n": n}
        of_points = partial(ExactProblem.of_points, dataset, PROCESSES[name], **common)
        of_mixture = partial(ExactProblem.of_mixture, dataset, PROCESSES[name], **common)
        problems = {
            "digits_exact": lambda: of_points(digits, dtype=torch.float32),
            "one_point": lambda: of_points(digits[:1]),
            "gaussian": lambda: of_mixture(digits[:1], GAUSSIAN_STD),
            "mixture2d_grid": lambda: of_mixture(nine_modes(1.0), MODE_STD),
        }
        problem = problems[dataset]()
        dtype = str(problem.dtype).removeprefix("torch.")
        return cls(book, problem, {"process": name, "score": "exact", "dtype": dtype}, stream=("gddim",))

    @property
    def distances(self) -> Metrics:
        """To all digits, or to fresh draws of the mixture."""
        return self.to_data(self.book.config.projections, "gddim", self.problem.dataset, "exact", radius=ON_MODE * MODE_STD)

    def to_flow(self, metric: str, denoise: Denoise = "none") -> Metrics:
        """The distance to where the exact flow takes the start."""
        end = cache(lambda: exact_end(self.problem, self.start, self.book.config.reference_steps, denoise))
        return {metric: lambda x: solver_rmse(x, end())}


def recovery(book: Book) -> None:
    """Prop. 7: from T to t0 on a single image (and, beyond the proposition, a Gaussian around it), against the exact flow."""
    for dataset, (name, process) in product(("one_point", "gaussian"), PROCESSES.items()):
        case, shown = Case.of(book, dataset, name), dataset == "one_point"

        def image(one: Sampling, shown: bool = shown) -> str | None:
            return recovery_image(one.method, one.variant) if shown and one.sampler.steps == 1 else None

        cells = tables.recovery(book.config.recovery, name, process)
        steps = book.config.reference_steps
        case.measure(cells, f"Prop. 7, {name}", case.to_flow("recovery_rmse"), image, reference_steps=steps)
        if shown:
            book.arrays[recovery_image("start", name)] = process.project(case.start)[0, 0].numpy()


def recovery_image(method: str, variant: str) -> str:
    """The array with the image that one step leads to."""
    return f"recovery/{method}, {variant}"


def noise(book: Book) -> None:
    """Fig. 7.1: how much eps changes along the exact flow under R_t, and under L_t (of whose channels only v enters)."""
    config = book.config
    for dataset in ("one_point", "digits_exact"):
        case = Case.of(book, dataset, "CLD", max(1, PATHS // len(config.seeds)))
        process, problem = case.problem.process, case.problem
        solver = gddim(process, quadratic(process, config.reference_steps), 3)
        path = cache(partial(trace, solver, problem.score, case.start))
        protocol = {"grid": "quadratic", "t0": process.eps, "reference_steps": config.reference_steps}
        for factor in paths.CHANNELS:
            with case.cell("fig7.1", "exact flow", FACTOR(factor=factor), **protocol, factor=factor) as cell:
                if cell.todo:
                    times, states, scores = path()
                    epsilon = paths.noise_along(process, factor, times, scores)
                    change = epsilon.std(0, correction=0).unflatten(0, (len(config.seeds), -1)).flatten(1)
                    cell.add("noise_change", change.square().mean(1).sqrt().tolist())  # over times equally spaced in sqrt(t)
                    cell.arrays[f"noise/{dataset}/{factor}"] = paths.middle_pixels(epsilon)
                    cell.arrays |= {f"noise/{dataset}/u": paths.middle_pixels(states), "noise/times": times.numpy()}


def factors(book: Book) -> None:
    """Table 7.1: predictors of 1 to 3 steps under R_t and L_t (the printed rows are taken to have 3), and naive Euler."""
    settings, steps = book.config.factors, book.config.reference_steps
    for dataset in CLD_DATA:
        case = Case.of(book, dataset, "CLD")
        metrics = {**case.distances, **case.to_flow("solver_rmse", "euler")}
        case.floor("7.1", case.distances, "gddim", dataset, "draws")
        cells = tables.factors(settings, case.problem.process, PREDICTOR_ORDERS, naive_euler=dataset == "mixture2d_grid")
        case.measure(cells, f"Table 7.1, {dataset}", metrics, protocols={"solver_rmse": {"reference_steps": steps}})


def lambdas(book: Book) -> None:
    """Table 7.2, and Euler-Maruyama with the drift of the released code."""
    for dataset in CLD_DATA:
        case = Case.of(book, dataset, "CLD")
        case.measure(tables.lambdas(book.config.lambdas, case.problem.process), f"Table 7.2, {dataset}", case.distances)


def grid(book: Book) -> None:
    """Table 7.3 on the digits: its printed rows, and each sampler on the processes where none is printed."""
    settings = book.config.grid
    for name, process in PROCESSES.items():
        case = Case.of(book, "digits_exact", name)
        if name == "DDPM":
            case.floor("7.3", case.distances, "gddim", "digits_exact", "draws")
        cells = [*tables.grid(settings, name, process), *tables.adaptive(settings, name, process)]
        case.measure(cells, f"Table 7.3, {name}", case.distances)


def trained(book: Book) -> None:
    """Tables 7.1 to 7.3 on networks of VP, BDM and CLD that are trained alike: FID and inception score."""
    models = TrainedModels(book)
    measure_cld(book, models)
    measure_grid(book, models)


def trained_cld(book: Book) -> None:
    """Tables 7.1 and 7.2 alone."""
    measure_cld(book, TrainedModels(book))


def trained_grid(book: Book) -> None:
    """Table 7.3 alone."""
    measure_grid(book, TrainedModels(book))


def measure_cld(book: Book, models: TrainedModels) -> None:
    if "cld" in models.names:
        process = models.process("cld")
        models.measure(tables.factors(book.config.factors, process, (MAIN_ORDER,)), "Table 7.1, trained")
        models.measure(tables.lambdas(book.config.lambdas, process), "Table 7.2, trained")


def measure_grid(book: Book, models: TrainedModels) -> None:
    for name, model in MODELS.items():
        if model in models.names:
            models.measure(tables.grid(book.config.grid, name, models.process(model)), f"Table 7.3, {name}, trained")
    models.floor("7.3")
    models.training()


def score_recovery(book: Book) -> None:
    """Props. 6 and 8."""
    paths.score_recovery(book, dict(PROCESSES), load_digits())


def corrected(book: Book) -> None:
    """Section 7.4.1: predictors with a corrector beside predictors alone, on exact scores of CLD."""
    for dataset in CLD_DATA:
        case = Case.of(book, dataset, "CLD")
        metrics = {**case.distances, **case.to_flow("solver_rmse", "euler")}
        cells, steps = tables.corrected(book.config.corrected, case.problem.process), book.config.reference_steps
        case.measure(cells, f"correctors, {dataset}", metrics, protocols={"solver_rmse": {"reference_steps": steps}})


def corrected_trained(book: Book) -> None:
    """The same on a trained network of CLD: FID."""
    models = TrainedModels(book)
    models.measure(tables.corrected(book.config.corrected, models.process("cld")), "correctors, trained", ("fid",))


def held(book: Book) -> None:
    """RK45 of Table 7.3 with the printed evaluations, on the digits."""
    for name, process in PROCESSES.items():
        case = Case.of(book, "digits_exact", name)
        case.measure(tables.held(book.config.held, name, process), f"RK45, {name}", case.distances)


def held_trained(book: Book) -> None:
    """RK45 of Table 7.3 with the printed evaluations, on trained networks."""
    models = TrainedModels(book)
    for name, model in MODELS.items():
        if model in models.names:
            cells = tables.held(book.config.held, name, models.process(model))
            models.measure(cells, f"RK45, {name}, trained", ("fid",))


SECTIONS = {
    one.__name__: one
    for one in (
        recovery,
        noise,
        factors,
        lambdas,
        grid,
        trained,
        trained_cld,
        trained_grid,
        paths.noise_trained,
        paths.phases,
        score_recovery,
        corrected,
        corrected_trained,
        held,
        held_trained,
    )
}
