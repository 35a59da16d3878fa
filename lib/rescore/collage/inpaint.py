"""Scores under known pixels, and the autoregressive baselines made of them (thesis section 4.5.1).

Both conditioned scores correct the prediction x0(u, t) = (u + Sigma_t s(u, t)) / m_t of the clean content and turn it back into
a score, (m_t x0 - u) / Sigma_t. So they take any score, of a piece or composed, and any sampler takes them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import torch
from torch import Tensor

from rescore.collage.compose import check_conditions
from rescore.collage.graph import FactorGraph
from rescore.errors import RescoreError
from rescore.processes import Isotropic
from rescore.samplers import Sampler
from rescore.samplers.base import require
from rescore.scores import Score

Known = Literal["replacement", "reconstruction"]


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


def reconstructed_score(process: Isotropic, score: Score, known: Tensor, mask: Tensor, replace: bool = False) -> Score:
    """Reconstruction: x0 - w grad_u l, l = |x0(u, t) - known|^2 over the known pixels, w by exact line search for each sample.

    With delta = x0 - known and g = grad_u l, both on the known pixels, w = <delta, g> / <g, g> makes |delta - w g| smallest. The
    gradient goes through the model: `score` must let gradients pass.

    Args: as of `replaced_score`; replace: overwrite the known pixels of the result as well.

    Raises RescoreError as `replaced_score`; when called, for a score that no gradient passes.
    """
    _check(process, known, mask)

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
        square = seen.square().flatten(1).sum(1)
        w = (delta * seen).flatten(1).sum(1) / square.clamp_min(torch.finfo(u.dtype).tiny)
        x0 = x0 - w.reshape(-1, *[1] * (u.ndim - 1)) * gradient
        if replace:
            x0 = torch.where(mask.bool(), known.to(u), x0)
        return (m * x0 - u) / variance

    return conditioned


CONDITIONED: dict[Known, Callable[..., Score]] = {"replacement": replaced_score, "reconstruction": reconstructed_score}


def outpaint(
    graph: FactorGraph,
    sampler: Sampler,
    factor: Callable[..., Tensor],
    shape: tuple[int, int],
    generator: torch.Generator,
    method: Known = "replacement",
    conditions: Mapping[int, Tensor] | None = None,
    both_sides: bool = True,
) -> tuple[Tensor, int]:
    """A content of a chain, piece by piece: the middle factor, then its neighbours, each given what it shares with the content.

    Args:
        graph: a chain, whose factors are numbered along it.
        sampler: of one piece.
        factor, conditions: as of `composed_score`.
        shape: (batch, channels).
        generator: of all noise, on the device of the content.
        method: how the pixels that are there already enter.
        both_sides: the two ends grow in one batch; False: from factor 0 on, to the right only.

    Returns:
        Contents (batch, channels, *graph.size) and the number of sampling runs that followed each other.

    Raises RescoreError for an unknown method or a condition that does not fit.
    """
    if method not in CONDITIONED:
        raise RescoreError(f"outpaint: method {method!r}; allowed: {', '.join(CONDITIONED)}")
    n, (batch, channels) = len(graph.factors), shape
    if conditions is not None:
        check_conditions(conditions, n)
    device, process = generator.device, sampler.process
    content = torch.zeros(batch, channels, graph.positions, device=device)
    filled = torch.zeros(graph.positions, dtype=torch.bool, device=device)
    middle = (n - 1) // 2 if both_sides else 0
    runs = 0
    for step in range(max(middle + 1, n - middle)):
        which = [j for j in dict.fromkeys((middle - step, middle + step)) if 0 <= j < n]
        positions = graph.factors[which].to(device)
        mask = filled[positions][None, :, None].expand(batch, -1, channels, *[-1] * (positions.ndim - 1)).flatten(0, 1)
        known = content[:, :, positions].transpose(1, 2).flatten(0, 1)
        score = factor
        if conditions is not None:
            y = torch.stack([conditions[j].expand(batch, *conditions[j].shape[1:]) for j in which], 1).flatten(0, 1)
            score = lambda u, t, y=y: factor(u, t, y)  # noqa: E731
        if step:
            score = CONDITIONED[method](process, score, known, mask)
        start = process.prior_sample(tuple(known.shape), generator, content.dtype, device)
        pieces = torch.where(mask, known, sampler(score, start, generator)).unflatten(0, (batch, len(which)))
        content[:, :, positions] = pieces.transpose(1, 2)
        filled[positions] = True
        runs += 1
    return content.reshape(batch, channels, *graph.size), runs


def _coefficients(process: Isotropic, t: float) -> tuple[float, float]:
    """m_t and Sigma_t."""
    return process.mean(t).values.item(), process.Sigma(t).values.item()


def _check(process: Isotropic, known: Tensor, mask: Tensor) -> None:
    require(process, Isotropic, "a score under known pixels")
    try:
        torch.broadcast_shapes(known.shape, mask.shape)
    except RuntimeError:
        raise RescoreError(f"known pixels {tuple(known.shape)} and a mask {tuple(mask.shape)} that does not fit them") from None
