"""A table of numbers as colours on a log scale, with the numbers in it."""

from collections.abc import Iterable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage


def heat_map(ax: Axes, values: np.ndarray, columns: Sequence[str], limits: tuple[float, float]) -> AxesImage:
    """Values (rows, columns), NaN where there is none, with two digits in every cell; colours end at `limits`."""
    norm = LogNorm(*limits, clip=True)
    image = ax.imshow(np.ma.masked_invalid(values), cmap="cividis", norm=norm, aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        dark = np.isfinite(value) and norm(value) < 0.5
        text = short_number(value) if np.isfinite(value) else "·"
        ax.text(column, row, text, ha="center", va="center", fontsize=6, color="white" if dark else "black")
    ax.set_xticks(range(len(columns)), columns, fontsize=6.5)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    return image


def colour_bar(figure: Figure, image: AxesImage, axes: Sequence[Axes], label: str, ticks: Iterable[float]) -> None:
    """One bar for the panels of a heat map, with those of the ticks that its colours reach, as plain numbers."""
    bar = figure.colorbar(image, ax=axes, label=label, extend="both", fraction=0.02, pad=0.005)
    low, high = image.get_clim()
    shown = [tick for tick in ticks if low is not None and high is not None and low <= tick <= high]
    bar.set_ticks(shown, labels=[f"{tick:g}" for tick in shown])
    bar.minorticks_off()


def short_number(value: float) -> str:
    """Two digits in at most five characters."""
    return f"{value:.2g}" if 1e-3 <= value < 100 else f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e").replace("e+", "e")
