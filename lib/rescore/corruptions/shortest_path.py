"""The schedule of Soft Diffusion, section 3.3: a shortest path between distributions, in Wasserstein distance.

References:
    Soft Diffusion: arXiv:2209.05442.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from rescore.config import config_hash
from rescore.corruptions.families import Family
from rescore.corruptions.schedules import Interpolated
from rescore.errors import RescoreError
from rescore.files import read_arrays, save_arrays
from rescore.machine.locks import waiting_lock
from rescore.progress import progress, warn
from rescore.random import make_generator

TIE = 1e-9  # of the largest distance, added to every edge: of paths of equal length the one with fewest hops


@dataclass(frozen=True)
class NodePath:
    """A path through candidates.

    Attributes:
        epsilon: the longest edge that was allowed.
        nodes: indices of the candidates, from the first to the last.
    """

    epsilon: float
    nodes: tuple[int, ...]


def pairwise_wasserstein(clouds: Sequence[Tensor], label: str = "distances") -> np.ndarray:
    """W2 between every two clouds of as many points (n, ...) each, exact optimal transport (POT); (k, k) float64."""
    import ot  # slow to import

    flat = torch.stack([cloud.double().flatten(1) for cloud in clouds])
    squares = flat.square().sum(2)
    weights = np.full(flat.shape[1], 1 / flat.shape[1])
    distances = np.zeros((len(flat), len(flat)))
    for i in progress(range(len(flat) - 1), desc=label):
        products = flat[i] @ flat[i + 1 :].mT
        costs = (squares[i][:, None] + squares[i + 1 :, None, :] - 2 * products).clamp_min_(0).numpy()
        for j, cost in enumerate(costs, start=i + 1):
            distances[i, j] = distances[j, i] = np.sqrt(ot.emd2(weights, weights, cost, numThreads=1))
    return distances


def shortest_path(distances: np.ndarray, epsilon: float) -> NodePath | None:
    """The shortest path from the first to the last node over edges of at most epsilon (eq. 22), by Dijkstra; None if none.

    Args:
        distances: (k, k), symmetric, positive off the diagonal.
    """
    kept = np.where((distances <= epsilon) & (distances > 0), distances + TIE * distances.max(), 0)
    from scipy.sparse import csr_matrix  # half a second, and every training imports this module
    from scipy.sparse.csgraph import dijkstra

    lengths, before = dijkstra(csr_matrix(kept), directed=False, indices=0, return_predecessors=True)
    if not np.isfinite(lengths[-1]):
        return None
    nodes = [len(distances) - 1]
    while nodes[-1] != 0:
        nodes.append(int(before[nodes[-1]]))
    return NodePath(float(epsilon), tuple(nodes[::-1]))


def find_path(distances: np.ndarray, nodes: int) -> NodePath:
    """The path with so many nodes, both ends included, by bisection on epsilon towards the smallest one that gives it.

    The path can only change where epsilon passes a distance, so the search is among the distances themselves. The number of
    nodes mostly falls as epsilon grows, not always: where the search meets no path of exactly so many, it returns the one with
    the fewest above.

    Raises:
        RescoreError: even the smallest epsilon that connects the ends gives fewer nodes.
    """
    values = np.unique(distances[distances > 0])
    low, high = 0, len(values) - 1  # at `high` the direct edge is allowed
    while low < high:  # the smallest epsilon with a path
        middle = (low + high) // 2
        low, high = (low, middle) if shortest_path(distances, values[middle]) else (middle + 1, high)
    best = _known_path(distances, values[low])
    if len(best.nodes) < nodes:
        raise RescoreError(
            f"shortest path of {nodes} nodes through {len(distances)} candidates: the longest has "
            f"{len(best.nodes)}; allowed: as many or fewer, or more candidates"
        )
    high = len(values) - 1
    while low <= high:
        middle = (low + high) // 2
        path = _known_path(distances, values[middle])
        if nodes <= len(path.nodes) <= len(best.nodes):
            best = path
        low, high = (middle + 1, high) if len(path.nodes) > nodes else (low, middle - 1)
    return best


def _known_path(distances: np.ndarray, epsilon: float) -> NodePath:
    """`shortest_path` where there is one."""
    path = shortest_path(distances, epsilon)
    assert path is not None, "the ends are connected"
    return path


def wasserstein_schedule(
    family: Family, images: Tensor, sigma: float, candidates: int, nodes: int, start: float, seed: int = 0
) -> tuple[Interpolated, NodePath, np.ndarray]:
    """Levels along the shortest path from the lowest to the highest, at equally spaced times from `start` to 1.

    All candidates, equally spaced in level, corrupt the same images with the same noise: with fresh noise the distance of two
    finite samples would never reach 0.

    Args:
        images: (n, C, H, W).
        sigma: of the noise, the same at every level.

    Returns:
        the schedule, the path and the (candidates, candidates) distances.
    """
    levels = np.linspace(family.lowest, family.highest, candidates)
    noise = sigma * torch.randn(images.shape, generator=make_generator("schedule", seed), dtype=torch.float64)
    x = images.double()
    distances = pairwise_wasserstein([family(level)(x) + noise for level in levels], "Wasserstein distances")
    path = find_path(distances, nodes)
    return Interpolated.spread(levels[list(path.nodes)].tolist(), start), path, distances


def kept_schedule(
    folder: Path, name: str, family: Family, images: Tensor, sigma: float, candidates: int, nodes: int, start: float
) -> tuple[Interpolated, NodePath, np.ndarray]:
    """`wasserstein_schedule` of images called `name`, computed once and kept in `folder`, which several processes may share."""
    what = {"data": name, "family": repr(family), "sigma": sigma, "until": start}
    path = folder / f"{name}-{config_hash(what | {'candidates': candidates, 'nodes': nodes, 'images': len(images)})}.npz"
    folder.mkdir(parents=True, exist_ok=True)
    with waiting_lock(folder / "lock", "another process that computes a schedule"):
        if path.is_file():
            try:
                return _stored_schedule(path)
            except RescoreError as error:
                warn(f"{error}: the schedule is computed again")
        schedule, found, distances = wasserstein_schedule(family, images, sigma, candidates, nodes, start)
        levels = {"times": schedule.times, "levels": schedule.levels, "distances": distances}
        save_arrays(path, levels | {"epsilon": found.epsilon, "nodes": found.nodes})
        return _stored_schedule(path)


def _stored_schedule(path: Path) -> tuple[Interpolated, NodePath, np.ndarray]:
    stored = read_arrays(path, ("times", "levels", "epsilon", "nodes", "distances"))
    schedule = Interpolated(tuple(stored["times"].tolist()), tuple(stored["levels"].tolist()))
    return schedule, NodePath(float(stored["epsilon"]), tuple(stored["nodes"].tolist())), stored["distances"]
