"""The cells of fig. 17 on exact scores: of the digits' Gaussian, without sampling error, and of a mixture in the plane."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property

import torch
from torch import Tensor

from reproductions.smld_sde import chains
from reproductions.smld_sde.chains import PREDICTORS, ChainSampler, chain, chain_samplers
from rescore.data.digits import load_digits
from rescore.experiments.axes import Axes
from rescore.experiments.book import Book, Cell
from rescore.metrics import PROJECTIONS
from rescore.problems import distances
from rescore.problems.gaussian import GaussianLaw, exact_score, law_after, prior_law, sliced_wasserstein
from rescore.processes import grids
from rescore.progress import progress
from rescore.random import make_generator
from rescore.samplers import Sampler, reverse_diffusion
from rescore.scores import GaussianMixture, Score

MEANS = torch.tensor([[0.5, 0.5], [-0.5, -0.5]], dtype=torch.float64)  # NCSN's mixture divided by 10
STD, WEIGHTS = 0.1, torch.tensor([0.8, 0.2], dtype=torch.float64)
LARGEST = Axes("VE sigma_max {sigma:g}")


@dataclass(frozen=True)
class DigitsGaussian:
    """`digits_gaussian`: the Gaussian with the mean and covariance of the 8x8 digits in [-1, 1], on its principal axes.

    Attributes:
        axes: (64, 64), columns are eigenvectors.
    """

    law: GaussianLaw
    axes: Tensor

    @classmethod
    def load(cls) -> "DigitsGaussian":
        return cls(*GaussianLaw.principal(load_digits()))

    def on_pixels(self, kind: str) -> GaussianLaw:
        """VP takes pixels in [-1, 1], VE in [0, 1]."""
        return self.law if kind == "VP" else self.law.scaled(0.5, 0.5 * self._ones)

    def distance(self, result: GaussianLaw, kind: str) -> float:
        """`sw2` to the data for pixels in [-1, 1]: exact over the directions of `rescore.metrics.sliced_wasserstein`."""
        return sliced_wasserstein(result if kind == "VP" else result.scaled(2.0, -self._ones), self.law, self.axes)

    @cached_property
    def _ones(self) -> Tensor:
        """The vector of ones in the coordinates of the axes."""
        return self.axes.sum(0)


def exact_grid(book: Book) -> None:
    """Fig. 17 on `digits_gaussian`."""
    digits, levels = DigitsGaussian.load(), book.config.grid.levels
    score = cache(lambda kind, process: exact_score(process, digits.on_pixels(kind)))  # it keeps its laws: for all cells of a kind
    for one in progress(list(chain_samplers(levels)), desc="exact grid"):
        seen = one.at_levels(score(one.kind, one.process))
        add_law(book, digits, one.table, one.method, one.variant, one.kind, one.sampler, grid_protocol(one), seen)
    process = chain("VE", levels)
    sampler = reverse_diffusion(process, grids.uniform(process, levels))
    add_law(book, digits, "fig17", "reverse diffusion", f"VE P{levels} not denoised", "VE", sampler, {"levels": levels})


def steps(book: Book) -> None:
    """The predictors' error against their number of steps, on `digits_gaussian`."""
    digits = DigitsGaussian.load()
    for n in book.config.steps.steps:
        for kind in chains.KINDS:
            process = chain(kind, n)
            for name in PREDICTORS:
                sampler = chains.predictor(name, kind)(process, grids.uniform(process, n))
                add_law(book, digits, "steps", name, kind, kind, sampler, {"levels": n, "scores": "own"})


def largest_sigma(book: Book) -> None:
    """Reverse diffusion on SMLD chains that end at other noise levels, on `digits_gaussian`."""
    digits, levels = DigitsGaussian.load(), book.config.grid.levels
    for sigma in book.config.largest_sigma.sigmas:
        process = chain("VE", levels, sigma)
        sampler, protocol = reverse_diffusion(process, grids.uniform(process, levels), "mean"), {"levels": levels, "sigma_max": sigma}
        add_law(book, digits, "largest-sigma", "reverse diffusion", LARGEST(sigma=sigma), "VE", sampler, protocol)


def add_law(book: Book, digits: DigitsGaussian, table: str, method: str, variant: str, kind: str, sampler: Sampler,
            protocol: Mapping[str, object], score: Score | None = None) -> None:  # fmt: skip
    """The distance between the data's law and that of a sampler's result, with its own process's score if no other is given."""
    protocol = {"score": "exact", "law": "exact", "process": kind, "denoise": sampler.denoise} | dict(protocol)
    with book.cell(table, "digits_gaussian", method, variant, sampler.nfe, protocol, n=0) as cell:
        if cell.todo:
            process, data = sampler.process, digits.on_pixels(kind)
            law = law_after(sampler, score or exact_score(process, data), prior_law(process, data.shape))
            cell.exact("sw2", digits.distance(law, kind))


def grid_protocol(one: ChainSampler) -> dict[str, object]:
    protocol = {"process": one.kind, "levels": one.sampler.steps, "scores": one.scores, "denoise": one.sampler.denoise}
    return protocol | dict(one.correction) | ({"order": "corrector first"} if one.correction else {})


def sampled_grid(book: Book) -> None:
    """Fig. 17 on `mixture2d_unit`: NCSN's mixture shrunk into [-1, 1]^2, by the samplers themselves."""
    settings = book.config.grid
    shape, levels = (len(book.config.seeds), settings.particles, 2), settings.sampled_levels
    n = shape[0] * shape[1]
    data = GaussianMixture(chain("VP", levels), MEANS, STD, WEIGHTS)
    exact, reference = (data.sample(n, 0.0, make_generator("smld_sde", "mixture2d_unit", name)).reshape(shape)
                        for name in ("exact", "reference"))  # fmt: skip

    def place(method: str, variant: str, nfe: int | None, **protocol: object) -> Cell:
        protocol = {"score": "exact", "particles": settings.particles} | protocol
        return book.cell("fig17", "mixture2d_unit", method, variant, nfe, protocol, n=settings.particles)

    with place("exact draws", "", None) as cell:
        if cell.todo:
            add_particles(cell, exact, reference)
    for one in progress([one for one in chain_samplers(levels) if one.table == "fig17"], desc="sampled grid"):
        with place(one.method, one.variant, one.sampler.nfe, **grid_protocol(one)) as cell:
            if cell.todo:
                half = 1.0 if one.kind == "VP" else 0.5  # VE takes [0, 1]
                score = GaussianMixture(one.process, half * MEANS + (1 - half), half * STD, WEIGHTS)
                generator = make_generator("smld_sde", "mixture2d_unit", one.method, one.variant)
                u = one.sampler.process.prior_sample((n, 2), generator, torch.float64)
                x = one.sampler(one.at_levels(score), u, generator)
                add_particles(cell, ((x - (1 - half)) / half).reshape(shape), reference)


def add_particles(cell: Cell, x: Tensor, reference: Tensor) -> None:
    """Distance to other draws, weight of the right mode, standard deviation around the modes; x (seeds, particles, 2)."""
    right = x.sum(2) > 0
    centred = x - torch.where(right[..., None], *MEANS)
    cell.add("sw2", distances.sw2(x, reference, PROJECTIONS))
    cell.add("weight_right", right.double().mean(1).tolist())
    cell.add("std", centred.square().mean((1, 2)).sqrt().tolist())
