"""The figures of DEIS: each function draws one, named in paper.yaml, from what was found at a scale."""

from collections.abc import Iterable
from pathlib import Path

from matplotlib.axes import Axes
from rescore import figures as draw
from rescore.experiments.axes import samples_name
from rescore.figures import PaperResults

from reproductions.deis.jobs import CHANGE_SPLIT, CHANGE_TIMES, ORDER, STEPS, TIME
from reproductions.deis.methods import ORDERED, TABLE_METHODS, place

TITLES = {
    "mixture1d": "Mixture on the line, std 0.1",
    "mixture1d_narrow": "Mixture on the line, std 0.01",
    "digits_exact": "8x8 digits",
}
# (method, grid): label, colour, marker and line
LADDER = {
    ("Euler", "uniform"): ("Euler", draw.GREY),
    ("EI-score", "uniform"): ("exponential integrator, score", draw.ORANGE),
    ("EI-eps", "uniform"): ("exponential integrator, noise (DDIM)", draw.GREEN),
    ("tAB3", "uniform"): ("+ polynomial of degree 3 (tAB3)", draw.BLUE),
    ("tAB3", "quadratic"): ("+ quadratic times", draw.BLUE, "o", "--"),
}
GRID_COLORS = {"uniform": draw.BLUE, "quadratic": draw.BLACK, "rho7": draw.RED, "log-rho": draw.SKY}
GRIDS = {
    (method, grid): (f"{grid}, {label}", color, "o", line)
    for grid, color in GRID_COLORS.items() for method, label, line in (("tAB3", "tAB3", "-"), ("EI-eps", "DDIM", ":"))
}  # fmt: skip
COLORS = {
    "Euler": draw.GREY, "EI-score": draw.PINK, "iPNDM": draw.PURPLE, "DDIM": draw.GREEN,
    **dict.fromkeys(("rho2Heun", "rho3Kutta", "rho4RK"), draw.RED),
    **dict.fromkeys(("rhoAB1", "rhoAB2", "rhoAB3"), draw.ORANGE), **dict.fromkeys(("tAB1", "tAB2", "tAB3"), draw.BLUE),
}  # fmt: skip
MARKS = {1: "o", 2: "s", 3: "^", 4: "v"}  # by order
COLUMNS = {tuple(place(name).values()): (name, COLORS[name], MARKS[method.order]) for name, method in TABLE_METHODS.items()}
SHOWN = [(name, nfe) for name in ("DDIM", "tAB3") for nfe in (5, 10, 50)]
TICKS = (5, 10, 20, 50)
BESIDE = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0)}


def ingredients(found: PaperResults, out: Path) -> None:
    """Figs. 6.3 and 6.5: what each ingredient does to the solver error, and the choice of times."""
    panels = [(dataset, styles) for styles in (LADDER, GRIDS) for dataset in TITLES]
    note = f"{draw.INTERVALS} Above, times are uniform unless named."
    with found.sheet(out, len(panels), len(TITLES), (3.4, 3.0), note, sharex=True, sharey="col") as (_, axes):
        for ax, (dataset, styles) in zip(axes, panels, strict=True):
            rows = found.select(table="fig6.5", dataset=dataset, metric="solver_median")
            draw.curves(ax, rows, ("method", "variant"), styles)
            draw.against_evaluations(ax, TICKS, "score evaluations" if styles is GRIDS else "")
            draw.log_values(ax, TITLES[dataset] if styles is LADDER else "", grid="y")
        for row in (axes[: len(TITLES)], axes[len(TITLES) :]):
            row[0].set_ylabel("median distance to the solution")
            draw.legend(row[-1], **BESIDE)


def table62(found: PaperResults, out: Path) -> None:
    """Table 6.2 as printed and as measured on the digits."""
    panels = {
        "CIFAR-10, printed": ("FID", draw.select(found.published, table="6.2")),
        "8x8 digits, to the data": ("sliced W2", found.select(table="6.2", dataset="digits_exact", metric="sw2")),
        "8x8 digits, to the solution": ("sliced W2", found.select(table="6.2", dataset="digits_exact", metric="sw2_flow")),
    }
    note = (f"{draw.INTERVALS} Dotted: the exact solution. The printed cells use the best times of each, which the thesis does "
            "not list; the measured ones quadratic times.")  # fmt: skip
    with found.sheet(out, 3, 3, (3.6, 3.4), note) as (figure, axes):
        for ax, (title, (label, rows)) in zip(axes, panels.items(), strict=True):
            _columns(ax, rows, title, label)
            draw.reference_line(ax, draw.select(rows, method="exact flow"))
        draw.shared_legend(figure, axes, "outside right center", 1)


def trained(found: PaperResults, out: Path) -> None:
    """Table 6.2 on the network trained on the digits: FID against evaluations, and samples."""
    data = found.trained_data or ""
    rows = found.select(table="6.2", dataset=data, metric="fid")
    with found.sheet(out, 2, 2, (4.6, 3.8), f"{draw.INTERVALS} {draw.FLOOR_NOTE}") as (_, (curves, pictures)):
        _columns(curves, rows, data, "FID, features of a small classifier")
        draw.real_images(curves, rows)
        draw.legend(curves, **BESIDE)
        shown = {f"{name}, {nfe}": samples_name(data, "6.2", **place(name), nfe=nfe) for name, nfe in SHOWN}
        draw.image_rows(pictures, found.named_arrays(shown | {"real": f"{data}/real"}))
        pictures.set_title("Samples")


def _columns(ax: Axes, rows: Iterable[draw.Row], title: str, label: str) -> None:
    """The ten columns of Table 6.2."""
    draw.curves(ax, rows, ("method", "variant"), COLUMNS)
    draw.against_evaluations(ax, TICKS)
    draw.log_values(ax, title, label, grid="y")


def orders(found: PaperResults, out: Path) -> None:
    """Measured orders of convergence."""
    steps, styles = found.config.orders.steps, {}
    for name, method in ORDERED.items():
        slope = found.one(table="orders", method=name, variant=ORDER(order=method.order))
        label = f"{name}: {slope.value:.2f} (order {method.order})" if slope else name
        styles[name] = (label, COLORS[name], MARKS[method.order])
    with found.sheet(out, 1, 1, (5.6, 4.0), "Mixture on the line, std 0.1, quadratic times.") as (figure, (ax,)):
        draw.curves(ax, found.select(table="orders", metric="solver_median"), ("method",), styles, x=STEPS.by("steps", steps))
        draw.against_evaluations(ax, steps, "steps")
        draw.log_values(ax, label="median distance to the solution", grid="y")
        draw.shared_legend(figure, [ax], "outside right center", 1, title="slope over these steps")


def change(found: PaperResults, out: Path) -> None:
    """Fig. 6.4: relative change of score and noise prediction along exact solutions."""
    rows = found.select(table="fig6.4")
    datasets = [name for name in TITLES if draw.select(rows, dataset=name)]
    styles = {"score": ("score", draw.ORANGE), "eps": ("noise prediction", draw.GREEN)}
    if not datasets:
        return draw.not_measured(out)
    note = f"{draw.INTERVALS} Dotted: t = {CHANGE_SPLIT}."
    with found.sheet(out, len(datasets), 2, (3.6, 3.0), note, sharey=True) as (_, axes):
        for ax, dataset in zip(axes, datasets, strict=True):
            draw.curves(ax, draw.select(rows, dataset=dataset), ("method",), styles, x=TIME.by("t", CHANGE_TIMES))
            ax.axvline(CHANGE_SPLIT, color=draw.GREY, linewidth=0.8, linestyle=":")
            draw.log_values(ax, TITLES[dataset], grid="y")
            ax.set_xlabel("t")
        axes[0].set_ylabel("relative change over 0.05 of time")
        draw.legend(axes[0], loc="upper right")
