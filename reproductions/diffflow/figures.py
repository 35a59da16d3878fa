"""The figures of DiffFlow: each function draws one, named in paper.yaml, from results/<scale>."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator

from rescore import figures as draw
from rescore.ledger.records import Record

ROOT = Path(__file__).parents[2]

SETS = {"rings": "four rings", "olympic_rings": "Olympic rings", "spirals": "2 spirals", "checkerboard": "checkerboard",
        "tree": "fractal tree", "carpet": "Sierpinski carpet"}  # fmt: skip
METHODS = {"DiffFlow": (draw.BLUE, "o"), "DDPM": (draw.RED, "s"), "FFJORD": (draw.GREEN, "^")}
SWEPT = {"DiffFlow": (draw.BLUE, "o"), "DDPM": (draw.RED, "s"), "DDIM": (draw.ORANGE, "D")}
METRICS = {"nll": "nll", "sw2": "sw2 to the data", "off_support": "mass off the support"}
SWEPT_SETS = SETS | {"digits": "8x8 digits, FID", "cifar10": "CIFAR-10, FID"}
RINGS = (draw.BLUE, draw.ORANGE, draw.GREEN, draw.RED, draw.PURPLE)
REACH = 3.2  # of a panel, in standard deviations
SHOWN = 2500  # points of a panel


def trajectories(results: Path, out: Path) -> None:
    """Fig. 3.4."""
    found = _open(results)
    names = [name for name in ("rings", "olympic_rings") if f"trajectory/{name}/DiffFlow" in found.arrays]
    if not names:
        return draw.not_measured(out)
    parts = len(found.arrays[f"trajectory/{names[0]}/DiffFlow"])
    with draw.sheet(out, len(names) * len(METHODS) * parts, parts, (1.75, 1.85)) as (figure, axes):
        panels = [(name, method, i) for name in names for method in METHODS for i in range(parts)]
        for ax, (name, method, i) in zip(axes, panels, strict=True):
            x, ring = found.arrays[f"trajectory/{name}/{method}"][i], found.arrays[f"ring/{name}"]
            for k, color in enumerate(RINGS):
                ax.plot(*x[ring == k].T, linestyle="none", marker=".", markersize=1.6, markeredgewidth=0, color=color)
            _frame(ax)
            if i == 0:
                ax.set_ylabel(method)
                ax.set_title(SETS[name])
            elif i == parts - 1:
                ax.set_title("prior")
            else:
                ax.set_title(f"{i}/{parts - 1} of T")
        draw.add_notes(figure, f"Scale {found.scale}, first seed. Left the data, right the end of the forward process. "
                       "Axes: 3.2 standard deviations. DiffFlow's panels are equally many steps apart, the others equal times.")


def samples(results: Path, out: Path) -> None:
    """Fig. 3.5."""
    found = _open(results)
    names = [name for name in SETS if f"samples/{name}/data" in found.arrays]
    if not names:
        return draw.not_measured(out)
    columns = ("data", *METHODS)
    with draw.sheet(out, len(names) * len(columns), len(columns), (2.0, 2.1)) as (figure, axes):
        for ax, (name, column) in zip(axes, [(name, column) for name in names for column in columns], strict=True):
            x = found.arrays[f"samples/{name}/{column}"][:SHOWN]
            color = draw.GREY if column == "data" else METHODS[column][0]
            ax.plot(*x.T, linestyle="none", marker=".", markersize=1.8, markeredgewidth=0, color=color)
            _frame(ax)
            ax.set_title(SETS[name] if column == "data" else column)
        draw.add_notes(figure, f"Scale {found.scale}, first seed; as many points in each panel. Axes: 3.2 standard deviations.")


def numbers(results: Path, out: Path) -> None:
    """Fig. 3.5 in numbers."""
    found = _open(results)
    names = [name for name in SETS if _select(found.records, table="fig3.5", dataset=name)]
    if not names:
        return draw.not_measured(out)
    with draw.sheet(out, len(METRICS), len(METRICS), (3.6, 3.2)) as (figure, axes):
        for ax, (metric, label) in zip(axes, METRICS.items(), strict=True):
            for k, (method, (color, marker)) in enumerate(METHODS.items()):
                rows = [_select(found.records, table="fig3.5", dataset=name, method=method, metric=metric, variant="")
                        for name in names]  # fmt: skip
                _bars(ax, rows, 0.2 * (k - 1), label=method, color=color, marker=marker)
            if metric == "nll":
                rows = [_select(found.records, table="fig3.5", dataset=name, variant="ELBO", metric="nll") for name in names]
                _bars(ax, rows, -0.3, label="DiffFlow, bound", color=draw.SKY, marker="v")
            exact = {"nll": "entropy of the data", "sw2": "exact draws"}.get(metric)
            rows = [_select(found.records, table="fig3.5", dataset=name, method=exact, metric=metric) for name in names]
            if exact:
                _bars(ax, rows, 0.35, label=exact, color=draw.BLACK, marker="_")
            ax.set_xticks(range(len(names)), [SETS[name] for name in names], rotation=40, ha="right")
            ax.set(ylabel=label)
            ax.grid(axis="y")
        handles = {label: handle for ax in axes for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)}
        figure.legend(handles.values(), handles, loc="outside upper left", ncols=len(handles))
        draw.add_notes(figure, f"Scale {found.scale}. Bars: two standard errors over trainings. Coordinates have mean 0 and "
                       "variance 1. The entropy, which no true likelihood goes below, is drawn where it has a closed form.")


def sweep(results: Path, out: Path) -> None:
    """The shape of Tables 3.4 and 3.5."""
    found = _open(results)
    names = [name for name in SWEPT_SETS if _select(found.records, table="3.4", dataset=name)]
    if not names:
        return draw.not_measured(out)
    plain = FuncFormatter(lambda value, _: f"{value:g}")
    with draw.sheet(out, 2 * len(names), len(names), (2.2, 2.4)) as (figure, axes):
        panels = [(table, name) for table in ("3.4", "3.5") for name in names]
        for ax, (table, name) in zip(axes, panels, strict=True):
            for method, (color, marker) in SWEPT.items():
                rows = sorted(_select(found.records, table=table, dataset=name, method=method), key=lambda one: one.nfe)
                values, errors = [one.value for one in rows], [2 * (one.stderr or 0.0) for one in rows]
                low = np.minimum(errors, 0.99 * np.array(values))  # a bar that reaches zero has no place on a log axis
                ax.errorbar([one.nfe for one in rows], values, (low, errors), label=method, color=color, marker=marker,
                            markersize=4, linewidth=1.2, elinewidth=0.8)  # fmt: skip
            ax.set(xscale="log", yscale="log", xlabel="N", title=SWEPT_SETS[name] if table == "3.4" else "")
            ax.set_xticks(sorted({one.nfe for one in _select(found.records, table="3.4")}))
            ax.xaxis.set_major_formatter(plain)
            ax.xaxis.set_minor_locator(NullLocator())
            ax.yaxis.set_major_formatter(plain)
            low, high = ax.get_ylim()
            ax.yaxis.set_minor_formatter(plain if high < 10 * low else NullFormatter())
            ax.grid()
        axes[0].set_ylabel("sw2 to the data" if names[0] in SETS else "FID")
        axes[len(names)].set_ylabel("relative to the largest N")
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper left", ncols=len(SWEPT))
        draw.add_notes(figure, f"Scale {found.scale}. Bars: two standard errors over trainings.")


def images(results: Path, out: Path) -> None:
    """Samples of Tables 3.2 to 3.5's models of images."""
    found = _open(results)
    names = sorted({key.split("/")[1] for key in found.arrays if key.startswith("images/")})
    if not names:
        return draw.not_measured(out)
    with draw.sheet(out, len(names), 1, (8.0, 1.3)) as (figure, axes):
        for ax, name in zip(axes, names, strict=True):
            draw.image_rows(ax, {row: found.arrays[f"images/{name}/{row}"] for row in ("data", "DiffFlow")})
            ax.set_title(name)
        draw.add_notes(figure, f"Scale {found.scale}, first seed; real images are held out.")


def _open(results: Path) -> draw.PaperResults:
    return draw.open_results(results, "diffflow", ROOT)


def _select(records: Iterable[Record], **columns: str) -> list[Record]:
    return [one for one in records if all(getattr(one, name) == value for name, value in columns.items())]


def _frame(ax: Axes) -> None:
    ax.set(xlim=(-REACH, REACH), ylim=(-REACH, REACH), aspect="equal", xticks=[], yticks=[])
    ax.tick_params(bottom=False, labelbottom=False)


def _bars(ax: Axes, rows: list[list[Record]], shift: float, **style: object) -> None:
    """One mark for each set that has a record."""
    there = [(i + shift, found[0]) for i, found in enumerate(rows) if found]
    if there:
        x, values, errors = zip(*((x, one.value, 2 * (one.stderr or 0.0)) for x, one in there), strict=True)
        ax.errorbar(x, values, errors, linestyle="none", markersize=5, elinewidth=0.9, **style)
