"""A law whose pieces and long contents are both known."""

import torch
from torch import Tensor


def ar1(n: int, rho: float) -> Tensor:
    """Covariance of a stationary first-order chain of unit variance, float64."""
    k = torch.arange(n, dtype=torch.float64)
    return rho ** (k[:, None] - k).abs()
