"""The figures of DEIS: each function draws one, named in paper.yaml, from what was found at a scale."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from matplotlib.axes import Axes

from reproductions.deis.jobs import CHANGE_SPLIT, CHANGE_TIMES, ORDER, STEPS, TIME
from reproductions.deis.methods import ORDERED, TABLE_METHODS, place
from rescore import figures as draw
from rescore.experiments.axes import samples_name
from rescore.figures import PaperResults

TITLES = {
    "mixture1d": "Mixture on the line, std 0.1",
    "mixture1d_narrow": "Mixture on the line, std 0.01",
    "digits_exact": "8x8 digits",
}
# (method, grid): label, colour and line
LADDER = {
    ("Euler", "uniform"): ("Euler", draw.GREY, "-"),
    ("EI-score", "uniform"): ("exponential integrator, score", draw.ORANGE, "-"),
    ("EI-eps", "uniform"): ("exponential integrator, noise (DDIM)", draw.GREEN, "-"),
    ("tAB3", "uniform"): ("+ polynomial of degree 3 (tAB3)", draw.BLUE, "-"),
    ("tAB3", "quadratic"): ("+ quadratic times", draw.BLUE, "--"),
}
GRID_COLORS = {"uniform": draw.BLUE, "quadratic": draw.BLACK, "rho7": draw.RED, "log-rho": draw.SKY}
GRIDS = {
    (method, grid): (f"{grid}, {label}", color, line)
    for grid, color in GRID_COLORS.items() for method, label, line in (("tAB3", "tAB3", "-"), ("EI-eps", "DDIM", ":"))
}  # fmt: skip
COLORS = {
    "Euler": draw.GREY, "EI-score": draw.PINK, "iPNDM": draw.PURPLE, "DDIM": draw.GREEN,
    **dict.fromkeys(("rho2Heun", "rho3Kutta", "rho4RK"), draw.RED),
    **{f"{family}{r}": color for family, color in (("rhoAB", draw.ORANGE), ("tAB", draw.BLUE)) for r in (1, 2, 3)},
}  # fmt: skip
ORDER_MARKS = {1: "o", 2: "s", 3: "^", 4: "v"}
STYLES = {name: {"color": COLORS[name], "marker": ORDER_MARKS[method.order]} for name, method in ORDERED.items()}
SHOWN_METHODS, SHOWN_NFES = ("DDIM", "tAB3"), (5, 10, 50)
TICKS = (5, 10, 20, 50)
BESIDE = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0)}


def ingredients(found: PaperResults, out: Path) -> None:
    """Figs. 6.3 and 6.5: what each ingredient does to the solver error, and the choice of times."""
    n, note = len(TITLES), f"{draw.INTERVALS} Above, times are uniform unless named."
    with found.sheet(out, 2 * n, n, (3.4, 3.0), note, sharex=True, sharey="col") as (_, axes):
        for row, styles in enumerate((LADDER, GRIDS)):
            panels = axes[row * n : (row + 1) * n]
            for ax, dataset in zip(panels, TITLES, strict=True):
                _errors(ax, found, dataset, styles)
                ax.set_title("" if row else TITLES[dataset])
                ax.set_xlabel("score evaluations" if row else "")
            panels[0].set_ylabel("median distance to the solution")
            panels[-1].legend(**BESIDE)


def _errors(ax: Axes, found: PaperResults, dataset: str, styles: Mapping[tuple[str, str], tuple[str, str, str]]) -> None:
    for (method, grid), (label, color, line) in styles.items():
        rows = found.select(table="fig6.5", dataset=dataset, method=method, variant=grid, metric="solver_median")
        draw.curve(ax, rows, label, color, line=line)
    _against_evaluations(ax)


def table62(found: PaperResults, out: Path) -> None:
    """Table 6.2 as printed and as measured on the digits."""
    measured = {metric: found.select(table="6.2", dataset="digits_exact", metric=metric) for metric in ("sw2", "sw2_flow")}
    panels = [
        ("CIFAR-10, printed", "FID", draw.select(found.published, table="6.2")),
        ("8x8 digits, to the data", "sliced W2", measured["sw2"]),
        ("8x8 digits, to the exact solution", "sliced W2", measured["sw2_flow"]),
    ]
    note = (f"{draw.INTERVALS} The printed cells use the best times of each, which the thesis does not list; the measured ones "
            "quadratic times.")  # fmt: skip
    with found.sheet(out, 3, 3, (3.6, 3.4), note) as (figure, axes):
        for ax, (title, label, rows) in zip(axes, panels, strict=True):
            _columns(ax, rows)
            ax.set(title=title, ylabel=label)
        draw.shared_legend(figure, axes, "outside right center", 1)
        exact = draw.select(measured["sw2"], method="exact flow")
        draw.reference_line(axes[1], exact, "exact solution")
        if exact:
            axes[1].legend(axes[1].lines[-1:], ["exact solution"], loc="upper right")


def trained(found: PaperResults, out: Path) -> None:
    """Table 6.2 on the network trained on the digits: FID against evaluations, and samples."""
    data = found.trained_data
    rows = found.select(table="6.2", dataset=data, metric="fid")
    with found.sheet(out, 2, 2, (4.6, 3.8), f"{draw.INTERVALS} {draw.FLOOR_NOTE}") as (_, (curves, pictures)):
        _columns(curves, rows)
        draw.real_images(curves, rows)
        curves.set(title=data or "", ylabel="FID, features of a small classifier")
        curves.legend(**BESIDE)
        shown = {f"{name}, {nfe}": samples_name(data, "6.2", **place(name), nfe=nfe) for name in SHOWN_METHODS for nfe in SHOWN_NFES}
        draw.image_rows(pictures, found.named_arrays(shown | {"real": f"{data}/real"}))
        pictures.set_title("Samples")


def _columns(ax: Axes, rows: Iterable[draw.Row]) -> None:
    """The ten columns of Table 6.2."""
    for name in TABLE_METHODS:
        draw.curve(ax, draw.select(rows, **place(name)), name, **STYLES[name])
    _against_evaluations(ax)


def orders(found: PaperResults, out: Path) -> None:
    """Measured orders of convergence."""
    steps = found.config.orders.steps
    with found.sheet(out, 1, 1, (5.6, 4.0), "Mixture on the line, std 0.1, quadratic times.") as (figure, (ax,)):
        for name, method in ORDERED.items():
            slope = found.one(table="orders", method=name, variant=ORDER(order=method.order))
            label = f"{name}: {slope.value:.2f} (order {method.order})" if slope else name
            rows = found.select(table="orders", method=name, metric="solver_median")
            draw.curve(ax, rows, label, **STYLES[name], x=STEPS.by("steps", steps))
        draw.against_evaluations(ax, steps, "steps")
        ax.set(yscale="log", ylabel="median distance to the solution")
        ax.grid(axis="y")
        draw.shared_legend(figure, [ax], "outside right center", 1, title="slope over these steps")


def change(found: PaperResults, out: Path) -> None:
    """Fig. 6.4: relative change of score and noise prediction along exact solutions."""
    rows = found.select(table="fig6.4")
    datasets = [name for name in TITLES if draw.select(rows, dataset=name)]
    if not datasets:
        return draw.not_measured(out)
    note = f"{draw.INTERVALS} Dotted: t = {CHANGE_SPLIT}."
    with found.sheet(out, len(datasets), 2, (3.6, 3.0), note, sharey=True) as (_, axes):
        for ax, dataset in zip(axes, datasets, strict=True):
            for name, color, label in (("score", draw.ORANGE, "score"), ("eps", draw.GREEN, "noise prediction")):
                draw.curve(ax, draw.select(rows, dataset=dataset, method=name), label, color, x=TIME.by("t", CHANGE_TIMES))
            ax.axvline(CHANGE_SPLIT, color=draw.GREY, linewidth=0.8, linestyle=":")
            ax.set(title=TITLES[dataset], xlabel="t", yscale="log")
            ax.grid(axis="y")
        axes[0].set_ylabel("relative change over 0.05 of time")
        axes[0].legend(loc="upper right")


def _against_evaluations(ax: Axes) -> None:
    draw.against_evaluations(ax, TICKS)
    ax.set_yscale("log")
    ax.grid(axis="y")
