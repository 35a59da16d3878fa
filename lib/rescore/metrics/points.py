"""Distances between point clouds."""

import math

import numpy as np
from torch import Tensor

from rescore.errors import Diverged, RescoreError

PROJECTIONS = 200


def sliced_wasserstein(x: Tensor, y: Tensor, seed: int = 0, projections: int = PROJECTIONS) -> float:
    """`sw2`: the sliced 2-Wasserstein distance, sqrt of the mean over random directions of W2^2 between the projections.

    Args:
        x: (n, ...), flattened to (n, d); y: (m, ...).
        seed: of the directions; the same seed makes two distances comparable.

    Raises:
        RescoreError: two dimensions that differ; Diverged: a point, or the distance, that is not finite.
    """
    import ot  # slow to import

    a, b = (np.asarray(cloud.detach().cpu().double().reshape(len(cloud), -1)) for cloud in (x, y))
    if a.shape[1] != b.shape[1]:
        raise RescoreError(f"sliced_wasserstein: points of dimension {a.shape[1]} and {b.shape[1]}")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise Diverged("sliced_wasserstein: a point is not finite")
    distance = float(ot.sliced_wasserstein_distance(a, b, n_projections=projections, seed=seed))
    if not math.isfinite(distance):
        raise Diverged("sliced_wasserstein: the distance overflows")
    return distance


def rmse(x: Tensor, y: Tensor) -> float:
    """Root mean square of x - y over all points and coordinates."""
    return math.sqrt((x.double() - y.double()).square().mean().item())
