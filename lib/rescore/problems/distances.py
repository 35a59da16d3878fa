"""How far samples are from the data, and from where the exact flow takes the same noise: lists with a value for each seed.

All take samples x (seeds, n, *data) and, to compare with, one set of points for all seeds (m, *data) or one a seed,
(seeds, m, *data). Diverged is raised for samples that are not finite.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from rescore.metrics import points


def each_seed(metric: Callable[[Tensor, Tensor], float], x: Tensor, others: Tensor | Sequence[Tensor]) -> list[float]:
    """metric(x, others) at each seed."""
    each = [others] * len(x) if isinstance(others, Tensor) and others.ndim < x.ndim else others
    return [metric(one, each[i]) for i, one in enumerate(x)]


def sw2(x: Tensor, others: Tensor | Sequence[Tensor], projections: int) -> list[float]:
    """The sliced 2-Wasserstein distance, over the same directions for all seeds."""
    return each_seed(lambda a, b: points.sliced_wasserstein(a, b, projections=projections), x, others)


def solver_rmse(x: Tensor, end: Tensor) -> list[float]:
    """RMS distance, a coordinate, to the exact end points of the same noise."""
    return each_seed(points.rmse, x, end)


def solver_median(x: Tensor, end: Tensor) -> list[float]:
    """The median over points of their RMS distance a coordinate: it resists the few that end in another mode."""
    return (x - end).flatten(2).square().mean(2).sqrt().median(1).values.tolist()


def off_modes(x: Tensor, modes: Tensor, radius: float) -> list[float]:
    """The fraction of points further than `radius` from every one of the modes (K, *data)."""
    return each_seed(lambda a, b: (points.nearest(a, b)[0] > radius).double().mean().item(), x, modes)


def off_data(x: Tensor, others: Tensor | Sequence[Tensor]) -> list[float]:
    """RMS distance, a coordinate, to the nearest of the data."""
    size = x[0, 0].numel()
    return each_seed(lambda a, b: (points.nearest(a, b)[0].square().mean() / size).sqrt().item(), x, others)


def sides(x: Tensor, boundary: float) -> dict[str, list[float]]:
    """On the line: weight, mean and standard deviation right and left of a boundary; x (seeds, n, 1)."""
    numbers: dict[str, list[float]] = {}
    for seed in x[..., 0]:
        for side, part in (("right", seed[seed > boundary]), ("left", seed[seed <= boundary])):
            values = {"weight": len(part) / len(seed), "mean": part.mean().item(), "std": part.std(correction=0).item()}
            for name, value in values.items():
                numbers.setdefault(f"{name}_{side}", []).append(value)
    return numbers


def relative_changes(values: Sequence[Tensor]) -> np.ndarray:
    """|b - a| / |a| of each a of the values and the next one b, norms over a seed's points: (seeds, len(values) - 1)."""
    norms = ((b - a).flatten(1).norm(dim=1) / a.flatten(1).norm(dim=1) for a, b in pairwise(values))
    return torch.stack(list(norms), 1).numpy()
