"""The figures of PIS: each function draws one, named in paper.yaml."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from rescore import figures as draw
from rescore.figures.pictures import image_rows
from rescore.ledger.diff import diff
from rescore.ledger.published import Published
from rescore.ledger.records import Record
from rescore.targets.named import known_log_z, make_target
from scipy.special import softmax

from reproductions.pis import alanine, vae
from reproductions.pis.annealed import ANNEALED
from reproductions.pis.policies import NAMES, WEIGHTED
from reproductions.pis.study import TABLE

TITLES = {
    "mg": "MG (d = 2)",
    "rings": "Rings (d = 2)",
    "funnel": "Funnel (d = 10)",
    "funnel1": "Funnel, $x_0 \\sim N(0, 1)$",
    "lgcp": "LGCP (d = 1600)",
    "lgcp_synthetic": "LGCP, synthetic points",
}
STYLES = {
    "gt": ("PIS-GT", draw.BLACK),
    "nn": ("PIS-NN", draw.BLUE),
    "grad": ("PIS-Grad", draw.RED),
    "smc": ("SMC", draw.GREEN),
    "aft": ("AFT", draw.PINK),
    "vi_nf": ("VI-NF", draw.ORANGE),
    "hmc": ("HMC (library)", draw.SKY),
    "nuts": ("NUTS (library)", draw.PURPLE),
    "exact": ("exact draws", draw.BLACK),
}
ROWS = {name: f"PIS-{name}" for name in NAMES.values()} | {
    WEIGHTED(policy=name): rf"PIS$_{{\mathrm{{RW}}}}$-{name}" for name in NAMES.values()
}  # the table's spelling, by variant; of the other rows it is the method
GREEK = {"phi": r"$\phi$", "psi": r"$\psi$", **{f"eta{k}": rf"$\eta_{k}$" for k in (1, 2, 3)}}
SHOWN_IMAGES = 16
SMALLEST_WEIGHT = 1e-3
APART = 0.15  # of a row's height, from its middle to each of its two markers
# filled, crossed, hollow, square: readable without colour
MARKERS = {
    "reproduced": {"marker": "o", "markerfacecolor": draw.BLUE},
    "off": {"marker": "X", "markerfacecolor": draw.BLUE},
    "imprecise": {"marker": "s", "markerfacecolor": "white"},
    "indicative": {"marker": "o", "markerfacecolor": "white"},
}
MARKER_NOTES = {
    "imprecise": "Imprecise: our error leaves open whether it is within the tolerance, not judged.",
    "indicative": "Indicative: measured under another protocol than the printed value's.",
}


def samples_mg(found: draw.PaperResults, out: Path) -> None:
    """Samples of each method on the nine-mode mixture."""
    _samples(found, out, "mg", half_width=8.0)


def samples_rings(found: draw.PaperResults, out: Path) -> None:
    """Samples of each method on the rings (thesis fig. 5.2)."""
    _samples(found, out, "rings", half_width=6.5)


def _samples(found: draw.PaperResults, out: Path, dataset: str, half_width: float) -> None:
    density = draw.DensityMap.of(make_target(dataset).log_prob, half_width)
    methods = _planned(found, dataset, STYLES) or list(STYLES)
    columns = 3 if len(methods) in (5, 6, 9) else 4
    others = draw.join_names([STYLES[method][0] for method in STYLES if method not in methods])
    notes = (
        "Points are not weighted. Grey: the density, within 1, 2 and 3 standard deviations.",
        f"No job of this scale draws {others}." if others else "",
    )
    with found.sheet(out, len(methods), columns, (2.6, 2.6), *notes, sharex=True, sharey=True) as (_, axes):
        for ax, method in zip(axes, methods, strict=True):
            label, color = STYLES[method]
            samples = found.arrays.get(f"{dataset}/{method}/samples")
            if samples is None:
                density.draw(ax)
                draw.placeholder(ax, found.why_missing(dataset, [method]))
            else:
                draw.draw_samples(ax, density, samples, color)
            ax.set_title(label)


def rmse(found: draw.PaperResults, out: Path) -> None:
    """|A| of Table 5.1, measured beside printed, a panel a target, rows in the table's order."""
    statuses = diff(found.records, found.published, {found.paper.name: found.paper})["status"]
    verdicts = dict(zip([row.key for row in found.published], statuses, strict=True))
    rows = [row for row in found.published if (row.table, row.metric) == (TABLE, "logz_rmse")]
    names = list(dict.fromkeys(map(_name, rows)))
    datasets = list(dict.fromkeys(row.dataset for row in rows))
    measured = {row.key: record for row in rows if (record := _measured(found, row))}
    # a record under another key (fewer steps, say) is as little comparable as one of another protocol
    status = {key: verdicts[key] if verdicts[key] in MARKERS else "indicative" for key in measured}
    note = [f"{draw.INTERVALS} HMC and NUTS: importance weights of one jump, no chain."]
    note += [text for verdict, text in MARKER_NOTES.items() if verdict in status.values()]
    notes = (" ".join(note), _missing_rows(found, rows, measured))
    with found.sheet(out, len(datasets), 3, (3.3, 4.0), *notes, sharey=True) as (figure, axes):
        for ax, dataset in zip(axes, datasets, strict=True):
            for row in draw.select(rows, dataset=dataset):
                y = names.index(_name(row))
                ax.plot(row.number, y - APART, "D", color=draw.RED, markersize=5, markerfacecolor="white", label="printed")
                if record := measured.get(row.key):
                    style = {"color": draw.BLUE, "markersize": 6, "linestyle": "none", "elinewidth": 1.6, "zorder": 3}
                    verdict = status[row.key]
                    ax.errorbar(
                        record.value,
                        y + APART,
                        xerr=draw.interval(record),
                        label=f"measured, {verdict}",
                        **style,
                        **MARKERS[verdict],
                    )
            values = [value for line in ax.lines for value in line.get_xdata()]
            ax.set(title=TITLES[dataset], xlabel="|A| (nats)", xscale="log", xlim=(min(values) / 2.5, max(values) * 2.5))
            ax.grid(axis="x")
            ax.grid(axis="y", linestyle=":")
            ax.tick_params(axis="y", length=0)
        axes[0].set_yticks(range(len(names)), names)
        axes[0].set_ylim(len(names) - 0.4, -0.6)
        draw.shared_legend(figure, axes)


def _name(row: Published) -> str:
    return ROWS.get(row.variant, row.method)


def _measured(found: draw.PaperResults, row: Published, dataset: str | None = None) -> Record | None:
    """The record of a printed row, made with this scale's temperatures and steps; of another data set if that is named."""
    variant, dataset = row.variant, dataset or row.dataset
    if row.method in ("SMC", "AFT") and dataset in found.config.datasets:
        variant = ANNEALED(temperatures=found.config.datasets[dataset].annealing.temperatures)
    return found.one(table=row.table, dataset=dataset, method=row.method, variant=variant, metric=row.metric)


def _missing_rows(found: draw.PaperResults, rows: Iterable[Published], measured: Mapping[tuple, Record]) -> str:
    """The printed rows without a record, a data set without any in one word with the reason."""
    printed: dict[str, list[Published]] = {}
    for row in rows:
        printed.setdefault(row.dataset, []).append(row)
    gaps = []
    for dataset, of in printed.items():
        absent = [_name(row) for row in of if row.key not in measured]
        if len(absent) == len(of):
            gaps.append(f"{dataset} ({found.why_missing(dataset, {*STYLES, 'importance'})})")
        elif absent:
            gaps.append(f"{draw.join_names(absent)} on {dataset}")
    return f"Not measured: {'; '.join(gaps)}." if gaps else ""


def weights(found: draw.PaperResults, out: Path) -> None:
    """Importance weights of one run, sorted, a panel a target."""

    def panel(ax: Axes, dataset: str, log_weights: Mapping[str, np.ndarray]) -> None:
        for method, log_w in log_weights.items():
            label, color = STYLES[method]
            n = len(log_w)
            ess = found.one(table=TABLE, dataset=dataset, method="PIS", variant=WEIGHTED(policy=NAMES[method]), metric="ess")
            label = f"{label}: {f'ESS {ess.value:.2g}' if ess else 'no ESS record'}"
            dots = {"marker": "o", "markersize": 3, "markevery": slice(0, 10)}  # on a log axis the first ranks lie apart
            ax.plot(np.arange(1, n + 1), n * np.sort(softmax(log_w))[::-1], color=color, linewidth=1.5, label=label, **dots)
        ax.axhline(1, color=draw.GREY, linewidth=0.8, linestyle="--", zorder=1)
        # the k-th largest weight is at most 1 / k: the upper right is free for the legend
        ax.set(xscale="log", yscale="log", xlim=(0.9, n), ylim=(SMALLEST_WEIGHT, 6 * n))
        ax.set(xlabel="rank of the particle", ylabel="weight $\\times$ n")
        ax.legend(loc="upper right", handlelength=1.2)

    note = (
        "Normalised weights of the n particles of one run, times n; dashed: equal weights. "
        "ESS: the mean over all runs, as a fraction of n."
    )
    _by_target(found, out, NAMES, "log_w", panel, note)


def training(found: draw.PaperResults, out: Path) -> None:
    """The cost during training above -log Z, a panel a target, a line a seed."""

    def panel(ax: Axes, dataset: str, losses: Mapping[str, np.ndarray]) -> None:
        log_z = known_log_z(dataset, found.config.datasets[dataset].side)
        for method, histories in losses.items():
            label, color = STYLES[method]
            for history in histories:
                ax.plot(*draw.block_means(history + (log_z or 0.0)), color=color, linewidth=0.8, alpha=0.85, label=label)
        ax.set(xlabel="training step", ylabel="cost (nats)" if log_z is None else "nats above $-\\log Z$")
        if log_z is not None:
            draw.log_axis_if_wide(ax)

    note = "A line a seed; long histories are averaged over blocks of steps. Where log Z is not known, the cost itself."
    _by_target(found, out, ("nn", "grad", "vi_nf"), "loss", panel, note, legend=True)


def posteriors(found: draw.PaperResults, out: Path) -> None:
    """B and S of Table 5.3, a panel each, and the images."""
    printed = [row for row in found.published if row.table == vae.TABLE]
    dataset = next((name for name in found.config.datasets if name.startswith("vae_")), "vae_mnist")
    names = list(dict.fromkeys(map(_name, printed)))
    images = found.arrays.get(f"{dataset}/truth/images")
    note = f"{draw.INTERVALS} Printed (diamonds): 100 images and the decoder of the paper, which is not published."
    with found.sheet(out, 3, 3, (3.3, 3.0), note) as (figure, axes):
        for ax, metric, label in zip(axes, ("logz_bias", "logz_std"), ("|B| (nats)", "S (nats)"), strict=False):
            for row in (row for row in printed if row.metric == metric):
                y, record = names.index(_name(row)), _measured(found, row, dataset)
                ax.plot(abs(row.number), y - APART, "D", color=draw.RED, markersize=5, markerfacecolor="white", label="printed")
                if record:
                    ax.errorbar(
                        abs(record.value),
                        y + APART,
                        xerr=draw.interval(record),
                        color=draw.BLUE,
                        label="measured",
                        markersize=6,
                        linestyle="none",
                        elinewidth=1.6,
                        **MARKERS["indicative"],
                    )
            values = [value for line in ax.lines for value in line.get_xdata()]
            ax.set(xlabel=label, xscale="log", xlim=(min(values) / 2.5, max(values) * 2.5))
            draw.plain_log_axis(ax.xaxis, digits=(1, 3))
            ax.grid(axis="x")
            ax.set_yticks(range(len(names)), names if ax is axes[0] else [""] * len(names))
            ax.set_ylim(len(names) - 0.4, -0.6)
        if not found.select(table=vae.TABLE, dataset=dataset):
            draw.write_in_corner(axes[0], found.why_missing(dataset))
        axes[2].set_title("test images")
        if images is None:
            draw.placeholder(axes[2], found.why_missing(dataset, ["truth"]))
        else:
            side = round(images.shape[1] ** 0.5)
            shown = 2.0 * images[:SHOWN_IMAGES] - 1
            rows = np.array_split(shown.reshape(-1, 1, side, side), max(1, round(len(shown) ** 0.5)))
            width = max(map(len, rows))
            padded = [np.concatenate([row, np.ones((width - len(row), 1, side, side))]) for row in rows]
            image_rows(axes[2], [("", row) for row in padded])
        draw.shared_legend(figure, axes[:2])


def torsions(found: draw.PaperResults, out: Path) -> None:
    """Densities of the torsions of Table 5.2, a panel each, a line a method."""
    dataset = "alanine_dipeptide"
    labels = {"md": ("molecular dynamics", draw.BLACK)} | {name: STYLES[name] for name in ("nn", "smc", "vi_nf")}
    labels["snf"] = ("SNF", draw.PURPLE)
    arrays = found.named_arrays({method: f"{dataset}/{method}/torsions" for method in labels})
    absent = [method for method in labels if method not in arrays]
    names = draw.join_names([labels[method][0] for method in absent])
    gaps = f"Missing: {names} ({found.why_missing(dataset, absent)})." if absent else ""
    note = "Samples of the first seed, unweighted; histograms of 50 bins, smoothed as for Table 5.2 and normalised."
    with found.sheet(out, len(alanine.TORSIONS), 3, (3.3, 2.5), note, gaps, sharex=True) as (figure, axes):
        middles = np.linspace(-180, 180, alanine.BINS, endpoint=False) + 180 / alanine.BINS
        for k, (name, ax) in enumerate(zip(alanine.TORSIONS, axes, strict=True)):
            for method, angles in arrays.items():
                density = alanine.histogram(angles[:, k])
                ax.plot(middles, density / density.sum(), color=labels[method][1], linewidth=1.4, label=labels[method][0])
            if not arrays:
                draw.placeholder(ax, found.why_missing(dataset))
            ax.set_title(GREEK[name])
            ax.set(xlim=(-180, 180), xticks=(-180, -90, 0, 90, 180), xlabel="degrees", ylim=(0, None), yticks=())
        if arrays:
            draw.shared_legend(figure, axes)


Panel = Callable[[Axes, str, Mapping[str, np.ndarray]], None]


def _by_target(
    found: draw.PaperResults, out: Path, methods: Iterable[str], name: str, panel: Panel, note: str, legend: bool = False
) -> None:
    """A panel for each target that has such a method, drawn by `panel(ax, dataset, arrays by method)`."""
    planned = {dataset: _planned(found, dataset, methods) for dataset in TITLES if found.jobs_of(dataset, methods)}
    arrays = {
        dataset: found.named_arrays({method: f"{dataset}/{method}/{name}" for method in of}) for dataset, of in planned.items()
    }
    gaps = []  # of panels that show something: empty ones say it themselves
    for dataset, there in arrays.items():
        if there and (absent := [method for method in planned[dataset] if method not in there]):
            labels = draw.join_names([STYLES[method][0] for method in absent])
            gaps.append(f"{labels} on {dataset} ({found.why_missing(dataset, absent)})")
    missing = f"Missing: {'; '.join(gaps)}." if gaps else ""
    with found.sheet(out, len(planned), 3, (3.3, 2.7), note, missing) as (figure, axes):
        for ax, (dataset, there) in zip(axes, arrays.items(), strict=True):
            if there:
                panel(ax, dataset, there)
                ax.grid()
            else:
                draw.placeholder(ax, found.why_missing(dataset, methods))
            ax.set_title(TITLES[dataset])
        if legend:
            draw.shared_legend(figure, axes)


def _planned(found: draw.PaperResults, dataset: str, methods: Iterable[str]) -> list[str]:
    """Those of the methods that a job of this scale measures, in the order given."""
    return [method for method in methods if found.jobs_of(dataset, [method])]


def text(found: draw.PaperResults, out: Path) -> None:
    """What the text and the theorems say, a panel a statement."""
    notes = (
        f"{draw.INTERVALS} Theorems: exact, no samples. W2: Euler's steps under u*; dashed: the root of the step size. "
        "ESS: a control off by |u - u*|^2 = eps / T; dashed: the bound 1 - eps. Eq. 5.8: u* from uncontrolled trajectories. "
        "Distance: nine modes pulled apart; steps: the same training with other N.",
    )
    with found.sheet(out, 6, 3, (3.1, 2.7), *notes, grid="both") as (_, axes):
        _theorems(found, axes[:3])
        _swept(found, axes[3:5])
        rings = found.select(table="fig 5.2")
        for method, color in (("PIS-NN", draw.BLUE), ("VI-NF", draw.ORANGE), ("PIS-Grad", draw.RED), ("exact", draw.BLACK)):
            of = [row for row in rings if row.method == method]
            draw.curve(axes[5], of, method, color, x=lambda row: float(row.metric.split("_")[1]))
        axes[5].set(
            xlabel="ring, from the inner one", ylabel="share of arcs covered", xticks=(1, 2, 3), title="Rings (fig. 5.2)"
        )
        sections = (
            ("mg", "theorem_3"),
            ("mg", "theorem_4"),
            ("mg", "monte_carlo"),
            ("mg", "separation"),
            ("mg", "discretisation"),
            ("rings", "coverage"),
        )
        for ax, (subject, section) in zip(axes, sections, strict=True):
            draw.legend(ax, fontsize=7)
            if not ax.containers:
                draw.placeholder(ax, found.why_missing(subject, [section]))


def _theorems(found: draw.PaperResults, axes: list[Axes]) -> None:
    config = found.config
    for dataset, color in (("gaussian", draw.BLUE), ("mg", draw.RED)):
        rows = found.select(table="theorem 3", dataset=dataset, variant="error=0", metric="w2")
        draw.curve(axes[0], rows, dataset, color)
        if rows:
            ns = np.array(config.theorem_3.steps, dtype=float)
            axes[0].plot(ns, rows[0].value * np.sqrt(ns[0] / ns), "--", color=draw.GREY, linewidth=0.8)
    axes[0].set(title="Theorem 3", ylabel="W2 to the target", xscale="log", yscale="log", xlabel="steps N")
    for steps, color in zip(config.theorem_4.steps, (draw.SKY, draw.BLUE, draw.BLACK), strict=False):
        rows = found.select(table="theorem 4", nfe=steps)
        draw.curve(axes[1], rows, f"N = {steps}", color, x=lambda row: float(row.variant.split("=")[1]))
    if axes[1].containers:
        axes[1].plot((0, 1), (1, 0), "--", color=draw.GREY, linewidth=0.8)
    axes[1].set(title="Theorem 4", xlabel="eps", ylabel="ESS")
    rows = found.select(table="eq 5.8", metric="control_error")
    draw.curve(axes[2], rows, color=draw.BLUE, x=lambda row: float(row.variant.split("=")[1]))
    axes[2].set(title="Eq. 5.8, uncontrolled", xlabel="dimension", ylabel="relative error of u*", xscale="log")


def _swept(found: draw.PaperResults, axes: list[Axes]) -> None:
    styles = {("PIS", "RW-Grad"): "grad", ("SMC", None): "smc", ("VI-NF", "RW"): "vi_nf", ("importance", "prior"): "nuts"}
    for (method, variant), style in styles.items():
        columns = {"table": "section 5.4.2", "method": method, "metric": "logz_rmse"} | (
            {"variant": variant} if variant else {}
        )
        label = "importance" if method == "importance" else STYLES[style][0]
        draw.curve(axes[0], found.select(**columns), label, STYLES[style][1], x=lambda row: float(row.dataset[2:]))
    axes[0].set(title="Modes apart (section 5.4.2)", xlabel="distance between modes", ylabel="A (nats)", yscale="log")
    for variant, color in (("RW-Grad", draw.RED), ("Grad", draw.ORANGE)):
        draw.curve(axes[1], found.select(table="steps", variant=variant, metric="logz_rmse"), f"PIS {variant}", color)
    axes[1].set(title="Steps (section 5.3.3), MG", xlabel="steps N", ylabel="A (nats)", yscale="log")
