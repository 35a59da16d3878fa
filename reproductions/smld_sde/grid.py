"""The cells of fig. 17 on exact scores: of the digits' Gaussian, without sampling error, and of a mixture in the plane.

DDPM takes pixels in [-1, 1]. SMLD takes [0, 1], whose start around 0 is not the middle: here [0, 2], at DDPM's scale.
"""

from collections.abc import Mapping
from functools import partial

import torch
from rescore.data.digits import load_digits
from rescore.experiments.axes import Axes
from rescore.experiments.book import Book
from rescore.metrics import PROJECTIONS
from rescore.problems import distances
from rescore.problems.gaussian import GaussianLaw, GaussianProblem, sliced_wasserstein
from rescore.problems.runs import PointRuns
from rescore.processes import grids
from rescore.progress import progress
from rescore.random import make_generator
from rescore.samplers import Sampler, reverse_diffusion
from rescore.scores import GaussianMixture, Score
from torch import Tensor

from reproductions.smld_sde import chains
from reproductions.smld_sde.chains import PREDICTORS, ChainSampler, chain, chain_samplers

MEANS = torch.tensor([[0.5, 0.5], [-0.5, -0.5]], dtype=torch.float64)  # NCSN's mixture divided by 10
STD, WEIGHTS = 0.1, torch.tensor([0.8, 0.2], dtype=torch.float64)
SHIFT = {"VE": 1.0, "VP": 0.0}  # from [-1, 1]
LARGEST = Axes("VE sigma_max {sigma:g}")


class DigitsGaussian:
    """`digits_gaussian`: the Gaussian with the mean and covariance of the 8x8 digits, on its principal axes.

    Attributes:
        axes: (64, 64), columns are eigenvectors.
        problems: by the kind of chain.
    """

    def __init__(self) -> None:
        law, self.axes = GaussianLaw.principal(load_digits())
        self.problems = {kind: GaussianProblem(law.scaled(1.0, shift * self.axes.sum(0))) for kind, shift in SHIFT.items()}

    def measure(
        self,
        book: Book,
        table: str,
        method: str,
        variant: str,
        kind: str,
        sampler: Sampler,
        protocol: Mapping[str, object],
        score: Score | None = None,
    ) -> None:
        """A cell of `sw2` to the data, exact over its directions; `score` if not that of the sampler's process."""
        problem = self.problems[kind]
        protocol = {"score": "exact", "law": "exact", "process": kind, "denoise": sampler.denoise} | dict(protocol)
        book.exact(
            table,
            "digits_gaussian",
            method,
            variant,
            sampler.nfe,
            protocol,
            sw2=lambda: sliced_wasserstein(problem.after(sampler, score), problem.data, self.axes),
        )


def exact_grid(book: Book) -> None:
    """Fig. 17 on `digits_gaussian`."""
    digits, levels = DigitsGaussian(), book.config.grid.levels
    for one in progress(list(chain_samplers(levels)), desc="exact grid"):
        score = one.at_levels(digits.problems[one.kind].score(one.process))
        digits.measure(book, one.table, one.method, one.variant, one.kind, one.sampler, grid_protocol(one), score)
    process = chain("VE", levels)
    sampler = reverse_diffusion(process, grids.uniform(process, levels))
    digits.measure(book, "fig17", "reverse diffusion", f"VE P{levels} not denoised", "VE", sampler, {"levels": levels})


def steps(book: Book) -> None:
    """The predictors' error against their number of steps, on `digits_gaussian`."""
    digits = DigitsGaussian()
    for n in book.config.steps.steps:
        for kind in chains.KINDS:
            process = chain(kind, n)
            for name in PREDICTORS:
                sampler = chains.predictor(name, kind)(process, grids.uniform(process, n))
                digits.measure(book, "steps", name, kind, kind, sampler, {"levels": n, "scores": "own"})


def largest_sigma(book: Book) -> None:
    """Reverse diffusion on SMLD chains that end at other noise levels, on `digits_gaussian`."""
    digits, levels = DigitsGaussian(), book.config.grid.levels
    for sigma in book.config.largest_sigma.sigmas:
        process = chain("VE", levels, sigma)
        sampler = reverse_diffusion(process, grids.uniform(process, levels), denoise="mean")
        protocol = {"levels": levels, "sigma_max": sigma}
        digits.measure(book, "largest-sigma", "reverse diffusion", LARGEST(sigma=sigma), "VE", sampler, protocol)


def grid_protocol(one: ChainSampler) -> dict[str, object]:
    protocol = {"process": one.kind, "levels": one.sampler.steps, "scores": one.scores, "denoise": one.sampler.denoise}
    return protocol | dict(one.correction) | ({"order": "corrector first"} if one.correction else {})


def sampled_grid(book: Book) -> None:
    """Fig. 17 on `mixture2d_unit`: NCSN's mixture shrunk into [-1, 1]^2, by the samplers themselves."""
    settings = book.config.grid
    data = GaussianMixture(chain("VP", settings.sampled_levels), MEANS, STD, WEIGHTS)

    def numbers(x: Tensor) -> dict[str, list[float]]:
        """Distance to other draws, weight of the right mode, standard deviation around the modes."""
        right = x.sum(2) > 0
        spread = (x - torch.where(right[..., None], *MEANS)).square().mean((1, 2)).sqrt()
        sw2 = distances.sw2(x, reference.reshape(x.shape), PROJECTIONS)
        return {"sw2": sw2, "weight_right": right.double().mean(1).tolist(), "std": spread.tolist()}

    def draws(name: str) -> Tensor:
        return data.sample(runs.size, 0.0, make_generator(*runs.stream, name))

    def run(one: ChainSampler) -> Tensor:
        shift, streams = SHIFT[one.kind], runs.streams(one.method, one.variant)
        score = GaussianMixture(one.process, MEANS + shift, STD, WEIGHTS)
        u = one.sampler.process.prior_sample((runs.size, 2), streams, torch.float64)
        return one.sampler(one.at_levels(score), u, streams) - shift

    names = "smld_sde", "mixture2d_unit"
    runs = PointRuns(book, "fig17", names[1], settings.particles, numbers, names, {"score": "exact"})
    reference = draws("reference")
    runs.fill("exact draws", "", None, partial(draws, "exact"))
    cells = [one for one in chain_samplers(settings.sampled_levels) if one.table == "fig17"]
    for one in progress(cells, desc="sampled grid"):
        runs.fill(one.method, one.variant, one.sampler.nfe, partial(run, one), **grid_protocol(one))
