"""How well contents match their descriptions, from features of both in one space (Guo et al. 2022)."""

import torch
from torch import Tensor

from rescore.domain import check_finite
from rescore.errors import RescoreError

ROUNDING = 16  # distances that differ by so many roundings of the longest feature are the same


def r_precision(text: Tensor, motion: Tensor, top: int = 3, pool: int = 32) -> float:
    """The share of descriptions whose own content is among the `top` nearest of its pool.

    A content as near as one's own counts as nearer, and so does one that is farther by no more than the features' rounding:
    contents that are all alike, as a collapsed model makes them, match no description.

    Args:
        text, motion: (n, d), row i of both of one pair.
        pool: rows that follow each other and compete; what is left over at the end is not used.

    Raises RescoreError for features that are no pairs or not finite, or fewer than one pool.
    """
    _check_pairs(text, motion)
    whole = len(text) // pool * pool
    if not whole or not 0 < top <= pool:
        raise RescoreError(
            f"r_precision: {len(text)} pairs, top {top} of pools of {pool}; allowed: a pool or more, top 1 to {pool}"
        )
    x, y = (each[:whole].double().unflatten(0, (-1, pool)) for each in (text, motion))
    distances = torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")  # by products, equals are not at 0
    own = distances.diagonal(dim1=1, dim2=2)[..., None]
    longest = max(x.norm(dim=2).max(), y.norm(dim=2).max())
    slack = ROUNDING * max(torch.finfo(each.dtype).eps for each in (text, motion)) * longest
    return ((distances <= own + slack).sum(2) <= top).double().mean().item()  # one's own is one of them


def top1(logits: Tensor, labels: Tensor) -> Tensor:
    """Whether each row's label (n,) alone has the largest of the logits (n, classes), (n,): a tie counts against, as above.

    Raises RescoreError for logits that are not finite or not of the labels' number.
    """
    if logits.ndim != 2 or labels.shape != logits.shape[:1]:
        raise RescoreError(f"top1: logits {tuple(logits.shape)}, labels {tuple(labels.shape)}; allowed: (n, classes) and (n,)")
    check_finite(logits, "top1", "a logit")
    own = logits.gather(1, labels[:, None].to(logits.device))
    return (logits >= own).sum(1) == 1


def multimodal_distance(text: Tensor, motion: Tensor) -> float:
    """The mean distance between each description and its content, (n, d) each. Raises RescoreError as `r_precision`."""
    _check_pairs(text, motion)
    return (text.double() - motion.double()).norm(dim=1).mean().item()


def diversity(features: Tensor, pairs: int, generator: torch.Generator) -> float:
    """The mean distance of random pairs of features (n, d): two draws of `pairs` rows, each without repetition.

    As HumanML3D's evaluation has it; `rescore.metrics.series` draws with repetition.

    Raises RescoreError for more pairs than rows, or features that are not finite.
    """
    if not 0 < pairs <= len(features):
        raise RescoreError(f"diversity: {pairs} pairs of {len(features)} features; allowed: 1 to {len(features)}")
    check_finite(features, "diversity", "a feature")
    left, right = (torch.randperm(len(features), generator=generator)[:pairs] for _ in range(2))
    return (features[left].double() - features[right].double()).norm(dim=1).mean().item()


def _check_pairs(text: Tensor, motion: Tensor) -> None:
    if text.ndim != 2 or text.shape != motion.shape or not len(text):
        raise RescoreError(f"features of pairs: {tuple(text.shape)} and {tuple(motion.shape)}; allowed: (n, d) twice, n >= 1")
    for features in (text, motion):
        check_finite(features, "features of pairs", "a feature")
