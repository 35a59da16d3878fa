"""The figures of DEIS: each function draws one, named in paper.yaml, from what was found at a scale."""

from collections.abc import Iterable
from pathlib import Path

import torch
from matplotlib.axes import Axes
from rescore import figures as draw
from rescore.experiments.axes import samples_name
from rescore.figures import PaperResults
from rescore.processes import VP
from rescore.processes.grids import NAMED as NAMED_GRIDS

from reproductions.deis.errors import DEGREES, MAP_T, MAP_X, fine
from reproductions.deis.jobs import CHANGE_SPLIT, CHANGE_TIMES, ORDER, STEPS, TIME
from reproductions.deis.methods import AT_MOST, ORDERED, TABLE_METHODS, place

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
    for grid, color in GRID_COLORS.items()
    for method, label, line in (("tAB3", "tAB3", "-"), ("EI-eps", "DDIM", ":"))
}
COLORS = {
    "Euler": draw.GREY,
    "EI-score": draw.PINK,
    "iPNDM": draw.PURPLE,
    "DDIM": draw.GREEN,
    **dict.fromkeys(("rho2Heun", "rho3Kutta", "rho4RK"), draw.RED),
    **dict.fromkeys(("rhoAB1", "rhoAB2", "rhoAB3"), draw.ORANGE),
    **dict.fromkeys(("tAB1", "tAB2", "tAB3"), draw.BLUE),
}
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
    note = (
        f"{draw.INTERVALS} Dotted: the exact solution. The printed cells use the best times of each, which the thesis does "
        "not list; the measured ones quadratic times."
    )
    with found.sheet(out, 3, 3, (3.6, 3.4), note) as (figure, axes):
        for ax, (title, (label, rows)) in zip(axes, panels.items(), strict=True):
            _columns(ax, rows, title, label)
            draw.reference_line(ax, draw.select(rows, method="exact flow"))
        draw.shared_legend(figure, axes, "outside right center", 1)


def trained(found: PaperResults, out: Path) -> None:
    """Table 6.2 on the network trained on the digits: FID against evaluations, and samples."""
    _table_on(found, out, found.trained_data or "", SHOWN)


def mnist(found: PaperResults, out: Path) -> None:
    """The same on the network trained on MNIST."""
    _table_on(found, out, "mnist", [(name, nfe) for name in ("DDIM", "tAB3") for nfe in (5, 10, 20)])


def _table_on(found: PaperResults, out: Path, data: str, cells: Iterable[tuple[str, int]]) -> None:
    """Table 6.2 on a trained network; samples of these cells."""
    rows = found.select(table="6.2", dataset=data, metric="fid")
    with found.sheet(out, 2, 2, (4.6, 3.8), f"{draw.INTERVALS} {draw.FLOOR_NOTE}") as (_, (curves, pictures)):
        _columns(curves, rows, data, "FID, features of a small classifier")
        draw.real_images(curves, rows)
        draw.legend(curves, **BESIDE)
        shown = {f"{name}, {nfe}": samples_name(data, "6.2", **place(name), nfe=nfe) for name, nfe in cells}
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


NETWORK_LADDER = {
    ("fig6.5", "Euler", "uniform"): ("Euler", draw.GREY),
    ("fig6.5", "EI-score", "uniform"): ("EI, score", draw.ORANGE),
    ("fig6.5", "EI-eps", "uniform"): ("EI, noise (DDIM)", draw.GREEN),
    ("fig6.5", "tAB3", "uniform"): ("tAB3", draw.BLUE),
    ("fig6.5", "tAB3", "quadratic"): ("tAB3, quadratic times", draw.BLUE, "o", "--"),
    ("fig6.5", "EM", "uniform"): ("EM", draw.RED, "s"),
}
OTHER_STYLES = {
    ("fig6.5", "EI-eps", "quadratic"): ("DDIM", draw.GREEN),
    ("fig6.5", "tAB3", "quadratic"): ("tAB3", draw.BLUE, "o", "--"),
    ("fig6.7", "DDPM", "quadratic"): ("DDPM", draw.GREY, "s"),
    ("fig6.7", "A-DDIM", "quadratic"): ("A-DDIM", draw.ORANGE, "D"),
    ("fig6.7", "PNDM", "uniform"): ("PNDM, uniform times", draw.RED, "v"),
    ("fig6.7", "iPNDM", "uniform"): ("iPNDM, uniform times", draw.PURPLE, "^"),
    ("fig6.7", "iPNDM", "quadratic"): ("iPNDM", draw.PURPLE, "^", "--"),
    ("fig6.7", "Ito-Taylor", "quadratic"): ("Ito-Taylor", draw.BLACK, "x"),
    ("fig6.7", "FastDPM DDIM-rev", "STEP quadratic"): ("FastDPM, STEP, DDIM-rev", draw.SKY, "P"),
    ("fig6.7", "FastDPM DDIM-rev", "VAR quadratic"): ("FastDPM, VAR, DDIM-rev", draw.PINK, "P", "--"),
    ("fig6.7", "FastDPM DDPM-rev", "STEP quadratic"): ("FastDPM, STEP, DDPM-rev", draw.SKY, "*", ":"),
}
HELD = {"RK45": ("RK45", draw.BLACK, "x"), "adaptive SDE": ("adaptive SDE", draw.PINK, "D")}


def rivals(found: PaperResults, out: Path) -> None:
    """Figs. 6.5 and 6.7 on the trained network."""
    rows = found.select(table=["fig6.5", "fig6.7"], dataset=found.trained_data or "", metric="fid")
    note = (
        f"{draw.INTERVALS} {draw.FLOOR_NOTE} On the right times are quadratic unless named. RK45 and the adaptive "
        "SDE: at the most evaluations they may take."
    )
    with found.sheet(out, 2, 2, (6.0, 3.6), note, sharey=True) as (_, axes):
        for ax, styles, title in zip(axes, (NETWORK_LADDER, OTHER_STYLES), ("fig. 6.5", "fig. 6.7's samplers"), strict=True):
            draw.curves(ax, rows, ("table", "method", "variant"), styles)
            if styles is NETWORK_LADDER:
                budgets = AT_MOST.by("nfe", found.config.rivals.nfes)
                draw.curves(ax, draw.select(rows, variant=list(budgets)), ("method",), HELD, x=budgets)
            draw.against_evaluations(ax, found.config.rivals.nfes, log=False)
            draw.log_values(ax, title, "FID, features of a small classifier" if ax is axes[0] else "", grid="y")
            draw.real_images(ax, found.select(table="fig6.5", metric="fid"))
            draw.legend(ax, fontsize=6.5, loc="upper left", bbox_to_anchor=(1.0, 1.0))


def fitting(found: PaperResults, out: Path) -> None:
    """Fig. 6.2."""
    if "fitting/error" not in found.arrays:
        return draw.not_measured(out)
    titles = {"density": "log10 of the density", "error": "log10 of the error of the noise prediction"}
    extent = (MAP_X[0].item(), MAP_X[-1].item(), MAP_T[0].item(), MAP_T[-1].item())
    with found.sheet(out, 2, 2, (4.0, 3.2), "Data N(0, 0.01²) unless the config says otherwise; one of the networks.") as (
        figure,
        axes,
    ):
        for ax, (name, title) in zip(axes, titles.items(), strict=True):
            low = -6 if name == "density" else None
            image = ax.imshow(
                found.arrays[f"fitting/{name}"], extent=extent, origin="lower", aspect="auto", cmap="cividis", vmin=low
            )
            ax.set(title=title, xlabel="x", ylabel="t")
            figure.colorbar(image, ax=ax)


def extrapolation(found: PaperResults, out: Path) -> None:
    """Fig. 6.4b: error of the extrapolated noise prediction along exact solutions."""
    config, datasets = (
        found.config,
        {"mixture1d": "mixture on the line", "digits_exact": "8x8 digits, exact", "digits": "trained network"},
    )
    colors = (draw.GREEN, draw.ORANGE, draw.RED, draw.BLUE)
    panels = [(grid, name) for grid in config.extrapolation.grids for name in datasets]
    with found.sheet(
        out, len(panels), 3, (3.4, 2.6), "Mean over solutions and seeds. Grid points are left out, where the error is 0."
    ) as (_, axes):
        for ax, (grid, name) in zip(axes, panels, strict=True):
            process = VP()
            taus = fine(NAMED_GRIDS[grid](process, config.extrapolation.steps, t0=config.t0), config.extrapolation.between)[1:]
            inside = torch.arange(len(taus)) % config.extrapolation.between != config.extrapolation.between - 1
            for degree, color in zip(DEGREES, colors, strict=True):
                curve = found.arrays.get(f"extrapolation/{name}/{grid}/{degree}")
                if curve is not None:
                    ax.plot(taus[inside], curve[inside.numpy()], color=color, linewidth=1, label=f"r = {degree}")
            draw.log_values(ax, f"{datasets[name]}, {grid}", "error of eps" if name == "mixture1d" else "", grid="y")
            ax.set_xlabel("t")
            ax.invert_xaxis()
        draw.legend(axes[0], fontsize=6.5)


def best_grids(found: PaperResults, out: Path) -> None:
    """Table 6.2 with its one grid and with the best of each cell, and what the choice gains."""
    rows = found.select(table="6.2-grids")
    main = found.config.table.grid
    with found.sheet(
        out, 3, 3, (3.8, 3.2), f"{draw.INTERVALS} Held out: the grid is chosen by the FIDs of the other seeds."
    ) as (figure, axes):
        for ax, metric, title in zip(
            axes[:2], (f"fid_{main}", "fid"), (f"{main} times", "the best times of each cell"), strict=True
        ):
            _columns(ax, draw.select(rows, metric=metric), title, "FID")
        names = [name for name in TABLE_METHODS if draw.select(rows, metric="gain", **place(name))]
        for k, (metric, color) in enumerate({"gain": draw.BLUE, "gain_held_out": draw.ORANGE}.items()):
            means = [
                sum(one.value for one in found_of) / len(found_of)
                for name in names
                if (found_of := draw.select(rows, metric=metric, **place(name)))
            ]
            axes[2].barh([i + 0.4 * k for i in range(len(means))], means, 0.4, color=color, label=metric.replace("_", " "))
        axes[2].set_yticks(range(len(names)), names)
        axes[2].set_xscale("symlog", linthresh=0.1)
        axes[2].set(title="FID gained by the choice, mean over rows", xlabel="FID")
        draw.legend(axes[2], fontsize=6.5)
        draw.shared_legend(figure, axes[:1], columns=10)


def likelihood(found: PaperResults, out: Path) -> None:
    """Likelihoods by DEIS against evaluations."""
    styles = {
        name: (name, COLORS.get(name, draw.GREEN), mark)
        for name, mark in {
            "rhoAB0": "o",
            "rhoAB1": "o",
            "rhoAB2": "s",
            "rhoAB3": "^",
            "rho2Heun": "s",
            "rho3Kutta": "D",
            "rho4RK": "v",
        }.items()
    }
    panels = {
        ("mixture1d", "nats_error"): "mixture on the line: nats from the exact density",
        ("digits", "bpd_gap"): "trained network: bits per dimension from dopri5's",
    }
    with found.sheet(out, 2, 2, (4.4, 3.4), draw.INTERVALS) as (_, axes):
        for ax, ((dataset, metric), title) in zip(axes, panels.items(), strict=True):
            draw.curves(ax, found.select(table="likelihood", dataset=dataset, metric=metric), ("method",), styles)
            draw.against_evaluations(ax, found.config.likelihood.nfes)
            taken = found.one(table="likelihood", dataset=dataset, method="dopri5", metric="evaluations")
            draw.log_values(ax, f"{title}\n(dopri5 takes {taken.value:.0f})" if taken else title, grid="y")
            draw.legend(ax, fontsize=6.5)


def second_order(found: PaperResults, out: Path) -> None:
    """Section 6.5: second-order Runge-Kutta methods in rho."""
    styles = {
        "rho2Heun": ("Heun", draw.RED),
        "rho2Midpoint": ("midpoint", draw.BLUE, "s"),
        "rho2Ralston": ("Ralston", draw.GREEN, "^"),
    }
    panels = {
        ("mixture1d", "solver_median"): "mixture on the line",
        ("digits_exact", "solver_median"): "8x8 digits, exact",
        ("digits", "fid"): "trained network",
    }
    with found.sheet(out, 3, 3, (3.4, 2.9), draw.INTERVALS) as (_, axes):
        for ax, ((dataset, metric), title) in zip(axes, panels.items(), strict=True):
            draw.curves(ax, found.select(table="section6.5", dataset=dataset, metric=metric), ("method",), styles)
            draw.against_evaluations(ax, found.config.tableaus.nfes)
            draw.log_values(ax, title, "FID" if metric == "fid" else "median distance to the solution", grid="y")
        draw.legend(axes[0], fontsize=6.5)
