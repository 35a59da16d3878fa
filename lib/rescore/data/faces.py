"""The small faces that ship in scikit-image."""

import torch
from torch import Tensor


def load_faces() -> Tensor:
    """100 faces, (100, 1, 25, 25) float64 in [0, 1]."""
    from skimage.data import lfw_subset  # slow to import

    return torch.from_numpy(lfw_subset()[:100, None]).double()
