"""Pieces without networks: exact scores of a texture's training patches tell what networks do from what the rule does."""

import torch
from torch import Tensor

from reproductions.diffcollage.pieces import Context, Pieces, Repeats, make_sampler, sampling
from rescore.data.images import load_images
from rescore.data.pixels import to_unit
from rescore.processes import VP, LinearSDE
from rescore.scores import EmpiricalData, Score

VARIANT = "exact pieces"


def exact_pieces(name: str, context: Context) -> Repeats:
    """The pieces of a texture with scores of the empirical distribution of its patches in the place of networks.

    A clean 8x4 overlap is found once in the photograph: at t = 0 the composed density is that of the photograph's own strips.
    """
    process = VP()
    train, test = (load_images(f"{name}-8x8", split) for split in ("train", "test"))
    squares, halves = (to_unit(data.images) for data in (train, load_images(f"{name}-8x4")))
    exact, differentiable = (
        [context.counted(make(process, points)) for points in (squares, halves)] for make in (EmpiricalData, with_gradients)
    )
    protocol = sampling(context.config) | {"score": f"exact, of {len(squares)} and {len(halves)} patches"}
    pieces = Pieces(name, train, test, process, *exact, *differentiable, None, make_sampler(context.config, process), protocol,
                    halves.shape[-1], context.config.batch, VARIANT)  # fmt: skip
    return Repeats(tuple((seed, pieces) for seed in context.config.seeds), "runs")


def with_gradients(process: LinearSDE, points: Tensor) -> Score:
    """The score of `EmpiricalData`, through which gradients pass: one softmax over all points (n, *data)."""
    flat = points.flatten(1)
    squares = flat.square().sum(1)

    def score(u: Tensor, t: float) -> Tensor:
        m, variance = process.mean(t).values.item(), process.Sigma(t).values.item()
        weights = torch.softmax((m * u.flatten(1) @ flat.T - m**2 / 2 * squares) / variance, 1)
        return (m * (weights @ flat).reshape(u.shape) - u) / variance

    return score
