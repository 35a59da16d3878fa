"""Seams: how much rougher an image is where its pieces meet than elsewhere."""

from collections.abc import Sequence

import torch
from torch import Tensor


def seam(x: Tensor, borders: Sequence[int]) -> float:
    """Mean square of the steps from column b - 1 to b over the borders b, by that over all other columns; 1 is no seam.

    Args:
        x: images (..., H, W).
    """
    jumps = x.diff(dim=-1).square().flatten(0, -2).mean(0)
    at = torch.zeros(len(jumps), dtype=torch.bool)
    at[[b - 1 for b in borders]] = True
    return (jumps[at].mean() / jumps[~at].mean()).item()


def wrap_seam(x: Tensor) -> float:
    """`seam` between the last column and the first, if the image is closed to a ring."""
    inside = x.diff(dim=-1).square().mean()
    return ((x[..., 0] - x[..., -1]).square().mean() / inside).item()
