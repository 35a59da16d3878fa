"""The figures of smld_sde: each function draws one, named in paper.yaml, from results/<scale>."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter
from scipy.stats import norm

from reproductions.smld_sde.chains import CORRECTOR, PREDICTORS
from reproductions.smld_sde.toys import EXAMPLE, TOY
from rescore import figures as draw
from rescore.ledger.published import read_published
from rescore.ledger.records import Record

ROOT = Path(__file__).parents[2]
STYLES = {
    "ancestral": {"color": draw.BLUE, "marker": "o"},
    "reverse diffusion": {"color": draw.RED, "marker": "s"},
    "probability flow": {"color": draw.GREEN, "marker": "^"},
    CORRECTOR: {"color": draw.BLACK, "marker": "D"},
}
BOX = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1}
RUNS = {  # of the example: (method, variant) and the panel's title
    ("uniform start", ""): "Uniform start",
    ("Langevin", ""): "Langevin, {nfe} steps",
    ("Langevin", "long"): "Langevin, {nfe} steps",
    ("annealed Langevin", ""): "Annealed Langevin, {nfe} steps",
    ("Langevin", "no noise"): "No noise, {nfe} steps",
    ("Langevin", "eq. 14"): "Noise as printed (eq. 14), {nfe} steps",
}


def langevin(results: Path, out: Path) -> None:
    """Histograms of the example's particles over p(x)."""
    found = _open(results)
    x = np.linspace(-EXAMPLE["reach"] - 0.5, EXAMPLE["reach"] + 1, 800)
    modes = zip(EXAMPLE["weights"], EXAMPLE["means"], EXAMPLE["stds"], strict=True)
    density = sum(weight * norm.pdf(x, mean, std) for weight, mean, std in modes)
    with draw.sheet(out, len(RUNS), 3, (3.2, 2.4), sharex=True) as (figure, axes):
        for ax, ((method, variant), title) in zip(axes, RUNS.items(), strict=True):
            ax.fill_between(x, density, color="#C4C4C4", linewidth=0)
            record = _find(found.records, table="fig7", method=method, variant=variant, metric="weight_right")
            particles = found.arrays.get("/".join(filter(None, ("mixture1d", method, variant))))
            ax.set(xlim=x[[0, -1]], ylim=(0, 1.0))
            if record is None or particles is None:
                draw.placeholder(ax, "not run")
                continue
            bins = np.arange(x[0], x[-1], 0.1)
            ax.hist(particles[:, 0], bins, density=True, histtype="step", color=draw.BLUE, linewidth=1.2)
            ax.set_title(title.format(nfe=record.nfe and f"{record.nfe:,}"))
            label = f"right mode: {record.value:.3f} $\\pm$ {2 * record.stderr:.3f}"
            ax.text(0.03, 0.97, label, transform=ax.transAxes, va="top", fontsize=8, bbox=BOX)
        for ax in axes[::3]:
            ax.set_ylabel("density")
        for ax in axes[-3:]:
            ax.set_xlabel("x")
        draw.add_notes(
            figure,
            f"Scale {found.scale}. Grey: p(x), whose right mode has weight {EXAMPLE['weights'][0]}. Numbers: "
            "the particles' share right of the score's unstable zero, with two standard errors. Taller bars are cut off.",
        )


def toy(results: Path, out: Path) -> None:
    """Particles of NCSN's mixture, and the weight of its heavier mode."""
    found = _open(results)
    methods = ("uniform start", "Langevin", "annealed Langevin", "exact draws")
    with draw.sheet(out, len(methods), 4, (2.5, 2.7), sharex=True, sharey=True) as (figure, axes):
        for ax, method in zip(axes, methods, strict=True):
            record = _find(found.records, table="ncsn-toy", method=method, metric="weight_right")
            particles = found.arrays.get(f"mixture2d/{method}")
            ax.set(xlim=(-9, 9), ylim=(-9, 9), aspect="equal", title=method[0].upper() + method[1:], xlabel="$x_1$")
            if record is None or particles is None:
                draw.placeholder(ax, "not run")
                continue
            ax.plot(*particles[:1000].T, ".", color=draw.BLUE, markersize=2.5, markeredgewidth=0, alpha=0.7)
            label = f"upper mode:\n{record.value:.3f} $\\pm$ {2 * record.stderr:.3f}"
            ax.text(0.03, 0.97, label, transform=ax.transAxes, va="top", fontsize=8, bbox=BOX)
        axes[0].set_ylabel("$x_2$")
        draw.add_notes(
            figure,
            f"Scale {found.scale}. The upper mode has weight {TOY['weights'][0]}; numbers with two standard errors over seeds. "
            "Langevin and annealed Langevin take as many steps. At most 1,000 particles are shown.",
        )


def grid(results: Path, out: Path) -> None:
    """Fig. 17: printed FIDs above, distances with the exact score below, VE left and VP right."""
    found = _open(results)
    printed = [row for row in read_published(found.paper.folder / "published.csv", found.paper.name) if row.table == "fig17"]
    levels = found.config.grid.levels
    budgets = (f"P{levels}", f"P{2 * levels}", f"PC{levels}", f"C{2 * levels}")
    with draw.sheet(out, 4, 2, (3.6, 2.6), sharex=True, sharey="row") as (figure, axes):
        for column, kind in enumerate(("VE", "VP")):
            above, below = axes[column], axes[column + 2]
            _cells(above, {(r.method, r.variant): (r.number, float(r.uncertainty)) for r in printed}, kind, budgets)
            measured = [r for r in found.records if r.table == "fig17" and r.dataset == "digits_gaussian"]
            _cells(below, {(r.method, r.variant): (r.value, 0.0) for r in measured}, kind, budgets)
            above.set_title(f"{kind} ({'SMLD' if kind == 'VE' else 'DDPM'}), printed")
            below.set_title(f"{kind}, exact score")
            below.set_xticks(range(len(budgets)), budgets)
        axes[0].set_ylabel("FID on CIFAR-10")
        axes[2].set_ylabel("sw2 to the data")
        figure.legend(*axes[2].get_legend_handles_labels(), loc="outside upper left", ncols=4)
        draw.add_notes(
            figure,
            f"Scale {found.scale}. Below: data are the Gaussian with the mean and covariance of the 8x8 digits in [-1, 1]; the "
            "law of the result is exact, so there is no sampling error. P: predictor steps, PC: with a corrector step each, "
            "C: corrector steps alone. Lines join the cells of a predictor. The rows have different units.",
        )


def trained(results: Path, out: Path) -> None:
    """Fig. 17 on trained networks, and samples of Tables 2 and 3."""
    found = _open(results)
    levels = found.config.trained.levels
    budgets = (f"P{levels}", f"P{2 * levels}", f"PC{levels}", f"C{2 * levels}")
    data = found.trained_data
    measured = [r for r in found.records if (r.table, r.dataset, r.metric) == ("fig17", data, "fid")]
    with draw.sheet(out, 3, 3, (3.6, 3.0)) as (figure, axes):
        if not measured:
            for ax in axes:
                draw.placeholder(ax, "no trained network at this scale")
            return
        for ax, kind in zip(axes, ("VE", "VP"), strict=False):
            _cells(ax, {(r.method, r.variant): (r.value, r.stderr or 0.0) for r in measured}, kind, budgets)
            ax.set_title(f"{kind}, {data}")
            ax.set_xticks(range(len(budgets)), budgets)
            draw.real_images(ax, measured)
        axes[0].set_ylabel("FID")
        places = {name.split("/", 1)[1]: images for name, images in found.arrays.items() if name.startswith((f"{data}/score-sde-2", f"{data}/score-sde-3"))}
        pictures = {
            f"{place.split(', ')[1].split('/')[0]}, {'ODE' if 'sde-2' in place else 'SDE'}": images for place, images in places.items()
        }
        draw.image_rows(axes[2], pictures | {"real": found.arrays[f"{data}/real"]})
        axes[2].set_title("Tables 2 and 3, and real images")
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper left", ncols=4)
        draw.add_notes(
            figure,
            f"Scale {found.scale}. Bars: two standard errors over training seeds. {draw.FLOOR_NOTE} P: predictor steps, "
            "PC: with a corrector step each, C: corrector steps alone. Lines join the cells of a predictor.",
        )


def steps(results: Path, out: Path) -> None:
    """Error against predictor steps, VE and VP."""
    found = _open(results)
    with draw.sheet(out, 2, 2, (3.6, 3.0), sharey=True) as (figure, axes):
        for ax, kind in zip(axes, ("VE", "VP"), strict=True):
            for name in PREDICTORS:
                rows = [r for r in found.records if (r.table, r.method, r.variant) == ("steps", name, kind)]
                if rows := sorted(rows, key=lambda r: r.nfe):
                    ax.loglog([r.nfe for r in rows], [r.value for r in rows], label=name, markersize=4, **STYLES[name])
            if not ax.lines:
                draw.placeholder(ax, "not run")
                continue
            n = np.array(found.config.steps)
            top = max(line.get_ydata().max() for line in ax.lines)
            ax.plot(n, top * n[0] / n, linestyle="--", color=draw.GREY, linewidth=0.8, label="slope $-1$")
            ax.set(title=kind, xlabel="predictor steps")
            ax.grid()
        axes[0].set_ylabel("sw2 to the data")
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper left", ncols=4)
        draw.add_notes(figure, f"Scale {found.scale}. Gaussian with the digits' mean and covariance; no sampling error.")


def _cells(ax: Axes, numbers: dict[tuple[str, str], tuple[float, float]], kind: str, budgets: Sequence[str]) -> None:
    """The cells of one half of fig. 17, methods side by side, with two standard deviations of the printed ones."""
    for shift, method in zip((-0.15, 0.0, 0.15, 0.0), STYLES, strict=True):
        points = [(i, *numbers[method, f"{kind} {budget}"]) for i, budget in enumerate(budgets)
                  if (method, f"{kind} {budget}") in numbers]  # fmt: skip
        if points:
            x, y, error = np.array(points).T
            ax.errorbar(x + shift, y, 2 * error, label=method, linewidth=0.8, elinewidth=1.5, markersize=5, **STYLES[method])
    ax.set_yscale("log")
    ax.set_xlim(-0.5, len(budgets) - 0.5)
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.yaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_minor_formatter(NullFormatter())
    ax.grid(axis="y", which="both")


def _open(results: Path) -> draw.PaperResults:
    return draw.open_results(results, "smld_sde", ROOT)


def _find(records: Sequence[Record], **columns: object) -> Record | None:
    return next((r for r in records if all(getattr(r, name) == value for name, value in columns.items())), None)
