"""Moments of images that need no network."""

from torch import Tensor


def variance(x: Tensor) -> float:
    """Mean over pixels of the variance of images (n, C, H, W)."""
    return x.var(0).mean().item()


def roughness(x: Tensor) -> float:
    """Half the mean square of the differences of neighbours, for each of the two directions; images (n, C, H, W)."""
    return 0.5 * (x.diff(dim=-1).square().mean() + x.diff(dim=-2).square().mean()).item()
