"""The 8x8 handwritten digits that ship in scikit-learn."""

import torch
from torch import Tensor


def load_digits() -> Tensor:
    """All 1,797 images, (1797, 1, 8, 8) float64 in [-1, 1]."""
    from sklearn.datasets import load_digits as load  # slow to import

    return torch.from_numpy(load().images / 8 - 1)[:, None]
