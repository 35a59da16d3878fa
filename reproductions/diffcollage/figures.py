"""The figures of DiffCollage: each function draws one, named in paper.yaml, from results/<scale>."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from rescore import figures as draw
from rescore.data.motion import ACTIVITIES

ROOT = Path(__file__).parents[2]
TEXTURES, SCENES = ("brick", "grass", "gravel"), ("lhq", "tower")
IMAGES = (*TEXTURES, *SCENES, *(f"{name}/exact pieces" for name in TEXTURES))  # data, and the variant of the records
METHODS = ("Baseline", "Replacement", "Reconstruction", "Averaging", "DiffCollage")
TABULATED = tuple(method for method in METHODS if method != "Averaging")  # in the paper
COLORS = dict(zip(METHODS, (draw.GREY, draw.ORANGE, draw.GREEN, draw.SKY, draw.RED), strict=True))
BANDS = (draw.GREY, draw.RED, draw.BLUE, draw.GREEN)  # of the activities
INPAINTED = ("Split, Reconstruction", "Outpainted, Replacement", "DiffCollage, Reconstruction")
UNKNOWN = np.array([0.3, 0.6, 1.0])[:, None, None]  # pale blue
GAP = 0.15  # between images above each other, of their height


def panoramas(results: Path, out: Path) -> None:
    """Fig. 4.4: wide images of all methods, one above the other."""
    found = _open(results)
    shown = [name for name in IMAGES if f"wide/{name}/DiffCollage" in found.arrays]
    with draw.sheet(out, max(1, len(shown)), 3, (3.6, 5.2)) as (figure, axes):
        for ax, name in zip(axes, shown, strict=False):
            rows, labels = [], []
            keys = {method: f"wide/{name}/{method}" for method in METHODS} | {"real": f"wide/{name.split('/')[0]}/real"}
            for label, key in keys.items():
                if key in found.arrays:
                    rows += list(found.arrays[key][:2])
                    labels += [label, ""]
            _stack(ax, rows, labels)
            ax.set_title(name.replace("/", ", "))
        if not shown:
            draw.placeholder(axes[0], "no job has made wide images")
        draw.add_notes(
            figure, f"Scale {found.scale}. Two images of each method; rows named real are strips of the photograph."
        )


def tables(results: Path, out: Path) -> None:
    """Tables 4.1 and 4.2 with seams and drift: of networks, below of exact pieces."""
    found = _open(results)
    values = {
        ("/".join(filter(None, (r.dataset, r.variant))), r.method, r.metric): r
        for r in found.records if r.table in ("4.1", "4.2")
    }  # fmt: skip
    shown = [name for name in IMAGES if (name, "DiffCollage", "fid_plus") in values]
    rows = [row for row in ([name for name in shown if "/" not in name], [name for name in shown if "/" in name]) if row]
    panels = (
        ("fid_plus", "FID+ (bar), FID of the squares (line)"),
        ("seam", "roughness of seams"),
        ("drift", "FID at the ends less that at the middle"),
    )
    with draw.sheet(out, 3 * max(1, len(rows)), 3, (3.7, 2.8)) as (figure, axes):
        for k, ax in enumerate(axes):
            if not rows:
                draw.placeholder(ax, "no job has made wide images")
                continue
            names, (metric, title) = rows[k // 3], panels[k % 3]
            _bars(ax, values, names, metric)
            ax.set(xticks=range(len(names)), xticklabels=[name.replace("/", ",\n") for name in names], title=title)
        if rows:
            axes[2].legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
        draw.add_notes(
            figure,
            f"Scale {found.scale}. Bars: two standard errors, over {_repeated(values)}. "
            "Line under seams: the photograph's own.",
        )


def _bars(ax: Axes, values: dict, names: list[str], metric: str) -> None:
    """A group of bars for each name, a bar for each method, and a line for what it is compared with."""
    for i, name in enumerate(names):
        for j, method in enumerate(METHODS):
            record = values[name, method, metric]
            error = 2 * record.stderr if record.stderr is not None else 0
            label = method if i == 0 else None
            ax.bar(i + (j - 2) * 0.16, record.value, 0.15, yerr=error, color=COLORS[method], label=label)
        line = {"fid_plus": (name, "DiffCollage", "fid"), "seam": (name.split("/")[0], "real images", "seam")}.get(metric)
        if line in values:
            ax.hlines(values[line].value, i - 0.42, i + 0.42, color=draw.BLACK, linewidth=1)


def _repeated(values: dict) -> str:
    """What the errors of the tables are over; those of exact pieces are over runs."""
    kinds = dict.fromkeys(record.over for record in values.values() if record.metric == "fid_plus")
    return ", of exact pieces over ".join(sorted(kinds, key="runs".__eq__))


def lengths(results: Path, out: Path) -> None:
    """Fig. 4.5: passes and seconds against length."""
    found = _open(results)
    with draw.sheet(out, 2, 2, (3.6, 2.9)) as (figure, axes):
        for ax, (what, label) in zip(
            axes, {"passes": "sequential network passes", "seconds": "seconds an image"}.items(), strict=True
        ):
            if "lengths/ratios" not in found.arrays:
                draw.placeholder(ax, "no job has measured lengths")
                continue
            ratios = found.arrays["lengths/ratios"]
            for method, style in zip(METHODS, ("o:", "s-", "^-", "x:", "D-"), strict=True):
                ax.plot(
                    ratios, found.arrays[f"lengths/{method}/{what}"], style, color=COLORS[method], label=method, markersize=4
                )
            ax.set(xlabel="width over height", ylabel=label, ylim=(0, None), xticks=ratios)
            ax.grid(True)
        axes[0].legend()
        draw.add_notes(
            figure,
            f"Scale {found.scale}. A way back through the network counts as a pass. Baseline, averaging and "
            "DiffCollage take equally many passes.",
        )


def shapes(results: Path, out: Path) -> None:
    """Figs. 4.6, 4.7 and 4.9: other graphs and conditioned sampling."""
    arrays = _open(results).arrays
    with draw.sheet(out, 5, 2, (5.0, 2.4)) as (figure, axes):
        ring, grid, cube, connect, inpaint = axes
        if "loop" in arrays:
            _stack(ring, [np.concatenate((image, image), -1) for image in arrays["loop"]], [""] * len(arrays["loop"]))
            ring.axvline(arrays["loop"].shape[-1] - 0.5, color=draw.RED, linewidth=0.8)
        ring.set_title("cycle: three images, each twice; the red line is the wrap")
        if "grid/DiffCollage" in arrays:
            _beside(grid, [arrays[f"grid/{method}"][0] for method in METHODS], METHODS)
        grid.set_title("two dimensions")
        if "cubemap/DiffCollage" in arrays:
            rows = [[arrays[f"cubemap/{method}"][0] for method in pair] for pair in (TABULATED[:2], TABULATED[2:])]
            gap = np.full((*rows[0][0].shape[:-1], 4), np.nan)
            _stack(cube, [np.concatenate((left, gap, right), -1) for left, right in rows],
                   [f"{left}, {right}" for left, right in (TABULATED[:2], TABULATED[2:])])  # fmt: skip
        cube.set_title("cubemap: two methods in a row")
        methods = TABULATED
        if "connect/DiffCollage" in arrays:
            _stack(connect, [arrays[f"connect/{method}"][0] for method in methods], methods)
            width, side = arrays["connect/DiffCollage"].shape[-1], arrays["connect/DiffCollage"].shape[-2]
            for column in (side, width - side):
                connect.axvline(column - 0.5, color=draw.RED, linewidth=0.8)
        connect.set_title("connecting the outer squares (red: the joins)")
        if "inpaint/real" in arrays:
            real, mask = arrays["inpaint/real"][0], arrays["inpaint/mask"]
            rows = [real, np.where(mask, real, UNKNOWN), *(arrays[f"inpaint/{method}"][0] for method in INPAINTED)]
            _stack(inpaint, [np.broadcast_to(row, (3, *real.shape[1:])) for row in rows], ["real", "given", *INPAINTED])
        inpaint.set_title("inpainting from sparse pixels")
        for ax in axes:
            if not ax.images:
                draw.placeholder(ax, "no job has made it")


def motion(results: Path, out: Path) -> None:
    """Fig. 4.8: series with bands of activities."""
    arrays = _open(results).arrays
    methods = TABULATED
    with draw.sheet(out, 3, 1, (8.0, 2.9)) as (figure, axes):
        if "motion/real" not in arrays:
            for ax in axes:
                draw.placeholder(ax, "no job has made series: BasicMotions is not at hand")
            return
        real = arrays["motion/real"]
        _traces(axes[0], list(real), [[k] for k in range(len(real))], list(ACTIVITIES))
        axes[0].set_title("real series, one of each activity")
        which = int(arrays["motion/activities"].argmax())  # the livelier one
        activity = int(arrays["motion/activities"][which])
        _traces(axes[1], [arrays[f"motion/{m}"][which] for m in methods], [[activity]] * 4, list(methods))
        axes[1].set_title(f"long series of one activity, {ACTIVITIES[activity].lower()}")
        plan = arrays["several/plan"].tolist()
        _traces(axes[2], [arrays[f"several/{m}"] for m in methods], [plan] * 4, list(methods))
        axes[2].set_title("one activity after another")
        handles = [
            axes[2].fill_between([], [], color=color, alpha=0.25, label=name)
            for name, color in zip(ACTIVITIES, BANDS, strict=True)
        ]
        axes[2].legend(handles=handles, ncols=4, loc="upper left", bbox_to_anchor=(0, -0.18))
        axes[2].set_xlabel("samples of 0.1 s, four series one after another")


def _traces(ax: Axes, series: list[np.ndarray], plans: list[list[int]], labels: list[str]) -> None:
    """Series (6, L) one after another, three channels of each, on bands of the activities planned."""
    start = 0
    for values, plan, label in zip(series, plans, labels, strict=True):
        length = values.shape[-1]
        edges = start + np.linspace(0, length, len(plan) + 1)
        for k, left, right in zip(plan, edges[:-1], edges[1:], strict=True):
            ax.axvspan(left, right, color=BANDS[k], alpha=0.2, linewidth=0)
        for channel, color in zip(range(3), (draw.BLACK, draw.BLUE, draw.ORANGE), strict=True):
            ax.plot(start + np.arange(length), values[channel], color=color, linewidth=0.7)
        ax.text(start + 1, 1.22, label, va="top", fontsize=draw.SMALL)
        start += length + 8
    ax.set(ylim=(-1.05, 1.25), xlim=(0, start - 8), yticks=(-1, 0, 1))


def _stack(ax: Axes, images: list[np.ndarray], labels: list[str] | tuple[str, ...]) -> None:
    """Images (C, H, W) of one width above each other, a gap between, labelled at the left."""
    gap = max(1, round(GAP * min(image.shape[1] for image in images)))
    parts, middles, y = [], [], 0
    for image in images:
        parts += [image, np.full((len(image), gap, image.shape[2]), np.nan)]
        middles.append(y + image.shape[1] / 2 - 0.5)
        y += image.shape[1] + gap
    _show(ax, np.concatenate(parts[:-1], 1))
    named = [(middle, label) for middle, label in zip(middles, labels, strict=True) if label]
    ax.set_yticks([middle for middle, _ in named], [label for _, label in named], fontsize=draw.SMALL)
    ax.tick_params(length=0)


def _beside(ax: Axes, images: list[np.ndarray], labels: tuple[str, ...]) -> None:
    """Images (C, H, W) of one size side by side, labelled below."""
    side = images[0].shape[2]
    gap = np.full((*images[0].shape[:2], side // 4), np.nan)
    _show(ax, np.concatenate([part for image in images for part in (image, gap)][:-1], 2))
    ax.set_yticks([])
    ax.set_xticks([k * (side + side // 4) + side / 2 - 0.5 for k in range(len(images))], labels,
                  fontsize=draw.SMALL)  # fmt: skip
    ax.tick_params(length=0)


def _show(ax: Axes, image: np.ndarray) -> None:
    """An image (C, H, W) in [-1, 1], grey or RGB; NaN is white."""
    pixels = np.nan_to_num((image.transpose(1, 2, 0) + 1) / 2, nan=1.0)
    ax.imshow(pixels.repeat(3 // pixels.shape[2], 2), interpolation="nearest")
    ax.set_xticks([])
    ax.spines[:].set_visible(False)


def _open(results: Path) -> draw.PaperResults:
    return draw.open_results(results, "diffcollage", ROOT)
