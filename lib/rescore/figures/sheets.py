"""A figure of panels: filled row by row, notes below it, and in a panel without data why it is empty."""

import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from rescore.figures.style import DPI, FONT_WIDTH, GREY, SMALL, STYLE

NOT_MEASURED = "not measured at this scale"


@contextmanager
def sheet(
    out: Path, n: int, columns: int, size: tuple[float, float], grid: Literal["both", "x", "y"] | None = None, **subplots: Any
) -> Iterator[tuple[Figure, list[Axes]]]:
    """A figure of n panels, `size` inches each, filled row by row; it is written to `out` at the end of the block.

    A panel that is still empty then says so; of none at all, a figure without axes does.

    Args:
        grid: lines of all panels.
        subplots: of `Figure.subplots`.
    """
    if not n:
        not_measured(out)
        yield Figure(), []
        return
    columns = min(columns, n)
    rows = -(-n // columns)
    with matplotlib.rc_context(STYLE):
        figure = Figure((columns * size[0], rows * size[1]), layout="constrained")
        axes = list(figure.subplots(rows, columns, squeeze=False, **subplots).flat)
        for spare in axes[n:]:
            spare.remove()
        for above in axes[max(0, n - columns) : n]:  # the lowest panel of a column keeps its labels
            above.tick_params(labelbottom=True)
        for ax in axes[:n] if grid else ():
            ax.grid(axis=grid)
        yield figure, axes[:n]
        for ax in axes[:n]:
            if not ax.has_data() and not ax.texts and not ax.tables:
                placeholder(ax, NOT_MEASURED)
        write(figure, out)


def write(figure: Figure, out: Path) -> None:
    """The picture that `figure.savefig` writes, in fewer passes: it draws everything once more before it draws."""
    figure.set_dpi(DPI)
    canvas = FigureCanvasAgg(figure)
    if engine := figure.get_layout_engine():
        engine.execute(figure)
    figure.set_layout_engine("none")
    canvas.print_png(out, metadata={"Software": None})


def not_measured(out: Path) -> None:
    """In the place of a figure whose numbers a scale does not measure, or could not for lack of data."""
    with sheet(out, 1, 1, (6.0, 1.5)):
        pass


def add_notes(figure: Figure, *notes: str) -> None:
    """Small lines below all panels, whatever space there is between words; empty ones are left out."""
    width = int(figure.get_figwidth() / FONT_WIDTH)
    lines = [line for note in notes for line in textwrap.wrap(" ".join(note.split()), width, break_on_hyphens=False)]
    figure.supxlabel("\n".join(lines), x=0.01, ha="left", fontsize=SMALL, color=GREY)


def placeholder(ax: Axes, text: str) -> None:
    """Say in a panel without data why it is empty; one that shows nothing else loses its ticks."""
    figure, places = ax.get_figure(root=True), ax.get_gridspec()
    assert figure is not None and places is not None, "a panel of a sheet"
    width = figure.get_figwidth() / places.ncols
    wrapped = "\n".join(textwrap.wrap(text, int(0.7 * width / FONT_WIDTH), break_on_hyphens=False))
    box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85}
    ax.text(0.5, 0.5, wrapped, transform=ax.transAxes, ha="center", va="center", color=GREY, fontsize=8, bbox=box)
    if not ax.has_data():
        ax.set(xticks=[], yticks=[])
        ax.minorticks_off()  # of a logarithmic axis too
