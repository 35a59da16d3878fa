"""Distances between point clouds."""

import math

import numpy as np
import torch
from torch import Tensor

from rescore.domain import check_finite
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
    for cloud in (x, y):
        check_finite(cloud, "sliced_wasserstein")
    distance = float(ot.sliced_wasserstein_distance(a, b, n_projections=projections, seed=seed))
    if not math.isfinite(distance):
        raise Diverged("sliced_wasserstein: the distance overflows")
    return distance


def rmse(x: Tensor, y: Tensor) -> float:
    """Root mean square of x - y over all points and coordinates. Raises Diverged for one that is not finite."""
    for cloud in (x, y):
        check_finite(cloud, "rmse")
    return math.sqrt((x.double() - y.double()).square().mean().item())


def nearest(x: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
    """The distance of each of x (n, ...) to the nearest of points (m, ...), both flattened, and its row: (n,) each.

    Raises Diverged for one that is not finite.
    """
    check_finite(x, "nearest")
    points = points.flatten(1).to(x.device)
    distances, rows = [], []
    for part in x.flatten(1).split(1000):
        rows.append(torch.cdist(part, points.to(part)).argmin(1))  # by products: fast, but too rounded to be the distance
        distances.append(torch.linalg.vector_norm(part.double() - points[rows[-1]].double(), dim=1))
    return torch.cat(distances), torch.cat(rows)


def median_distance(x: Tensor, points: Tensor) -> float:
    """The median over x (n, ...) of the RMS distance, a coordinate, to the nearest of the points (m, d)."""
    return (nearest(x, points)[0].median() / points.shape[1] ** 0.5).item()


def ring_arcs(x: Tensor, radius: float, within: float, arcs: int) -> Tensor:
    """How many of x (n, 2) lie within a distance of a circle about the origin, by arcs of equal angle: (arcs,), from -pi on."""
    on = (x.norm(dim=1) - radius).abs() <= within
    arc = ((torch.atan2(x[on, 1], x[on, 0]) / (2 * math.pi) + 0.5) * arcs).long().clamp_max(arcs - 1)
    return torch.bincount(arc, minlength=arcs)
