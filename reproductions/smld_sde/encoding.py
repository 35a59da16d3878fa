"""The probability flow as a code (note section 2.4): unique, invertible, and a space to interpolate in."""

import math
from collections.abc import Callable
from itertools import combinations

import torch
from rescore.data.pixels import to_unit
from rescore.experiments.book import Book, Cell
from rescore.likelihood import flow_log_prob
from rescore.metrics.points import rmse
from rescore.models.evaluate import TrainedModels
from rescore.problems import distances
from rescore.processes import LinearSDE
from rescore.random import Streams
from rescore.samplers import adaptive_flow
from rescore.scores import Score
from torch import Tensor

LOOSE = 100  # times the tolerance, of the solver that the encoding should not depend on


def encoding(book: Book) -> None:
    """Held-out images encoded by networks of several training seeds: agreement, inversion, halfway images."""
    models, settings = TrainedModels(book), book.config.encoding
    (name,) = models.names
    spec, process = models.spec(name), models.process(name)
    protocol = {"t0": spec.objective.t0, "tolerance": settings.tolerance, "solver": "dopri5"} | spec.protocol
    place = "encoding", models.data, spec.process.name
    with book.cell(*place, "", None, protocol, n=settings.images, over=models.over) as cell:
        if not cell.todo:
            return
        images, real = (to_unit(of.images) for of in (models.held_out, models.train))
        x, scores = images[: settings.images], [models.load(name, seed).network.score() for seed, _ in models.repeats]
        coded = [encode(score, process, x, settings.tolerance, spec.objective.t0) for score in scores]
        loose = [encode(score, process, x, LOOSE * settings.tolerance, spec.objective.t0) for score in scores]
        fill(cell, x, coded, loose)
        decoded = [
            decode(score, process, z, settings.tolerance, spec.objective.t0) for score, z in zip(scores, coded, strict=True)
        ]
        cell.add("round_trip_rmse", [rmse(back, x) for back in decoded])
        between = [
            decode(score, process, halfway(z, z.roll(1, 0)), settings.tolerance, spec.objective.t0)
            for score, z in zip(scores, coded, strict=True)
        ]
        cell.add("halfway_nearest", distances.off_data(torch.stack(between), real))
        cell.exact("pixel_mean_nearest", distances.off_data(((x + x.roll(1, 0)) / 2)[None], real)[0])
        cell.arrays |= {
            "encoding/x": x[:8].numpy(),
            "encoding/other": x.roll(1, 0)[:8].numpy(),
            "encoding/halfway": between[0][:8].numpy(),
            "encoding/mean": ((x + x.roll(1, 0)) / 2)[:8].numpy(),
            "encoding/z": torch.stack([z.flatten(1) for z in coded[:2]])[:, :3].numpy(),
        }


def fill(cell: Cell, x: Tensor, coded: list[Tensor], loose: list[Tensor]) -> None:
    """Of each network: its codes' distance from the next one's, from another image's, and from those of a loose solver."""
    if len(coded) >= 3:  # of fewer networks the one pair has no error
        cell.add("networks_rmse", of_pairs(rmse, coded))
        cell.add("networks_correlation", of_pairs(correlation, coded))
    cell.add("images_rmse", [rmse(z, z.roll(1, 0)) for z in coded])
    cell.add("solvers_rmse", [rmse(*pair) for pair in zip(coded, loose, strict=True)])


def of_pairs(statistic: Callable[[Tensor, Tensor], float], coded: list[Tensor]) -> list[float]:
    """The jackknife's pseudo-values, one a network, of the mean of `statistic` over all pairs of at least three networks.

    Their mean is that mean. Pairs share networks, so the spread of the pairs themselves would understate its error.
    """
    n, values = len(coded), {pair: statistic(*(coded[i] for i in pair)) for pair in combinations(range(len(coded)), 2)}
    mean = sum(values.values()) / len(values)
    without = [sum(value for pair, value in values.items() if i not in pair) / math.comb(n - 1, 2) for i in range(n)]
    return [n * mean - (n - 1) * left for left in without]


def correlation(a: Tensor, b: Tensor) -> float:
    """The mean over images of the correlation of two codes' coordinates."""
    a, b = (z.flatten(1).double() for z in (a, b))
    a, b = (z - z.mean(1, keepdim=True) for z in (a, b))
    return torch.nn.functional.cosine_similarity(a, b).mean().item()


def encode(score: Score, process: LinearSDE, x: Tensor, tolerance: float, t0: float) -> Tensor:
    """u_T of x at t0."""
    noise = Streams.named("smld_sde", "encoding", n=len(x))
    return flow_log_prob(score, process, x, noise, "rademacher", t0, tolerance).latent


@torch.no_grad()
def decode(score: Score, process: LinearSDE, z: Tensor, tolerance: float, t0: float) -> Tensor:
    return process.project(adaptive_flow(process, [process.T, t0], tolerance)(score, z))


def halfway(a: Tensor, b: Tensor) -> Tensor:
    """The middle of the great circle between two codes, with the mean of their lengths."""
    lengths = [z.flatten(1).norm(dim=1).reshape(-1, *[1] * (z.ndim - 1)) for z in (a, b)]
    middle = a / lengths[0] + b / lengths[1]
    length = middle.flatten(1).norm(dim=1).reshape_as(lengths[0])
    return middle / length * (lengths[0] + lengths[1]) / 2
