"""The figures of Soft Diffusion: each function draws one, named in paper.yaml."""

from collections.abc import Sequence
from pathlib import Path

from rescore import figures as draw

from reproductions.soft_diffusion.networks import STRIP_TIMES
from reproductions.soft_diffusion.rivals import AFTER

FACES = 100  # that there are
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
CLEAN = {"blur; clean-prediction loss (Bansal et al.)": ("clean loss",)}
PREDICTED = {
    MOMENTUM: "residual",
    "blur; image predicted (eq. 8)": "image",
    "blur; w(t) = 1": "residual,\nw = 1",
    **{f"blur; score predicted (eq. 7); cutoff={cutoff}": f"score,\n{cutoff}" for cutoff in ("0.1", "0.01", "0.001")},
}
ALONE = {
    "reverse diffusion": ("noise alone", draw.BLACK, "x", "-"),
    "probability flow": ("noise alone, flow", draw.GREY, "+", "--"),
}
RIVALS = {
    "masking; clean-prediction loss (Bansal et al.)": ("masking, clean loss",),
    "blur; image predicted (eq. 8)": ("image predicted",),
    "blur; score predicted (eq. 7); cutoff=0.1": ("score predicted",),
}
HEUN = {"blur; Heun's method on the flow": ("Heun's method", draw.GREEN, "v", "--")}
MASKS = {
    "masking": ("soft loss", draw.BLUE, "o", "-"),
    "masking; clean-prediction loss (Bansal et al.)": ("clean-prediction loss", draw.ORANGE, "D", "-"),
}
PER_ROW = 12


def strips(found: draw.PaperResults, out: Path) -> None:
    """Fig. 1, above: test images corrupted, and paths of the Momentum Sampler, for blur and for masking."""
    rows = [(label, kind, i) for label, kind in (("corrupted", "forward"), ("sampled", "reverse")) for i in (0, 1)]
    _strips(found, out, rows, "Corruption runs to the right, sampling (100 steps) to the left.")


def means(found: draw.PaperResults, out: Path) -> None:
    """Fig. 5: what the networks make of a corrupted image, E[x_0 | x_t]."""
    rows = [(label, kind, i) for i in (2, 3) for label, kind in (("$x_t$", "forward"), ("$E[x_0|x_t]$", "means"))]
    _strips(found, out, rows, "Images that no network saw. Where the mask hides a pixel, Soft Score Matching leaves it free.")


def _strips(found: draw.PaperResults, out: Path, rows: Sequence[tuple[str, str, int]], note: str) -> None:
    """Rows (label, kind, i) of image i of a kind of strip, (times, n, C, H, W) in [0, 1]."""
    with found.sheet(out, 2, 2, (4.6, 2.6), note) as (_, axes):
        for ax, name in zip(axes, ("main", "masking"), strict=True):
            if f"strip/{name}/forward" in found.arrays:
                strip = {kind: 2 * found.arrays[f"strip/{name}/{kind}"] - 1 for _, kind, _ in rows}
                draw.image_rows(ax, [(label, strip[kind][:, i]) for label, kind, i in rows], [f"{t:g}" for t in STRIP_TIMES])
                ax.set(title="Blur" if name == "main" else "Masking", xlabel="t")


def schedules(found: draw.PaperResults, out: Path) -> None:
    """Fig. 6: noise and blur over time."""
    names = {found.config.data: draw.BLUE, "faces": draw.GREEN, "mse": draw.ORANGE}
    its = found.config.schedule
    note = (
        f"Shortest paths of {its.nodes} nodes through {its.candidates} levels, of {its.images} images. Faces: "
        f"{min(its.images, FACES)} images of 25x25 pixels."
    )
    with found.sheet(out, 2, 2, (3.6, 2.8), note, grid="both") as (_figure, axes):
        t = found.arrays.get("schedule/t")
        if t is None:
            return
        axes[0].plot(t[1:], found.arrays["schedule/sigma"][1:], color=draw.BLACK)
        axes[0].set(title="Noise", xlabel="t", ylabel="$\\sigma_t$", ylim=(0, None))
        for name, color in names.items():
            label = f"{found.config.data}, MSE-matched" if name == "mse" else f"{name}, shortest path"
            axes[1].plot(t, found.arrays[f"schedule/{name}"], color=color, label=label)
        axes[1].set(title="Blur", xlabel="t", ylabel="std of the kernel / image side")
        axes[1].legend()


def quality(found: draw.PaperResults, out: Path) -> None:
    """Figs. 3 and 8, and the ablations: distance to the data against steps, of networks and of exact posterior means."""
    trained, exact = [r for r in found.select(metric="fid") if r.nfe is not None], found.select(metric="frechet")
    distance, main = "Frechet distance of pixels", ("blur after noise", *SAMPLERS[MOMENTUM][1:])
    panels = [
        ("Networks: samplers", trained, SAMPLERS, "FID"),
        ("Exact: samplers", exact, SAMPLERS, distance),
        ("Exact: corruptions", exact, {MOMENTUM: main} | OTHERS, distance),
    ]
    note = (
        f"Left: mean over {len(found.config.seeds)} networks. {draw.INTERVALS} {draw.FLOOR_NOTE} Exact: Gaussian data, "
        "where posterior mean and law of samples are known."
    )
    with found.sheet(out, 3, 3, (3.5, 3.6), note) as (_figure, axes):
        for ax, (title, records, styles, ylabel) in zip(axes, panels, strict=True):
            for variant, style in styles.items():
                draw.curve(ax, draw.select(records, variant=variant), *style)
            if not ax.has_data():
                continue
            draw.log_values(ax, title, ylabel)
            draw.against_evaluations(ax, {r.nfe for r in records if r.variant in styles and r.variant != "masking"}, "steps")
            ax.tick_params(axis="x", labelsize=6.5)
            ax.legend(fontsize=6.5, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.2))
        draw.real_images(axes[0], found.select(table="real", metric="fid"))


def rivals(found: draw.PaperResults, out: Path) -> None:
    """Section 3.1, figs. 3 and 8, appendices B and E: FID of networks trained alike, by what they predict, steps and loss."""
    trained = [r for r in found.select(dataset=found.config.data, metric="fid") if r.nfe is not None]
    steps = max((r.nfe for r in trained if r.variant in PREDICTED), default=None)
    note = f"Mean over {len(found.config.seeds)} networks each. {draw.INTERVALS} {draw.FLOOR_NOTE}"
    with found.sheet(out, 3, 3, (3.5, 3.6), note) as (_figure, (predicts, alone, masks)):
        at = {variant: i for i, variant in enumerate(PREDICTED)}
        draw.curve(predicts, draw.select(trained, nfe=steps), None, draw.BLUE, "o", "none", x=at)
        for ax, title, styles in (
            (alone, "Blur and noise alone", {key: SAMPLERS[key] for key in list(SAMPLERS)[:2]} | HEUN | ALONE),
            (masks, "Masks", MASKS),
        ):
            draw.curves(ax, trained, ["variant"], styles)
            if ax.has_data():
                draw.log_values(ax, title, "FID")
                draw.against_evaluations(ax, {r.nfe for r in trained if r.variant in list(styles)[:1]}, "evaluations")
                draw.legend(ax, fontsize=6.5, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.2))
        if predicts.has_data():
            predicts.set_xlabel("of a score: the cut-off of the blur's inverse", fontsize=8)
            draw.log_values(predicts, f"What a network predicts, {steps} steps", "FID", grid="y")
            predicts.set_xticks([*at.values()], [*PREDICTED.values()], fontsize=6.5)
        for ax in (predicts, alone, masks):
            if ax.has_data():
                draw.real_images(ax, found.select(table="real", metric="fid"))


def masks(found: draw.PaperResults, out: Path) -> None:
    """Appendix E: FID of masks by both losses against the steps of the training, in few steps of the sampler and in more."""
    records = found.select(table="E", metric="fid")
    note = f"One training, mean over {len(found.config.seeds)} networks of each loss. {draw.INTERVALS}"
    with found.sheet(out, 1, 1, (4.6, 3.4), note if records else "") as (_figure, (ax,)):
        for variant, (label, color, marker, _) in MASKS.items():
            at = AFTER.by("steps", found.config.masks.lengths, label=variant)
            for nfe, line in zip(found.config.masks.nfes, ("--", "-"), strict=False):
                draw.curve(ax, draw.select(records, nfe=nfe), f"{label}, {nfe} steps", color, marker, line, x=at)
        if ax.has_data():
            ax.set(title="Masks", ylabel="FID")
            draw.against_evaluations(ax, found.config.masks.lengths, "steps of the training")
            ax.legend(fontsize=6.5)


def ablations(found: draw.PaperResults, out: Path) -> None:
    """Samples of every network, with their FID at the most steps that were run up to 280 (masking: 256)."""
    rows = {}
    for variant, (label, *_) in (SAMPLERS | CLEAN | OTHERS | RIVALS).items():
        records = [r for r in found.select(variant=variant, metric="fid") if r.nfe is not None and r.nfe <= 280]
        if records:
            best = records[-1]
            samples = found.arrays[f"samples/{variant}/{best.nfe}"]
            rows[f"{label}, {best.nfe} steps: {draw.with_interval(best, 1)}"] = samples[:PER_ROW]
    note = (
        f"Not chosen: the first samples of the first network. ±: half a 95 % interval over {len(found.config.seeds)} networks."
    )
    with found.sheet(out, 1, 1, (9.2, 0.42 * (len(rows) + 1) + 0.6), note) as (_figure, axes):
        if rows:
            draw.image_rows(axes[0], rows | {"real": found.arrays["real"][:PER_ROW]})
            axes[0].set_title("Samples, and FID")


def neighbours(found: draw.PaperResults, out: Path) -> None:
    """Fig. 9: samples, and the training image nearest to each."""
    drawn = [n for n in found.config.networks.nfes.get("main", ()) if f"samples/{MOMENTUM}/{n}" in found.arrays]
    steps = max(drawn, default=None)
    cells = {
        "unseen images": found.one(table="real", metric="nearest"),
        "samples": found.one(table="fig3", variant=MOMENTUM, metric="nearest", nfe=steps) if steps else None,
    }
    text = "; ".join(f"{label} {record.value:.3f}" for label, record in cells.items() if record)
    note = f"Momentum Sampler, {steps} steps. Median RMS distance a pixel, of [-1, 1], to the nearest training image: {text}."
    with found.sheet(out, 1, 1, (6.0, 1.5), note if steps else "") as (_figure, axes):
        if steps:
            pair = {"sample": "samples", "nearest": "neighbours"}
            images = {label: found.arrays[f"{kind}/{MOMENTUM}/{steps}"][:PER_ROW] for label, kind in pair.items()}
            draw.image_rows(axes[0], images)
