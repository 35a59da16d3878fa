"""What the papers' figures.py share: a paper's results at one scale, panels, notes below them.

Style, pictures and heat maps have modules of their own.
"""

import math
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, NullLocator

from rescore.config import PaperConfig
from rescore.errors import RescoreError
from rescore.figures.heat_map import colour_bar as colour_bar
from rescore.figures.heat_map import heat_map as heat_map
from rescore.figures.pictures import image_row as image_row
from rescore.figures.pictures import image_rows as image_rows
from rescore.figures.pictures import image_stack as image_stack
from rescore.figures.pictures import ring_picture as ring_picture
from rescore.figures.style import BLACK, DPI, FONT_WIDTH, GREY, SMALL, STYLE
from rescore.figures.style import BLUE as BLUE
from rescore.figures.style import GREEN as GREEN
from rescore.figures.style import ORANGE as ORANGE
from rescore.figures.style import PINK as PINK
from rescore.figures.style import PURPLE as PURPLE
from rescore.figures.style import RED as RED
from rescore.figures.style import SKY as SKY
from rescore.figures.style import YELLOW as YELLOW
from rescore.ledger.published import Published, read_published
from rescore.ledger.records import Record, collect_records, matches, read_skipped
from rescore.ledger.statistics import half_width
from rescore.papers import Paper, load_config
from rescore.workflow.paths import JOB_FILES, job_folder

NOT_MEASURED = "not measured at this scale"


@dataclass(frozen=True)
class PaperResults:
    """What a paper's finished jobs left at one scale: what a figure is drawn from.

    Args:
        folder: results/<scale>.
    """

    folder: Path
    paper: Paper
    config: PaperConfig

    @classmethod
    def open(cls, folder: Path | str, paper: Paper) -> "PaperResults":
        """Of results/<scale>; raises RescoreError if the paper has no config for that scale."""
        return cls(Path(folder), paper, load_config(paper, Path(folder).name))

    @property
    def scale(self) -> str:
        return self.folder.name

    def file(self, job: str, kind: str) -> Path:
        """One of `rescore.workflow.paths.JOB_FILES` of a job."""
        return job_folder(self.folder.parent, self.scale, self.paper.name, job) / JOB_FILES[kind]

    def _files(self, kind: str) -> list[Path]:
        return [path for job in self.config.jobs if (path := self.file(job, kind)).is_file()]

    @cached_property
    def records(self) -> list[Record]:
        return collect_records(self._files("records"), self.scale)

    @cached_property
    def published(self) -> list[Published]:
        """The paper's printed numbers."""
        return read_published(self.paper.folder / "published.csv", self.paper.name)

    def select(self, **columns: object) -> list[Record]:
        """The records whose key columns have these values, or one of these if a list is given, in the order of their nfe."""
        return select(self.records, **columns)

    def one(self, **columns: object) -> Record | None:
        """The only such record, or None. Raises RescoreError if there are several."""
        found = self.select(**columns)
        if len(found) > 1:
            raise RescoreError(f"figure of {self.paper.name}: {len(found)} records have {columns}; allowed: one")
        return found[0] if found else None

    @property
    def trained_data(self) -> str | None:
        """The data set of the trained networks, None where there are none: it has the floors `real images`.

        Of several that of the config's first model: `<name>@<data set>` have figures of their own.
        """
        measured = {record.dataset: None for record in self.records if record.method == "real images"}
        models = getattr(self.config, "models", {}).values()
        return next((spec.data for spec in models if spec.data in measured), next(iter(measured), None))

    @cached_property
    def skipped(self) -> list[dict[str, str]]:
        return [row for path in self._files("skipped") for row in read_skipped(path)]

    @cached_property
    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays of all jobs by name."""
        arrays: dict[str, np.ndarray] = {}
        for path in self._files("arrays"):
            with np.load(path) as stored:
                arrays |= stored
        return arrays

    def jobs_of(self, subject: str, sections: Iterable[str] | None = None) -> list[str]:
        """The jobs that run one of these sections, or any, for a subject."""
        wanted = None if sections is None else set(sections)
        run = {name: {step.section for step in job.steps if step.subject == subject} for name, job in self.config.jobs.items()}
        return [name for name, of in run.items() if (of if wanted is None else of & wanted)]

    def why_missing(self, subject: str, sections: Iterable[str] | None = None) -> str:
        """Why these sections left nothing for a subject: the reason that a job gave, else the jobs that would fill the gap."""
        for row in self.skipped:
            if row.get("dataset", subject) == subject:
                return f"skipped: {row['reason']}"
        jobs = self.jobs_of(subject, sections)
        return f"not run: {'jobs' if len(jobs) > 1 else 'job'} {join_names(jobs)}" if jobs else NOT_MEASURED

    def named_arrays(self, names: Mapping[str, str]) -> dict[str, np.ndarray]:
        """Those arrays of these names that there are, by their labels: what `image_rows` draws."""
        return {label: self.arrays[name] for label, name in names.items() if name in self.arrays}

    @contextmanager
    def sheet(
        self, out: Path, n: int, columns: int, size: tuple[float, float], *notes: str, **subplots: Any
    ) -> Iterator[tuple[Figure, list[Axes]]]:
        """`rescore.figures.sheet` with the scale and these notes below it."""
        with sheet(out, n, columns, size, **subplots) as (figure, axes):
            yield figure, axes
            if n:
                add_notes(figure, f"Scale {self.scale}. {notes[0] if notes else ''}".rstrip(), *notes[1:])


Row = TypeVar("Row", Record, Published)


def select(rows: Iterable[Row], **columns: object) -> list[Row]:
    """The rows, measured or printed, whose key columns have these values, or one of these if a list is given, by their nfe."""
    return sorted((row for row in rows if matches(columns, row)), key=lambda row: row.nfe or 0)


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
    """
    of_variant = x if isinstance(x, Mapping) else None

    def place(row: Record | Published) -> Any:
        return of_variant[row.variant] if of_variant is not None else x(row) if callable(x) else row.nfe

    chosen: Iterable[Record | Published] = (row for row in rows if of_variant is None or row.variant in of_variant)
    shown = sorted(chosen, key=place)
    if not shown:
        return
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


def reference_line(ax: Axes, rows: Iterable[Record], label: str | None = None, line: str = ":", color: str = BLACK) -> None:
    """A horizontal line at each of these records: what a perfect method reaches."""
    for row in rows:
        ax.axhline(row.value, color=color, linewidth=0.8, linestyle=line, label=label, zorder=1)
        label = None


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


FLOORS = {"held out": "--", "training images": ":"}  # how a variant of `real images` ends, and its line
FLOOR_NOTE = "Dashed: real images that the reference does not hold; dotted: as many training images, a part of it."


def real_images(ax: Axes, records: Iterable[Record], across: bool = False) -> None:
    """A line for each floor among the records of one metric: horizontal, or vertical if `across`."""
    for record in records:
        for variant, line in FLOORS.items():
            if record.method == "real images" and record.variant.endswith(variant):
                draw = ax.axvline if across else ax.axhline
                draw(record.value, color=BLACK, linewidth=0.8, linestyle=line)


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
        figure.savefig(out, dpi=DPI, metadata={"Software": None})


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


def write_in_corner(ax: Axes, text: str, right: bool = False) -> None:
    """Small words in an upper corner of a panel, the left one or the right one."""
    box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1}
    side: dict[str, Any] = {"x": 0.97, "ha": "right"} if right else {"x": 0.03, "ha": "left"}
    ax.text(y=0.97, s=text, va="top", transform=ax.transAxes, fontsize=SMALL, bbox=box, **side)


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
    def of(cls, log_prob: Callable[[torch.Tensor], torch.Tensor], half_width: float, n: int = 600) -> "DensityMap":
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


def errorbar(
    ax: Axes, cells: Sequence[tuple[float, float, float | None]], color: str, marker: str, label: str, line: str = "-"
) -> None:
    """(x, value, standard error) with bars of two errors; a bar that reaches zero ends outside a log axis."""
    if not cells:
        return
    x, y, errors = (np.array([np.nan if v is None else v for v in column], dtype=float) for column in zip(*cells, strict=True))
    errors = 2 * np.nan_to_num(errors)
    ax.errorbar(
        x,
        y,
        [np.minimum(errors, 0.99 * y), errors],
        color=color,
        marker=marker,
        linestyle=line,
        label=label,
        markersize=3.5,
        linewidth=1.2,
        elinewidth=0.8,
    )


def only_ticks(axis: Axis, at: Iterable[float], labels: Sequence[str] | None = None) -> None:
    """These ticks, as plain numbers if there are no labels, and none between them."""
    at = list(at)
    axis.set_ticks(at, labels or [f"{value:g}" for value in at])
    axis.set_minor_locator(NullLocator())


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


def block_means(values: np.ndarray, n_points: int = 150) -> tuple[np.ndarray, np.ndarray]:
    """The last step, from 1, and the mean of each block of consecutive values; about `n_points` equal blocks and a rest."""
    size = max(1, len(values) // n_points)
    starts = np.arange(0, len(values), size)
    lengths = np.diff([*starts, len(values)])
    return starts + lengths, np.add.reduceat(values, starts) / lengths


def join_names(names: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))
