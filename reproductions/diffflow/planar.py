"""Figures 3.4 and 3.5 and the shape of Tables 3.4 and 3.5 on sets of the plane."""

from functools import cache, partial

from torch import Tensor

from reproductions.diffflow.config import Config
from reproductions.diffflow.methods import TRAINERS, Model, fits, parameters, sweep
from rescore.experiments.book import Book, Cell
from rescore.ledger.records import Over
from rescore.problems.planar import PlanarProblem
from rescore.random import make_generator

RINGS = ("rings", "olympic_rings")  # of figure 3.4
PARTS = 4  # of a trajectory in that figure
SWEPT = {"DiffFlow": ("DiffFlow", "hat L_beta", {}), "DDPM": ("DDPM", "L_s", {}), "DDIM": ("DDPM", "", {"deterministic": True})}


def make_problem(config: Config, name: str) -> PlanarProblem:
    return PlanarProblem(name, "diffflow", config.plane.train_points, config.plane.projections)


class Plane:
    """One set and the models of it, each trained when a cell first asks for it."""

    def __init__(self, book: Book, name: str):
        self.book, self.config, self.plane = book, book.config, book.config.plane
        self.problem, self.fits = make_problem(book.config, name), fits(book.config.plane)
        self.model, self.distance = cache(self._model), cache(self._distance)

    def _model(self, method: str, seed: int) -> Model:
        folder = self.book.run.folder / f"{method}-{self.problem.name}-{seed}"
        return TRAINERS[method](self.fits[method], self.problem.train, folder, "diffflow", method, self.problem.name, seed)

    def sample(self, method: str, seed: int, steps: int | None = None, **options: bool) -> Tensor:
        generator = make_generator("diffflow", "samples", seed)
        return self.model(method, seed).sample(self.plane.samples, generator, steps, **options)

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
        return -self.model(method, seed).log_prob(test, self.config.tolerance, probes).mean().item()

    def bound(self, seed: int) -> float:
        """DiffFlow's negative ELBO on its own grid."""
        test, model = self.problem.draws(seed, "test", self.plane.likelihoods), self.model("DiffFlow", seed)
        return -model.elbo(test, model.sampling_steps, make_generator("diffflow", "paths", seed)).mean().item()

    def figure_points(self) -> Tensor:
        return self.problem.draws(self.config.seeds[0], "trajectories", self.plane.samples)

    def cell(self, table: str, nfe: int | None, method: str, variant: str = "", n: int = 1, over: Over = "trainings") -> Cell:
        fit = self.fits.get("DDPM" if method == "DDIM" else method)
        trained = {"iterations": fit.iterations, "batch": fit.batch} if fit else {}
        protocol = {"coordinates": "mean 0 and variance 1"} | trained
        return self.book.cell(table, self.problem.name, method, variant, nfe, protocol, n=n, over=over)


def measure(book: Book, name: str) -> None:
    """DiffFlow, DDPM and FFJORD on one set."""
    here = Plane(book, name)
    config, plane, problem = book.config, book.config.plane, here.problem
    for method, fit in here.fits.items():
        with here.cell("fig3.5", None, method, n=plane.likelihoods) as cell:
            if cell.todo:
                cell.add("nll", [here.nll(method, seed) for seed in config.seeds])
        with here.cell("fig3.5", getattr(fit, "sampling_steps", None), method, n=plane.samples) as cell:
            if cell.todo:
                samples = {seed: here.sample(method, seed) for seed in config.seeds}
                cell.arrays[f"samples/{name}/{method}"] = samples[config.seeds[0]].numpy()
                cell.add("sw2", [problem.distance(x, seed) for seed, x in samples.items()])
                cell.add("off_support", [problem.off_support(x) for x in samples.values()])
        if name in RINGS:
            with here.cell("fig3.4", None, method) as cell:
                if cell.todo:
                    generator = make_generator("diffflow", "trajectories")
                    path = here.model(method, config.seeds[0]).trajectory(here.figure_points(), PARTS, generator)
                    cell.arrays[f"trajectory/{name}/{method}"] = path.numpy()
        if name == "rings":
            with book.cell("text", "2-D toys", method, protocol={"data": "points in the plane"}) as cell:
                if cell.todo:
                    cell.exact("learnable parameters", parameters(here.model(method, config.seeds[0]).network))
    with here.cell("fig3.5", plane.diffflow.sampling_steps, "DiffFlow", "ELBO", plane.likelihoods) as cell:
        if cell.todo:
            cell.add("nll", [here.bound(seed) for seed in config.seeds])
    for method, (_, variant, _) in SWEPT.items():
        open_cell = partial(here.cell, method=method, variant=variant, n=plane.samples)
        sweep(open_cell, config.sweep, "sw2", partial(here.distances, method))
    with here.cell("fig3.5", None, "exact draws", n=plane.samples, over="runs") as cell:
        if cell.todo:
            cell.add("sw2", [problem.distance(problem.draws(seed, "floor", plane.samples), seed) for seed in config.seeds])
    if problem.entropy is not None:
        with here.cell("fig3.5", None, "entropy of the data") as cell:
            cell.exact("nll", problem.entropy)
    if name in RINGS:
        book.arrays[f"ring/{name}"] = problem.set.ring(problem.scale.inverse(here.figure_points())).numpy()
    book.arrays[f"samples/{name}/data"] = problem.draws(config.seeds[0], "figure", plane.samples).numpy()
