"""Numbers as curves with their errors, and as lines across a panel: what a perfect method reaches, the floors."""

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from rescore.errors import RescoreError
from rescore.figures.results import Row, select
from rescore.figures.style import BLACK
from rescore.ledger.published import Published
from rescore.ledger.records import Record, describe
from rescore.ledger.statistics import half_width

INTERVALS = "Bars: 95 % intervals, by Student's t."


def interval(record: Record) -> float:
    """Half the width of a record's 95 % interval (`rescore.ledger.statistics.half_width`); 0 without an error."""
    if not record.stderr:
        return 0.0
    return half_width(record.stderr, record.df or math.inf)


def with_interval(record: Record, digits: int) -> str:
    """A record's value and its 95 % interval, with so many decimals."""
    return f"{record.value:.{digits}f} ± {interval(record):.{digits}f}"


def curve(
    ax: Axes,
    rows: Iterable[Record] | Iterable[Published],
    label: str | None = None,
    color: str = BLACK,
    marker: str = "o",
    line: str = "-",
    *,
    x: Callable[[Any], float] | Mapping[str, float] | None = None,
    ceiling: float = np.inf,
    **style: Any,
) -> None:
    """Measured numbers with their intervals, or printed ones with their uncertainty, against `x`.

    Args:
        x: of a row, or by its variant (`Axes.by`; other variants are left out); its evaluations if None.
        ceiling: what exceeds it, having diverged, is drawn on it.
        style: of `Axes.errorbar`, in place of the common one.

    Raises:
        RescoreError: a line would join two rows of one x, which are of two curves; the message names them.
    """
    of_variant = x if isinstance(x, Mapping) else None

    def place(row: Record | Published) -> Any:
        return of_variant[row.variant] if of_variant is not None else x(row) if callable(x) else row.nfe

    chosen: Iterable[Record | Published] = (row for row in rows if of_variant is None or row.variant in of_variant)
    shown = sorted(chosen, key=place)
    if not shown:
        return
    twice = next((pair for pair in itertools.pairwise(shown) if place(pair[0]) == place(pair[1])), None)
    if twice and line not in ("", "none"):
        names = " and ".join(describe(row.key) for row in twice)
        raise RescoreError(f"a curve has two numbers at x = {place(twice[0]):g}, {names}; allowed: one")
    measured = [
        (row.value, interval(row)) if isinstance(row, Record) else (row.number, float(row.uncertainty or 0)) for row in shown
    ]
    values, errors = np.array(measured, dtype=float).T
    errors = np.where(values > ceiling, 0, errors)
    low = np.minimum(errors, 0.99 * np.abs(values))  # a bar that reaches zero has no place on a log axis
    ax.errorbar(
        [place(row) for row in shown],
        np.minimum(values, ceiling),
        (low, errors),
        label=label,
        color=color,
        marker=marker,
        linestyle=line,
        **{"markersize": 3.5, "linewidth": 1.2, "elinewidth": 0.8} | style,
    )


def curves(ax: Axes, rows: Iterable[Row], by: Sequence[str], styles: Mapping[Any, tuple[str, ...]], **options: Any) -> None:
    """A `curve` for each key of `styles`, of the rows whose columns `by` have it. A style is (label, colour, marker, line)."""
    rows = list(rows)
    for key, style in styles.items():
        values = key if isinstance(key, tuple) else (key,)
        curve(ax, select(rows, **dict(zip(by, values, strict=True))), *style, **options)


def block_means(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The last step, from 1, and the mean of each block of consecutive values; about 150 equal blocks and a rest."""
    size = max(1, len(values) // 150)
    starts = np.arange(0, len(values), size)
    lengths = np.diff([*starts, len(values)])
    return starts + lengths, np.add.reduceat(values, starts) / lengths


def reference_line(ax: Axes, rows: Iterable[Record], label: str | None = None, line: str = ":", color: str = BLACK) -> None:
    """A horizontal line at each of these records: what a perfect method reaches."""
    for row in rows:
        ax.axhline(row.value, color=color, linewidth=0.8, linestyle=line, label=label, zorder=1)
        label = None


FLOORS = {"held out": "--", "training images": ":"}  # how a variant of `real images` ends, and its line
FLOOR_NOTE = "Dashed: real images that the reference does not hold; dotted: as many training images, a part of it."


def real_images(ax: Axes, records: Iterable[Record], across: bool = False) -> None:
    """A line for each floor among the records of one metric: horizontal, or vertical if `across`."""
    for record in records:
        for variant, line in FLOORS.items():
            if record.method == "real images" and record.variant.endswith(variant):
                draw = ax.axvline if across else ax.axhline
                draw(record.value, color=BLACK, linewidth=0.8, linestyle=line)
