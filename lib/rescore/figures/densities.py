"""A density of the plane as bands, and samples over it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from rescore.figures.style import GREY, SMALL

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class DensityMap:
    """log muhat on a square grid of the plane, relative to its highest value.

    Args:
        axis: (n,), of both coordinates.
        log_density: (n, n), rows are the second coordinate; its maximum is 0.
    """

    axis: np.ndarray
    log_density: np.ndarray

    @classmethod
    def of(cls, log_prob: Callable[["Tensor"], "Tensor"], half_width: float, n: int = 600) -> "DensityMap":
        import torch  # most figures have no density, and it takes longer to import than they to draw

        axis = torch.linspace(-half_width, half_width, n, dtype=torch.float64)
        x = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), -1)
        log_density = log_prob(x)
        return cls(axis.numpy(), (log_density - log_density.max()).numpy())

    def draw(self, ax: Axes) -> None:
        """Grey bands inside 1, 2 and 3 standard deviations of a Gaussian peak, on square axes."""
        levels, greys = [-4.5, -2.0, -0.5, 0.5], ["#EDEDED", "#DADADA", "#C4C4C4"]
        ax.contourf(self.axis, self.axis, self.log_density, levels, colors=greys)
        ax.set(xlim=self.axis[[0, -1]], ylim=self.axis[[0, -1]], aspect="equal")
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_locator(MaxNLocator(5, integer=True))


def draw_samples(ax: Axes, density: DensityMap, samples: np.ndarray, color: str) -> None:
    """Points (n, 2) over a density; their number and how many lie outside the axes stand in a corner."""
    density.draw(ax)
    size = 2.4 if len(samples) > 500 else 4.0  # a few points must be seen, many must not cover each other
    ax.plot(*samples.T, linestyle="none", marker=".", markersize=size, markeredgewidth=0, color=color, alpha=0.7)
    outside = float((np.abs(samples) > density.axis[-1]).any(1).mean())
    label = f"{len(samples)} points" + (f", {outside:.1%} outside" if outside else "")
    ax.text(0.02, 0.015, label, transform=ax.transAxes, fontsize=SMALL, color=GREY)
