"""Scores under known pixels, and the autoregressive baselines made of them (thesis section 4.5.1).

The scores here correct the prediction x0(u, t) = (u + Sigma_t s(u, t)) / m_t of the clean content and turn it back into
a score, (m_t x0 - u) / Sigma_t. So they take any score, of a piece or composed, and any sampler takes them.

References:
    thesis, chapter 4: DiffCollage, arXiv:2303.17076.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from rescore.collage.compose import check_conditions, stacked
from rescore.errors import RescoreError
from rescore.processes import Isotropic
from rescore.processes.base import LinearSDE, require
from rescore.random import Noise
from rescore.samplers import Sampler
from rescore.scores import Score

Known = Literal["replacement", "reconstruction"]


def clipped_score(process: LinearSDE, score: Score, bound: float = 1.0) -> Score:
    """x0(u, t) clipped to [-bound, bound]: the static thresholding of the released sampler, for data in that range.

    A composed density need not be normalisable where its models disagree: without the clip a path can leave for infinity.
    """
    process = require(process, Isotropic, "clipped_score")

    def clipped(u: Tensor, t: float) -> Tensor:
        m, variance = _coefficients(process, t)
        x0 = ((u + variance * score(u, t)) / m).clamp(-bound, bound)
        return (m * x0 - u) / variance

    return clipped


def replaced_score(process: Isotropic, score: Score, known: Tensor, mask: Tensor) -> Score:
    """Replacement: the known pixels of x0(u, t) are overwritten by the given ones.

    (Other authors overwrite pixels of u by noised known ones.)

    Args:
        process: isotropic; `score` is of its states.
        known: the given pixels, broadcast to u (batch, C, *size); what the mask leaves out does not matter.
        mask: 1 where a pixel is known, else 0; broadcast likewise.

    Raises RescoreError for another process, or a mask that does not fit.
    """
    _check(process, known, mask)

    def conditioned(u: Tensor, t: float) -> Tensor:
        m, variance = _coefficients(process, t)
        x0 = (u + variance * score(u, t)) / m
        x0 = torch.where(mask.bool(), known.to(u), x0)
        return (m * x0 - u) / variance

    return conditioned


def reconstructed_score(
    process: Isotropic, score: Score, known: Tensor, mask: Tensor, replace: bool = False, apart: Tensor | None = None
) -> Score:
    """Reconstruction: x0 - w grad_u l, l = |x0(u, t) - known|^2 over the known pixels, w by exact line search for each sample.

    With delta = x0 - known and g = grad_u l, both on the known pixels, w = <delta, g> / <g, g> minimises |delta - w g|. The
    gradient goes through the model: `score` must let gradients pass.

    Args: as of `replaced_score`; replace: overwrite the known pixels of the result as well; apart: flat positions (n, *patch)
        of pieces that fill the content and that the score makes independently of each other: each has a w of its own.

    Raises RescoreError as `replaced_score`, or for pieces that do not fill the content once; when called, for a score that no
    gradient passes.
    """
    _check(process, known, mask)
    piece_of = None if apart is None else _pieces(apart, mask.shape[2:])

    def conditioned(u: Tensor, t: float) -> Tensor:
        m, variance = _coefficients(process, t)
        with torch.inference_mode(False), torch.enable_grad():
            # a clone: what was made in inference mode cannot be differentiated
            point = u.clone().requires_grad_()
            found = score(point, t)
            if found.grad_fn is None:
                raise RescoreError("reconstructed_score: no gradient passes the score; load the model with gradients")
            x0 = (point + variance * found) / m
            delta = torch.where(mask.bool(), x0 - known.to(u), 0.0)
            (gradient,) = torch.autograd.grad(delta.square().sum(), point)
        x0, delta = x0.detach(), delta.detach()
        seen = torch.where(mask.bool(), gradient, 0.0)
        length, square = (_sums(of, piece_of) for of in (delta * seen, seen.square()))
        x0 = x0 - length / square.clamp_min(torch.finfo(u.dtype).tiny) * gradient
        if replace:
            x0 = torch.where(mask.bool(), known.to(u), x0)
        return (m * x0 - u) / variance

    return conditioned


CONDITIONED: dict[Known, Callable[..., Score]] = {"replacement": replaced_score, "reconstruction": reconstructed_score}


def outpaint(
    size: Sequence[int],
    patches: Tensor,
    sampler: Sampler,
    factor: Callable[..., Tensor],
    shape: tuple[int, int],
    generator: Noise,
    method: Known = "replacement",
    order: Sequence[Sequence[int]] | None = None,
    given: tuple[Tensor, Tensor] | None = None,
    conditions: Mapping[int, Tensor] | None = None,
    clip: float | None = None,
) -> tuple[Tensor, int, int]:
    """A content piece by piece, each piece given what of it is there already: the autoregressive baselines.

    Args:
        size: of the content without channels.
        patches: (n, *patch) flat positions of the pieces, such as `graph.factors`.
        sampler: of one piece.
        factor, conditions: as of `composed_score`.
        shape: (batch, channels).
        generator: of all noise, on the device of the content.
        method: how the pixels that are there already enter.
        order: numbers of the pieces that are sampled together, in one batch, one such group after another; None: as
            `from_the_middle`.
        given: a content (batch, channels, *size) and which of its positions are known from the start, (*size) bool.
        clip: the bound of `clipped_score`, applied last; None: no clip.

    Returns:
        Contents (batch, channels, *size), the number of sampling runs that followed each other, and of how many of them
        something was there already.

    Raises RescoreError for an unknown method, a piece of the order that is not there, or a condition that does not fit.
    """
    if method not in CONDITIONED:
        raise RescoreError(f"outpaint: method {method!r}; allowed: {', '.join(CONDITIONED)}")
    order = [group for group in (from_the_middle(len(patches)) if order is None else order) if len(group)]
    if unknown := [j for group in order for j in group if j not in range(len(patches))]:
        raise RescoreError(f"outpaint: factor {unknown[0]} is not there; allowed: 0 to {len(patches) - 1}")
    if conditions is not None:
        check_conditions(conditions, len(patches))
    device, process, (batch, channels) = generator.device, sampler.process, shape
    content = torch.zeros(batch, channels, math.prod(size), device=device)
    filled = torch.zeros(math.prod(size), dtype=torch.bool, device=device)
    if given is not None:
        content, filled = given[0].to(device).flatten(2).clone(), given[1].to(device).flatten().clone()
    conditioned = 0
    for group in order:
        positions = patches[list(group)].to(device)
        known = content[:, :, positions].transpose(1, 2).flatten(0, 1)
        mask = filled[positions][None, :, None].expand(batch, -1, channels, *[-1] * (positions.ndim - 1)).flatten(0, 1)
        score = factor
        if conditions is not None:
            score = partial(_under, factor, stacked(conditions, group, batch))
        if mask.any():
            conditioned += 1
            score = CONDITIONED[method](process, score, known, mask)
        if clip is not None:
            score = clipped_score(process, score, clip)
        start = process.prior_sample(tuple(known.shape), generator, content.dtype, device)
        pieces = torch.where(mask, known, sampler(score, start, generator)).unflatten(0, (batch, len(group)))
        content[:, :, positions] = pieces.transpose(1, 2)
        filled[positions] = True
    return content.reshape(batch, channels, *size), len(order), conditioned


def from_the_middle(*lattice: int) -> list[list[int]]:
    """The order of the pieces of a chain, or of a lattice (rows, columns) numbered row by row, from the middle outwards.

    The middle one, then in one batch all that lie one step from it, then two steps along rows and columns, and so on. Pieces
    that overlap the next by half share with others of their batch only what is there already.
    """
    steps = np.asarray(
        sum(
            np.abs(np.arange(n) - (n - 1) // 2).reshape([-1 if k == axis else 1 for k in range(len(lattice))])
            for axis, n in enumerate(lattice)
        )
    ).ravel()
    return [np.flatnonzero(steps == k).tolist() for k in range(steps.max() + 1)]


def _under(factor: Callable[..., Tensor], y: Tensor, u: Tensor, t: float) -> Tensor:
    return factor(u, t, y)


def _pieces(apart: Tensor, size: Sequence[int]) -> Tensor:
    """The number of the piece that each position is in, (P,)."""
    if not torch.equal(apart.flatten().sort().values.cpu(), torch.arange(math.prod(size))):
        raise RescoreError(f"reconstructed_score: {len(apart)} pieces that do not fill a content of {tuple(size)} once")
    piece_of = torch.empty(math.prod(size), dtype=torch.long)
    for number, positions in enumerate(apart):
        piece_of[positions.flatten().cpu()] = number
    return piece_of


def _sums(x: Tensor, piece_of: Tensor | None) -> Tensor:
    """Of x (batch, C, *size) the sums of each sample, or of each of its pieces, broadcast to x."""
    if piece_of is None:
        return x.flatten(1).sum(1).reshape(-1, *[1] * (x.ndim - 1))
    piece_of, each = piece_of.to(x.device), x.flatten(2).sum(1)
    sums = torch.zeros(len(x), int(piece_of.max()) + 1, dtype=x.dtype, device=x.device).index_add_(1, piece_of, each)
    return sums[:, piece_of].reshape(len(x), 1, *x.shape[2:])


def _coefficients(process: Isotropic, t: float) -> tuple[float, float]:
    """m_t and Sigma_t."""
    return process.mean(t).values.item(), process.Sigma(t).values.item()


def _check(process: Isotropic, known: Tensor, mask: Tensor) -> None:
    require(process, Isotropic, "a score under known pixels")
    try:
        torch.broadcast_shapes(known.shape, mask.shape)
    except RuntimeError:
        raise RescoreError(f"known pixels {tuple(known.shape)} and a mask {tuple(mask.shape)} that does not fit them") from None
