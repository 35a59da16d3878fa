"""Bits per dimension of images under a trained model, in batches that the memory holds."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from rescore.cost.saved_bytes import SavedBytes
from rescore.data.pixels import dequantise
from rescore.likelihood import bits_per_dim, elbo, flow_log_prob
from rescore.machine.batches import in_batches
from rescore.machine.hardware import free_memory
from rescore.machine.precision import full_precision
from rescore.models.build import LoadedModel, make_objective
from rescore.random import Noise

SHARE = 0.5  # of the free memory that graphs may take: gradients and the solver's states come on top


@dataclass(frozen=True)
class ImageBits:
    """`flow` (n,), `bound` (n,) or None, and the evaluations that an image took, of several batches the most."""

    flow: Tensor
    bound: Tensor | None
    nfe: int


def image_bits(
    model: LoadedModel,
    images: Tensor,
    grey_levels: int,
    noise: Callable[[int, int], Noise],
    tolerance: float,
    bound_draws: int = 0,
    batch: int | None = None,
    t0: float | None = None,
) -> ImageBits:
    """Bits per dimension by the probability flow, and by the ELBO where it gets draws; see `rescore.likelihood`.

    Args:
        images: (n, C, H, W) uint8.
        noise: noise(first, count) of dequantisation, probes and draws for that many images from the first on. `Streams` give
            each image its own, whatever the batches; of one generator the numbers follow the batches.
        tolerance: relative and absolute, of the solver.
        bound_draws: of time and noise for each image.
        batch: images at a time; None: as many as the memory holds.
        t0: the time at which the flow takes the images; None: that of the training.

    Raises Diverged, and RescoreError for images that are not such.
    """
    t0 = model.spec.objective.t0 if t0 is None else t0
    score = model.network.score()
    channels, height, width = images.shape[1:]
    most = batch or likelihood_batch(model, (channels, height, width))
    size = math.ceil(len(images) / math.ceil(len(images) / most))  # equal parts: a network is compiled for one size

    def of(rows: range) -> ImageBits:
        its = noise(rows.start, len(rows))
        x, per_unit = dequantise(images[rows.start : rows.stop].to(model.device), its, grey_levels)
        flow = flow_log_prob(score, model.process, x, its, "rademacher", t0, tolerance)
        bound = None
        if bound_draws:
            objective = make_objective(model.spec.objective)
            with torch.no_grad():
                draws = [elbo(model.network, model.process, objective, x, its, t0) for _ in range(bound_draws)]
            bound = bits_per_dim(torch.stack(draws).mean(0), x[0].numel(), per_unit)
        return ImageBits(bits_per_dim(flow.log_prob, x[0].numel(), per_unit), bound, flow.nfe)

    parts = list(in_batches(len(images), size, of))
    bounds = [part.bound for part in parts if part.bound is not None]
    bound = torch.cat(bounds) if bound_draws else None
    return ImageBits(torch.cat([part.flow for part in parts]), bound, max(part.nfe for part in parts))


def likelihood_batch(model: LoadedModel, shape: tuple[int, int, int]) -> int:
    """How many images (C, H, W) take `SHARE` of the memory that is free now, by the graph of two of them; 1 or more."""
    return max(1, int(SHARE * free_memory(model.device) / graph_bytes(model, shape)))


@full_precision()
def graph_bytes(model: LoadedModel, shape: tuple[int, int, int]) -> float:
    """Bytes for an image that the graph of a score keeps for its divergence."""
    u = torch.zeros(
        2, *model.process.state_shape(shape), device=model.device
    ).requires_grad_()  # of one torch makes a case apart
    with SavedBytes(model.network) as saved, torch.enable_grad():
        model.network.score()(u, model.process.T)
    return max(saved.peak / 2, u[0].numel() * u.element_size())
