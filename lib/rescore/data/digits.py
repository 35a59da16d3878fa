"""The 8x8 handwritten digits that ship in scikit-learn."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


def load_digits() -> Tensor:
    """All 1,797 images, (1797, 1, 8, 8) float64 in [-1, 1]."""
    import torch

    return torch.from_numpy(digits_and_labels()[0] / 8 - 1)[:, None]


def digits_and_labels() -> tuple[np.ndarray, np.ndarray]:
    """Images (1797, 8, 8) float64, whole numbers 0 to 16, and labels (1797,), as `sklearn.datasets.load_digits` gives them.

    Read from its file, for importing scikit-learn takes as long as a short training; the caller's own, to write in.
    """
    images, labels = _read()
    return images.copy(), labels.copy()


@cache
def _read() -> tuple[np.ndarray, np.ndarray]:
    """As `digits_and_labels`; once a process, for the file is text."""
    import numpy as np

    installed = find_spec("sklearn")
    path = Path(installed.origin).parent / "datasets" / "data" / "digits.csv.gz" if installed and installed.origin else None
    if path is None or not path.is_file():
        from sklearn.datasets import load_digits as load

        return load().images, load().target
    rows = np.loadtxt(path, delimiter=",")
    return rows[:, :-1].reshape(-1, 8, 8), rows[:, -1].astype(int)
