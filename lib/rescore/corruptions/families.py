"""Families of linear operators on images (..., height, width): one operator for each level, the identity at the lowest.

References:
    Soft Diffusion: arXiv:2209.05442.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from rescore.domain import check_count, check_number
from rescore.errors import RescoreError
from rescore.processes.base import Time, as_time
from rescore.processes.blurring import check_size, dct_matrix, laplacian_eigenvalues
from rescore.processes.operators import Diagonal


@dataclass(frozen=True, eq=False)
class Separable:
    """X -> A X B^T for images X (..., height, width): two small products instead of one with (height width)^2 numbers.

    Args:
        rows: A, (*times, height, height) float64; the times line up with the leading dimensions of X.
        columns: B, (*times, width, width) float64.
    """

    rows: Tensor
    columns: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        return _lift(self.rows, x) @ x @ _lift(self.columns, x).mT


def _separable(size: tuple[int, int], matrix: Callable[[int], Tensor]) -> Separable:
    """From the matrix of each dimension, made once for a square."""
    rows = matrix(size[0])
    return Separable(rows, rows if size[1] == size[0] else matrix(size[1]))


def pseudo_inverse(operator: Separable | Diagonal, cutoff: float) -> Callable[[Tensor], Tensor]:
    """C^+ of an operator on images, with singular values of C (whole, not of its factors) below `cutoff` > 0 taken as 0."""
    check_number("pseudo-inverse", "cutoff", cutoff, 0, brackets="()")
    if isinstance(operator, Diagonal):
        return Diagonal(_inverse_above(operator.values, cutoff), operator.event_ndim)
    rows, columns = torch.linalg.svd(operator.rows), torch.linalg.svd(operator.columns)
    inverse = _inverse_above(rows.S[..., :, None] * columns.S[..., None, :], cutoff)
    before, after = Separable(rows.U.mT, columns.U.mT), Separable(rows.Vh.mT, columns.Vh.mT)
    return lambda y: after(_lift(inverse, y) * before(y))


def _inverse_above(values: Tensor, cutoff: float) -> Tensor:
    return torch.where(values >= cutoff, 1 / values.clamp_min(cutoff), 0.0)


def _lift(matrices: Tensor, x: Tensor) -> Tensor:
    times = matrices.shape[:-2]
    return matrices.to(x).reshape(*times, *(1,) * (x.ndim - 2 - len(times)), *matrices.shape[-2:])


class Family(ABC):
    """Operators by level.

    Attributes:
        lowest: the level of the identity.
        highest: the level of the strongest corruption.
    """

    lowest: float
    highest: float

    def __call__(self, level: Time) -> Separable | Diagonal:
        """C at one level or a batch of levels, which line up with the leading dimensions of what it acts on.

        Raises RescoreError for a level outside [lowest, highest].
        """
        level = as_time(level)
        slack = 1e-9 * max(1.0, self.highest)
        if not ((level >= self.lowest - slack) & (level <= self.highest + slack)).all():
            raise RescoreError(
                f"{type(self).__name__}: level from {level.min():g} to {level.max():g}; "
                f"allowed: {self.lowest:g} to {self.highest:g}"
            )
        return self.operator(level)

    @abstractmethod
    def operator(self, level: Tensor) -> Separable | Diagonal:
        """C at levels of any shape, float64, known to be allowed."""


@dataclass(frozen=True)
class Blur(Family):
    """Gaussian blur with zero padding (Soft Diffusion, appendix D); level: the kernel's std in pixels.

    The kernel's weights exp(-u^2 / (2 std^2)), |u| <= half_size, sum to 1 before the border cuts them. The operator is
    symmetric and contracts; it is not an average, for a constant image darkens towards the border.

    Args:
        size: (height, width).
        half_size: the support is 2 half_size + 1 wide at every level.
        highest, lowest: std, 0 < lowest <= highest; at the default lowest one the kernel is exactly one pixel.
    """

    size: tuple[int, int]
    half_size: int
    highest: float
    lowest: float = 0.01

    def __post_init__(self):
        check_size(self, self.size)
        check_count(self, "half_size", self.half_size)
        check_number(self, "lowest", self.lowest, 0, brackets="()")
        check_number(self, "highest", self.highest, self.lowest)

    def operator(self, level: Tensor) -> Separable:
        return _separable(self.size, lambda n: self.matrix(n, level))

    def matrix(self, n: int, std: Tensor) -> Tensor:
        """K, the symmetric Toeplitz matrix of one dimension: (*std.shape, n, n)."""
        u = torch.arange(max(self.half_size + 1, n), dtype=torch.float64)
        weights = torch.exp(-(u**2) / (2 * std[..., None] ** 2)) * (u <= self.half_size)
        weights = weights / (2 * weights.sum(-1, keepdim=True) - weights[..., :1])
        i = torch.arange(n)
        return weights[..., (i[:, None] - i).abs()]


@dataclass(frozen=True)
class DCTBlur(Family):
    """Heat dissipation exp(-lambda std^2 / 2) per frequency of the DCT, as in blurring diffusion; level: std in pixels.

    Reflecting borders: a constant image stays as it is, and blurs compose exactly, std^2 adding up.
    """

    size: tuple[int, int]
    highest: float
    lowest: float = 0.0

    def __post_init__(self):
        check_size(self, self.size)
        check_number(self, "lowest", self.lowest, 0)
        check_number(self, "highest", self.highest, self.lowest)

    def operator(self, level: Tensor) -> Separable:
        return _separable(self.size, lambda n: self.matrix(n, level))

    def matrix(self, n: int, std: Tensor) -> Tensor:
        """V^T exp(-lambda std^2 / 2) V of one dimension: (*std.shape, n, n)."""
        V = dct_matrix(n)
        decay = torch.exp(-laplacian_eigenvalues(n) * std[..., None] ** 2 / 2)
        return V.T @ (decay[..., None] * V)


@dataclass(frozen=True)
class Masking(Family):
    """A window that shrinks towards the centre, pixel by pixel; level: how many pixels are gone, rounded down.

    Soft Diffusion does not say what its masks look like. Here the pixels go ring by ring from the border inwards (Chebyshev
    distance from the centre), in reading order within a ring.
    """

    size: tuple[int, int]
    lowest: float = 0.0

    def __post_init__(self):
        check_size(self, self.size)
        check_number(self, "lowest", self.lowest, 0)

    @property
    def highest(self) -> float:  # type: ignore[override]  # it follows from the size; a field elsewhere, and never set
        return float(self.size[0] * self.size[1])

    def operator(self, level: Tensor) -> Diagonal:
        return Diagonal((_removal_order(self.size) >= torch.floor(level[..., None, None] + 1e-9)).double(), 2)


@cache
def _removal_order(size: tuple[int, int]) -> Tensor:
    """(height, width): 0 for the pixel that goes first."""
    row, column = ((torch.arange(n) - (n - 1) / 2).abs() / n for n in size)
    ring = torch.maximum(row[:, None], column).flatten()
    order = torch.empty(len(ring), dtype=torch.float64)
    order[torch.argsort(-ring, stable=True)] = torch.arange(len(ring), dtype=torch.float64)
    return order.reshape(size)


@dataclass(frozen=True)
class Identity(Family):
    """No corruption but noise: the VE process."""

    lowest: float = 0.0
    highest: float = 0.0

    def operator(self, level: Tensor) -> Diagonal:
        return Diagonal(torch.ones_like(level))
