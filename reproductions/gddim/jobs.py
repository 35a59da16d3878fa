"""Run gDDIM and its rivals on exact scores: Prop. 7, fig. 7.1 and Tables 7.1 to 7.3, these on trained networks too."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, cached_property, partial

import torch
from torch import Tensor

from reproductions.gddim import tables
from reproductions.gddim.tables import FACTOR, MAIN_ORDER, MODELS, PREDICTOR_ORDERS
from rescore.data.digits import load_digits
from rescore.experiments.axes import Axes
from rescore.experiments.book import Book
from rescore.models.evaluate import Sampling, TrainedModels
from rescore.problems import ExactProblem
from rescore.problems.distances import off_data, off_modes, solver_rmse, sw2
from rescore.problems.flow import by_gddim, of_one_point, trace
from rescore.problems.mixtures import nine_modes
from rescore.problems.runs import ExactRuns, Metrics
from rescore.processes import CLD, VP, Blurring, LinearSDE
from rescore.processes.grids import quadratic
from rescore.progress import progress
from rescore.samplers import Method, euler_maruyama, gddim
from rescore.samplers.base import Denoise

# Blur of at most 10 pixels on 32x32, as in the released code, is 2.5 pixels on 8x8: the same fraction of the image.
PROCESSES: Mapping[str, LinearSDE] = {"DDPM": VP(), "BDM": Blurring((8, 8), sigma_max=2.5), "CLD": CLD()}
MODE_STD, GAUSSIAN_STD = 0.1, 0.5
NOISE = ("gddim",)  # of all samplers: the first name of their streams
ON_MODE = 4.0  # standard deviations
PATHS, TRACED = 32, 3  # states and pixels of fig. 7.1
CLD_DATA = ("mixture2d_grid", "digits_exact")  # of Tables 7.1 and 7.2
WITH_FACTOR = Axes("{process}, K={factor}")


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
        return cls(book, problem, {"process": name, "score": "exact", "dtype": dtype})

    @cached_property
    def reference(self) -> Tensor:
        """All digits, or fresh draws of the mixture."""
        return self.problem.reference("gddim", self.problem.dataset, "exact")

    @property
    def distances(self) -> Metrics:
        """sw2 to the data; and the fraction of samples off every mode, or their RMS distance to the nearest data point."""
        projections, modes = self.book.config.projections, self.problem.modes
        found = {"sw2": lambda x: sw2(x, self.reference, projections)}
        if modes is not None:
            return found | {"off_mode": lambda x: off_modes(x, modes, ON_MODE * MODE_STD)}
        return found | {"off_data": lambda x: off_data(x, self.reference)}

    def floor(self, table: str) -> None:
        """The same metrics for exact draws of the data."""
        dataset, metrics = self.problem.dataset, dict(self.distances)
        if metrics.pop("off_data", None):  # of draws of the data: 0, whatever is drawn
            how = {"process": self.protocol["process"], "score": "exact", "samples": self.problem.n}
            with self.book.cell(table, dataset, "exact draws", protocol=how) as cell:
                cell.exact("off_data", 0.0)
        self.fill(table, "exact draws", lambda: self.problem.draws("gddim", dataset, "draws"), metrics)


def exact_end(case: Case, denoise: Denoise = "none") -> Tensor:
    """Where the exact flow takes the start, as data (seeds, n, *data): in closed form for one point."""
    problem, process = case.problem, case.problem.process
    if problem.points is not None and len(problem.points) == 1:
        return problem.by_seed(of_one_point(process, problem.points[0], case.start, process.eps))
    return problem.by_seed(by_gddim(process, problem.score, case.start, case.book.config.reference_steps, denoise))


def recovery(book: Book) -> None:
    """Prop. 7: from T to t0 on a single image (and, beyond the proposition, a Gaussian around it), against the exact flow."""
    for dataset in ("one_point", "gaussian"):
        for name, process in PROCESSES.items():
            case = Case.of(book, dataset, name)
            end = cache(partial(exact_end, case))
            metrics = {"recovery_rmse": lambda x, end=end: solver_rmse(x, end())}
            for (method, variant), make in recovery_rows(name).items():
                for steps in book.config.recovery.steps:
                    sampler = make(process, quadratic(process, steps))
                    one = Sampling("prop7", method, variant, name, sampler, {"grid": "quadratic", **make.options})
                    shown = dataset == "one_point" and steps == 1
                    case.measure(one, metrics, NOISE, recovery_image(method, variant) if shown else None)
            book.arrays[recovery_image("start", name)] = process.project(case.start)[0, 0].numpy()


def recovery_rows(name: str) -> dict[tuple[str, str], Method]:
    """What Prop. 7 is asked of on one process, by method and variant."""
    gddims = {("gDDIM", WITH_FACTOR(process=name, factor=k)): gddim.where(factor=k) for k in ("RL" if name == "CLD" else "R")}
    return gddims | {("Euler", name): euler_maruyama.where(lam=0.0)}


def recovery_image(method: str, variant: str) -> str:
    """The array with the image that one step leads to."""
    return f"recovery/{method}, {variant}"


def noise(book: Book) -> None:
    """Fig. 7.1: how much eps changes along the exact flow under R_t, and under L_t (of whose channels only v enters)."""
    config = book.config
    for dataset in ("one_point", "digits_exact"):
        case = Case.of(book, dataset, "CLD", max(1, PATHS // len(config.seeds)))
        process, path = case.problem.process, cache(partial(_path, case))
        protocol = {**case.protocol, "grid": "quadratic", "t0": process.eps, "reference_steps": config.reference_steps}
        for factor, channels in {"R": slice(0, 2), "L": slice(1, 2)}.items():
            how = {**protocol, "factor": factor}
            with book.cell("fig7.1", dataset, "exact flow", FACTOR(factor=factor), protocol=how, n=case.problem.n) as cell:
                if cell.todo:
                    times, states, scores = path()
                    epsilon = -process.K(times, factor).T(scores)[:, channels]
                    change = epsilon.std(0, correction=0).transpose(0, 1)  # over times equally spaced in sqrt(t)
                    by_seed = change.unflatten(0, (len(config.seeds), -1)).flatten(1)
                    cell.add("noise_change", by_seed.square().mean(1).sqrt().tolist())
                    cell.arrays[f"noise/{dataset}/{factor}"] = _pixels(epsilon)
                    cell.arrays |= {f"noise/{dataset}/u": _pixels(states), "noise/times": times.numpy()}


def _path(case: Case) -> tuple[Tensor, Tensor, Tensor]:
    """Times (steps,) and along the exact flow of CLD the states and scores, each (steps, 2, n, *data)."""
    sampler = gddim(case.problem.process, quadratic(case.problem.process, case.book.config.reference_steps), 3)
    times, states, scores = trace(sampler, case.problem.score, case.start)
    return times, states.transpose(1, 2), scores.transpose(1, 2)


def _pixels(path: Tensor) -> Tensor:
    """Of the first state, pixels in the middle of the image, where the digits differ most: (steps, channels, TRACED)."""
    height, width = path.shape[-2:]
    middle = height // 2 * width + width // 2
    return path[:, :, 0].flatten(2)[..., middle - TRACED // 2 : middle + TRACED // 2 + 1].numpy()


def factors(book: Book) -> None:
    """Table 7.1: predictors of 1 to 3 steps under R_t and L_t (the printed rows are taken to have 3), and naive Euler."""
    settings, steps = book.config.factors, book.config.reference_steps
    for dataset in CLD_DATA:
        case = Case.of(book, dataset, "CLD")
        end = cache(partial(exact_end, case, "euler"))
        metrics = {**case.distances, "solver_rmse": lambda x, end=end: solver_rmse(x, end())}
        case.floor("7.1")
        cells = list(tables.factors(settings, case.problem.process, PREDICTOR_ORDERS))
        if dataset == "mixture2d_grid":
            cells += tables.naive_euler(settings, case.problem.process)
        for one in progress(cells, desc=f"Table 7.1, {dataset}"):
            case.measure(one, metrics, NOISE, reference_steps=steps)


def lambdas(book: Book) -> None:
    """Table 7.2, and Euler-Maruyama with the drift of the released code."""
    for dataset in CLD_DATA:
        case = Case.of(book, dataset, "CLD")
        for one in progress(list(tables.lambdas(book.config.lambdas, case.problem.process)), desc=f"Table 7.2, {dataset}"):
            case.measure(one, case.distances, NOISE)


def grid(book: Book) -> None:
    """Table 7.3 on the digits: its printed rows, and each sampler on the processes where none is printed."""
    settings = book.config.grid
    for name, process in PROCESSES.items():
        case = Case.of(book, "digits_exact", name)
        if name == "DDPM":
            case.floor("7.3")
        cells = [*tables.grid(settings, name, process), *tables.adaptive(settings, name, process)]
        for one in progress(cells, desc=f"Table 7.3, {name}"):
            case.measure(one, case.distances, NOISE)


def trained(book: Book) -> None:
    """Tables 7.1 to 7.3 on networks of VP, BDM and CLD that are trained alike: FID and inception score, and those of real images."""
    models, config = TrainedModels(book), book.config
    if "cld" in models.names:
        process = models.process("cld")
        models.measure(tables.factors(config.factors, process, (MAIN_ORDER,)), "Table 7.1, trained")
        models.measure(tables.lambdas(config.lambdas, process), "Table 7.2, trained")
    for name, model in MODELS.items():
        if model in models.names:
            models.measure(tables.grid(config.grid, name, models.process(model)), f"Table 7.3, {name}, trained")
    models.floor("7.3")
    models.training()


SECTIONS = {"recovery": recovery, "noise": noise, "factors": factors, "lambdas": lambdas, "grid": grid, "trained": trained}
