"""The figures of DiffFlow: each function draws one, named in paper.yaml, from what was found at a scale."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from rescore import figures as draw
from rescore.figures import PaperResults

from reproductions.diffflow.planar import PARTS
from reproductions.diffflow.sampling import LAMBDA, NOISE, TABLE

SETS = {
    "rings": "four rings",
    "olympic_rings": "Olympic rings",
    "spirals": "2 spirals",
    "checkerboard": "checkerboard",
    "tree": "fractal tree",
    "carpet": "Sierpinski carpet",
}
METHODS = {"DiffFlow": (draw.BLUE, "o"), "DDPM": (draw.RED, "s"), "FFJORD": (draw.GREEN, "^")}
SWEPT = {
    ("DiffFlow", "hat L_beta"): ("DiffFlow", draw.BLUE, "o"),
    ("DDPM", "L_s"): ("DDPM, L_simple", draw.RED, "s"),
    ("DDPM", "L"): ("DDPM, L", draw.PURPLE, "v"),
    ("DDIM", ""): ("DDIM", draw.ORANGE, "D"),
}
METRICS = {"nll": "nll", "sw2": "sw2 to the data", "off_support": "mass off the support"}
# (method, variant): label, colour, marker, place beside the middle of a set
MARKS = {
    ("DiffFlow", "ELBO"): ("DiffFlow, bound", draw.SKY, "v", -0.3),
    **{(name, ""): (name, *style, 0.2 * (k - 1)) for k, (name, style) in enumerate(METHODS.items())},
    ("entropy of the data", ""): ("entropy of the data", draw.BLACK, "_", 0.35),
    ("exact draws", ""): ("exact draws", draw.BLACK, "_", 0.35),
}
SWEPT_SETS = SETS | {"digits": "8x8 digits, FID", "cifar10": "CIFAR-10, FID"}
PICTURES = ("digits", "mnist", "cifar10")
RINGS = (draw.BLUE, draw.ORANGE, draw.GREEN, draw.RED, draw.PURPLE)
KINDS = ("progressive", "fixed")
NUMBERS = (draw.ORANGE, draw.BLUE, draw.GREEN)  # by the steps of the samples by eq. 3.16, the fewest first
SMOOTH = 10  # iterations whose mean loss is drawn
REACH = 3.2  # of a panel, in standard deviations
SHOWN = 2500  # points of a panel


def trajectories(found: PaperResults, out: Path) -> None:
    """Fig. 3.4."""
    names = [name for name in SETS if f"trajectory/{name}/DiffFlow" in found.arrays]
    panels = [(name, method, i) for name in names for method in METHODS for i in range(PARTS + 1)]
    note = (
        f"First seed. Left the data, right the end of the forward process. Axes: {REACH} standard deviations. DiffFlow's "
        "panels are equally many steps apart, the others equal times."
    )
    with found.sheet(out, len(panels), PARTS + 1, (1.75, 1.85), note) as (_, axes):
        for ax, (name, method, i) in zip(axes, panels, strict=True):
            x, ring = found.arrays[f"trajectory/{name}/{method}"][i], found.arrays[f"ring/{name}"]
            for k, color in enumerate(RINGS):
                _points(ax, x[ring == k], color, 1.6)
            ax.set_title({0: SETS[name], PARTS: "prior"}.get(i, f"{i}/{PARTS} of T"))
            ax.set_ylabel("" if i else method)


def samples(found: PaperResults, out: Path) -> None:
    """Fig. 3.5."""
    colors = {"data": draw.GREY} | {method: color for method, (color, _) in METHODS.items()}
    panels = [(name, column) for name in SETS if f"samples/{name}/data" in found.arrays for column in colors]
    note = f"First seed; as many points in each panel. Axes: {REACH} standard deviations."
    with found.sheet(out, len(panels), len(colors), (2.0, 2.1), note) as (_, axes):
        for ax, (name, column) in zip(axes, panels, strict=True):
            if (x := found.arrays.get(f"samples/{name}/{column}")) is not None:  # a model that diverged has none
                _points(ax, x[:SHOWN], colors[column], 1.8)
            ax.set_title(SETS[name] if column == "data" else column)


def numbers(found: PaperResults, out: Path) -> None:
    """Fig. 3.5 in numbers."""
    names = [name for name in SETS if found.select(table="fig3.5", dataset=name)]
    note = (
        f"{draw.INTERVALS} Coordinates have mean 0 and variance 1. The entropy, which no true likelihood goes below, is "
        "drawn where it has a closed form."
    )
    with found.sheet(out, len(METRICS), len(METRICS), (3.6, 3.2), note) as (figure, axes):
        for ax, (metric, label) in zip(axes, METRICS.items(), strict=True):
            for (method, variant), (mark, color, marker, shift) in MARKS.items():
                rows = found.select(table="fig3.5", method=method, variant=variant, metric=metric)
                draw.curve(ax, rows, mark, color, marker, "none", x=lambda row, shift=shift: names.index(row.dataset) + shift)
            ax.set_xticks(range(len(names)), [SETS[name] for name in names], rotation=40, ha="right")
            ax.set(ylabel=label)
            ax.grid(axis="y")
        draw.shared_legend(figure, axes)


def sweep(found: PaperResults, out: Path) -> None:
    """The shape of Tables 3.4 and 3.5."""
    names = [name for name in SWEPT_SETS if found.select(table="3.4", dataset=name)]
    labels = {"3.4": "sw2 to the data" if names and names[0] in SETS else "FID", "3.5": "relative to the largest N"}
    panels = [(table, name) for table in labels for name in names]
    with found.sheet(out, len(panels), len(names), (2.2, 2.4), draw.INTERVALS) as (figure, axes):
        for ax, (table, name) in zip(axes, panels, strict=True):
            draw.curves(ax, found.select(table=table, dataset=name), ("method", "variant"), SWEPT)
            draw.log_values(ax, SWEPT_SETS[name] if table == "3.4" else "", labels[table] if name == names[0] else "")
            low, high = ax.get_ylim()
            draw.plain_log_axis(ax.yaxis, (1, 2, 3, 5) if high < 30 * low else (1,))
            draw.against_evaluations(ax, found.config.sweep, "N")
        draw.shared_legend(figure, axes)  # one rival is on the digits alone


def grids(found: PaperResults, out: Path) -> None:
    """Fig. 3.3, and the losses of a training on either grid."""
    colors = {"L_beta": draw.ORANGE, "hat L_beta": draw.BLUE}
    traces = {kind: found.named_arrays({grid: f"losses/rings/{grid}, {kind}" for grid in colors}) for kind in KINDS}
    times = found.named_arrays({grid: f"times/{grid}" for grid in colors})
    panels = ["times", *KINDS] if times else []
    note = "Losses: first seed, four rings, the mean of ten iterations; dashed, where N grows."
    with found.sheet(out, len(panels), len(panels), (3.2, 2.4), note) as (figure, axes):
        for ax, panel in zip(axes, panels, strict=True):
            if panel == "times":
                for at, (grid, values) in enumerate(times.items()):
                    ax.vlines(values, at - 0.35, at + 0.35, color=colors[grid], label=grid)
                ax.set(title="times of N = 10 steps", xlabel="t", yticks=[])
                continue
            for grid, losses in traces[panel].items():
                smooth = np.convolve(losses, np.full(SMOOTH, 1 / SMOOTH), "valid")
                ax.plot(np.arange(len(smooth)) + SMOOTH - 1, smooth, color=colors[grid])
            ax.set(title=f"{panel} N", xlabel="iteration", ylabel="loss, nats")
        if panels:
            for end in np.cumsum(list(found.config.grids.progressive.values()))[:-1] * found.config.grids.points:
                axes[1].axvline(end, color=draw.GREY, linestyle="--", linewidth=0.8)
        draw.shared_legend(figure, axes[:1])


def kernels(found: PaperResults, out: Path) -> None:
    """Eq. 3.16: distances by lambda, relative to lambda = 1, and of a last step with noise."""
    names = [name for name in SWEPT_SETS if found.select(table=TABLE, dataset=name)]
    by_lambda = LAMBDA.by("lam", found.config.sampling.lambdas)
    note = f"{draw.INTERVALS} Each point is relative to lambda = 1, without noise in the last step, of the same trainings."
    numbers = sorted(
        {row.nfe for row in found.select(table=TABLE) if row.nfe is not None}
    )  # images may have others than points
    with found.sheet(out, len(names), len(names), (2.6, 2.4), note) as (figure, axes):
        for ax, name in zip(axes, names, strict=True):
            rows = [row for row in found.select(table=TABLE, dataset=name) if row.metric in ("sw2_ratio", "fid_ratio")]
            for k, steps in enumerate(numbers):
                its, color, shift = draw.select(rows, nfe=steps), NUMBERS[k], 0.02 * k - 0.01
                places = {variant: lam + shift for variant, lam in by_lambda.items()}
                draw.curve(ax, its, f"N = {steps}", color, x=places)
                draw.curve(ax, its, f"N = {steps}, last step noisy", color, "D", "none", x={NOISE: 1 + 3 * shift})
            ax.axhline(1.0, color=draw.BLACK, linewidth=0.8, linestyle=":")
            ax.set(title=SWEPT_SETS[name], xlabel="lambda", ylabel="relative distance")
        draw.shared_legend(figure, axes, columns=2)


def images(found: PaperResults, out: Path) -> None:
    """Samples of Tables 3.2 to 3.5's models of images."""
    rows = {name: found.named_arrays({row: f"images/{name}/{row}" for row in ("data", "DiffFlow")}) for name in PICTURES}
    rows = {name: pictures for name, pictures in rows.items() if pictures}
    with found.sheet(out, len(rows), 1, (8.0, 1.3), "First seed; real images are held out.") as (_, axes):
        for ax, (name, pictures) in zip(axes, rows.items(), strict=True):
            draw.image_rows(ax, pictures)
            ax.set_title(name)


def bits(found: PaperResults, out: Path) -> None:
    """MNIST in Table 3.2: samples, and bits per dimension image by image."""
    shown = {"real": "data", "DiffFlow": "DiffFlow", "DDPM's ODE": "DDIM"}
    pictures = found.named_arrays({label: f"shown/mnist/{name}" for label, name in shown.items()})
    kinds = {"flow": ("ODE", draw.BLUE, "o"), "bound": ("bound", draw.SKY, "v")}
    note = (
        "One training of each; samples of 30 steps. Right: a point is a held-out image, below the line DiffFlow has fewer bits."
    )
    with found.sheet(out, 2 if pictures else 0, 2, (5.4, 3.0), note) as (_, axes):
        if not pictures:
            return
        draw.image_rows(axes[0], pictures)
        for kind, (label, color, marker) in kinds.items():
            pair = found.named_arrays({name: f"bits/mnist/{name}/{kind}" for name in ("DDPM", "DiffFlow")})
            if len(pair) == 2:
                axes[1].plot(*pair.values(), linestyle="none", marker=marker, color=color, label=label)
        axes[1].axline((4, 4), slope=1, color=draw.BLACK, linewidth=0.8, linestyle=":")
        axes[1].set(xlabel="bits per dimension, DDPM", ylabel="DiffFlow", title="MNIST")
        axes[1].legend()


def _points(ax: Axes, x: np.ndarray, color: str, size: float) -> None:
    """Points (n, 2) on square axes without ticks."""
    ax.plot(*x.T, linestyle="none", marker=".", markersize=size, markeredgewidth=0, color=color)
    ax.set(xlim=(-REACH, REACH), ylim=(-REACH, REACH), aspect="equal", xticks=[], yticks=[])
    ax.tick_params(bottom=False, labelbottom=False)
