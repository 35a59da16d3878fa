"""How well contents match their descriptions, from features of both in one space (Guo et al. 2022)."""

import torch
from torch import Tensor

from rescore.errors import RescoreError


def r_precision(text: Tensor, motion: Tensor, top: int = 3, pool: int = 32) -> float:
    """The share of descriptions whose own content is among the `top` nearest of its pool.

    Args:
        text, motion: (n, d), row i of both of one pair.
        pool: rows that follow each other and compete; what is left over at the end is not used.

    Raises RescoreError for features that are no pairs, or fewer than one pool.
    """
    _check_pairs(text, motion)
    whole = len(text) // pool * pool
    if not whole or not 0 < top <= pool:
        raise RescoreError(
            f"r_precision: {len(text)} pairs, top {top} of pools of {pool}; allowed: a pool or more, top 1 to {pool}"
        )
    distances = torch.cdist(text[:whole].double().unflatten(0, (-1, pool)), motion[:whole].double().unflatten(0, (-1, pool)))
    own = distances.diagonal(dim1=1, dim2=2)[..., None]
    return ((distances < own).sum(2) < top).double().mean().item()


def multimodal_distance(text: Tensor, motion: Tensor) -> float:
    """The mean distance between each description and its content, (n, d) each."""
    _check_pairs(text, motion)
    return (text.double() - motion.double()).norm(dim=1).mean().item()


def diversity(features: Tensor, pairs: int, generator: torch.Generator) -> float:
    """The mean distance of random pairs of features (n, d): two draws of `pairs` rows, each without repetition.

    Raises RescoreError for more pairs than rows.
    """
    if not 0 < pairs <= len(features):
        raise RescoreError(f"diversity: {pairs} pairs of {len(features)} features; allowed: 1 to {len(features)}")
    left, right = (torch.randperm(len(features), generator=generator)[:pairs] for _ in range(2))
    return (features[left].double() - features[right].double()).norm(dim=1).mean().item()


def _check_pairs(text: Tensor, motion: Tensor) -> None:
    if text.ndim != 2 or text.shape != motion.shape or not len(text):
        raise RescoreError(f"features of pairs: {tuple(text.shape)} and {tuple(motion.shape)}; allowed: (n, d) twice, n >= 1")
