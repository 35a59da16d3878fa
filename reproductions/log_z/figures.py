"""The figure of the benchmark, named in paper.yaml, from results/<scale>."""

from pathlib import Path

import numpy as np
from rescore import figures as draw

from reproductions.log_z.jobs import IDENTITY, OBJECTIVES, TABLE

ROWS = {
    ("importance", ""): "importance",
    ("SMC", ""): "SMC",
    ("AFT", ""): "AFT",
    ("VI-NF", ""): "VI-NF",
    ("SNF", ""): "SNF",
    ("SNF", IDENTITY): "SNF, identity",
} | {(method, loss): f"{method}, {loss}" for method in ("PIS", "DDS", "DIS") for loss in OBJECTIVES}
TICKS = (0.001, 0.01, 0.1, 1, 10, 100)


def log_z(found: draw.PaperResults, out: Path) -> None:
    """A of log Z, a row a sampler, a column a target, and the ESS of the weights."""
    targets = list(found.config.datasets)
    panels = {"logz_rmse": ("A of log Z (nats)", (0.01, 10.0)), "ess": ("ESS of the weights", (0.002, 1.0))}
    errors = [row.stderr / row.value for row in found.select(table=TABLE, metric="logz_rmse") if row.value and row.stderr]
    about = f"The standard error of A is {np.median(errors):.0%} of it in the median cell." if errors else ""
    note = f"Weighted estimates, unit N(0, I) starts. Particles of SMC and AFT are resampled: no ESS. {about}"
    with found.sheet(out, len(panels), 2, (4.6, 2.9), note, sharey=True) as (figure, axes):
        for ax, (metric, (label, limits)) in zip(axes, panels.items(), strict=True):
            cells = {(r.method, r.variant, r.dataset): r.value for r in found.select(table=TABLE, metric=metric)}
            values = np.array([[cells.get((*row, target), np.nan) for target in targets] for row in ROWS])
            image = draw.heat_map(ax, values, targets, limits)
            ax.tick_params(axis="x", rotation=35)
            ax.set_title(label, fontsize=9)
            draw.colour_bar(figure, image, [ax], "", TICKS)
        axes[0].set_yticks(range(len(ROWS)), ROWS.values())
