"""The figures of PIS: each function draws one, named in paper.yaml, from results/<scale>."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from scipy.special import softmax

from reproductions.pis.jobs import TABLE
from rescore import figures as draw
from rescore.ledger.diff import diff
from rescore.ledger.published import Published, read_published
from rescore.ledger.records import Record
from rescore.targets import Funnel, Rings, Target, lgcp, nine_modes

ROOT = Path(__file__).parents[2]

TITLES = {
    "mg": "MG (d = 2)",
    "rings": "Rings (d = 2)",
    "funnel": "Funnel (d = 10)",
    "funnel1": "Funnel, $x_0 \\sim N(0, 1)$",
    "lgcp": "LGCP (d = 1600)",
    "lgcp_synthetic": "LGCP, synthetic points",
}
LABELS = {
    "gt": "PIS-GT", "nn": "PIS-NN", "grad": "PIS-Grad", "smc": "SMC", "aft": "AFT", "vi_nf": "VI-NF",
    "hmc": "HMC (library)", "nuts": "NUTS (library)", "exact": "exact draws",
}  # fmt: skip
COLORS = {
    "gt": draw.BLACK, "nn": draw.BLUE, "grad": draw.RED, "smc": draw.GREEN, "aft": draw.PINK, "vi_nf": draw.ORANGE,
    "hmc": draw.SKY, "nuts": draw.PURPLE, "exact": draw.BLACK,
}  # fmt: skip
VARIANTS = {"gt": "RW-GT", "nn": "RW-NN", "grad": "RW-Grad"}
SMALLEST_WEIGHT = 1e-3
APART = 0.15  # of a row's height, from its middle to each of its two markers
# filled, crossed, hollow, square: readable without colour
MARKERS = {
    "reproduced": {"marker": "o", "markerfacecolor": draw.BLUE},
    "off": {"marker": "X", "markerfacecolor": draw.BLUE},
    "imprecise": {"marker": "s", "markerfacecolor": "white"},
    "indicative": {"marker": "o", "markerfacecolor": "white"},
}


def samples_mg(results: Path, out: Path) -> None:
    """Samples of each method on the nine-mode mixture."""
    _samples(results, out, "mg", nine_modes(), half_width=8.0)


def samples_rings(results: Path, out: Path) -> None:
    """Samples of each method on the rings (thesis fig. 5.2)."""
    _samples(results, out, "rings", Rings(), half_width=6.5)


def rmse(results: Path, out: Path) -> None:
    """|A| of Table 5.1, measured beside printed, a panel a target, rows in the table's order."""
    found = _open(results)
    published = read_published(found.paper.folder / "published.csv", found.paper.name)
    statuses = diff(found.records, published, {found.paper.name: found.paper})["status"]
    verdicts = dict(zip([row.key for row in published], statuses, strict=True))
    rows = [row for row in published if row.table == TABLE and row.metric == "logz_rmse"]
    names = list(dict.fromkeys((row.method, _family(row.variant)) for row in rows))
    datasets = list(dict.fromkeys(row.dataset for row in rows))
    drawn = set()
    with draw.sheet(out, len(datasets), 3, (3.3, 4.0), sharey=True) as (figure, axes):
        for ax, dataset in zip(axes, datasets, strict=True):
            pairs = [(row, _measured(found.records, row)) for row in rows if row.dataset == dataset]
            _log_limits(ax, pairs)
            for row, record in pairs:
                y = names.index((row.method, _family(row.variant)))
                ax.plot(row.number, y - APART, "D", color=draw.RED, markersize=5, markerfacecolor="white", zorder=2)
                if record is None:
                    continue
                # a record under another key (fewer steps, say) is as little comparable as one of another protocol
                status = verdicts[row.key] if verdicts[row.key] in MARKERS else "indicative"
                drawn.add(status)
                _point_with_errors(ax, record, y + APART, status)
            ax.set(title=TITLES[dataset], xlabel="|A| (nats)")
            ax.grid(axis="x")
            ax.grid(axis="y", linestyle=":")
            ax.tick_params(axis="y", length=0)
        axes[0].set_yticks(range(len(names)), [_row_label(*name) for name in names])
        axes[0].set_ylim(len(names) - 0.4, -0.6)
        style = {"linestyle": "none", "color": draw.BLUE, "markersize": 6}
        handles = [Line2D([], [], label="printed", **style | {"marker": "D", "markerfacecolor": "white", "color": draw.RED})]
        handles += [Line2D([], [], label=f"measured, {name}", **style, **MARKERS[name]) for name in MARKERS if name in drawn]
        figure.legend(handles=handles, loc="outside upper left", ncols=len(handles))
        draw.add_notes(
            figure,
            f"Scale {found.scale}. Bars: two standard errors. HMC and NUTS: importance weights of one jump, no chain."
            + (" Imprecise: our error exceeds the tolerance, not judged." if "imprecise" in drawn else "")
            + (" Indicative: measured under another protocol than the printed value's." if "indicative" in drawn else ""),
            _missing_rows(found, rows),
        )


def weights(results: Path, out: Path) -> None:
    """Importance weights of one run, sorted, a panel a target."""
    found = _open(results)
    datasets = _datasets(found, VARIANTS)
    with draw.sheet(out, len(datasets), 3, (3.3, 2.7)) as (figure, axes):
        for ax, dataset in zip(axes, datasets, strict=True):
            n = 1
            for method in _planned(found, dataset, VARIANTS):
                log_w = found.arrays.get(f"{dataset}/{method}/log_w")
                if log_w is None:
                    continue
                n = len(log_w)
                sorted_weights = n * np.sort(softmax(log_w))[::-1]
                label = f"{LABELS[method]}: {_ess_label(found.records, dataset, method)}"
                dots = {"marker": "o", "markersize": 3, "markevery": slice(0, 10)}  # on a log axis the first ranks lie apart
                ax.plot(np.arange(1, n + 1), sorted_weights, color=COLORS[method], linewidth=1.5, label=label, **dots)
            if ax.lines:
                ax.axhline(1, color=draw.GREY, linewidth=0.8, linestyle="--", zorder=1)
                # the k-th largest weight is at most 1 / k: the upper right is free for the legend
                ax.set(xscale="log", yscale="log", xlim=(0.9, n), ylim=(SMALLEST_WEIGHT, 6 * n))
                ax.legend(loc="upper right", handlelength=1.2)
                ax.set(xlabel="rank of the particle", ylabel="weight $\\times$ n")
                ax.grid()
            else:
                draw.placeholder(ax, _why_missing(found, dataset, VARIANTS))
            ax.set_title(TITLES[dataset])
        draw.add_notes(
            figure,
            f"Scale {found.scale}. Normalised weights of the n particles of one run, times n; dashed: equal weights. "
            "ESS: the mean over all runs, as a fraction of n.",
            _missing_arrays(found, datasets, VARIANTS, "log_w"),
        )


def training(results: Path, out: Path) -> None:
    """The cost during training above -log Z, a panel a target, a line a seed."""
    found = _open(results)
    methods = ("nn", "grad", "vi_nf")
    datasets = _datasets(found, methods)
    with draw.sheet(out, len(datasets), 3, (3.3, 2.7)) as (figure, axes):
        for ax, dataset in zip(axes, datasets, strict=True):
            log_z = _log_z(found, dataset)
            for method in _planned(found, dataset, methods):
                for history in found.arrays.get(f"{dataset}/{method}/loss", ()):
                    steps, cost = draw.block_means(history + (log_z or 0.0))
                    ax.plot(steps, cost, color=COLORS[method], linewidth=0.8, alpha=0.85)
            if ax.lines:
                ax.set(xlabel="training step", ylabel="nats above $-\\log Z$" if log_z is not None else "cost (nats)")
                if log_z is not None:
                    draw.log_axis_if_wide(ax)
                ax.grid()
            else:
                draw.placeholder(ax, _why_missing(found, dataset, methods))
            ax.set_title(TITLES[dataset])
        handles = [Line2D([], [], color=COLORS[method], label=LABELS[method]) for method in methods]
        figure.legend(handles=handles, loc="outside upper left", ncols=len(handles))
        unknown = [TITLES[dataset] for dataset in datasets if _log_z(found, dataset) is None]
        draw.add_notes(
            figure,
            f"Scale {found.scale}. A line a seed; long histories are averaged over blocks of steps.",
            f"log Z is not known for {draw.join_names(unknown)}." if unknown else "",
            _missing_arrays(found, datasets, methods, "loss"),
        )


def _open(results: Path) -> draw.PaperResults:
    return draw.open_results(results, "pis", ROOT)


def _samples(results: Path, out: Path, dataset: str, target: Target, half_width: float) -> None:
    found = _open(results)
    density = draw.DensityMap.of(target.log_prob, half_width)
    methods = _planned(found, dataset, LABELS) or list(LABELS)
    columns = 3 if len(methods) in (5, 6, 9) else 4
    with draw.sheet(out, len(methods), columns, (2.6, 2.6), sharex=True, sharey=True) as (figure, axes):
        for ax, method in zip(axes, methods, strict=True):
            samples = found.arrays.get(f"{dataset}/{method}/samples")
            if samples is None:
                density.draw(ax)
                draw.placeholder(ax, _why_missing(found, dataset, [method]))
            else:
                draw.draw_samples(ax, density, samples, COLORS[method])
            ax.set_title(LABELS[method])
        others = [LABELS[method] for method in LABELS if method not in methods]
        draw.add_notes(
            figure,
            f"Scale {found.scale}. Points are not weighted. Grey: the density, within 1, 2 and 3 standard deviations.",
            f"No job of this scale draws {draw.join_names(others)}." if others else "",
        )


def _jobs_of(found: draw.PaperResults, dataset: str, methods: Iterable[str]) -> list[str]:
    """The jobs that measure one of these methods, or with none given anything, on the data set."""
    wanted = set(methods)
    return [
        name
        for name, job in found.config.jobs.items()
        if dataset in job.measure and (not wanted or wanted & set(job.measure[dataset]))
    ]


def _planned(found: draw.PaperResults, dataset: str, methods: Iterable[str]) -> list[str]:
    """Those of the methods that a job of this scale measures, in the order given."""
    return [method for method in methods if _jobs_of(found, dataset, [method])]


def _datasets(found: draw.PaperResults, methods: Iterable[str]) -> list[str]:
    return [dataset for dataset in TITLES if _jobs_of(found, dataset, methods)]


def _why_missing(found: draw.PaperResults, dataset: str, methods: Iterable[str]) -> str:
    """The reason that a job gave, else the jobs that would fill the gap."""
    for row in found.skipped:
        if row.get("dataset", dataset) == dataset:
            return f"skipped: {row['reason']}"
    jobs = _jobs_of(found, dataset, methods)
    if not jobs:
        return f"no job at scale {found.scale}"
    return f"not run: {'jobs' if len(jobs) > 1 else 'job'} {draw.join_names(jobs)}"


def _missing_arrays(found: draw.PaperResults, datasets: Iterable[str], methods: Iterable[str], name: str) -> str:
    """What is missing from panels that show something: empty ones say it themselves."""
    gaps = []
    for dataset in datasets:
        planned = _planned(found, dataset, methods)
        absent = [method for method in planned if f"{dataset}/{method}/{name}" not in found.arrays]
        if absent and absent != planned:
            labels = draw.join_names([LABELS[method] for method in absent])
            gaps.append(f"{labels} on {dataset} ({_why_missing(found, dataset, absent)})")
    return f"Missing: {'; '.join(gaps)}." if gaps else ""


def _missing_rows(found: draw.PaperResults, rows: Iterable[Published]) -> str:
    """The printed rows without a record, a data set without any in one word with the reason."""
    rows, gaps = list(rows), []
    for dataset in dict.fromkeys(row.dataset for row in rows):
        printed = [row for row in rows if row.dataset == dataset]
        absent = [_row_label(row.method, _family(row.variant)) for row in printed if _measured(found.records, row) is None]
        if len(absent) == len(printed):
            gaps.append(f"{dataset} ({_why_missing(found, dataset, ())})")
        elif absent:
            gaps.append(f"{draw.join_names(absent)} on {dataset}")
    return f"Not measured: {'; '.join(gaps)}." if gaps else ""


def _family(variant: str) -> str:
    """The variant without the number of temperatures, which belongs to the protocol and differs between scales."""
    return "" if variant.endswith("-temperatures") else variant


def _row_label(method: str, variant: str) -> str:
    """The table's spelling of a row."""
    if variant.startswith("RW-"):
        return rf"{method}$_{{\mathrm{{RW}}}}$-{variant.removeprefix('RW-')}"
    return f"{method}-{variant}" if variant else method


def _measured(records: Iterable[Record], row: Published) -> Record | None:
    """The record of a printed row: of the same key, else of the same method under another budget."""
    wanted = (row.table, row.dataset, row.method, _family(row.variant), row.metric)
    alike = [one for one in records if (one.table, one.dataset, one.method, _family(one.variant), one.metric) == wanted]
    return next((one for one in alike if one.key == row.key), alike[0] if alike else None)


def _log_limits(ax: Axes, pairs: Iterable[tuple[Published, Record | None]]) -> None:
    values = np.array([value for row, record in pairs for value in (row.number, record and record.value) if value])
    ax.set(xscale="log", xlim=(values.min() / 2.5, values.max() * 2.5))


def _point_with_errors(ax: Axes, record: Record, y: float, status: str) -> None:
    """A value with two standard errors; a bar that reaches zero ends outside the log axis."""
    spread = 2 * (record.stderr or 0.0)
    low = max(record.value - spread, ax.get_xlim()[0] / 10)
    ax.plot([low, record.value + spread], [y, y], color=draw.BLUE, linewidth=1.6, zorder=3)
    ax.plot(record.value, y, linestyle="none", color=draw.BLUE, markersize=6, zorder=4, **MARKERS[status])


def _ess_label(records: Iterable[Record], dataset: str, method: str) -> str:
    for one in records:
        if (one.table, one.dataset, one.method, one.variant, one.metric) == (TABLE, dataset, "PIS", VARIANTS[method], "ess"):
            return f"ESS {one.value:.2g}"
    return "no ESS record"


def _log_z(found: draw.PaperResults, dataset: str) -> float | None:
    match dataset:
        case "mg":
            return nine_modes().log_z
        case "rings":
            return Rings().log_z
        case "funnel" | "funnel1":
            return Funnel.log_z
        case "lgcp" if found.config.datasets[dataset].side == 40:  # the grid that it was computed on
            return lgcp.PINES_LOG_Z
        case _:
            return None
