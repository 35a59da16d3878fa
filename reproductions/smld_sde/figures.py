"""The figures of smld_sde: each function draws one, named in paper.yaml."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from rescore import figures as draw
from rescore.experiments.axes import samples_name
from rescore.ledger.published import Published
from rescore.ledger.records import Record
from scipy.stats import norm

from reproductions.smld_sde.chains import CELL, CORRECTOR, KINDS, PREDICTORS, budgets
from reproductions.smld_sde.langevin import EXAMPLE, TOY

STYLES = {
    "ancestral": (draw.BLUE, "o"),
    "reverse diffusion": (draw.RED, "s"),
    "probability flow": (draw.GREEN, "^"),
    CORRECTOR: (draw.BLACK, "D"),
}
SHIFTS = (-0.15, 0.0, 0.15, 0.0)  # of the methods, side by side
LEGEND = "P: predictor steps, PC: with a corrector step each, C: corrector steps alone. Lines join the cells of a predictor."
RUNS = {  # of the example: (method, variant) and the panel's title
    ("uniform start", ""): "Uniform start",
    ("Langevin", ""): "Langevin, {nfe} steps",
    ("Langevin", "long"): "Langevin, {nfe} steps",
    ("annealed Langevin", ""): "Annealed Langevin, {nfe} steps",
    ("Langevin", "no noise"): "No noise, {nfe} steps",
    ("Langevin", "eq. 14"): "Noise as printed (eq. 14), {nfe} steps",
}


def langevin(found: draw.PaperResults, out: Path) -> None:
    """Histograms of the example's particles over p(x)."""
    x = np.linspace(-EXAMPLE["reach"] - 0.5, EXAMPLE["reach"] + 1, 800)
    modes = zip(EXAMPLE["weights"], EXAMPLE["means"], EXAMPLE["stds"], strict=True)
    density = sum(weight * norm.pdf(x, mean, std) for weight, mean, std in modes)
    note = f"""Grey: p(x), whose right mode has weight {EXAMPLE["weights"][0]}. Numbers: the particles' share right of the
        score's unstable zero, with 95 % intervals. Taller bars are cut off."""
    with found.sheet(out, len(RUNS), 3, (3.2, 2.4), note, sharex=True) as (_, axes):
        for ax, ((method, variant), title) in zip(axes, RUNS.items(), strict=True):
            ax.set(xlim=x[[0, -1]], ylim=(0, 1.0))
            record = found.one(table="fig7", method=method, variant=variant, metric="weight_right")
            if record is None:
                continue
            ax.fill_between(x, density, color="#C4C4C4", linewidth=0)
            particles = found.arrays["/".join(filter(None, ("mixture1d", method, variant)))]
            ax.hist(particles[:, 0], np.arange(x[0], x[-1], 0.1), density=True, histtype="step", color=draw.BLUE, linewidth=1.2)
            ax.set_title(title.format(nfe=record.nfe and f"{record.nfe:,}"))
            draw.write_in_corner(ax, f"right mode: {draw.with_interval(record, 3)}")
        for ax in axes[::3]:
            ax.set_ylabel("density")
        for ax in axes[-3:]:
            ax.set_xlabel("x")


def toy(found: draw.PaperResults, out: Path) -> None:
    """Particles of NCSN's mixture, and the weight of its heavier mode."""
    methods = ("uniform start", "Langevin", "annealed Langevin", "exact draws")
    note = f"""The upper mode has weight {TOY["weights"][0]}; numbers with 95 % intervals. Langevin and annealed Langevin take
        as many steps. At most 1,000 particles are shown."""
    with found.sheet(out, len(methods), 4, (2.5, 2.7), note, sharex=True, sharey=True) as (_, axes):
        for ax, method in zip(axes, methods, strict=True):
            ax.set(xlim=(-9, 9), ylim=(-9, 9), aspect="equal", title=method[0].upper() + method[1:], xlabel="$x_1$")
            if record := found.one(table="ncsn-toy", method=method, metric="weight_right"):
                particles = found.arrays[f"mixture2d/{method}"][:1000]
                ax.plot(*particles.T, ".", color=draw.BLUE, markersize=2.5, markeredgewidth=0, alpha=0.7)
                draw.write_in_corner(ax, f"upper mode:\n{draw.with_interval(record, 3)}")
        axes[0].set_ylabel("$x_2$")


def grid(found: draw.PaperResults, out: Path) -> None:
    """Fig. 17: printed FIDs above, distances with the exact score below, VE left and VP right."""
    note = f"""Above: bars of the printed uncertainty. Below: data are the Gaussian with the mean and covariance of the 8x8
        digits in [-1, 1]; the law of the result is exact, so there is no sampling error. {LEGEND} The rows have different
        units."""
    with found.sheet(out, 4, 2, (3.6, 2.6), note, sharex=True, sharey="row") as (figure, axes):
        for above, below, (kind, chain) in zip(axes[:2], axes[2:], KINDS.items(), strict=True):
            above.set_title(f"{kind} ({chain}), printed")
            below.set_title(f"{kind}, exact score")
            _cells(above, draw.select(found.published, table="fig17"), kind, found.config.grid.levels)
            _cells(below, found.select(table="fig17", dataset="digits_gaussian"), kind, found.config.grid.levels)
        axes[0].set_ylabel("FID on CIFAR-10")
        axes[2].set_ylabel("sw2 to the data")
        draw.shared_legend(figure, axes)


def trained(found: draw.PaperResults, out: Path) -> None:
    """Fig. 17 on trained networks, and samples of Tables 2 and 3."""
    data, settings = found.trained_data, found.config.trained
    rows = found.select(table="fig17", dataset=data, metric="fid") if data else []
    with found.sheet(out, 3, 3, (3.6, 3.0), f"{draw.INTERVALS} {draw.FLOOR_NOTE} {LEGEND}") as (figure, (*panels, pictures)):
        for ax, kind in zip(panels, KINDS, strict=True):
            ax.set_title(f"{kind}, {data}" if data else kind)
            if rows:
                _cells(ax, rows, kind, settings.levels)
                draw.real_images(ax, rows)
        panels[0].set_ylabel("FID")
        draw.shared_legend(figure, panels)
        pictures.set_title("Tables 2 and 3, and real images")
        if rows:
            shown = {f"{r.variant}, {solver}": samples_name(data, r.table, r.method, r.variant, r.nfe)
                     for table, solver in {"score-sde-2": "ODE", "score-sde-3": "SDE"}.items()
                     for r in found.select(table=table, dataset=data, metric="fid")}  # fmt: skip
            draw.image_rows(pictures, found.named_arrays(shown | {"real": f"{data}/real"}))


def steps(found: draw.PaperResults, out: Path) -> None:
    """Error against predictor steps, VE and VP."""
    n = np.array(found.config.steps.steps)
    note = "Gaussian with the digits' mean and covariance; no sampling error."
    with found.sheet(out, 2, 2, (3.6, 3.0), note, sharey=True, grid="both") as (figure, axes):
        for ax, kind in zip(axes, KINDS, strict=True):
            ax.set(title=kind, xlabel="predictor steps", xscale="log", yscale="log")
            rows = found.select(table="steps", variant=kind)
            for name in PREDICTORS:
                draw.curve(ax, draw.select(rows, method=name), name, *STYLES[name])
            if rows:
                top = max(row.value for row in rows)
                ax.plot(n, top * n[0] / n, linestyle="--", color=draw.GREY, linewidth=0.8, label="slope $-1$")
        axes[0].set_ylabel("sw2 to the data")
        draw.shared_legend(figure, axes)


def _cells(ax: Axes, rows: Iterable[Record] | Iterable[Published], kind: str, levels: int) -> None:
    """The cells of one half of fig. 17, methods side by side."""
    names = budgets(levels)
    for shift, (method, style) in zip(SHIFTS, STYLES.items(), strict=True):
        places = {CELL(kind=kind, budget=name): i + shift for i, name in enumerate(names)}
        draw.curve(ax, draw.select(rows, method=method), method, *style, x=places)
    if ax.lines:
        ax.set(xlim=(-0.5, len(names) - 0.5), yscale="log")
        ax.set_xticks(range(len(names)), names)
        draw.plain_log_axis(ax.yaxis)
        ax.grid(axis="y", which="both")
