"""The figures of Soft Diffusion: each function draws one, named in paper.yaml, from what was found at a scale."""

from pathlib import Path


from reproductions.soft_diffusion.problems import MAIN, VARIANTS
from reproductions.soft_diffusion.trained import STRIP_TIMES
from rescore import figures as draw
from rescore.figures import PaperResults

FAMILIES = ("main", "masking")
MOMENTUM = MAIN(sampler="Momentum Sampler")
# variant: label, colour, marker, line
SAMPLERS = {
    MOMENTUM: ("Momentum", draw.BLUE, "o", "-"),
    MAIN(sampler="Probability Flow Momentum Sampler"): ("Flow Momentum", draw.SKY, "s", "--"),
    MAIN(sampler="Naive Sampler"): ("Naive", draw.RED, "^", "-"),
}
CORRUPTIONS = {
    MOMENTUM: ("blur after noise", draw.BLUE, "o", "-"),
    VARIANTS["mse"].label: ("MSE schedule", draw.ORANGE, "D", "-"),
    VARIANTS["joint"].label: ("joint noise", draw.GREEN, "v", "-"),
    VARIANTS["sigma-0.05"].label: ("$\\sigma_{max}$ = 0.05", draw.PINK, "P", ":"),
    VARIANTS["sigma-0.025"].label: ("$\\sigma_{max}$ = 0.025", draw.PURPLE, "X", ":"),
    "reverse diffusion": ("VE, noise alone", draw.BLACK, "x", "-"),
    VARIANTS["masking"].label: ("masking", draw.GREY, "*", "-"),
}
ROWS = {
    **{variant: label for variant, (label, *_) in SAMPLERS.items()},
    VARIANTS["clean"].label: "clean loss",
    **{VARIANTS[name].label: CORRUPTIONS[VARIANTS[name].label][0] for name in ("mse", "joint", "sigma-0.05", "sigma-0.025", "masking")},
}
PER_ROW = 12
MOST_STEPS = 280  # of the samples that are shown
NO_NETWORK = "no network for it at this scale"


def strips(found: PaperResults, out: Path) -> None:
    """Fig. 1, above: test images corrupted, and paths of the Momentum Sampler, for blur and for masking."""
    rows = [("corrupted", "forward", 0), ("corrupted", "forward", 1), ("sampled", "reverse", 0), ("sampled", "reverse", 1)]
    _over_time(found, out, rows, "Corruption runs to the right, sampling (100 steps) to the left.")


def means(found: PaperResults, out: Path) -> None:
    """Fig. 5: what the networks make of a corrupted image, E[x_0 | x_t]."""
    rows = [(label, kind, i) for i in (2, 3) for label, kind in (("$x_t$", "forward"), ("$E[x_0|x_t]$", "means"))]
    _over_time(found, out, rows, "Images that the networks did not see. Where the mask hides a pixel, Soft Score Matching leaves the "
                                 "prediction free.")  # fmt: skip


def _over_time(found: PaperResults, out: Path, rows: list[tuple[str, str, int]], note: str) -> None:
    """A panel each for blur and masking: rows are (label, kind of strip, which image)."""
    with found.sheet(out, 2, 2, (4.6, 2.6), note) as (_, axes):
        for ax, name in zip(axes, FAMILIES, strict=True):
            lines = [(label, 2 * found.arrays[key][:, i] - 1) for label, kind, i in rows
                     if (key := f"strip/{name}/{kind}") in found.arrays]  # fmt: skip
            if not lines:
                draw.placeholder(ax, NO_NETWORK)
                continue
            draw.image_rows(ax, lines, [f"{t:g}" for t in STRIP_TIMES])
            ax.set(title=VARIANTS[name].family.capitalize(), xlabel="t")


def schedules(found: PaperResults, out: Path) -> None:
    """Fig. 6: noise and blur over time."""
    arrays, (data, settings) = found.arrays, next(iter(found.config.datasets.items()))
    curves = {data: (f"{data}, shortest path", draw.BLUE), "faces": ("faces, shortest path", draw.GREEN),
              "mse": (f"{data}, MSE-matched", draw.ORANGE)}  # fmt: skip
    path = found.one(table="fig6", dataset=data, metric="path_nodes")
    note = (f"Shortest path of {path.value if path else settings.schedule.nodes:.0f} nodes through {settings.schedule.candidates} "
            "levels. Faces: 100 images of 25x25 pixels.")  # fmt: skip
    with found.sheet(out, 2, 2, (3.6, 2.8), note) as (_, axes):
        if "schedule/t" not in arrays:
            return
        t = arrays["schedule/t"]
        axes[0].plot(t[1:], arrays["schedule/sigma"][1:], color=draw.BLACK)
        axes[0].set(title="Noise", ylabel="$\\sigma_t$", ylim=(0, None))
        for name, (label, color) in curves.items():
            if f"schedule/{name}" in arrays:
                axes[1].plot(t, arrays[f"schedule/{name}"], color=color, label=label)
        axes[1].set(title="Blur", ylabel="std of the kernel / image side")
        draw.legend(axes[1])
        for ax in axes:
            ax.set(xlabel="t")
            ax.grid()


def quality(found: PaperResults, out: Path) -> None:
    """Figs. 3 and 8, and the ablations: distance to the data against steps, of networks and of exact posterior means."""
    panels = {
        "Networks: samplers": ("FID", "fid", SAMPLERS, found.config.networks.nfes.get("main", ())),
        "Exact: samplers": ("Frechet distance of pixels", "frechet", SAMPLERS, found.config.gaussian.nfes),
        "Exact: corruptions": ("Frechet distance of pixels", "frechet", CORRUPTIONS, found.config.gaussian.nfes),
    }
    notes = (f"Left: mean over {len(found.config.networks.seeds)} networks. {draw.INTERVALS} {draw.FLOOR_NOTE} Exact: Gaussian data, "
             "where posterior mean and law of samples are known.")  # fmt: skip
    with found.sheet(out, len(panels), len(panels), (3.5, 3.6), notes) as (_, axes):
        for ax, (title, (label, metric, styles, ticks)) in zip(axes, panels.items(), strict=True):
            rows = [row for row in found.select(metric=metric) if row.nfe is not None]
            draw.curves(ax, rows, ("variant",), styles)
            if ax.has_data():
                draw.log_values(ax, title, label)
                draw.against_evaluations(ax, ticks, "steps")
                draw.legend(ax, fontsize=6.5, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.2))
        if axes[0].has_data():
            draw.real_images(axes[0], found.select(table="real", metric="fid"))
            draw.plain_log_axis(axes[0].yaxis)


def ablations(found: PaperResults, out: Path) -> None:
    """Samples of every network, with their FID at the most steps that were run up to 280 (masking: 256)."""
    rows = {}
    for variant, label in ROWS.items():
        records = [row for row in found.select(variant=variant, metric="fid") if row.nfe and row.nfe <= MOST_STEPS]
        if records:
            last = records[-1]
            value = f"{last.value:.1f} ± {draw.interval(last):.1f}"
            rows[f"{label}, {last.nfe} steps: {value}"] = found.arrays[f"samples/{variant}/{last.nfe}"][:PER_ROW]
    if rows:
        rows["real"] = found.arrays["real"][:PER_ROW]
    note = (f"Not chosen: the first samples of the first network. ±: 95 % intervals over {len(found.config.networks.seeds)} networks, "
            "by Student's t.")  # fmt: skip
    with found.sheet(out, 1, 1, (8.4, 0.42 * max(1, len(rows)) + 0.6), note) as (_, (ax,)):
        draw.image_rows(ax, rows)
        ax.set_title("Samples, and FID" if rows else "")


def neighbours(found: PaperResults, out: Path) -> None:
    """Fig. 9: samples, and the training image nearest to each."""
    steps = max(found.config.networks.nfes.get("main", (0,)))
    rows = found.named_arrays({kind: f"{name}/{MOMENTUM}/{steps}" for kind, name in (("sample", "samples"), ("nearest", "neighbours"))})
    shown = {"unseen images": found.one(table="real", metric="nearest"),
             "samples": found.one(variant=MOMENTUM, metric="nearest", nfe=steps)}  # fmt: skip
    text = "; ".join(f"{name} {row.value:.3f}" for name, row in shown.items() if row)
    note = (f"Momentum Sampler, {steps} steps. Median RMS distance a pixel, of [-1, 1], to the nearest training image: "
            f"{text or 'not measured'}.")  # fmt: skip
    with found.sheet(out, 1, 1, (6.0, 1.5), note) as (_, (ax,)):
        draw.image_rows(ax, {label: images[:PER_ROW] for label, images in rows.items()})
