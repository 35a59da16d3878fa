"""Densities of the plane on a square grid, as maps of sum 1."""

from collections.abc import Callable

import torch
from torch import Tensor


def cell_centres(half_width: float, cells: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Centres of cells x cells squares on [-half_width, half_width]^2, (cells^2, 2); rows are the second coordinate."""
    axis = (torch.arange(cells, dtype=dtype) + 0.5) * (2 * half_width / cells) - half_width
    return torch.stack(torch.meshgrid(axis, axis, indexing="xy"), -1).reshape(-1, 2)


def density_map(log_density: Callable[[Tensor], Tensor], half_width: float, cells: int) -> Tensor:
    """A density, known up to its normaliser, on `cell_centres`: (cells, cells) float64 of sum 1.

    Args:
        log_density: (n,) of points (n, 2); -inf where there is none.
    """
    return torch.softmax(log_density(cell_centres(half_width, cells)).double(), 0).reshape(cells, cells)


def total_variation(maps: Tensor, truth: Tensor) -> Tensor:
    """Of maps (..., cells, cells) to another one, (...): half the sum of the differences."""
    return 0.5 * (maps - truth).abs().sum((-2, -1))
