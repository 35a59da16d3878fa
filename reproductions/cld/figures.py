"""The figures of CLD: each function draws one, named in paper.yaml."""

from pathlib import Path

import numpy as np
from rescore import figures as draw
from rescore.experiments.axes import samples_name
from rescore.processes import VP

from reproductions.cld.densities import REACH
from reproductions.cld.exact import FRICTION
from reproductions.cld.multiscale import ROLLS
from reproductions.cld.problems import STRIDINGS, mixture
from reproductions.cld.sampled import AT

FIG_2 = {
    "CLD": ("CLD, $\\beta = 4$", draw.GREEN, "-"),
    "CLD-VP-beta": ("CLD, $\\beta$ of VPSDE", draw.GREEN, ":"),
    "VPSDE": ("VPSDE", draw.ORANGE, "-"),
}
FIG_5 = {0.125: draw.SKY, 0.5: draw.BLUE, 0.8: draw.GREEN, 1: draw.BLACK, 2: draw.ORANGE, 8: draw.RED}  # by the ratio
STYLES = {  # by striding; DDIM has one of its own
    striding: {
        ("VPSDE", f"EM-{striding}"): ("VPSDE, EM", draw.ORANGE, "s"),
        ("CLD", f"EM-{striding}"): ("CLD, EM", draw.BLUE, "o"),
        ("CLD", f"SSCS-{striding}"): ("CLD, SSCS", draw.RED, "^"),
        ("VPSDE", "DDIM"): ("VPSDE, DDIM", draw.PURPLE, "D"),
    }
    for striding in STRIDINGS
}
ROWS = dict(zip(STRIDINGS, ("uniform striding", "quadratic striding"), strict=True))


def fig2(found: draw.PaperResults, out: Path) -> None:
    """xi(t) and the squared norm of the Jacobian of what a network must represent."""
    panels = {"xi": "$\\xi(t)$", "jacobian": "$J_F(t)$, plain", "jacobian_mixed": "$J_F(t)$, mixed score"}
    note = f"""Mixture of nine Gaussians, exact score, M = gamma = 1. {draw.INTERVALS} They are mostly smaller than the markers;
        values below 1e-5 are cut off. The paper does not state beta."""
    with found.sheet(out, len(panels), 3, (3.1, 3.0), note, grid="both") as (figure, axes):
        for ax, (metric, title) in zip(axes, panels.items(), strict=True):
            ax.set(title=title, xlabel="t", xscale="log", yscale="log")
            for method, (label, color, line) in FIG_2.items():
                rows = found.select(table="fig2", method=method, metric=metric)
                draw.curve(ax, rows, label, color, line=line, x=AT.by("t", found.config.scores.times))
            ax.set_ylim(1e-5, None)
        axes[0].set_ylabel("mean of the squared norm")
        draw.shared_legend(figure, axes)


def fig5(found: draw.PaperResults, out: Path) -> None:
    """KL to the equilibrium and the mean of x at several frictions; mixing time against friction."""
    tolerance = found.config.damping.tolerance
    note = f"Exact, from x = 1, v ~ N(0, gamma M), M = 0.25. Dashed: KL = {tolerance:g}; critical damping."
    panels = {"kl": "KL to the equilibrium (nats)", "mean": "mean of x"}
    criteria = {
        "mixing_time": (f"KL < {tolerance:g}", draw.BLUE, "o"),
        "mixing_time_w2": (f"$W_2$ < {tolerance**0.5:g}", draw.PINK, "s"),
    }
    with found.sheet(out, 3, 3, (3.1, 3.0), note, grid="both") as (figure, (*series, last)):
        for ax, (name, title) in zip(series, panels.items(), strict=True):
            ax.set(title=title, xlabel="$\\beta t$", xlim=(0, 20))
            for ratio, color in FIG_5.items():
                if (values := found.arrays.get(f"damping/{name}/{ratio:g}")) is not None:
                    width = 2.0 if ratio == 1 else 1.2
                    ax.plot(found.arrays["damping/B"], values, color=color, linewidth=width, label=f"{ratio:g}")
        if series[0].lines:
            series[0].set(yscale="log", ylim=(1e-8, 1e1))
            series[0].axhline(tolerance, color=draw.GREY, linewidth=0.8, linestyle="--")
        for metric, (label, color, marker) in criteria.items():
            rows = found.select(table="fig5", metric=metric)
            draw.curve(last, rows, label, color, marker, x=FRICTION.by("ratio", found.config.damping.ratios))
        last.set(title="mixing time", xlabel="$\\Gamma / \\Gamma_{critical}$", ylabel="$\\beta t$")
        if last.lines:
            last.set(xscale="log", yscale="log")
            draw.only_ticks(last.xaxis, (0.125, 0.25, 0.5, 1, 2, 4, 8), ("1/8", "1/4", "1/2", "1", "2", "4", "8"))
            draw.only_ticks(last.yaxis, (2, 5, 10, 20))
            last.axvline(1, color=draw.GREY, linewidth=0.8, linestyle="--")
            last.legend()
        draw.shared_legend(figure, series, title=last.get_xlabel(), alignment="left")


def densities(found: draw.PaperResults, out: Path) -> None:
    """Figs. 1 and 5: joint densities, paths of x over its density, and distances to the prior, by friction."""
    settings, clock = found.config.densities, found.arrays.get("densities/B")
    if clock is None:
        return draw.not_measured(out)
    columns = len(settings.shown) + 2
    reach = np.array([-REACH, REACH])
    note = f"""Exact, from x = -1 and 1, M = 0.25. Green: paths, from the same starts with the same noise. Dashed:
        {settings.tolerance:g}."""
    with found.sheet(out, columns * len(settings.ratios), columns, (2.3, 2.2), note) as (_, axes):
        for i, ratio in enumerate(settings.ratios):
            *joint, over, distances = axes[i * columns : (i + 1) * columns]
            for ax, t in zip(joint, settings.shown, strict=True):
                density = found.arrays[f"densities/joint/{ratio:g}/{t:g}"]
                ax.imshow(density, extent=(*reach, *reach / 2), origin="lower", aspect="auto", cmap="Reds")
                ax.set(title=f"$\\beta t$ = {t:g}", xlabel="x", xlim=(-3, 3), ylim=(-1.5, 1.5))
            joint[0].set_ylabel(f"{ratio:g} x critical friction\nv")
            x, paths = found.arrays[f"densities/x/{ratio:g}"], found.arrays[f"densities/paths/{ratio:g}"]
            times = clock[: len(x)]
            over.imshow(x.T, extent=(0, times[-1], *reach), origin="lower", aspect="auto", cmap="Reds", vmax=1.0)
            over.plot(times, paths[:, :, 0], color=draw.GREEN, linewidth=0.8)
            over.set(title="density and paths of x", xlabel="$\\beta t$", ylim=(-3, 3))
            for name, label, color in (("tv", "total variation", draw.BLUE), ("w2", "$W_2$ of the moments", draw.ORANGE)):
                distances.plot(clock, found.arrays[f"densities/{name}/{ratio:g}"], color=color, label=label)
            distances.axhline(settings.tolerance, color=draw.GREY, linewidth=0.8, linestyle="--")
            distances.set(title="distance to the prior", xlabel="$\\beta t$", xlim=(0, 10), yscale="log", ylim=(1e-4, 2))
            draw.legend(distances, fontsize=6)


def fig6(found: draw.PaperResults, out: Path) -> None:
    """ell_t of HSM and DSM with and without stabiliser; the variance of the regression target."""
    panels = {"ell": "$\\ell_t$", "target_variance": "variance of the target $-\\ell_t \\epsilon_v$"}
    note = "M = 0.25, gamma = 0.04, beta = 4, closed forms; right: data N(0, 0.3), along v."
    with found.sheet(out, 2, 2, (4.4, 3.2), note, grid="both") as (figure, axes):
        for ax, (name, title) in zip(axes, panels.items(), strict=True):
            ax.set(title=title, xlabel="t", xscale="log", yscale="log")
            for method, color in {"HSM": draw.GREEN, "DSM": draw.ORANGE}.items():
                for eps_num, line in zip(found.config.weights.stabilisers, ("-", "--", ":"), strict=False):
                    if (values := found.arrays.get(f"weights/{name}/{method}/{eps_num:g}")) is not None:
                        label = f"{method}, $\\epsilon_{{num}}$ = {eps_num:g}"
                        ax.plot(found.arrays["weights/times"], values, color=color, linestyle=line, linewidth=1.5, label=label)
        axes[1].set_ylim(1e-6, 1e9)
        draw.shared_legend(figure, axes, columns=3)


def fig11(found: draw.PaperResults, out: Path) -> None:
    """Samples of the mixture for each sampler and number of evaluations, quadratic striding."""
    budgets = found.config.mixture.nfe[:4]
    panels = [(key, n) for key in STYLES["QS"] if key[1] != "DDIM" for n in budgets]
    score = mixture(found.config, VP(), 1).score
    density = draw.DensityMap.of(lambda x: score.log_prob(x.reshape(-1, 2), 1e-6).reshape(x.shape[:-1]), 1.1, 300)
    note, size = "Quadratic striding, exact score, samples of one seed. Grey: the data's density.", (8.4 / len(budgets),) * 2
    with found.sheet(out, len(panels), len(budgets), size, note, sharex=True, sharey=True) as (_, axes):
        for ax, (key, n) in zip(axes, panels, strict=True):
            points = found.arrays.get("/".join(("mixture", *key, str(n))))
            label, color, _ = STYLES["QS"][key]
            ax.set_title(f"{label}, n = {n}")
            if points is not None:
                draw.draw_samples(ax, density, points, color)


def learned(found: draw.PaperResults, out: Path) -> None:
    """Figs. 2 (bottom), 7, 9, 10, 12: Jacobians of trained networks, gradients' covariances, samples."""
    by_t = AT.by("t", found.config.learned.times)
    note = f"""Mixture of nine Gaussians, M = gamma = 1; dotted: a perfect network. Gradients: main setting, weight 1 / ell^2 of
        HSM for both. Grey: draws of the data. {draw.INTERVALS}"""
    with found.sheet(out, 7, 4, (2.8, 2.8), note) as (_, axes):
        traces = axes[2]
        for ax, (metric, title) in zip(axes[:2], {"jacobian": "plain", "jacobian_mixed": "mixed score"}.items(), strict=True):
            for method in ("CLD", "VPSDE"):
                color = FIG_2[method][1]
                columns = {"dataset": "mixture9", "method": method, "metric": metric}
                draw.curve(ax, found.select(table="fig9", **columns), method, color, x=by_t)
                draw.curve(ax, found.select(table="fig2", **columns), None, color, "", ":", x=by_t)
            ax.set(title=f"$J_F(t)$, {title}", xlabel="t", xscale="log", yscale="log")
            ax.grid(axis="both")
            ax.set_ylim(1e-5, None)
            draw.legend(ax)
        for method, color in {"HSM": draw.GREEN, "DSM": draw.ORANGE}.items():
            rows = found.select(table="fig7", method=method, metric="gradient_trace")
            draw.curve(traces, rows, method, color, x=AT.by("t", found.config.gradients.times))
        traces.set(title="tr Cov of the gradient", xlabel="t", xscale="log", yscale="log")
        draw.legend(traces)
        data = found.arrays.get("mixture/data")
        names = [(method, score) for method in ("CLD", "VPSDE") for score in ("plain", "mixed")]
        for ax, (method, score) in zip(axes[3:], names, strict=True):
            ax.set(title=f"{method}, {score}", xlim=(-1, 1), ylim=(-1, 1), aspect="equal")
            if (x := found.arrays.get(f"learned/{method}/{score}")) is not None:
                if data is not None:
                    ax.plot(*data[:1000].T, ".", color="#C4C4C4", markersize=3, markeredgewidth=0)
                ax.plot(*x.T, ".", color=FIG_2[method][1], markersize=2, markeredgewidth=0)


def multiscale(found: draw.PaperResults, out: Path) -> None:
    """Fig. 13: the rolls and samples of them, all and the one in the middle."""
    panels = {
        "data": ("data", draw.GREY),
        "CLD": ("CLD", draw.GREEN),
        "VPSDE": ("VPSDE", draw.ORANGE),
        "CLD/exact": ("CLD, exact score", draw.GREEN),
        "VPSDE/exact": ("VPSDE, exact score", draw.ORANGE),
    }
    note = "One of the trainings, mixed score; EM-QS. Below: the roll in the middle, with the noise-free roll."
    roll, n = ROLLS.curve(400)[0].numpy(), len(panels)
    with found.sheet(out, 2 * n, n, (2.3, 2.4), note) as (_, axes):
        for i, (name, (title, color)) in enumerate(panels.items()):
            if (x := found.arrays.get(f"multiscale/{name}")) is None:
                continue
            for ax, reach in ((axes[i], 1.1), (axes[n + i], 0.25)):
                if reach < 1:
                    ax.plot(*roll.T, color=draw.BLACK, linewidth=0.4)
                ax.plot(*x.T, ".", color=color, markersize=2 if reach > 1 else 3, markeredgewidth=0)
                ax.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
            axes[i].set_title(title)


def jacobians(found: draw.PaperResults, out: Path) -> None:
    """Figs. 2 (bottom), 9 and 12: Jacobians of networks trained on the multi-scale toy and on the digits."""
    settings = found.config
    panels = {
        ("fig12", "swiss_rolls"): ("multi-scale toy", settings.multiscale.times),
        ("fig9", found.trained_data or "digits"): (found.trained_data or "digits", settings.jacobians.times),
    }
    scores = {"jacobian": ("plain", "-"), "jacobian_mixed": ("mixed score", "--")}
    note = f"""M = 1/4, gamma = 0.04. {draw.INTERVALS} Right: by {settings.jacobians.probes} random probes for each image and
        time; the network of VPSDE is plain."""
    with found.sheet(out, len(panels), 2, (4.2, 3.0), note, grid="both") as (_, axes):
        for ax, ((table, dataset), (title, times)) in zip(axes, panels.items(), strict=True):
            for method in ("CLD", "VPSDE"):
                for metric, (label, line) in scores.items():
                    rows = found.select(table=table, dataset=dataset, method=method, metric=metric)
                    x = AT.by("t", times)
                    draw.curve(ax, rows, f"{method}, {label}", FIG_2[method][1], line=line, x=x)
            ax.set(title=title, xlabel="t", xscale="log", yscale="log")
            draw.legend(ax)
        axes[0].set_ylabel("$J_F(t)$, squared")


def paths(found: draw.PaperResults, out: Path) -> None:
    """Figs. 18 and 19: two samples' data and velocities at the captions' times, and variance and kurtosis of the velocities."""
    times, ways = found.config.paths.times, {"fig18": ("ODE", draw.BLUE, "o"), "fig19": ("SSCS-QS", draw.RED, "^")}
    note = f"""Exact score of the digits, eps_num = 1e-6. Velocities over 3 standard deviations of their own. Dashed: M and
        gamma M; the kurtosis of a Normal. {draw.INTERVALS}"""
    with found.sheet(out, 4, 2, (4.6, 2.6), note) as (_, axes):
        for ax, (table, (title, _, _)) in zip(axes, ways.items(), strict=False):
            ax.set_title(f"{title} (fig. {table[3:]})")
            states = [found.arrays[name] for t in times if (name := f"paths/{table}/{t:g}") in found.arrays]
            if states:
                x, v = (np.stack([one[:2, i] for one in states], 1) for i in (0, 1))  # (sample, time, ...)
                v = v / (3 * np.stack([one[:, 1].std() for one in states])[:, None, None, None])
                rows = [(name, values[i]) for i in range(2) for name, values in (("x", x), ("v", v))]
                draw.image_rows(ax, rows, [f"{t:g}" for t in times])
        for ax, (metric, lines) in zip(axes[2:], {"v_variance": (0.25, 0.01), "v_kurtosis": (0.0,)}.items(), strict=True):
            for table, (label, color, marker) in ways.items():
                rows = found.select(table=table, dataset="digits_exact", metric=metric)
                draw.curve(ax, rows, label, color, marker, x=AT.by("t", times))
            for value in lines:
                ax.axhline(value, color=draw.GREY, linewidth=0.8, linestyle="--")
            ax.set(
                xscale="log",
                xlabel="t",
                title=f"{'variance' if metric == 'v_variance' else 'excess kurtosis'} of the velocities",
            )
            draw.legend(ax)
        axes[2].set_yscale("log")


def samplers(found: draw.PaperResults, out: Path) -> None:
    """Distances against evaluations on the three problems; a column a problem and metric, a row a striding."""
    panels = {
        ("fig11", "mixture9", "sw2"): "mixture: SW2",
        ("fig11", "mixture9", "off_mode"): "mixture: fraction off the modes",
        ("9", "digits_exact", "sw2"): "digits: SW2",
        ("9", "digits_exact", "nearest"): "digits: distance to the nearest",
        ("9", "digits_gaussian", "frechet"): "Gaussian digits: Fréchet",
    }
    n = len(panels)
    note = f"""Exact scores. {draw.INTERVALS} Values of 0 are not drawn. DDIM has its own (quadratic) grid and stands in both
        rows; VPSDE on the digits has the uniform grid only. The Fréchet distance is exact."""
    with found.sheet(out, 2 * n, n, (2.5, 2.6), note, sharex="col", sharey="col", grid="both") as (figure, axes):
        for i, (striding, row) in enumerate(ROWS.items()):
            for ax, ((table, dataset, metric), title) in zip(axes[i * n : (i + 1) * n], panels.items(), strict=True):
                ax.set(title="" if i else title, xlabel="evaluations" if i else "", xscale="log", yscale="log")
                rows = [one for one in found.select(table=table, dataset=dataset, metric=metric) if one.value > 0]
                draw.curves(ax, rows, ("method", "variant"), STYLES[striding])
                draw.reference_line(ax, draw.select(rows, method="exact"), "as many exact draws", "--", draw.GREY)
                draw.plain_log_axis(ax.xaxis)
            axes[i * n].set_ylabel(row)
        draw.shared_legend(figure, axes)


def trained(found: draw.PaperResults, out: Path) -> None:
    """FID of trained networks against evaluations, the ablations, and samples."""
    data, settings = found.trained_data, found.config.trained
    rows = found.select(dataset=data, metric="fid") if data else []
    with found.sheet(out, 4, 2, (4.2, 3.0), f"{draw.INTERVALS} {draw.FLOOR_NOTE}") as (_, (*against, ablations, pictures)):
        for ax, (striding, row) in zip(against, ROWS.items(), strict=True):
            draw.curves(ax, draw.select(rows, table="9"), ("method", "variant"), STYLES[striding])
            ax.set(title=f"{data}, {row}" if rows else row, ylabel="FID")
            if ax.lines:
                draw.against_evaluations(ax, label="evaluations")
                ax.set_ylim(0, None)
                draw.real_images(ax, rows)
            ax.grid()
        against[0].legend(fontsize=6.5)
        bars = draw.select(rows, method="CLD-ablation")
        ablations.set(title=f"Ablations, {settings.ablation}, {settings.ablation_nfe} evaluations", xlabel="FID")
        if bars:
            values, errors = zip(*((one.value, draw.interval(one)) for one in bars), strict=True)
            ablations.errorbar(values, range(len(bars)), xerr=errors, color=draw.BLUE, marker="o", linestyle="none")
            ablations.set_yticks(range(len(bars)), [one.variant.replace("M^-1", "$M^{-1}$") for one in bars])
            ablations.invert_yaxis()
            draw.real_images(ablations, rows, across=True)
            shown = {
                f"{process}, {variant}, {nfe}": samples_name(data, "9", process, variant, nfe)
                for process, variant, nfe in settings.cells
                if process == "CLD" and nfe in (10, 50, 150)
            }
            draw.image_rows(pictures, found.named_arrays(shown | {"real": f"{data}/real"}))
