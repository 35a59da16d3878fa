"""Axes of a panel, their scales and ticks, legends, words in a corner."""

from collections.abc import Iterable, Sequence
from typing import Any, Literal, cast

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, NullLocator

from rescore.figures.style import SMALL


def log_values(ax: Axes, title: str = "", label: str = "", grid: Literal["both", "x", "y"] = "both") -> None:
    """The values of a panel on a log scale, with a grid and its names."""
    ax.set(title=title, ylabel=label, yscale="log")
    ax.yaxis.set_major_formatter("{x:g}")
    ax.grid(axis=grid)


def against_evaluations(ax: Axes, ticks: Iterable[int] = (), label: str = "score evaluations", log: bool = True) -> None:
    """The axis of evaluations that the figures share: logarithmic, numbers at `ticks`, else where the lines have points."""
    ax.set(xlabel=label, xscale="log" if log else "linear")
    curves = [line for line in ax.lines if line.get_transform() == ax.transData]  # lines across the panel are none
    places: Sequence[float] = sorted(ticks) or sorted({float(at) for line in curves for at in np.asarray(line.get_xdata())})
    if places:
        ax.set_xticks(places)
        ax.xaxis.set_major_formatter("{x:g}")
        ax.xaxis.set_minor_locator(NullLocator())


def log_axis_if_wide(ax: Axes) -> None:
    """A log scale for y, with plain numbers on it, if the positive values of the lines span a decade or more.

    The lowest hundredth of them does not count and may be cut off: noise about a small mean comes near to zero.
    """
    values = np.concatenate([np.ravel(line.get_ydata()) for line in ax.lines])
    values = values[values > 0]
    if not len(values) or values.max() < 10 * (low := np.quantile(values, 0.01)):
        return
    ax.set_yscale("log", nonpositive="mask")
    ax.set_ylim(low / 1.5, values.max() * 1.3)
    plain_log_axis(ax.yaxis, (1, 2, 5) if np.log10(values.max() / low) < 2 else (1,))


def plain_log_axis(axis: Axis, digits: Sequence[int] = (1, 2, 5)) -> None:
    """Plain numbers on a log axis, those that begin with one of the digits."""
    axis.set_major_locator(LogLocator(subs=digits))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())


def only_ticks(axis: Axis, at: Iterable[float], labels: Sequence[str] | None = None) -> None:
    """These ticks, as plain numbers if there are no labels, and none between them."""
    at = list(at)
    axis.set_ticks(at, labels or [f"{value:g}" for value in at])
    axis.set_minor_locator(NullLocator())


def legend(ax: Axes, **options: Any) -> None:
    """The panel's own legend, if it shows anything."""
    if ax.get_legend_handles_labels()[0]:
        ax.legend(**options)


def shared_legend(
    figure: Figure, axes: Iterable[Axes], place: str = "outside upper left", columns: int | None = None, **options: Any
) -> None:
    """One legend of the figure for what several panels show, each label once."""
    handles = {label: handle for ax in axes for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    if handles:
        figure.legend([*handles.values()], [*handles], loc=cast(Any, place), ncols=columns or len(handles), **options)


def write_in_corner(ax: Axes, text: str, right: bool = False) -> None:
    """Small words in an upper corner of a panel, the left one or the right one."""
    box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1}
    side: dict[str, Any] = {"x": 0.97, "ha": "right"} if right else {"x": 0.03, "ha": "left"}
    ax.text(y=0.97, s=text, va="top", transform=ax.transAxes, fontsize=SMALL, bbox=box, **side)
