"""The mixtures of Gaussians that several papers use."""

import math

import torch
from torch import Tensor


def nine_modes(spacing: float, turned: bool = False) -> Tensor:
    """Means of nine modes on a 3x3 grid around 0, (9, 2) float64; `turned` by 45 degrees."""
    axis = torch.tensor([-spacing, 0.0, spacing], dtype=torch.float64)
    modes = torch.cartesian_prod(axis, axis)
    return modes @ torch.tensor([[1.0, 1.0], [-1.0, 1.0]], dtype=torch.float64) / math.sqrt(2) if turned else modes
