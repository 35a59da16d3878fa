"""How far samples are from the data, and from where the exact flow takes the same noise: lists with a value for each seed.

All take samples x (seeds, n, *data) and, to compare with, one set of points for all seeds (m, *data) or one a seed (seeds, m, *data).
Diverged is raised for samples that are not finite.
"""

from collections.abc import Callable, Sequence

from torch import Tensor

from rescore.metrics import points


def each_seed(metric: Callable[[Tensor, Tensor], float], x: Tensor, others: Tensor | Sequence[Tensor]) -> list[float]:
    """metric(x, others) at each seed."""
    shared = isinstance(others, Tensor) and others.ndim < x.ndim
    return [metric(one, others if shared else others[i]) for i, one in enumerate(x)]


def sw2(x: Tensor, others: Tensor | Sequence[Tensor], projections: int) -> list[float]:
    """The sliced 2-Wasserstein distance, over the same directions for all seeds."""
    return each_seed(lambda a, b: points.sliced_wasserstein(a, b, projections=projections), x, others)


def solver_rmse(x: Tensor, end: Tensor) -> list[float]:
    """RMS distance, a coordinate, to the exact end points of the same noise."""
    return each_seed(points.rmse, x, end)


def solver_errors(x: Tensor, end: Tensor) -> dict[str, list[float]]:
    """`solver_rmse`, and the median over points of their own, which resists the few that end in another mode."""
    distance = (x - end).flatten(2).square().mean(2).sqrt()
    return {"solver_rmse": solver_rmse(x, end), "solver_median": distance.median(1).values.tolist()}


def off_modes(x: Tensor, modes: Tensor, radius: float) -> list[float]:
    """The fraction of points further than `radius` from every one of the modes (K, *data)."""
    return each_seed(lambda a, b: (points.nearest(a, b)[0] > radius).double().mean().item(), x, modes)


def off_data(x: Tensor, others: Tensor | Sequence[Tensor]) -> list[float]:
    """RMS distance, a coordinate, to the nearest of the data."""
    size = x[0, 0].numel()
    return each_seed(lambda a, b: (points.nearest(a, b)[0].square().mean() / size).sqrt().item(), x, others)
