"""Samples of the checkerboard by Langevin dynamics (eq. 31, appendix B), and the law from which they come."""

from collections.abc import Sequence

import numpy as np
import torch
from rescore.data.planar import PLANAR
from rescore.experiments.axes import Axes
from rescore.experiments.book import Book, Cell
from rescore.metrics.maps import cell_centres, density_map, total_variation
from rescore.objectives.pointwise import PointScore, gradient_of
from rescore.problems.chain_map import langevin_map
from rescore.random import Streams, derive_seed
from rescore.samplers.langevin import langevin
from torch import Tensor, nn

from reproductions.lcss.config import Langevin

BOARD = PLANAR["checkerboard"]
REACH = 4.0  # chains start uniform on the square of the data, [-4, 4]^2
SMALL_STEP = 0.01  # of the exact score, whose slope at an edge is 1 / sigma^2: beside the paper's
EXACT_VARIANT = Axes("epsilon={epsilon:g}")
FINE = 5.0, 1000  # half the width and cells of a grid that resolves the noise, with lines along all edges


def chain_protocol(settings: Langevin) -> dict[str, object]:
    """How the chains run. x + (epsilon / 2) s + N(0, epsilon I)."""
    law = {"cells": settings.cells, "half_width": settings.half_width}
    return {"epsilon": settings.epsilon, "chain_steps": settings.steps, "start": f"uniform[-{REACH:g},{REACH:g}]^2"} | law


def sample(cell: Cell, settings: Langevin, method: str, networks: Sequence[nn.Module]) -> None:
    """Of each network of log density f, what eq. 31 leaves: the law itself, and where `chains` chains end.

    `tv` is the law's total variation to the data, `tv_to_grid` that to the density of f on the grid, `off_support` its mass
    off the squares, `bright_spread` the standard deviation over the mean of its density on the squares, `left_square` what of
    it the grid has lost.
    """
    start, found = start_map(settings), []
    truth = density_map(lambda x: BOARD.density(x).log(), settings.half_width, settings.cells)
    support = truth > 0
    for seed, network in enumerate(networks):
        score = gradient_of(lambda x, f=network: f(x)[:, 0])
        law = langevin_map(
            lambda x, s=score: s(x.float()).double(), start, settings.half_width, settings.epsilon / 2, settings.steps
        )
        density = density_map(lambda x, f=network: f(x)[:, 0], settings.half_width, settings.cells)
        lost, bright = 1 - law.sum(), law[support]
        x = chains(score, settings.epsilon, settings, [seed], torch.float32)
        found.append(
            {
                "tv": (total_variation(law, truth) + lost / 2).item(),
                "tv_to_grid": (total_variation(law, density) + lost / 2).item(),
                "off_support": 1 - bright.sum().item(),
                "bright_spread": (bright.std() / bright.mean()).item(),
                "left_square": lost.item(),
                "sampled_off_support": BOARD.off_support(x),
            }
        )
        if seed == 0:
            cell.arrays |= {f"langevin/{method}": law.numpy().astype(np.float32), f"langevin_samples/{method}": x.numpy()}
    for metric in found[0]:
        n = settings.chains if metric.startswith("sampled") else 1
        cell.add(metric, [one[metric] for one in found], n=n)


def exact_score(book: Book, sigma: float) -> None:
    """The same chains on the exact score of the data with noise, under the paper's step and a small one; and that data."""
    settings, seeds = book.config.langevin, book.config.seeds
    for epsilon in (settings.epsilon, SMALL_STEP):
        how = chain_protocol(settings) | {"epsilon": epsilon, "sigma": sigma}
        variant = EXACT_VARIANT(epsilon=epsilon)
        with book.cell("eq. 31", "checkerboard", "exact score", variant, settings.steps, how, n=settings.chains) as cell:
            if cell.todo:
                ends = chains(lambda x: BOARD.noised_score(x, sigma), epsilon, settings, seeds).unflatten(0, (len(seeds), -1))
                cell.add("sampled_off_support", [BOARD.off_support(x) for x in ends])
                cell.arrays[f"langevin_samples/exact, {variant}"] = ends[0].numpy().astype(np.float32)
    data, noised = (density_map(lambda x, s=s: BOARD.density(x, s).log(), *FINE) for s in (0.0, sigma))
    off = 1 - noised[data > 0].sum().item()
    book.exact("eq. 31", "checkerboard", "data with noise", "MLP", None, {"sigma": sigma}, n=1, off_support=lambda: off)


def chains(
    score: PointScore, epsilon: float, settings: Langevin, seeds: Sequence[int], dtype: torch.dtype = torch.float64
) -> Tensor:
    """Where the chains of each seed end, (seeds * chains, 2); each has noise of its own."""
    noise = Streams([derive_seed("lcss", "langevin", seed) for seed in seeds], settings.chains)
    x = REACH * (2 * noise.uniform((len(seeds) * settings.chains, 2), dtype) - 1)
    return langevin(lambda y: score(y).detach(), x, epsilon / 2, settings.steps, noise)


def start_map(settings: Langevin) -> Tensor:
    """Uniform on the square of the data, up to its normaliser."""
    return (cell_centres(settings.half_width, settings.cells).abs() < REACH).all(1).double().reshape(settings.cells, -1)
