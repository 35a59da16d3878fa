"""The figures of the matrix: each function draws one, named in paper.yaml, from results/<scale>."""

from collections.abc import Collection
from pathlib import Path

import numpy as np
from rescore import figures as draw
from rescore.ledger.protocol import parse_protocol

from reproductions.sampler_matrix.jobs import TABLE
from reproductions.sampler_matrix.methods import DETERMINISTIC, METHODS, PROCESSES

CELL = (0.37, 0.24)  # inches
TICKS = (0.001, 0.01, 0.1, 0.2, 0.3, 0.5, 1)
WORST = 1.0  # the end of the colour scale: about the spread of the data itself


def matrix(found: draw.PaperResults, out: Path) -> None:
    """sw2 of every cell; the colours begin at what exact draws give."""
    floors = {r.variant: r.value for r in found.select(method="exact draws")}
    draws = ", ".join(f"{name} {floors[name]:.2g}" for name in PROCESSES if name in floors)
    low, note = min(floors.values(), default=0.1), f"Exact draws: {draws or 'not measured'}."
    _cells(found, out, METHODS, "sw2", "sliced W2 to the data", (low, max(WORST, 2 * low)), note)


def solvers(found: draw.PaperResults, out: Path) -> None:
    """solver_rmse of the deterministic samplers."""
    _cells(found, out, DETERMINISTIC, "solver_rmse", "RMS distance to the exact solution", (1e-3, WORST))


def _cells(
    found: draw.PaperResults,
    out: Path,
    methods: Collection[str],
    metric: str,
    label: str,
    limits: tuple[float, float],
    note: str = "",
) -> None:
    """A panel a process: rows are samplers, columns budgets; numbers in every cell that has one."""
    budgets, rows = found.config.budgets, found.select(table=TABLE, metric=metric)
    cells = {(r.variant, r.method, int(parse_protocol(r.protocol)["budget"])): r.value for r in rows if r.nfe is not None}
    errors = [r.stderr / r.value for r in rows if r.value]
    about = f"The standard error over seeds is {np.median(errors):.0%} of the value in the median cell." if errors else ""
    size = (CELL[0] * len(budgets) + 0.15, CELL[1] * len(methods) + 0.9)
    note = f"Columns: at most this many score evaluations. {note} {about}"
    with found.sheet(out, len(PROCESSES), len(PROCESSES), size, note, sharey=True) as (figure, axes):
        for ax, process in zip(axes, PROCESSES, strict=True):
            values = np.array([[cells.get((process, method, budget), np.nan) for budget in budgets] for method in methods])
            image = draw.heat_map(ax, values, [str(budget) for budget in budgets], limits)
            ax.set_title(process, fontsize=8)
        axes[0].set_yticks(range(len(methods)), methods)
        draw.colour_bar(figure, image, axes, label, TICKS)
