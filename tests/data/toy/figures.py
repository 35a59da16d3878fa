"""One picture."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np


def histogram(results: Path, out: Path) -> None:
    figure, axes = plt.subplots()
    with np.load(results / "toy" / "normal" / "arrays.npz") as arrays:
        axes.hist(arrays["draws"])
    figure.savefig(out)
