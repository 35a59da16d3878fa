"""Figures 3.4 and 3.5 and the shape of Tables 3.4 and 3.5 on sets of the plane."""

from functools import cache, partial
from pathlib import Path

import torch
from rescore.experiments.book import Book, Cell
from rescore.problems.planar import PlanarProblem
from rescore.random import make_generator
from rescore.training.weights import parameter_count
from torch import Tensor

from reproductions.diffflow.config import GRIDS, Config
from reproductions.diffflow.methods import Model, sweep, train, trained_once

RINGS = ("rings", "olympic_rings")  # of figure 3.4
PARTS = 4  # of a trajectory in that figure
SWEPT = {"DiffFlow": ("DiffFlow", "hat L_beta", {}), "DDPM": ("DDPM", "L_s", {}), "DDIM": ("DDPM", "", {"deterministic": True})}


def make_problem(config: Config, name: str) -> PlanarProblem:
    return PlanarProblem(name, "diffflow", config.plane.train_points, config.plane.projections)


def model_of(method: str) -> str:
    """Whose trainings a method samples."""
    return "DDPM" if method == "DDIM" else method


class Plane:
    """One set and the models of it, each trained when a cell first asks for it."""

    def __init__(self, book: Book, name: str):
        self.book, self.config, self.plane = book, book.config, book.config.plane
        self.problem = make_problem(book.config, name)
        self.fits = {"DiffFlow": self.plane.diffflow, "DDPM": self.plane.ddpm, "FFJORD": self.plane.ffjord}
        self.trained, self.distance = cache(self._trained), cache(self._distance)

    def _trained(self, method: str, seed: int) -> Model:
        fit, name = self.fits[method], self.problem.name

        def make(folder: Path) -> Model:
            return train(method, fit, self.problem.train, folder, "diffflow", method, name, seed)

        return trained_once(self.book, fit, f"{method}-{name}-{seed}", make, self.plane.train_points)

    def sample(self, method: str, seed: int, steps: int | None = None, **options: object) -> Tensor:
        generator = make_generator("diffflow", "samples", seed)
        z = torch.randn(self.plane.samples, 2, generator=generator)
        return self.trained(method, seed).sample(z, generator, steps, **options)

    def _distance(self, method: str, seed: int, steps: int) -> float:
        model, _, options = SWEPT[method]
        return self.problem.distance(self.sample(model, seed, steps, **options), seed)

    def distances(self, method: str, steps: int) -> list[float]:
        """sw2 of each training with so many sampling steps."""
        return [self.distance(method, seed, steps) for seed in self.config.seeds]

    def nll(self, method: str, seed: int) -> float:
        """Of test draws, by the model's ODE."""
        test = self.problem.draws(seed, "test", self.plane.likelihoods)
        probes = make_generator("diffflow", "probes", seed)
        return -self.trained(method, seed).log_prob(test, probes, self.config.tolerance).mean().item()

    def bound(self, seed: int) -> float:
        """DiffFlow's negative ELBO on its own grid."""
        test, paths = self.problem.draws(seed, "test", self.plane.likelihoods), make_generator("diffflow", "paths", seed)
        return -self.trained("DiffFlow", seed).elbo(test, paths).mean().item()

    def figure_points(self) -> Tensor:
        return self.problem.draws(self.config.seeds[0], "trajectories", self.plane.samples)

    def place(self, table: str, nfe: int | None, method: str, variant: str = "", **how: object) -> tuple:
        """Of a cell, with its protocol; `how` it is measured."""
        fit = self.fits.get(model_of(method))
        trained = fit.of_points() | {"train_points": self.plane.train_points} if fit else {}
        return table, self.problem.name, method, variant, nfe, {"coordinates": "mean 0 and variance 1"} | trained | how

    def cell(self, table: str, nfe: int | None, method: str, variant: str = "", **options: object) -> Cell:
        grid = {"grid": GRIDS[name]} if (name := model_of(method)) in GRIDS else {}
        place = self.place(table, nfe, method, variant, projections=self.plane.projections, **grid)
        return self.book.cell(*place, matched=self.matched(method), **options)

    def matched(self, method: str) -> str:
        return f"{self.problem.name}/{model_of(method)}"


def measure(book: Book, name: str) -> None:
    """DiffFlow, DDPM and FFJORD on one set."""
    here = Plane(book, name)
    seeds, plane, problem = book.config.seeds, book.config.plane, here.problem
    trainings = {"n": plane.samples, "over": "trainings"}
    for method, fit in here.fits.items():
        likelihoods = trainings | {"n": plane.likelihoods, "matched": here.matched(method)}
        tolerance = {} if method == "FFJORD" else {"tolerance": book.config.tolerance}  # a continuous flow has its own
        place = here.place("fig3.5", None, method, trace="exact", **tolerance)
        book.repeat(*place, seeds, **likelihoods, nll=partial(here.nll, method))
        with here.cell("fig3.5", getattr(fit, "sampling_steps", None), method, **trainings) as cell:
            if cell.todo:
                samples = {seed: here.sample(method, seed) for seed in seeds}
                cell.arrays[f"samples/{name}/{method}"] = samples[seeds[0]].numpy()
                cell.add("sw2", [problem.distance(x, seed) for seed, x in samples.items()])
                cell.add("off_support", [problem.off_support(x) for x in samples.values()])
        if name in RINGS:
            with here.cell("fig3.4", None, method, over="trainings") as cell:
                if cell.todo:
                    generator = make_generator("diffflow", "trajectories")
                    path = here.trained(method, seeds[0]).trajectory(here.figure_points(), PARTS, generator)
                    cell.arrays[f"trajectory/{name}/{method}"] = path.numpy()
        if name == "rings":
            about = {"data": "points in the plane"} | fit.network.protocol("network")
            with book.cell("text", "2-D toys", method, protocol=about) as cell:
                if cell.todo:
                    cell.exact("learnable parameters", parameter_count(here.trained(method, seeds[0]).model))
    bounds = trainings | {"n": plane.likelihoods, "matched": here.matched("DiffFlow")}
    place = here.place("fig3.5", plane.diffflow.sampling_steps, "DiffFlow", "ELBO", bound="elbo", grid=GRIDS["DiffFlow"])
    book.repeat(*place, seeds, **bounds, nll=here.bound)
    for method, (_, variant, _) in SWEPT.items():
        open_cell = partial(here.cell, method=method, variant=variant, **trainings)
        sweep(open_cell, book.config.sweep, "sw2", partial(here.distances, method))
    book.repeat(
        *here.place("fig3.5", None, "exact draws", projections=plane.projections),
        seeds,
        plane.samples,
        sw2=lambda seed: problem.distance(problem.draws(seed, "floor", plane.samples), seed),
    )
    if problem.entropy is not None:
        book.exact(*here.place("fig3.5", None, "entropy of the data"), n=1, nll=lambda: problem.entropy)
    if name in RINGS:
        book.arrays[f"ring/{name}"] = problem.set.ring(problem.scale.inverse(here.figure_points())).numpy()
    book.arrays[f"samples/{name}/data"] = problem.draws(seeds[0], "figure", plane.samples).numpy()
