"""Factor graphs of large contents: which positions each factor and each variable holds (thesis section 4.4.1, fig. 4.2).

A node is a patch of positions of the content, as an array of flat indices: patches may wrap around, turn and overlap. Only the
variables that several factors share are listed; a leaf, of degree 1, has weight 1 - 1 = 0 in eq. 4.6.

References:
    thesis, chapter 4: DiffCollage, arXiv:2303.17076.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from scipy.sparse import csc_array, csr_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from rescore.errors import RescoreError


@dataclass(frozen=True, eq=False)
class FactorGraph:
    """A bipartite graph of factors and the variables they share.

    Args:
        size: of the content without its channels, such as (H, W).
        factors: (m, *patch) int64, the flat positions of each factor's patch; all have one shape.
        variables: groups of variables of one shape, each (k, *patch) int64.

    Raises RescoreError, naming the node, for positions outside the content or twice in a patch, a position in no factor, a
    variable that fewer than two factors hold, overlaps that the variables do not match, and a graph that is not connected.
    """

    size: tuple[int, ...]
    factors: Tensor
    variables: tuple[Tensor, ...] = ()

    def __post_init__(self) -> None:
        for name, positions in self.nodes:
            if not len(positions) or positions.min() < 0 or positions.max() >= self.positions:
                raise RescoreError(
                    f"{name}: its patch reaches outside the content {self.size}; allowed: "
                    f"flat positions 0 to {self.positions - 1}"
                )
            if len(np.unique(positions)) < len(positions):
                raise RescoreError(f"{name}: a piece larger than the content {self.size}: it holds a position twice")
        names = [name for name, _ in self.nodes[len(self.factors) :]]
        for name, degree in zip(names, torch.cat([torch.zeros(0, dtype=torch.long), *self.degrees]).tolist(), strict=True):
            if degree < 2:
                raise RescoreError(f"{name}: {degree} factors hold all of it; allowed: 2 or more (leaves are not listed)")
        self._check_cover()
        self._check_connected()

    @property
    def positions(self) -> int:
        """Of the content: the product of its size."""
        return math.prod(self.size)

    @cached_property
    def nodes(self) -> list[tuple[str, np.ndarray]]:
        """Name and flat positions of every node, the factors first."""
        factors = [(f"factor {j}", patch.flatten().numpy()) for j, patch in enumerate(self.factors)]
        shared = [patch.flatten().numpy() for group in self.variables for patch in group]
        return factors + [(f"variable {i}", patch) for i, patch in enumerate(shared)]

    @cached_property
    def _contains(self) -> csc_array:
        """1 where node row holds node column, and more than it, (nodes, nodes); sparse, for most nodes are far apart."""
        sizes = self._members.sum(1)
        shared = (self._members @ self._members.T).tocoo()
        holds = (shared.data == sizes[shared.col]) & (sizes[shared.row] > sizes[shared.col])
        ones = np.ones(holds.sum(), dtype=np.int64)
        return csc_array((ones, (shared.row[holds], shared.col[holds])), shape=shared.shape)

    def _holders(self, node: int) -> np.ndarray:
        """The nodes that hold this one and more."""
        start, end = self._contains.indptr[node : node + 2]
        return self._contains.indices[start:end]

    @cached_property
    def _members(self) -> csr_array:
        """1 where a node holds a position, (nodes, positions)."""
        patches = [positions for _, positions in self.nodes]
        rows = np.repeat(np.arange(len(patches)), [len(patch) for patch in patches])
        ones = np.ones(len(rows), dtype=np.int64)
        return csr_array((ones, (rows, np.concatenate(patches))), shape=(len(patches), self.positions))

    @cached_property
    def degrees(self) -> tuple[Tensor, ...]:
        """d_i: how many factors hold each variable, a (k,) for each group."""
        return self._grouped(self._contains[: len(self.factors), len(self.factors) :].sum(0))

    @cached_property
    def weights(self) -> tuple[Tensor, ...]:
        """What each variable's score is multiplied with, a (k,) float64 for each group.

        1 - d_i (eq. 4.6) where variables do not hold each other. In general 1 less the weights of all nodes that hold the
        variable (Kikuchi's counting numbers), which is the same thing there.
        """
        weights = np.ones(len(self.nodes))
        order = np.argsort([-len(positions) for _, positions in self.nodes], kind="stable")
        for node in order:
            weights[node] -= weights[self._holders(node)].sum()
        return tuple(group.double() for group in self._grouped(weights[len(self.factors) :]))

    def _grouped(self, values: np.ndarray) -> tuple[Tensor, ...]:
        return torch.from_numpy(np.ascontiguousarray(values)).split([len(group) for group in self.variables])

    def _check_cover(self) -> None:
        """Each position has total weight 1: as many factors as variables hold it, but for one."""
        counts = self._members[: len(self.factors)].sum(0)
        if not counts.all():
            missed = _unravel(int(np.argmin(counts)), self.size)
            raise RescoreError(f"no factor holds position {missed} of the content {self.size}")
        weights = torch.cat([torch.ones(len(self.factors), dtype=torch.float64), *self.weights]).numpy()
        total = self._members.T @ weights
        if len(wrong := np.flatnonzero(np.abs(total - 1) > 1e-9)):
            held = self._members.T[[wrong[0]]].toarray()[0]
            names = ", ".join(self.nodes[node][0] for node in np.flatnonzero(held))
            raise RescoreError(
                f"overlaps do not match at position {_unravel(wrong[0], self.size)}, held by {names}: weights sum "
                f"to {total[wrong[0]]:g}; allowed: 1, every overlap of factors in a variable"
            )

    def _check_connected(self) -> None:
        factors = self._members[: len(self.factors)]
        _, part = connected_components(factors @ factors.T, directed=False)
        if part.any():
            raise RescoreError(
                f"factor {int(np.argmax(part > 0))}: no chain of overlaps leads from factor 0 to it; allowed: a connected graph"
            )


def _unravel(position: int, size: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(int(k) for k in np.unravel_index(int(position), size))


def _windows(size: Sequence[int], corners: Sequence[tuple[int, int]], patch: tuple[int, int], wrap: bool = False) -> Tensor:
    """Flat positions of patches (h, w) at corners (row, column) of an image of this size, (n, h, w)."""
    _height, width = size
    at = torch.tensor(corners, dtype=torch.long).reshape(-1, 2)
    rows = at[:, 0, None] + torch.arange(patch[0])
    columns = at[:, 1, None] + torch.arange(patch[1])
    if wrap:
        columns = columns % width
    return rows[:, :, None] * width + columns[:, None, :]


def _check_overlap(what: str, side: int, overlap: int) -> None:
    if not 0 < overlap < side:
        raise RescoreError(f"{what}: factors of width {side} that overlap by {overlap}; allowed: 1 to {side - 1}")


def _count(what: str, length: int, side: int, overlap: int) -> int:
    """How many factors of this side fill a length."""
    _check_overlap(what, side, overlap)
    if side > length:
        raise RescoreError(f"{what}: factor 0: a piece larger than the content: {side} > {length}")
    if (length - overlap) % (side - overlap):
        raise RescoreError(
            f"{what}: factors of {side} that overlap by {overlap} do not fill {length}; allowed lengths: "
            f"{overlap} + n x {side - overlap}"
        )
    return (length - overlap) // (side - overlap)


def chain(height: int, length: int, width: int, overlap: int) -> FactorGraph:
    """A row of factors (height, width), overlapping the next: contents (height, length), length = n width - (n-1) overlap.

    A sequence has height 1, or its features as channels. Raises RescoreError for a length that the factors do not fill.
    """
    n = _count("chain", length, width, overlap)
    stride, size = width - overlap, (height, length)
    factors = _windows(size, [(0, j * stride) for j in range(n)], (height, width))
    shared = _windows(size, [(0, j * stride) for j in range(1, n)], (height, overlap))
    return FactorGraph(size, factors, (shared,) if n > 1 else ())


def cycle(height: int, length: int, width: int, overlap: int) -> FactorGraph:
    """A chain whose last factor overlaps the first: length = n (width - overlap), positions modulo the length.

    Raises RescoreError for a length that the factors do not fill or that two neighbours fill twice.
    """
    _check_overlap("cycle", width, overlap)
    stride, size = width - overlap, (height, length)
    if length % stride:
        raise RescoreError(
            f"cycle: factors of {width} that overlap by {overlap} do not fill {length}; allowed: a multiple of {stride}"
        )
    n = length // stride
    if length < width + stride:
        raise RescoreError(
            f"cycle: factor 0: a piece larger than the content: it and factor 1 meet at both ends of {length}; "
            f"allowed: lengths from {width + stride} on"
        )
    corners = [(0, j * stride) for j in range(n)]
    return FactorGraph(
        size, _windows(size, corners, (height, width), True), (_windows(size, corners, (height, overlap), True),)
    )


def grid(size: tuple[int, int], patch: tuple[int, int], overlap: tuple[int, int]) -> FactorGraph:
    """Patches on a lattice, each overlapping all its neighbours: a content (H, W) of any height and width.

    The variables are the overlaps of two patches (degree 2, weight -1) and of four (degree 4, weight +1: four patches and four
    overlaps hold them). One row of patches is a chain. An overlap may not exceed half a patch: further patches would meet.
    """
    rows, columns = (
        _count(f"grid, {axis}", n, side, o) for axis, n, side, o in zip(("rows", "columns"), size, patch, overlap, strict=True)
    )
    if (2 * overlap[0] > patch[0] and rows > 2) or (2 * overlap[1] > patch[1] and columns > 2):
        raise RescoreError(f"grid: patches {patch} that overlap by {overlap}; allowed: at most half a patch")
    y, x = ([k * (side - o) for k in range(n)] for n, side, o in zip((rows, columns), patch, overlap, strict=True))
    (h, w), (oh, ow) = patch, overlap
    places = {
        (h, ow): [(a, b) for a in y for b in x[1:]],
        (oh, w): [(a, b) for a in y[1:] for b in x],
        (oh, ow): [(a, b) for a in y[1:] for b in x[1:]],
    }
    variables = tuple(_windows(size, corners, shape) for shape, corners in places.items() if corners)
    return FactorGraph(tuple(size), _windows(size, [(a, b) for a in y for b in x], patch), variables)


def tilings(size: tuple[int, int], side: int) -> FactorGraph:
    """The grid of fig. 4.2: squares that overlap four others at their corners, in two tilings half a side apart.

    The variables are the quarters (side / 2, side / 2) that both tilings hold; those at the border are leaves.

    Raises RescoreError unless both lengths are multiples of an even side, from 2 sides on.
    """
    if side % 2 or any(n % side or n < 2 * side for n in size):
        raise RescoreError(
            f"tilings: squares of side {side} on a content {tuple(size)}; allowed: an even side, and lengths that "
            "are multiples of it, from two on"
        )
    half = side // 2
    (height, width) = size
    first = [(a, b) for a in range(0, height, side) for b in range(0, width, side)]
    second = [(a, b) for a in range(half, height - side, side) for b in range(half, width - side, side)]
    shared = [(a, b) for a in range(half, height - half, half) for b in range(half, width - half, half)]
    squares = _windows(size, first + second, (side, side))
    return FactorGraph(tuple(size), squares, (_windows(size, shared, (half, half)),))


def side_by_side(height: int, length: int, width: int) -> Tensor:
    """Patches (n, height, width) that tile a content (height, length) without overlap: the baseline, which is no graph."""
    if length % width:
        raise RescoreError(f"side_by_side: pieces of {width} do not fill {length}; allowed: a multiple of {width}")
    return _windows((height, length), [(0, j) for j in range(0, length, width)], (height, width))
