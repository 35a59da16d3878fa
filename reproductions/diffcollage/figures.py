"""The figures of DiffCollage: each function draws one, named in paper.yaml, from what was found at one scale."""

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from rescore import figures as draw
from rescore.collage import METHODS
from rescore.data.motion import ACTIVITIES
from rescore.data.textures import TEXTURES
from rescore.ledger.records import Record

from reproductions.diffcollage.images import ExactImages
from reproductions.diffcollage.panoramas import TABLES, TABULATED
from reproductions.diffcollage.scenery import MADE

EXACT = ExactImages.variant
IMAGES = [(name, "") for name in TABLES] + [(name, EXACT) for name in TEXTURES]  # data, and the variant of the records
STYLES = {
    "Baseline": (draw.GREY, "o:"),
    "Replacement": (draw.ORANGE, "s-"),
    "Reconstruction": (draw.GREEN, "^-"),
    "Averaging": (draw.SKY, "x:"),
    "DiffCollage": (draw.RED, "D-"),
}
BANDS = (draw.GREY, draw.RED, draw.BLUE, draw.GREEN)  # of the activities
INPAINTED = ("Split, Reconstruction", "Outpainted, Replacement", "DiffCollage, Reconstruction")
SCENES = ("sky", "brick wall")
WIDE = (*MADE, "exact draws")
CHANGES = ("DiffCollage, interpolated", "DiffCollage, switched", "Replacement, interpolated")
CONTRAST, WHITE = 120, 0.45  # of the sky: grey levels for a whole unit, and what is as bright as the photograph's mean
SKY, GROUND = (-0.25, 0.1, 0.45), (0.25, 0.1, -0.1)  # what the doodle's labels add to red, green and blue
UNKNOWN = np.array([0.3, 0.6, 1.0])[:, None, None]  # pale blue


def panoramas(found: draw.PaperResults, out: Path) -> None:
    """Fig. 4.4: wide images of all methods, one above the other."""
    keys = {image: "/".join(filter(None, ("wide", *image))) for image in IMAGES}
    shown = [image for image in IMAGES if f"{keys[image]}/DiffCollage" in found.arrays]
    note = "Two images of each method; rows named real are strips of the photograph."
    with found.sheet(out, len(shown), 3, (3.6, 5.2), note) as (_, axes):
        for ax, image in zip(axes, shown, strict=True):
            rows = {method: f"{keys[image]}/{method}" for method in (*METHODS, "one network")} | {
                "real": f"wide/{image[0]}/real"
            }
            there = {label: found.arrays[key][:2] for label, key in rows.items() if key in found.arrays}
            labels = [text for label, pair in there.items() for text in (label, "")[: len(pair)]]
            draw.image_stack(ax, [row for pair in there.values() for row in pair], labels)
            ax.set_title(", ".join(filter(None, image)))


def tables(found: draw.PaperResults, out: Path) -> None:
    """Tables 4.1 and 4.2 with seams and drift: of networks, below of exact pieces."""
    rows = found.select(table=["4.1", "4.2"])
    shown = [image for image in IMAGES if _of(rows, image, "DiffCollage", "fid_plus")]
    kinds = [kind for exact in ("", EXACT) if (kind := [image for image in shown if image[1] == exact])]
    panels = {
        "fid_plus": "FID+ (bar), FID of the squares (line)",
        "seam": "roughness of seams",
        "drift": "FID at the ends less that at the middle",
    }
    repeated = sorted({record.over for record in draw.select(rows, metric="fid_plus")}, key="runs".__eq__)  # of exact pieces
    note = f"{draw.INTERVALS} They are over {', of exact pieces over '.join(repeated)}. Line under seams: the photograph's own."
    with found.sheet(out, 3 * len(kinds), 3, (3.7, 2.8), note) as (_, axes):
        for ax, (kind, (metric, title)) in zip(axes, product(kinds, panels.items()), strict=True):
            _bars(ax, rows, kind, metric)
            ax.set(xticks=range(len(kind)), xticklabels=[",\n".join(filter(None, image)) for image in kind], title=title)
        for ax in axes[2:3]:
            ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _bars(ax: Axes, rows: Sequence[Record], images: list[tuple[str, str]], metric: str) -> None:
    """A group of bars for each data set, a bar for each method, and a line for what it is compared with."""
    for i, image in enumerate(images):
        for j, method in enumerate(METHODS):
            for record in _of(rows, image, method, metric):
                ax.bar(
                    i + (j - 2) * 0.16,
                    record.value,
                    0.15,
                    yerr=draw.interval(record),
                    color=STYLES[method][0],
                    label=method if i == 0 else None,
                )
        compared = {"fid_plus": (image, "DiffCollage", "fid"), "seam": ((image[0], ""), "real images", "seam")}
        for line in _of(rows, *compared[metric]) if metric in compared else ():
            ax.hlines(line.value, i - 0.42, i + 0.42, color=draw.BLACK, linewidth=1)


def _of(rows: Sequence[Record], image: tuple[str, str], method: str, metric: str) -> list[Record]:
    return draw.select(rows, dataset=image[0], variant=image[1], method=method, metric=metric)


def lengths(found: draw.PaperResults, out: Path) -> None:
    """Fig. 4.5: passes and seconds against length."""
    note = "A way back through the network counts as a pass. Baseline, averaging and DiffCollage take equally many passes."
    with found.sheet(out, 2, 2, (3.6, 2.9), note) as (_, axes):
        if (ratios := found.arrays.get("lengths/ratios")) is None:
            return
        for ax, what, label in zip(axes, ("passes", "seconds"), ("sequential network passes", "seconds an image"), strict=True):
            for method, (color, style) in STYLES.items():
                ax.plot(ratios, found.arrays[f"lengths/{method}/{what}"], style, color=color, label=method, markersize=4)
            ax.set(xlabel="width over height", ylabel=label, ylim=(0, None), xticks=ratios)
            ax.grid(True)
        axes[0].legend()


def samplers(found: draw.PaperResults, out: Path) -> None:
    """Section 4.4.2: contents of a known law by every sampler."""
    styles = {
        ("DDIM", ""): ("DDIM", draw.BLUE, "o", "-"),
        ("DDIM", "eta=1"): ("DDIM, eta 1", draw.SKY, "o", ":"),
        ("DEIS", ""): ("DEIS", draw.RED, "D", "-"),
        ("rho2Midpoint", ""): ("midpoint in rho (DPM-Solver's kind)", draw.GREEN, "s", "-"),
        ("gDDIM", ""): ("gDDIM on CLD", draw.ORANGE, "^", "-"),
    }
    panels = {
        "frechet": "Gaussian chain: distance to the data",
        "to_flow": "Gaussian chain: distance to the flow's end",
        "tv_neighbours": "mode chain: neighbours, total variation",
        "tv_far": "mode chain: six columns apart",
    }
    note = f"{draw.INTERVALS} Squared 2-Wasserstein distances a coordinate are exact. Line: draws of the chain itself, as many."
    with found.sheet(out, len(panels), 2, (4.0, 2.6), note, sharex=True) as (figure, axes):
        for ax, (metric, title) in zip(axes, panels.items(), strict=True):
            rows = found.select(table="samplers", metric=metric)
            if not rows:
                continue
            draw.curves(ax, rows, ("method", "variant"), styles)
            draw.reference_line(ax, draw.select(rows, method="exact draws"))
            if metric.startswith("tv"):
                ax.set(title=title, ylim=(0, None))
                ax.grid(True)
            else:
                draw.log_values(ax, title)
            draw.against_evaluations(ax, found.config.samplers.evaluations)
        draw.shared_legend(figure, axes, columns=3)


def scenery(found: draw.PaperResults, out: Path) -> None:
    """Figs. 4.4 and 4.9 at a height of 32 pixels: panoramas, circles, and cubes as panoramas all around."""
    arrays = {key: _coloured(key, found) for key in found.arrays if key.startswith("pictures/") and not key.endswith("palette")}
    with found.sheet(out, 4, 1, (8.0, 3.2)) as (_, (sky, wall, circles, cubes)):
        for ax, name in zip((sky, wall), SCENES, strict=True):
            rows = {method: arrays.get(f"pictures/{name}/wide/{method}") for method in WIDE}
            there = {method: x[0] for method, x in rows.items() if x is not None}
            if there:
                draw.image_stack(ax, list(there.values()), list(there))
            ax.set_title(f"{name}: pieces of 32x32, panoramas of 32x{found.config.pictures.ratio * 32}")
        rings = [arrays.get(f"pictures/{name}/circle/DiffCollage") for name in SCENES]
        if rings := [draw.ring_picture(x[0], pixels=4) for x in rings if x is not None]:
            draw.image_row(circles, [np.broadcast_to(x, (3, *x.shape[1:])) for x in rings], SCENES[: len(rings)])
        circles.set_title("closed circles")
        faces = {method: arrays.get(f"pictures/sky/cube/{method}") for method in ("Baseline", "DiffCollage")}
        if there := {method: x[0] for method, x in faces.items() if x is not None}:
            draw.image_row(cubes, list(there.values()), list(there))
        cubes.set_title("the sky on a cube, all around")


def trained(found: draw.PaperResults, out: Path) -> None:
    """The same by networks, beside the photographs and exact pieces that begin at the same noise."""
    arrays = {key: _coloured(key, found) for key in found.arrays if key.startswith("trained/") and not key.endswith("palette")}
    if not arrays:
        draw.not_measured(out)
        return
    note = (
        "Exact pieces and the networks of the first training begin at the same noise. A photograph is narrower than a panorama."
    )
    with found.sheet(out, 4, 2, (7.0, 4.3), note) as (_, (*panoramas, circles, cubes)):
        labels = {
            "photograph": "photograph",
            "wide/exact pieces": "exact pieces",
            **{f"wide/{m}": f"networks,\n{m}" for m in MADE},
        }
        for ax, name in zip(panoramas, SCENES, strict=True):
            rows = {label: x[0] for key, label in labels.items() if (x := arrays.get(f"trained/{name}/{key}")) is not None}
            if rows:
                draw.image_stack(ax, _as_wide(list(rows.values())), list(rows))
            ax.set_title(f"{name}: pieces of 32x32, panoramas of 32x{found.config.pictures.ratio * 32}")
        rings = {name: [f"trained/{name}/circle/{kind}" for kind in ("exact pieces", "DiffCollage")] for name in SCENES}
        _pairs(
            circles, {name: [draw.ring_picture(arrays[k][0], 4) for k in keys if k in arrays] for name, keys in rings.items()}
        )
        circles.set_title("closed circles by DiffCollage: exact pieces, networks")
        faces = {
            "DiffCollage:\nexact pieces, networks": ("exact pieces", "DiffCollage"),
            "networks:\nBaseline, Replacement": MADE[:2],
        }
        around = {label: [f"trained/sky/cube/{method}" for method in methods] for label, methods in faces.items()}
        _pairs(cubes, {label: [arrays[key][0] for key in keys if key in arrays] for label, keys in around.items()})
        cubes.set_title("the sky on a cube, all around")


def _pairs(ax: Axes, rows: Mapping[str, Sequence[np.ndarray]]) -> None:
    """Images (C, H, W) of one size beside each other, a labelled row of them for each entry that has some."""
    there = {label: [np.broadcast_to(x, (3, *x.shape[1:])) for x in images] for label, images in rows.items() if images}
    beside = [
        np.concatenate([np.pad(x, ((0, 0), (0, 0), (0, 8)), constant_values=np.nan) for x in row], 2) for row in there.values()
    ]
    if beside:
        draw.image_stack(ax, beside, list(there))


def _as_wide(images: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Images (C, H, W) as wide as the widest, white beside them."""
    width = max(image.shape[2] for image in images)
    return [np.pad(x, ((0, 0), (0, 0), (0, width - x.shape[2])), constant_values=np.nan) for x in images]


def strokes(found: draw.PaperResults, out: Path) -> None:
    """Section 4.5.2: walls from strokes."""
    starts = found.config.strokes.starts
    with found.sheet(out, 1, 1, (8.0, 4.2)) as (_, (ax,)):
        if "strokes/given" not in found.arrays:
            return
        rows = {"strokes": found.arrays["strokes/given"][0]}
        rows |= {f"{how}, t={t:g}": found.arrays[f"strokes/{how}/{t:g}"][0] for t in starts for how in ("Split", "DiffCollage")}
        draw.image_stack(ax, [image.clip(-1, 1) for image in rows.values()], list(rows))


def doodle(found: draw.PaperResults, out: Path) -> None:
    """Fig. 4.9, bottom: a label map all around, and pictures under it."""
    with found.sheet(out, 3, 1, (7.0, 3.4)) as (_, axes):
        if "doodle/DiffCollage" not in found.arrays:
            return
        labels = found.arrays["doodle/labels"]
        for ax, method in zip(axes, ("label map", "Baseline", "DiffCollage"), strict=True):
            grey = 0.6 - 1.2 * labels[None] if method == "label map" else found.arrays[f"doodle/{method}"][0]
            colour = np.where(labels == 0, np.array(SKY)[:, None, None], np.array(GROUND)[:, None, None])
            draw.image_row(ax, [(colour + 0.8 * grey).clip(-1, 1)], [""])
            ax.set_title(method)


def _coloured(key: str, found: draw.PaperResults) -> np.ndarray:
    """The contents of an array, in [-1, 1]; of the sky in its own colours (n, 3, H, W), contrast stretched."""
    x, section = found.arrays[key], key.split("/")[0]
    if not key.startswith(f"{section}/sky/"):
        return x.clip(-1, 1)
    mean, change = found.arrays[f"{section}/sky/palette"][:, :, None, None]
    return ((mean + CONTRAST * change * (x - WHITE)) / 127.5 - 1).clip(-1, 1)


def change(found: draw.PaperResults, out: Path) -> None:
    """Fig. 4.6: a texture that changes, and its roughness along the picture."""
    rows = {label: key for label in CHANGES if (key := f"change/{label}") in found.arrays}
    note = f"{draw.INTERVALS} The outermost squares are given. Line: the roughness of each piece's own law."
    with found.sheet(out, 2, 1, (8.0, 3.0), note) as (_, (pictures, profile)):
        if not rows:
            return
        draw.image_stack(pictures, [found.arrays[key][0].clip(-1, 1) for key in rows.values()], list(rows))
        pictures.set_title("from the sky to gravel")
        for label, color in zip(rows, (draw.RED, draw.GREY, draw.ORANGE), strict=False):
            method, variant = label.split(", ")
            records = found.select(table="fig4.6", dataset="sky to gravel", method=method, variant=variant)
            points = [record for record in records if record.metric.startswith("roughness_")]
            draw.curve(profile, points, label, color, x=lambda record: int(record.metric.removeprefix("roughness_")))
        expected = found.arrays["change/expected"]
        profile.plot(np.arange(len(expected)) + 0.5, expected, color=draw.BLACK, linewidth=0.8, linestyle=":")
        profile.set(xlabel="half piece", ylabel="roughness", ylim=(0, None))
        profile.legend()


def shapes(found: draw.PaperResults, out: Path) -> None:
    """Figs. 4.6, 4.7 and 4.9: other graphs and conditioned sampling."""
    arrays = found.arrays
    titles = (
        "cycle: three images, each twice; the red line is the wrap",
        "two dimensions",
        "cubemap: two methods in a row",
        "connecting the outer squares (red: the joins)",
        "inpainting from sparse pixels",
    )
    with found.sheet(out, 5, 2, (5.0, 2.4)) as (_, axes):
        for ax, title in zip(axes, titles, strict=True):
            ax.set_title(title)
        ring, grid, cube, connect, inpaint = axes
        if "loop" in arrays:
            draw.image_stack(ring, [np.concatenate((image, image), -1) for image in arrays["loop"]], [""] * len(arrays["loop"]))
            ring.axvline(arrays["loop"].shape[-1] - 0.5, color=draw.RED, linewidth=0.8)
        if "grid/DiffCollage" in arrays:
            draw.image_row(grid, [arrays[f"grid/{method}"][0] for method in METHODS], METHODS)
        if "cubemap/DiffCollage" in arrays:
            pairs = TABULATED[:2], TABULATED[2:]
            gap = np.full((*arrays["cubemap/DiffCollage"].shape[1:-1], 4), np.nan)
            rows = [np.concatenate((arrays[f"cubemap/{a}"][0], gap, arrays[f"cubemap/{b}"][0]), -1) for a, b in pairs]
            draw.image_stack(cube, rows, [", ".join(pair) for pair in pairs])
        if "connect/DiffCollage" in arrays:
            draw.image_stack(connect, [arrays[f"connect/{method}"][0] for method in TABULATED], TABULATED)
            side, width = arrays["connect/DiffCollage"].shape[-2:]
            for column in (side, width - side):
                connect.axvline(column - 0.5, color=draw.RED, linewidth=0.8)
        if "inpaint/real" in arrays:
            real, mask = arrays["inpaint/real"][0], arrays["inpaint/mask"]
            rows = [real, np.where(mask, real, UNKNOWN), *(arrays[f"inpaint/{method}"][0] for method in INPAINTED)]
            rows = [np.broadcast_to(row, (3, *real.shape[1:])) for row in rows]
            draw.image_stack(inpaint, rows, ["real", "given", *INPAINTED])


def motion(found: draw.PaperResults, out: Path) -> None:
    """Fig. 4.8: series with bands of activities."""
    arrays = found.arrays
    with found.sheet(out, 4, 1, (8.0, 2.9)) as (_, axes):
        if "naive/activities" in arrays:
            _long_series(axes[3], arrays, "naive", "from one transformer; the baseline denoises the long series directly")
        if "motion/real" not in arrays:
            return
        _traces(axes[0], arrays["motion/real"], [[k] for k in range(len(ACTIVITIES))], ACTIVITIES)
        axes[0].set_title("real series, one of each activity")
        _long_series(axes[1], arrays, "motion", "from a network of pieces and one of overlaps")
        plan = arrays["several/plan"].tolist()
        _traces(axes[2], [arrays[f"several/{m}"] for m in TABULATED], [plan] * len(TABULATED), TABULATED)
        axes[2].set(title="one activity after another", xlabel="samples of 0.1 s, four series one after another")
        handles = [
            axes[2].fill_between([], [], color=color, alpha=0.25, label=name)
            for name, color in zip(ACTIVITIES, BANDS, strict=True)
        ]
        axes[2].legend(handles=handles, ncols=4, loc="upper left", bbox_to_anchor=(0, -0.18))


def _long_series(ax: Axes, arrays: Mapping[str, np.ndarray], section: str, title: str) -> None:
    """A long series of each method, of the livelier one of two activities."""
    which = int(arrays[f"{section}/activities"].argmax())
    activity = int(arrays[f"{section}/activities"][which])
    _traces(ax, [arrays[f"{section}/{m}"][which] for m in TABULATED], [[activity]] * len(TABULATED), TABULATED)
    ax.set_title(f"long series of one activity, {ACTIVITIES[activity].lower()}, {title}")


def _traces(ax: Axes, series: Sequence[np.ndarray], plans: Sequence[Sequence[int]], labels: Sequence[str]) -> None:
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
