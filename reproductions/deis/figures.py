"""The figures of DEIS: each function draws one, named in paper.yaml, from results/<scale>."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes

from reproductions.deis.jobs import CHANGE_SPLIT, CHANGE_TIMES
from reproductions.deis.problems import ORDERS, TABLE_METHODS
from rescore import figures as draw
from rescore.ledger.published import read_published
from rescore.ledger.records import Record

ROOT = Path(__file__).parents[2]

TITLES = {
    "mixture1d": "Mixture on the line, std 0.1",
    "mixture1d_narrow": "Mixture on the line, std 0.01",
    "digits_exact": "8x8 digits",
}
# (method, grid): label, style
LADDER = {
    ("Euler", "uniform"): ("Euler", draw.GREY, "-"),
    ("EI-score", "uniform"): ("exponential integrator, score", draw.ORANGE, "-"),
    ("EI-eps", "uniform"): ("exponential integrator, noise (DDIM)", draw.GREEN, "-"),
    ("tAB3", "uniform"): ("+ polynomial of degree 3 (tAB3)", draw.BLUE, "-"),
    ("tAB3", "quadratic"): ("+ quadratic times", draw.BLUE, "--"),
}
GRID_COLORS = {"uniform": draw.BLUE, "quadratic": draw.BLACK, "rho7": draw.RED, "log-rho": draw.SKY}
GRID_METHODS = {"tAB3": "-", "EI-eps": ":"}
COLORS = {"DDIM": draw.GREEN, "rho": draw.RED, "rhoAB": draw.ORANGE, "tAB": draw.BLUE}
SHOWN_METHODS, SHOWN_NFES = ("DDIM", "tAB3"), (5, 10, 50)
ORDER_MARKS = {"1": "o", "2": "s", "3": "^", "4": "v"}


def ingredients(results: Path, out: Path) -> None:
    """Figs. 6.3 and 6.5: what each ingredient does to the solver error, and the choice of times."""
    found = _open(results)
    n = len(TITLES)
    with draw.sheet(out, 2 * n, n, (3.4, 3.0), sharex=True, sharey="col") as (figure, axes):
        for ax, (dataset, title) in zip(axes[:n], TITLES.items(), strict=True):
            for (method, grid), (label, color, line) in LADDER.items():
                _line(ax, _errors(found.records, dataset, method, grid), color, line, label)
            _against_nfe(ax, title, "")
        for ax, dataset in zip(axes[n:], TITLES, strict=True):
            for grid, color in GRID_COLORS.items():
                for method, line in GRID_METHODS.items():
                    label = f"{grid}, {'DDIM' if method == 'EI-eps' else method}"
                    _line(ax, _errors(found.records, dataset, method, grid), color, line, label)
            _against_nfe(ax, "", "score evaluations")
        for ax in (axes[0], axes[n]):
            ax.set_ylabel("median distance to the solution")
        axes[n - 1].legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
        axes[-1].legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
        draw.add_notes(figure, f"Scale {found.scale}. Bars: two standard errors over seeds. Above, times are uniform unless named.")


def table62(results: Path, out: Path) -> None:
    """Table 6.2 as printed and as measured on the digits."""
    found = _open(results)
    printed = [row for row in read_published(found.paper.folder / "published.csv", "deis") if row.table == "6.2"]
    panels = [
        ("CIFAR-10, printed", "FID", [(row, row.number, None) for row in printed]),
        *(
            (f"8x8 digits, {name}", label, [(r, r.value, r.stderr) for r in found.records if (r.table, r.metric) == ("6.2", metric)])
            for name, label, metric in (
                ("to the data", "sliced W2", "sw2"), ("to the exact solution", "sliced W2", "sw2_flow")
            )
        ),
    ]  # fmt: skip
    with draw.sheet(out, 3, 3, (3.6, 3.4)) as (figure, axes):
        for ax, (title, label, rows) in zip(axes, panels, strict=True):
            for name in TABLE_METHODS:
                cells = sorted((r.nfe, value, error) for r, value, error in rows if _column(r) == name)
                draw.errorbar(ax, cells, *_style(name), name)
            exact = [(value, error) for r, value, error in rows if r.method == "exact flow"]
            if exact:
                line = ax.axhline(exact[0][0], color=draw.BLACK, linewidth=0.8, linestyle=":")
                ax.legend([line], ["exact solution"], loc="upper right")
            _against_nfe(ax, title, "score evaluations")
            ax.set_ylabel(label)
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right center")
        draw.add_notes(figure, f"Scale {found.scale}. Bars: two standard errors over seeds. The printed cells use the best times of each, "
                               "which the thesis does not list; the measured ones quadratic times.")  # fmt: skip


def trained(results: Path, out: Path) -> None:
    """Table 6.2 on the network trained on the digits: FID against evaluations, and samples."""
    found = _open(results)
    data = found.trained_data
    rows = [r for r in found.records if (r.table, r.dataset, r.metric) == ("6.2", data, "fid")]
    with draw.sheet(out, 2, 2, (4.6, 3.8)) as (figure, (curves, pictures)):
        for name in TABLE_METHODS:
            cells = sorted((r.nfe, r.value, r.stderr) for r in rows if r.method != "real images" and _column(r) == name)
            draw.errorbar(curves, cells, *_style(name), name)
        draw.real_images(curves, rows)
        strips = {f"{name}, {nfe}": f"{data}/6.2/{_name(name)}/{nfe}" for name in SHOWN_METHODS for nfe in SHOWN_NFES}
        strips = {label: found.arrays[key] for label, key in (strips | {"real": f"{data}/real"}).items() if key in found.arrays}
        if not strips:
            for ax in (curves, pictures):
                draw.placeholder(ax, "no trained network at this scale")
            return
        _against_nfe(curves, data, "score evaluations")
        curves.set_ylabel("FID, features of a small classifier")
        curves.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
        draw.image_rows(pictures, strips)
        pictures.set_title("Samples")
        draw.add_notes(figure, f"Scale {found.scale}. Bars: two standard errors over training seeds. {draw.FLOOR_NOTE}")


def orders(results: Path, out: Path) -> None:
    """Measured orders of convergence."""
    found = _open(results)
    rows = [r for r in found.records if r.table == "orders"]
    with draw.sheet(out, 1, 1, (5.6, 4.0)) as (figure, axes):
        ax = axes[0]
        for method, (order, _) in ORDERS.items():
            slope = next((r for r in rows if (r.method, r.metric) == (method, "order")), None)
            cells = sorted(
                (int(r.variant.removeprefix("steps-")), r.value, r.stderr)
                for r in rows if r.method == method and r.metric == "solver_median"
            )  # fmt: skip
            label = f"{method}: {slope.value:.2f} (order {order})" if slope else method
            draw.errorbar(ax, cells, *_style(method), label)
        ax.set(xscale="log", yscale="log", xlabel="steps", ylabel="median distance to the solution")
        steps = sorted({int(r.variant.removeprefix("steps-")) for r in rows if r.metric == "solver_median"})
        ax.set_xticks(steps, [str(n) for n in steps])
        ax.minorticks_off()
        ax.grid(axis="y")
        figure.legend(loc="outside right center", title="slope over these steps")
        draw.add_notes(figure, f"Scale {found.scale}. Mixture on the line, std 0.1, quadratic times.")


def change(results: Path, out: Path) -> None:
    """Fig. 6.4: relative change of score and noise prediction along exact solutions."""
    found = _open(results)
    datasets = [name for name in TITLES if any(r.table == "fig6.4" and r.dataset == name for r in found.records)]
    if not datasets:
        return draw.not_measured(out)
    with draw.sheet(out, len(datasets), 2, (3.6, 3.0), sharey=True) as (figure, axes):
        for ax, dataset in zip(axes, datasets, strict=True):
            for name, color, label in (("score", draw.ORANGE, "score"), ("eps", draw.GREEN, "noise prediction")):
                rows = {r.variant: r for r in found.records if (r.table, r.dataset, r.method) == ("fig6.4", dataset, name)}
                cells = [(t, rows[f"t={t:g}"].value, rows[f"t={t:g}"].stderr) for t in CHANGE_TIMES]
                draw.errorbar(ax, cells, color, "o", label)
            ax.axvline(CHANGE_SPLIT, color=draw.GREY, linewidth=0.8, linestyle=":")
            ax.set(title=TITLES[dataset], xlabel="t", yscale="log")
            ax.grid(axis="y")
        axes[0].set_ylabel("relative change over 0.05 of time")
        axes[0].legend(loc="upper right")
        draw.add_notes(figure, f"Scale {found.scale}. Bars: two standard errors over seeds. Dotted: t = {CHANGE_SPLIT}.")


def _open(results: Path) -> draw.PaperResults:
    return draw.open_results(results, "deis", ROOT)


def _column(row: Record) -> str:
    """The column of Table 6.2."""
    return row.variant or row.method


def _style(method: str) -> tuple[str, str]:
    """A colour for the family and a marker for the order."""
    if method in ("Euler", "EI-score", "iPNDM"):
        return {"Euler": draw.GREY, "EI-score": draw.PINK, "iPNDM": draw.PURPLE}[method], "x"
    family = next(f for f in ("rhoAB", "tAB", "DDIM", "rho") if method.startswith(f))
    digit = next((c for c in method if c.isdigit()), "1")
    return COLORS[family], ORDER_MARKS[digit]


def _name(column: str) -> str:
    return "DDIM" if column == "DDIM" else f"DEIS, {column}"


def _errors(records: Sequence[Record], dataset: str, method: str, grid: str) -> list[tuple[int, float, float]]:
    wanted = ("fig6.5", dataset, method, grid, "solver_median")
    rows = [r for r in records if (r.table, r.dataset, r.method, r.variant, r.metric) == wanted]
    return sorted((r.nfe, r.value, r.stderr) for r in rows)


def _line(ax: Axes, cells: Sequence[tuple[float, float, float | None]], color: str, line: str, label: str) -> None:
    draw.errorbar(ax, cells, color, "o", label, line)


def _against_nfe(ax: Axes, title: str, label: str) -> None:
    ax.set(title=title, xscale="log", yscale="log", xlabel=label)
    ax.set_xticks([5, 10, 20, 50], ["5", "10", "20", "50"])
    ax.minorticks_off()
    ax.grid(axis="y")
