"""The figures of the matrix: each function draws one, named in paper.yaml, from results/<scale>."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from reproductions.sampler_matrix.jobs import TABLE
from reproductions.sampler_matrix.methods import DETERMINISTIC, METHODS, PROCESSES
from rescore import figures as draw
from rescore.ledger.protocol import parse_protocol
from rescore.ledger.records import Record

CELL = (0.37, 0.24)  # inches
TICKS = (0.001, 0.01, 0.1, 0.2, 0.3, 0.5, 1)
WORST = 1.0  # the end of the colour scale: about the spread of the data itself


def matrix(found: draw.PaperResults, out: Path) -> None:
    """sw2 of every cell; the colours begin at what exact draws give."""
    floors = {r.variant: r for r in found.records if r.method == "exact draws"}
    draws = ", ".join(f"{name} {floors[name].value:.2g}" for name in PROCESSES if name in floors)
    note = f"Exact draws: {draws or 'not measured'}."
    low = min((r.value for r in floors.values()), default=0.1)
    _heat_map(found, out, list(METHODS), "sw2", (low, max(WORST, 2 * low)), f"{note} {_errors(found.records, 'sw2')}")


def solvers(found: draw.PaperResults, out: Path) -> None:
    """solver_rmse of the deterministic samplers."""
    note = _errors(found.records, "solver_rmse")
    _heat_map(found, out, list(DETERMINISTIC), "solver_rmse", (1e-3, WORST), note)


def _heat_map(
    found: draw.PaperResults, out: Path, methods: list[str], metric: str, limits: tuple[float, float], note: str
) -> None:
    """A panel a process: rows are samplers, columns budgets; numbers in every cell that has one."""
    budgets = found.config.budgets
    norm = LogNorm(*limits, clip=True)
    size = (CELL[0] * len(budgets) + 0.15, CELL[1] * len(methods) + 0.9)
    note = f"Columns: at most this many score evaluations. {note}"
    with found.sheet(out, len(PROCESSES), len(PROCESSES), size, note, sharey=True) as (figure, axes):
        for ax, process in zip(axes, PROCESSES, strict=True):
            cells = _cells(found.records, process, metric)
            values = np.array([[cells.get((m, b), np.nan) for b in budgets] for m in methods])
            image = ax.imshow(np.ma.masked_invalid(values), cmap="cividis", norm=norm, aspect="auto")
            for (row, column), value in np.ndenumerate(values):
                dark = np.isfinite(value) and norm(value) < 0.5
                text = _short(value) if np.isfinite(value) else "·"
                ax.text(column, row, text, ha="center", va="center", fontsize=6, color="white" if dark else "black")
            ax.set_title(process, fontsize=8)
            ax.set_xticks(range(len(budgets)), [str(b) for b in budgets], fontsize=6.5)
            ax.tick_params(length=0)
            ax.spines[:].set_visible(False)
        axes[0].set_yticks(range(len(methods)), methods)
        _colour_bar(figure, image, axes, metric, limits)


def _colour_bar(figure: Figure, image: AxesImage, axes: list[Axes], metric: str, limits: tuple[float, float]) -> None:
    label = {"sw2": "sliced W2 to the data", "solver_rmse": "RMS distance to the exact solution"}[metric]
    bar = figure.colorbar(image, ax=axes, label=label, extend="both", fraction=0.02, pad=0.005)
    ticks = [t for t in TICKS if limits[0] <= t <= limits[1]]
    bar.set_ticks(ticks, labels=[f"{t:g}" for t in ticks])
    bar.minorticks_off()


def _cells(records: Iterable[Record], process: str, metric: str) -> dict[tuple[str, int], float]:
    """(sampler, budget) -> value."""
    rows = [r for r in records if (r.table, r.variant, r.metric) == (TABLE, process, metric) and r.nfe is not None]
    return {(r.method, int(parse_protocol(r.protocol)["budget"])): r.value for r in rows}


def _short(value: float) -> str:
    """Two digits in at most five characters."""
    return f"{value:.2g}" if 1e-3 <= value < 100 else f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e").replace("e+", "e")


def _errors(records: Iterable[Record], metric: str) -> str:
    errors = [r.stderr / r.value for r in records if r.metric == metric and r.value]
    return f"The standard error over seeds is {np.median(errors):.0%} of the value in the median cell." if errors else ""
