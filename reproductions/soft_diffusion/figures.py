"""The figures of Soft Diffusion: each function draws one, named in paper.yaml, from results/<scale>."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullLocator

from rescore import figures as draw
from rescore.ledger.records import Record

ROOT = Path(__file__).parents[2]
STRIP_TIMES = ("0", "0.1", "0.2", "0.35", "0.5", "0.65", "0.8", "0.9", "1")
FAMILIES = {"main": "blur", "masking": "masking"}
MOMENTUM = "blur; Momentum Sampler"
SAMPLERS = {
    MOMENTUM: ("Momentum", draw.BLUE, "o", "-"),
    "blur; Probability Flow Momentum Sampler": ("Flow Momentum", draw.SKY, "s", "--"),
    "blur; Naive Sampler": ("Naive", draw.RED, "^", "-"),
}
OTHERS = {
    "blur; MSE-matched blur schedule": ("MSE schedule", draw.ORANGE, "D", "-"),
    "blur; noise and blur change together": ("joint noise", draw.GREEN, "v", "-"),
    "blur; sigma_max=0.05": ("$\\sigma_{max}$ = 0.05", draw.PINK, "P", ":"),
    "blur; sigma_max=0.025": ("$\\sigma_{max}$ = 0.025", draw.PURPLE, "X", ":"),
    "reverse diffusion": ("VE, noise alone", draw.BLACK, "x", "-"),
    "masking": ("masking", draw.GREY, "*", "-"),
}
ROWS = {
    MOMENTUM: "Momentum", "blur; Probability Flow Momentum Sampler": "Flow", "blur; Naive Sampler": "Naive",
    "blur; clean-prediction loss (Bansal et al.)": "clean loss", "blur; MSE-matched blur schedule": "MSE schedule",
    "blur; noise and blur change together": "joint noise", "blur; sigma_max=0.05": "$\\sigma_{max}$ = 0.05",
    "blur; sigma_max=0.025": "$\\sigma_{max}$ = 0.025", "masking": "masking",
}  # fmt: skip
PER_ROW = 12


def strips(results: Path, out: Path) -> None:
    """Fig. 1, above: test images corrupted, and paths of the Momentum Sampler, for blur and for masking."""
    found = _open(results)
    with draw.sheet(out, 2, 2, (4.6, 2.6)) as (figure, axes):
        for ax, (key, title) in zip(axes, FAMILIES.items(), strict=True):
            rows = [("forward", "corrupted"), ("reverse", "sampled")]
            pictures = [(label, found.arrays.get(f"strip/{key}/{kind}")) for kind, label in rows]
            if any(images is None for _, images in pictures):
                draw.placeholder(ax, "no network for it at this scale")
                continue
            lines = [(label, images[:, i]) for label, images in pictures for i in (0, 1)]
            _mosaic(ax, [images for _, images in lines], [label for label, _ in lines], STRIP_TIMES)
            ax.set(title=title.capitalize(), xlabel="t")
        draw.add_notes(figure, f"Scale {found.scale}. Corruption runs to the right, sampling (100 steps) to the left.")


def means(results: Path, out: Path) -> None:
    """Fig. 5: what the networks make of a corrupted image, E[x_0 | x_t]."""
    found = _open(results)
    with draw.sheet(out, 2, 2, (4.6, 2.6)) as (figure, axes):
        for ax, (key, title) in zip(axes, FAMILIES.items(), strict=True):
            forward, clean = (found.arrays.get(f"strip/{key}/{kind}") for kind in ("forward", "means"))
            if forward is None:
                draw.placeholder(ax, "no network for it at this scale")
                continue
            lines = [forward[:, 2], clean[:, 2], forward[:, 3], clean[:, 3]]
            _mosaic(ax, lines, ["$x_t$", "$E[x_0|x_t]$"] * 2, STRIP_TIMES)
            ax.set(title=title.capitalize(), xlabel="t")
        draw.add_notes(
            figure,
            f"Scale {found.scale}. Images that the networks did not see. Where the mask hides a pixel, Soft Score Matching "
            "leaves the prediction free.",
        )


def schedules(results: Path, out: Path) -> None:
    """Fig. 6: noise and blur over time."""
    found = _open(results)
    names = {found.config.data: draw.BLUE, "faces": draw.GREEN, "mse": draw.ORANGE}
    with draw.sheet(out, 2, 2, (3.6, 2.8)) as (figure, axes):
        t = found.arrays.get("schedule/t")
        if t is None:
            for ax in axes:
                draw.placeholder(ax, "no schedules at this scale")
            return
        axes[0].plot(t[1:], found.arrays["schedule/sigma"][1:], color=draw.BLACK)
        axes[0].set(title="Noise", xlabel="t", ylabel="$\\sigma_t$", ylim=(0, None))
        for name, color in names.items():
            label = f"{found.config.data}, MSE-matched" if name == "mse" else f"{name}, shortest path"
            axes[1].plot(t, found.arrays[f"schedule/{name}"], color=color, label=label)
        axes[1].set(title="Blur", xlabel="t", ylabel="std of the kernel / image side")
        axes[1].legend()
        for ax in axes:
            ax.grid()
        path = next(r for r in found.records if r.metric == "path_nodes")
        draw.add_notes(figure, f"Scale {found.scale}. Shortest paths of {path.value:.0f} nodes through "
                               f"{found.config.schedule.candidates} levels. Faces: 100 images of 25x25 pixels.")  # fmt: skip


def quality(results: Path, out: Path) -> None:
    """Figs. 3 and 8, and the ablations: distance to the data against steps, of networks and of exact posterior means."""
    found = _open(results)
    trained = [r for r in found.records if r.metric == "fid" and r.nfe is not None]
    exact = [r for r in found.records if r.metric == "frechet"]
    distance, main = "Frechet distance of pixels", ("blur after noise", *SAMPLERS[MOMENTUM][1:])
    panels = [("Networks: samplers", trained, SAMPLERS, "FID"), ("Exact: samplers", exact, SAMPLERS, distance),
              ("Exact: corruptions", exact, {MOMENTUM: main} | OTHERS, distance)]  # fmt: skip
    with draw.sheet(out, 3, 3, (3.5, 3.6)) as (figure, axes):
        for ax, (title, records, styles, ylabel) in zip(axes, panels, strict=True):
            _curves(ax, records, styles)
            ax.set(title=title, xscale="log", yscale="log", xlabel="steps", ylabel=ylabel)
            if not ax.has_data():
                draw.placeholder(ax, "not measured at this scale")
                continue
            ticks = sorted({r.nfe for r in records if r.variant in styles and r.variant != "masking"})
            _plain_ticks(ax, ticks)
            ax.yaxis.set_major_formatter("{x:g}")
            ax.grid()
            ax.legend(fontsize=6.5, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.2))
        if floors := [r for r in found.records if r.table == "real" and r.metric == "fid"]:
            draw.real_images(axes[0], floors)
            axes[0].yaxis.set_minor_formatter(FuncFormatter(lambda value, _: f"{value:g}" if value in (20, 30, 50) else ""))
        draw.add_notes(
            figure,
            f"Scale {found.scale}. Left: mean over {len(found.config.seeds)} networks, bars: two standard errors. "
            f"{draw.FLOOR_NOTE} Exact: Gaussian data, where posterior mean and law of samples are known.",
        )


def ablations(results: Path, out: Path) -> None:
    """Samples of every network, with their FID at the most steps that were run up to 280 (masking: 256)."""
    found = _open(results)
    rows = {}
    for variant, label in ROWS.items():
        records = [r for r in found.records if (r.variant, r.metric) == (variant, "fid") and r.nfe is not None and r.nfe <= 280]
        if records:
            best = max(records, key=lambda r: r.nfe)
            rows[f"{label}, {best.nfe} steps: {best.value:.1f} ± {2 * (best.stderr or 0):.1f}"] = found.arrays[
                f"samples/{variant}/{best.nfe}"][:PER_ROW]  # fmt: skip
    with draw.sheet(out, 1, 1, (8.4, 0.42 * (len(rows) + 1) + 0.6)) as (figure, axes):
        if not rows:
            draw.placeholder(axes[0], "no networks at this scale")
            return
        rows["real"] = found.arrays["real"][:PER_ROW]
        _mosaic(axes[0], [(images + 1) / 2 for images in rows.values()], list(rows), ())
        axes[0].set_title("Samples, and FID")
        draw.add_notes(figure, f"Scale {found.scale}. Not chosen: the first samples of the first network. ±: two standard "
                               f"errors over {len(found.config.seeds)} networks.")  # fmt: skip


def neighbours(results: Path, out: Path) -> None:
    """Fig. 9: samples, and the training image nearest to each."""
    found = _open(results)
    keys = [key for key in found.arrays if key.startswith(f"samples/{MOMENTUM}/")]
    with draw.sheet(out, 1, 1, (6.0, 1.5)) as (figure, axes):
        if not keys:
            draw.placeholder(axes[0], "no networks at this scale")
            return
        key = max(keys, key=lambda key: int(key.rsplit("/", 1)[1]))
        pair = [found.arrays[key][:PER_ROW], found.arrays[key.replace("samples/", "neighbours/")][:PER_ROW]]
        _mosaic(axes[0], [(images + 1) / 2 for images in pair], ["sample", "nearest"], ())
        steps = int(key.rsplit("/", 1)[1])
        shown = {("", None): "unseen images", (MOMENTUM, steps): "samples"}
        cells = [r for r in found.records if r.metric == "nearest" and (r.variant, r.nfe) in shown]
        text = "; ".join(f"{shown[r.variant, r.nfe]} {r.value:.3f}" for r in cells)
        draw.add_notes(figure, f"Scale {found.scale}. Momentum Sampler, {steps} steps. Median RMS distance a pixel, "
                               f"of [-1, 1], to the nearest training image: {text}.")  # fmt: skip


def _open(results: Path) -> draw.PaperResults:
    return draw.open_results(results, "soft_diffusion", ROOT)


def _mosaic(ax: Axes, lines: Sequence[np.ndarray], labels: Sequence[str], columns: Sequence[str]) -> None:
    """Rows of images (n, C, H, W) in [0, 1], with a label a row and maybe one a column."""
    framed = [np.pad(images.clip(0, 1), ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=1) for images in lines]
    picture = np.concatenate([np.concatenate(list(images), axis=-1) for images in framed], axis=-2).transpose(1, 2, 0)
    ax.imshow(picture.squeeze(), cmap="gray", vmin=0, vmax=1)
    height, width = framed[0].shape[-2:]
    ax.set_yticks([height * (i + 0.5) - 0.5 for i in range(len(lines))], labels, fontsize=7.5)
    ax.set_xticks([width * (i + 0.5) - 0.5 for i in range(len(columns))], columns, fontsize=7)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)


def _curves(ax: Axes, records: Iterable[Record], styles: dict[str, tuple[str, str, str, str]]) -> None:
    for variant, (label, color, marker, line) in styles.items():
        rows = sorted((r for r in records if r.variant == variant), key=lambda r: r.nfe)
        if not rows:
            continue
        errors = [min(2 * (r.stderr or 0.0), 0.99 * r.value) for r in rows]
        ax.errorbar([r.nfe for r in rows], [r.value for r in rows], errors, label=label, color=color, marker=marker,
                    linestyle=line, markersize=4, linewidth=1.2, elinewidth=0.8)  # fmt: skip


def _plain_ticks(ax: Axes, ticks: Sequence[int]) -> None:
    ax.set_xticks(list(ticks))
    ax.tick_params(axis="x", labelsize=6.5)
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.xaxis.set_minor_locator(NullLocator())
