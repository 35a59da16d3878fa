"""The figures of LCSS: each function draws one, named in paper.yaml."""

from pathlib import Path

import numpy as np
from rescore import figures as draw
from rescore.experiments.axes import samples_name
from rescore.models.evaluate import repeats

from reproductions.lcss.checkerboard import HALF_WIDTH, METHODS
from reproductions.lcss.claims import STAND_INS, printed_ratio
from reproductions.lcss.estimates import DRAWS, ONE_PROBE, PROBES
from reproductions.lcss.images import TABLE, WHEN
from reproductions.lcss.langevin import EXACT_VARIANT, SMALL_STEP
from reproductions.lcss.quality import AFTER, TIMES_SCORE, WITH_GAMMA
from reproductions.lcss.theory import GAMMA, GAMMAS, SIGMA

COLORS = {"SSM": draw.ORANGE, "FD-SSM": draw.GREEN, "DSM": draw.BLACK, "LCSS": draw.BLUE}
MARKS = {"DSM": {"marker": "o", "markersize": 7, "markerfacecolor": "none"}, "LCSS": {"marker": "x", "markersize": 5}}
QUALITY = {"fid": "FID", "is": "inception score", "bpd": "bits per dimension"}
SHOWN = 6  # samples in a row


def densities(found: draw.PaperResults, out: Path) -> None:
    """Table 1."""
    note = "One network of each objective; TV: total variation to the data's density, mean and 95 % interval over networks."
    names = ("data", *METHODS)
    with found.sheet(out, len(names), len(names), (2.2, 2.9), note) as (_, axes):
        for ax, name in zip(axes, names, strict=True):
            ax.set(title=name, xticks=[-4, 0, 4], yticks=[-4, 0, 4])
            if (values := found.arrays.get(f"density/{name}")) is not None:
                edges = (-HALF_WIDTH, HALF_WIDTH, -HALF_WIDTH, HALF_WIDTH)
                ax.imshow(values, origin="lower", extent=edges, cmap="viridis", vmin=0, vmax=np.quantile(values, 0.995))
            if tv := found.one(table="1", method=name, metric="tv"):
                ax.set_xlabel(f"TV {draw.with_interval(tv, 2)}")


def langevin(found: draw.PaperResults, out: Path) -> None:
    """Eq. 31: laws of the chains, with the ends of some."""
    note = """One network of each objective, and the exact score of the noised data. Colours: the chains' law without samples;
        dots: ends of sampled chains. TV: total variation of the law to the data's density, mean and 95 % interval."""
    half, shown, exact = found.config.langevin.half_width, 5.5, f"exact, {EXACT_VARIANT(epsilon=SMALL_STEP)}"
    with found.sheet(out, 5, 5, (2.2, 2.9), note) as (_, axes):
        for ax, name in zip(axes, (*METHODS, exact), strict=True):
            ax.set(title=name.replace("epsilon=", "$\\epsilon$ = "), xticks=[-4, 0, 4], yticks=[-4, 0, 4])
            if (law := found.arrays.get(f"langevin/{name}")) is not None:
                ax.imshow(law, origin="lower", extent=(-half, half, -half, half), vmin=0, vmax=np.quantile(law, 0.995))
            if (ends := found.arrays.get(f"langevin_samples/{name}")) is not None:
                ax.plot(*ends.T, ".", color=draw.RED, markersize=2.5)
                ax.set(xlim=(-shown, shown), ylim=(-shown, shown), aspect="equal")
            if tv := found.one(table="eq. 31", method=name, metric="tv"):
                ax.set_xlabel(f"TV {draw.with_interval(tv, 2)}")


def board_losses(found: draw.PaperResults, out: Path) -> None:
    """Fig. 8, and what DSM's curve has more than LCSS's."""
    note = """One network of each objective, every step. The last panel: the difference of two curves, which no network enters:
        the batch's mean of |z|^2 / (2 sigma^2). Dashed: its mean in closed form."""
    history = {method: found.arrays.get(f"board_losses/{method}") for method in METHODS}
    if all(history[method] is not None for method in ("DSM", "LCSS")):
        history["DSM less LCSS"] = history["DSM"] - history["LCSS"]
    with found.sheet(out, 5, 5, (2.5, 2.6), note) as (_, axes):
        for ax, name in zip(axes, (*METHODS, "DSM less LCSS"), strict=True):
            ax.set(title=name, xlabel="iteration")
            if (values := history.get(name)) is not None:
                ax.plot(np.arange(1, len(values) + 1), values[:, 0], color=COLORS.get(name, draw.GREY), linewidth=0.6)
            if noise := found.one(table="fig8", method=name, metric="noise_over_fall"):
                draw.write_in_corner(ax, f"noise / fall {noise.value:.2g}", right=True)
        draw.reference_line(axes[-1], found.select(table="fig8", method="closed form", metric="loss_gap"), line="--")


def estimates(found: draw.PaperResults, out: Path) -> None:
    """Draws of x', and probes of the trace."""
    draws, probes = found.config.one_draw, found.config.hutchinson
    with found.sheet(out, 3, 3, (3.4, 2.8), draw.INTERVALS, grid="both") as (_, (left, middle, right)):
        for sigma, color in zip(draws.sigmas, (draw.BLUE, draw.ORANGE, draw.GREEN), strict=False):
            at = DRAWS.by("draws", draws.draws, sigma=sigma)
            for method, label, marks in (
                ("closed form", f"$\\sigma$ = {sigma:g}", {"marker": ""}),
                ("LCSS", None, {"line": ""}),
            ):
                rows = found.select(table="draws", method=method, metric="slope_std")
                marks = {"line": "--"} | marks if sigma > 1 else marks  # it lies on that of 1 / sigma
                draw.curve(left, rows, label, color, x=at, **marks)
        left.set(xlabel="draws of x' about one data point", ylabel="spread of the slope", xscale="log", yscale="log")
        draw.only_ticks(left.xaxis, draws.draws)
        draw.plain_log_axis(left.yaxis)
        for probe, color in zip((*PROBES, "Stein"), (draw.BLUE, draw.ORANGE, draw.GREEN, draw.BLACK), strict=True):
            label, once = "inner product (eq. 16)" if probe == "Stein" else probe, SIGMA if probe == "Stein" else ONE_PROBE
            for ax, metric in ((middle, "error_over_bound"), (right, "trace_std")):
                rows = found.select(table="hutchinson", dataset="digits", method=probe, metric=metric)
                draw.curve(ax, rows, label, color, x=once.by("sigma", probes.sigmas))
        middle.axhline(1, color=draw.GREY, linewidth=0.8, linestyle=":")
        middle.set(xlabel="$\\sigma$", ylabel="RMS error / (|A|$_F$ / $\\sqrt{M}$), M = 1", xscale="log")
        right.set(xlabel="$\\sigma$", ylabel="$\\sigma^2$ spread of trace's stand-in", xscale="log")
        for ax in (middle, right):
            draw.only_ticks(ax.xaxis, probes.sigmas)
        for ax in (left, right):
            draw.legend(ax)


def costs(found: draw.PaperResults, out: Path) -> None:
    """Table 2 as ratios."""
    note = f"The measured NCSNv2 is narrower and sees smaller random images. Medians. {draw.INTERVALS}"
    at = np.arange(len(METHODS))
    with found.sheet(out, 2, 2, (3.6, 2.9), note, sharey=True, grid="y") as (_, axes):
        for ax, (network, data) in zip(axes, STAND_INS.items(), strict=True):
            ax.bar(at - 0.2, [printed_ratio(method, network) for method in METHODS], 0.38, color="#C4C4C4", label="printed")
            rows = {one.method: one for one in found.select(table="2", variant=network, metric="train_time_ratio")}
            if rows:
                values, errors = zip(*((rows[method].value, draw.interval(rows[method])) for method in METHODS), strict=True)
                ax.bar(at + 0.2, values, 0.38, yerr=errors, color=draw.BLUE, label="measured", error_kw={"linewidth": 0.8})
            ax.set_xticks(at, METHODS)
            ax.axhline(1, color=draw.GREY, linewidth=0.8, linestyle=":")
            ax.set(title=f"{network} (printed: {data})", ylabel="iteration / iteration of LCSS")
            ax.tick_params(labelleft=True)
        axes[0].legend()


def quality(found: draw.PaperResults, out: Path) -> None:
    """Table 3's shape on the data at hand, a row a process."""
    config = found.config
    pairs = {
        job.variant: job.models
        for job in config.jobs.values()
        if "quality" in job.measure and found.select(table="3", variant=job.variant)
    }
    if not pairs:
        return draw.not_measured(out)
    over = repeats(config.training_seeds, config.seeds)[0]
    note = f"""{draw.INTERVALS} They are over {over}. {draw.FLOOR_NOTE} Crosses of LCSS lie in the circles of DSM: one seed
        makes the same network."""
    panels = [(variant, metric) for variant in pairs for metric in QUALITY]
    with found.sheet(out, len(panels), 3, (3.1, 2.5), note, sharex=True, grid="both") as (_, axes):
        for ax, (variant, metric) in zip(axes, panels, strict=True):
            iterations = {variant: config.models[pairs[variant][0]].steps}
            iterations |= AFTER.by("iterations", config.quality.steps, model=variant)
            rows = found.select(table=["3", "iterations"], metric=metric)
            for method, marks in MARKS.items():
                draw.curve(ax, draw.select(rows, method=method), method, COLORS[method], x=iterations, **marks)
            draw.real_images(ax, draw.select(rows, variant=[f"{variant}, {kind}" for kind in draw.FLOORS]))
            ax.set(title=variant, ylabel=QUALITY[metric], xscale="log", xlabel="iterations")
            draw.only_ticks(ax.xaxis, sorted(iterations.values()))
        axes[0].legend()


def losses(found: draw.PaperResults, out: Path) -> None:
    """Convergence and stability."""
    lines = {"FD-SSM": {"linestyle": "--"}, "LCSS": {"marker": "x", "linestyle": "none"}}  # where two lie on each other
    note = """Losses of one network of each; errors are means over networks. Loss values of different objectives have different
        constants and noise: they cannot be compared."""
    with found.sheet(out, 5, 5, (2.5, 2.6), note) as (_, (*each, together)):
        for ax, method in zip(each, METHODS, strict=True):
            ax.set(title=f"{method}: loss", xlabel="iteration")
            if (history := found.arrays.get(f"losses/{method}")) is None:
                continue
            ax.plot(np.arange(1, len(history) + 1), history[:, 0], color=COLORS[method], linewidth=0.6)
            if spikes := found.one(table="stability", method=method, metric="spikes"):
                draw.write_in_corner(ax, f"{spikes.value:.2g} spikes / 1000", right=True)
            errors = found.arrays[f"errors/{method}"].mean(1)
            at = np.linspace(0, len(history), len(errors))
            together.plot(at, errors, color=COLORS[method], label=method, linewidth=1.2, **lines.get(method, {}))
        together.set(title="Denoising error", xlabel="iteration")
        together.grid()
        draw.legend(together)


def gamma(found: draw.PaperResults, out: Path) -> None:
    """Fig. 7."""
    rows = found.select(table="fig7", metric="variance_ratio")
    models = [job.variant for job in found.config.jobs.values() if "variants" in job.measure]
    gammas, pictures = found.config.variants.gammas, {}
    over = repeats(found.config.training_seeds, found.config.seeds)[0]
    about = f"{draw.INTERVALS} They are over {over}." if models else "Gaussian data only."
    with found.sheet(out, 2, 2, (4.4, 3.6), f"{about} No corrector.") as (_, (curve, samples)):
        for method, label, marks in (
            ("closed form", "Gaussian, closed form", {"marker": "", "line": "-"}),
            ("LCSS", "Gaussian, the chain", {"marker": ".", "line": ""}),
        ):
            gaussian = draw.select(rows, dataset="gaussian", method=method)
            draw.curve(curve, gaussian, label, draw.GREY, x=GAMMA.by("gamma", GAMMAS), **marks)
        for model in models:
            for axes, label, short, color in (
                (WITH_GAMMA, "trained with gamma", "trained", draw.BLUE),
                (TIMES_SCORE, "gamma x score", "x score", draw.RED),
            ):
                variants = axes.by("gamma", gammas, model=model)
                draw.curve(curve, rows, f"{model}, {label}", color, x=variants)
                pictures |= {f"{value:g}, {short}": f"samples/{variant}" for variant, value in variants.items()}
        curve.set(xscale="log", yscale="log", xlabel="$\\gamma$", ylabel="variance of samples / of data")
        curve.axhline(1, color=draw.GREY, linewidth=0.8, linestyle=":")
        draw.only_ticks(curve.xaxis, GAMMAS, [f"{g:g}" if g not in (0.9, 1.1) else "" for g in GAMMAS])
        curve.grid()
        curve.legend()
        shown = found.named_arrays(pictures | {"real": "samples/real"} if pictures else {})
        draw.image_rows(samples, {label: images[:SHOWN] for label, images in shown.items()})
        samples.set_title("Samples")


def images(found: draw.PaperResults, out: Path) -> None:
    """Figs. 2 to 6: FID early and late, and samples."""
    rows = found.select(table=TABLE, metric="fid")
    measured = draw.select(rows, method=METHODS)
    if not measured:
        return draw.not_measured(out)
    (job,) = (job for job in found.config.jobs.values() if "images" in job.measure)
    data, times = measured[0].dataset, WHEN.by("when", ("early", "late"), model=job.variant)
    note = f"{draw.INTERVALS} They are over samplings of one training of each. {draw.FLOOR_NOTE}"
    with found.sheet(out, 3, 3, (3.6, 3.0), note) as (_, (scores, *grids)):
        for at, method in enumerate(METHODS):
            ends = draw.select(measured, method=method)
            x = {variant: i + 0.06 * (at - 1.5) for i, variant in enumerate(times)}
            draw.curve(scores, ends, method, COLORS[method], x=x, **MARKS.get(method, {}))
        draw.real_images(scores, rows)
        draw.log_values(scores, job.variant, "FID, features of a small classifier", grid="y")
        scores.set_xticks(range(2), times.values())
        draw.legend(scores)
        for ax, (variant, when) in zip(grids, times.items(), strict=True):
            names = {method: samples_name(data, TABLE, method, variant, measured[0].nfe) for method in METHODS}
            draw.image_rows(ax, found.named_arrays(names | {"real": f"{data}/real"}))
            ax.set_title(f"Samples, {when}")
