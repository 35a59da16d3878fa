"""The figures of smld_sde: each function draws one, named in paper.yaml."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Circle
from rescore import figures as draw
from rescore.experiments.axes import samples_name
from rescore.ledger.published import Published
from rescore.ledger.records import Record
from scipy.stats import norm

from reproductions.smld_sde.chains import CELL, CORRECTOR, KINDS, PREDICTORS, budgets
from reproductions.smld_sde.estimation import BANDS, NOISE
from reproductions.smld_sde.langevin import EXAMPLE, TOY

STYLES = {
    "ancestral": (draw.BLUE, "o"),
    "reverse diffusion": (draw.RED, "s"),
    "probability flow": (draw.GREEN, "^"),
    CORRECTOR: (draw.BLACK, "D"),
}
SHIFTS = (-0.15, 0.0, 0.15, 0.0)  # of the methods, side by side
LEGEND = "P: predictor steps, PC: with a corrector step each, C: corrector steps alone. Lines join the cells of a predictor."
RUNS = {  # of the example: (method, variant) and the panel's title
    ("uniform start", ""): "Uniform start",
    ("Langevin", ""): "Langevin, {nfe} steps",
    ("Langevin", "long"): "Langevin, {nfe} steps",
    ("annealed Langevin", ""): "Annealed Langevin, {nfe} steps",
    ("Langevin", "no noise"): "No noise, {nfe} steps",
    ("Langevin", "eq. 14"): "Noise as printed (eq. 14), {nfe} steps",
}


def langevin(found: draw.PaperResults, out: Path) -> None:
    """Histograms of the example's particles over p(x)."""
    x = np.linspace(-EXAMPLE["reach"] - 0.5, EXAMPLE["reach"] + 1, 800)
    modes = zip(EXAMPLE["weights"], EXAMPLE["means"], EXAMPLE["stds"], strict=True)
    density = sum(weight * norm.pdf(x, mean, std) for weight, mean, std in modes)
    note = f"""Grey: p(x), whose right mode has weight {EXAMPLE["weights"][0]}. Numbers: the particles' share right of the
        score's unstable zero, with 95 % intervals. Taller bars are cut off."""
    with found.sheet(out, len(RUNS), 3, (3.2, 2.4), note, sharex=True) as (_, axes):
        for ax, ((method, variant), title) in zip(axes, RUNS.items(), strict=True):
            ax.set(xlim=x[[0, -1]], ylim=(0, 1.0))
            record = found.one(table="fig7", method=method, variant=variant, metric="weight_right")
            if record is None:
                continue
            ax.fill_between(x, density, color="#C4C4C4", linewidth=0)
            particles = found.arrays["/".join(filter(None, ("mixture1d", method, variant)))]
            ax.hist(particles[:, 0], np.arange(x[0], x[-1], 0.1), density=True, histtype="step", color=draw.BLUE, linewidth=1.2)
            ax.set_title(title.format(nfe=record.nfe and f"{record.nfe:,}"))
            draw.write_in_corner(ax, f"right mode: {draw.with_interval(record, 3)}")
        for ax in axes[::3]:
            ax.set_ylabel("density")
        for ax in axes[-3:]:
            ax.set_xlabel("x")


def toy(found: draw.PaperResults, out: Path) -> None:
    """Particles of NCSN's mixture, and the weight of its heavier mode."""
    methods = ("uniform start", "Langevin", "annealed Langevin", "exact draws")
    note = f"""The upper mode has weight {TOY["weights"][0]}; numbers with 95 % intervals. Langevin and annealed Langevin take
        as many steps. At most 1,000 particles are shown."""
    with found.sheet(out, len(methods), 4, (2.5, 2.7), note, sharex=True, sharey=True) as (_, axes):
        for ax, method in zip(axes, methods, strict=True):
            ax.set(xlim=(-9, 9), ylim=(-9, 9), aspect="equal", title=method[0].upper() + method[1:], xlabel="$x_1$")
            if record := found.one(table="ncsn-toy", method=method, metric="weight_right"):
                particles = found.arrays[f"mixture2d/{method}"][:1000]
                ax.plot(*particles.T, ".", color=draw.BLUE, markersize=2.5, markeredgewidth=0, alpha=0.7)
                draw.write_in_corner(ax, f"upper mode:\n{draw.with_interval(record, 3)}")
        axes[0].set_ylabel("$x_2$")


def grid(found: draw.PaperResults, out: Path) -> None:
    """Fig. 17: printed FIDs above, distances with the exact score below, VE left and VP right."""
    note = f"""Above: bars of the printed uncertainty. Below: data are the Gaussian with the mean and covariance of the 8x8
        digits in [-1, 1]; the law of the result is exact, so there is no sampling error. {LEGEND} The rows have different
        units."""
    with found.sheet(out, 4, 2, (3.6, 2.6), note, sharex=True, sharey="row") as (figure, axes):
        for above, below, (kind, chain) in zip(axes[:2], axes[2:], KINDS.items(), strict=True):
            above.set_title(f"{kind} ({chain}), printed")
            below.set_title(f"{kind}, exact score")
            _cells(above, draw.select(found.published, table="fig17"), kind, found.config.grid.levels)
            _cells(below, found.select(table="fig17", dataset="digits_gaussian"), kind, found.config.grid.levels)
        axes[0].set_ylabel("FID on CIFAR-10")
        axes[2].set_ylabel("sw2 to the data")
        draw.shared_legend(figure, axes)


def trained(found: draw.PaperResults, out: Path) -> None:
    """Fig. 17 on trained networks, and samples of Tables 2 and 3."""
    data, settings = found.trained_data, found.config.trained
    rows = found.select(table="fig17", dataset=data, metric="fid") if data else []
    with found.sheet(out, 3, 3, (3.6, 3.0), f"{draw.INTERVALS} {draw.FLOOR_NOTE} {LEGEND}") as (figure, (*panels, pictures)):
        for ax, kind in zip(panels, KINDS, strict=True):
            ax.set_title(f"{kind}, {data}" if data else kind)
            if rows:
                _cells(ax, rows, kind, settings.levels)
                draw.real_images(ax, rows)
        panels[0].set_ylabel("FID")
        draw.shared_legend(figure, panels)
        pictures.set_title("Tables 2 and 3, and real images")
        if rows:
            shown = {
                f"{r.variant}, {solver}": samples_name(data, r.table, r.method, r.variant, r.nfe)
                for table, solver in {"score-sde-2": "ODE", "score-sde-3": "SDE"}.items()
                for r in found.select(table=table, dataset=data, metric="fid")
            }
            draw.image_rows(pictures, found.named_arrays(shown | {"real": f"{data}/real"}))


def steps(found: draw.PaperResults, out: Path) -> None:
    """Error against predictor steps, VE and VP."""
    n = np.array(found.config.steps.steps)
    note = "Gaussian with the digits' mean and covariance; no sampling error."
    with found.sheet(out, 2, 2, (3.6, 3.0), note, sharey=True, grid="both") as (figure, axes):
        for ax, kind in zip(axes, KINDS, strict=True):
            ax.set(title=kind, xlabel="predictor steps", xscale="log", yscale="log")
            rows = found.select(table="steps", variant=kind)
            for name in PREDICTORS:
                draw.curve(ax, draw.select(rows, method=name), name, *STYLES[name])
            if rows:
                top = max(row.value for row in rows)
                ax.plot(n, top * n[0] / n, linestyle="--", color=draw.GREY, linewidth=0.8, label="slope $-1$")
        axes[0].set_ylabel("sw2 to the data")
        draw.shared_legend(figure, axes)


def estimation(found: draw.PaperResults, out: Path) -> None:
    """Figs. 8 to 10 and eq. 6: losses on a manifold, errors by density, and what a kernel density teaches."""
    noises, maps = found.config.manifold.noises, found.config.bands.noises
    note = f"""First: one network of each noise. {draw.INTERVALS} Maps: |s - grad log p| over the RMS score on the square, white
        rings 3 standard deviations around the modes without noise. Last: one of the networks trained by J_ESM and by J_DSM."""
    with found.sheet(out, 3 + len(maps), 3, (3.4, 3.0), note) as (figure, (loss, bands, *planes, kernel)):
        for noise, color in zip(noises, (draw.BLACK, draw.BLUE, draw.ORANGE), strict=False):
            if (values := found.arrays.get(f"manifold/{noise:g}")) is not None:
                loss.plot(*draw.block_means(values), color=color, label=f"noise {noise:g}", linewidth=1.0)
        loss.set(title="Loss on a circle (fig. 8)", xlabel="steps", ylabel="sliced score matching", yscale="symlog")
        draw.legend(loss)
        for noise, color in zip(maps, (draw.BLACK, draw.BLUE, draw.ORANGE), strict=False):
            rows = found.select(table="fig9", variant=NOISE(noise=noise), metric=[f"score_error_{name}" for name in BANDS])
            places = {f"score_error_{name}": i for i, name in enumerate(BANDS)}
            draw.curve(bands, rows, f"noise {noise:g}", color, x=lambda row, places=places: places[row.metric])
        bands.set(title="Error of the score (figs. 9, 10)", ylabel="relative squared error", yscale="log")
        draw.only_ticks(bands.xaxis, range(len(BANDS)), [f"{name} density" for name in BANDS])
        draw.legend(bands)
        for ax, noise in zip(planes, maps, strict=True):
            ax.set(title=f"Noise {noise:g}", xlabel="$x_1$", ylabel="$x_2$")
            if (values := found.arrays.get(f"bands/{noise:g}")) is not None:
                reach = TOY["reach"]
                image = ax.imshow(values, origin="lower", extent=(-reach, reach) * 2, cmap="cividis", vmin=0, vmax=1)
                for mean in TOY["means"]:
                    ax.add_patch(Circle((mean, mean), 3, fill=False, color="white", linewidth=0.8))
                if ax is planes[-1]:
                    figure.colorbar(image, ax=ax, extend="max", label="error")
        lines = {
            "p": ("p(x)", draw.GREY, "-"),
            "q": ("kernel density", draw.BLACK, ":"),
            "KDE-ESM": ("$J_{ESM}$", draw.BLUE, "-"),
            "DSM": ("$J_{DSM}$", draw.ORANGE, "--"),
        }
        for name, (label, color, line) in lines.items():
            if (values := found.arrays.get(f"kernel/{name}")) is not None and "kernel/x" in found.arrays:
                kernel.plot(found.arrays["kernel/x"], values, color=color, linestyle=line, label=label, linewidth=1.1)
        kernel.set(title="Score of the example (eq. 6)", xlabel="x", xlim=(-3.2, 4), ylim=(-15, 15), ylabel="score")
        draw.legend(kernel)


def ncsn(found: draw.PaperResults, out: Path) -> None:
    """Fig. 13b's stand-in: annealed and plain Langevin on a trained NCSN."""
    rows = found.select(table="fig13b", dataset="digits")
    with found.sheet(out, 2, 2, (3.6, 2.6), f"{draw.INTERVALS} {draw.FLOOR_NOTE}") as (_, (pictures, fid)):
        names = {"annealed": "ncsn/NCSN", "least noise": "ncsn/Langevin", "real": "ncsn/real"}
        draw.image_rows(pictures, found.named_arrays(names))
        _bars(
            fid,
            {
                name: draw.select(rows, method=of, metric="fid")
                for name, of in {"annealed": "NCSN", "least noise": "Langevin"}.items()
            },
        )
        draw.real_images(fid, draw.select(rows, metric="fid"))
        fid.set(ylabel="FID", title="Langevin dynamics")


def losses(found: draw.PaperResults, out: Path) -> None:
    """L and L_simple: bits per dimension and FID."""
    metrics = {"bpd_bound": "bound (bits per dimension)", "bpd": "flow (bits per dimension)", "fid": "FID"}
    with found.sheet(out, 3, 3, (2.6, 2.6), f"Networks trained alike on the digits. {draw.INTERVALS}") as (_, axes):
        for ax, (metric, label) in zip(axes, metrics.items(), strict=True):
            rows = found.select(table="score-sde-2", dataset="digits", metric=metric)
            _bars(ax, {name: draw.select(rows, variant=name) for name in ("L", "L_simple")})
            ax.set(ylabel=label)


def encoding(found: draw.PaperResults, out: Path) -> None:
    """Section 2.4: codes of two networks, and images halfway."""
    note = (
        "First: coordinates of the codes of three held-out digits by networks of two training seeds. "
        "Halfway: the flow back from the middle of two codes."
    )
    with found.sheet(out, 2, 2, (3.6, 3.2), note) as (_, (codes, pictures)):
        if (z := found.arrays.get("encoding/z")) is not None and len(z) > 1:
            for image, color in zip(range(z.shape[1]), (draw.BLUE, draw.ORANGE, draw.GREEN), strict=False):
                codes.plot(z[0, image], z[1, image], ".", color=color, markersize=4)
            codes.axline((0, 0), slope=1, color=draw.GREY, linewidth=0.8)
            codes.set(aspect="equal")
            if record := found.one(table="encoding", metric="networks_correlation"):
                draw.write_in_corner(codes, f"correlation: {draw.with_interval(record, 3)}")
        codes.set(title="Two networks, one code", xlabel="training seed 0", ylabel="training seed 1")
        names = {"one": "x", "halfway": "halfway", "pixel mean": "mean", "other": "other"}
        draw.image_rows(pictures, found.named_arrays({label: f"encoding/{name}" for label, name in names.items()}))


def _bars(ax: Axes, rows: Mapping[str, list[Record]]) -> None:
    """A number with its interval under each name."""
    for i, of in enumerate(rows.values()):
        draw.curve(ax, of, None, (draw.BLUE, draw.ORANGE)[i % 2], x=lambda row, i=i: i)
    if ax.lines:
        draw.only_ticks(ax.xaxis, range(len(rows)), list(rows))
        ax.set_xlim(-0.5, len(rows) - 0.5)
        ax.grid(axis="y")


def _cells(ax: Axes, rows: Iterable[Record] | Iterable[Published], kind: str, levels: int) -> None:
    """The cells of one half of fig. 17, methods side by side."""
    names = budgets(levels)
    for shift, (method, style) in zip(SHIFTS, STYLES.items(), strict=True):
        places = {CELL(kind=kind, budget=name): i + shift for i, name in enumerate(names)}
        draw.curve(ax, draw.select(rows, method=method), method, *style, x=places)
    if ax.lines:
        ax.set(xlim=(-0.5, len(names) - 0.5), yscale="log")
        ax.set_xticks(range(len(names)), names)
        draw.plain_log_axis(ax.yaxis)
        ax.grid(axis="y", which="both")
