"""The figures of CLD: each function draws one, named in paper.yaml, from results/<scale>."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from reproductions.cld.problems import mixture_score
from rescore import figures as draw
from rescore.ledger.records import Record
from rescore.processes import VP

ROOT = Path(__file__).parents[2]

FIG_2 = {
    "CLD": ("CLD, $\\beta = 4$", draw.GREEN, "-"),
    "CLD-VP-beta": ("CLD, $\\beta$ of VPSDE", draw.GREEN, ":"),
    "VPSDE": ("VPSDE", draw.ORANGE, "-"),
}
STYLES = {
    ("VPSDE", "EM"): ("VPSDE, EM", draw.ORANGE, "s"),
    ("CLD", "EM"): ("CLD, EM", draw.BLUE, "o"),
    ("CLD", "SSCS"): ("CLD, SSCS", draw.RED, "^"),
    ("VPSDE", "DDIM"): ("VPSDE, DDIM", draw.PURPLE, "D"),
}
FRICTION = "$\\Gamma / \\Gamma_{critical}$"
STRIDINGS = {"US": "uniform striding", "QS": "quadratic striding"}


def fig2(results: Path, out: Path) -> None:
    """xi(t) and the squared norm of the Jacobian of what a network must represent."""
    found = _open(results)
    panels = {"xi": "$\\xi(t)$", "jacobian": "$J_F(t)$, plain", "jacobian_mixed": "$J_F(t)$, mixed score"}
    with draw.sheet(out, len(panels), 3, (3.1, 3.0)) as (figure, axes):
        for ax, (metric, title) in zip(axes, panels.items(), strict=True):
            ax.set(title=title, xlabel="t", xscale="log", yscale="log")
            if "scores/times" not in found.arrays:
                draw.placeholder(ax, "not run")
                continue
            times = found.arrays["scores/times"]
            for method, (label, color, line) in FIG_2.items():
                values, stderr = np.array([found.arrays[f"scores/{method}/{metric}/{t:g}"] for t in times]).T
                ax.errorbar(times, values, 2 * stderr, label=label, color=color, linestyle=line, marker="o", markersize=3)
            ax.set_ylim(1e-5, None)
            ax.grid()
        axes[0].set_ylabel("mean of the squared norm")
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper left", ncols=3)
        draw.add_notes(
            figure,
            f"Scale {found.scale}. Mixture of nine Gaussians, exact score, M = gamma = 1. Bars (two standard errors) are "
            "mostly smaller than the markers; values below 1e-5 are cut off. The paper does not state beta.",
        )


def fig5(results: Path, out: Path) -> None:
    """KL to the equilibrium and the mean of x at several frictions; mixing time against friction."""
    found = _open(results)
    with draw.sheet(out, 3, 3, (3.1, 3.0)) as (figure, axes):
        for ax in axes if "damping/B" not in found.arrays else []:
            draw.placeholder(ax, "not run")
        if "damping/B" in found.arrays:
            b, ratios = found.arrays["damping/B"], found.arrays["damping/ratios"]
            shown = [r for r in ratios if r in (0.125, 0.5, 0.8, 1, 2, 8)]
            colors = [draw.SKY, draw.BLUE, draw.GREEN, draw.BLACK, draw.ORANGE, draw.RED]
            for ratio, color in zip(shown, colors, strict=True):
                width = 2.0 if ratio == 1 else 1.2
                for ax, name in zip(axes, ("kl", "mean"), strict=False):
                    ax.plot(b, found.arrays[f"damping/{name}/{ratio:g}"], color=color, linewidth=width, label=f"{ratio:g}")
            axes[0].set(title="KL to the equilibrium", yscale="log", ylim=(1e-8, 1e1), xlim=(0, 20), ylabel="KL (nats)")
            axes[0].axhline(0.01, color=draw.GREY, linewidth=0.8, linestyle="--")
            axes[1].set(title="mean of x", xlim=(0, 20), ylim=(-0.75, 1.05))
            for ax in axes[:2]:
                ax.set_xlabel("$\\beta t$")
            criteria = {"mixing_time": ("o", draw.BLUE, "KL < 0.01"), "mixing_time_w2": ("s", draw.PINK, "$W_2$ < 0.1")}
            for metric, (marker, color, label) in criteria.items():
                values = [_one(found.records, "fig5", f"Gamma/critical={r:g}", metric).value for r in ratios]
                axes[2].plot(ratios, values, marker=marker, markersize=4, color=color, label=label)
            axes[2].set(title="mixing time", xscale="log", yscale="log", xlabel=FRICTION, ylabel="$\\beta t$")
            axes[2].set_xticks([0.125, 0.25, 0.5, 1, 2, 4, 8], ["1/8", "1/4", "1/2", "1", "2", "4", "8"], minor=False)
            axes[2].set_xticks([], minor=True)
            axes[2].set_yticks([2, 5, 10, 20], ["2", "5", "10", "20"])
            axes[2].set_yticks([], minor=True)
            axes[2].axvline(1, color=draw.GREY, linewidth=0.8, linestyle="--")
            axes[2].legend()
            handles, labels = axes[0].get_legend_handles_labels()
            figure.legend(handles, labels, loc="outside upper left", ncols=len(labels), title=FRICTION, alignment="left")
            for ax in axes:
                ax.grid()
        note = "Exact, from x = 1, v ~ N(0, gamma M), M = 0.25. Dashed: KL = 0.01; critical damping."
        draw.add_notes(figure, f"Scale {found.scale}. {note}")


def fig6(results: Path, out: Path) -> None:
    """ell_t of HSM and DSM with and without stabiliser; the variance of the regression target."""
    found = _open(results)
    colors, lines = {"HSM": draw.GREEN, "DSM": draw.ORANGE}, {"0": "-", "1e-09": "--", "1e-06": ":"}
    panels = {"ell": "$\\ell_t$", "target_variance": "variance of the target $-\\ell_t \\epsilon_v$"}
    with draw.sheet(out, 2, 2, (4.4, 3.2)) as (figure, axes):
        for ax, (name, title) in zip(axes, panels.items(), strict=True):
            ax.set(title=title, xlabel="t", xscale="log", yscale="log")
            for method, color in colors.items():
                for stabiliser, line in lines.items():
                    key = f"weights/{name}/{method}/{stabiliser}"
                    if key in found.arrays:
                        ax.plot(found.arrays["weights/times"], found.arrays[key], color=color, linestyle=line, linewidth=1.5)
            if not ax.lines:
                draw.placeholder(ax, "not run")
            ax.grid()
        axes[1].set_ylim(1e-6, 1e9)
        handles = [Line2D([], [], color=color, label=method) for method, color in colors.items()]
        names = {"0": "no stabiliser", "1e-09": "$\\epsilon_{num} = 10^{-9}$", "1e-06": "$\\epsilon_{num} = 10^{-6}$"}
        handles += [Line2D([], [], color=draw.GREY, linestyle=line, label=names[key]) for key, line in lines.items()]
        figure.legend(handles=handles, loc="outside upper left", ncols=5)
        note = "M = 0.25, gamma = 0.04, beta = 4, closed forms; right: data N(0, 0.3), along v."
        draw.add_notes(figure, f"Scale {found.scale}. {note}")


def fig11(results: Path, out: Path) -> None:
    """Samples of the mixture for each sampler and number of evaluations, quadratic striding."""
    found = _open(results)
    rows = (("VPSDE", "EM-QS"), ("CLD", "EM-QS"), ("CLD", "SSCS-QS"))
    budgets = list(found.config.mixture.nfe)[:4]
    score = mixture_score(VP())
    density = draw.DensityMap.of(lambda x: score.log_prob(x.reshape(-1, 2), 1e-6).reshape(x.shape[:-1]), 1.1, 300)
    panels = [(method, variant, n) for method, variant in rows for n in budgets]
    with draw.sheet(out, len(panels), len(budgets), (8.4 / len(budgets),) * 2, sharex=True, sharey=True) as (figure, axes):
        for ax, (method, variant, n) in zip(axes, panels, strict=True):
            points = found.arrays.get(f"mixture/{method}/{variant}/{n}")
            name, color, _ = STYLES[method, variant.split("-")[0]]
            if points is None:
                density.draw(ax)
                draw.placeholder(ax, "not run")
            else:
                draw.draw_samples(ax, density, points, color)
                ax.set_title("", loc="right")
            ax.set_title(f"{name}, n = {n}")
        note = "Quadratic striding, exact score, samples of one seed. Grey: the data's density."
        draw.add_notes(figure, f"Scale {found.scale}. {note}")


def samplers(results: Path, out: Path) -> None:
    """Distances against evaluations on the three problems; a column a problem and metric, a row a striding."""
    found = _open(results)
    panels = {
        ("fig11", "mixture9", "sw2"): "mixture: SW2",
        ("fig11", "mixture9", "off_mode"): "mixture: fraction off the modes",
        ("9", "digits_exact", "sw2"): "digits: SW2",
        ("9", "digits_exact", "nearest"): "digits: distance to the nearest",
        ("9", "digits_gaussian", "frechet"): "Gaussian digits: Fréchet",
    }
    with draw.sheet(out, 2 * len(panels), len(panels), (2.5, 2.6), sharex="col", sharey="col") as (figure, axes):
        for i, striding in enumerate(STRIDINGS):
            for ax, (key, title) in zip(axes[i * len(panels) :], panels.items(), strict=False):
                _curves(ax, [one for one in found.records if (one.table, one.dataset, one.metric) == key], striding)
                ax.set_title(title if i == 0 else "")
                ax.set_xlabel("evaluations" if i else "")
                ax.grid()
            axes[i * len(panels)].set_ylabel(STRIDINGS[striding])
        handles = [
            Line2D([], [], color=color, marker=shape, markersize=4, label=label) for label, color, shape in STYLES.values()
        ]
        handles.append(Line2D([], [], color=draw.GREY, linestyle="--", label="as many exact draws"))
        figure.legend(handles=handles, loc="outside upper left", ncols=len(handles))
        draw.add_notes(
            figure,
            f"Scale {found.scale}. Exact scores. Bars: two standard errors over seeds. Values of 0 are not drawn. DDIM has its "
            "own (quadratic) grid and stands in both rows; VPSDE on the digits has the uniform grid only. "
            "The Fréchet distance is exact.",
        )


def trained(results: Path, out: Path) -> None:
    """FID of trained networks against evaluations, the ablations, and samples."""
    found = _open(results)
    data = found.trained_data
    rows = [one for one in found.records if one.dataset == data and one.metric == "fid"]
    with draw.sheet(out, 4, 2, (4.2, 3.0)) as (figure, axes):
        if not rows:
            for ax in axes:
                draw.placeholder(ax, "no trained network at this scale")
            return
        for ax, (striding, title) in zip(axes[:2], STRIDINGS.items(), strict=True):
            _curves(ax, [one for one in rows if one.table == "9" and one.nfe], striding)
            ax.set(title=f"{data}, {title}", xlabel="evaluations", ylabel="FID", yscale="linear", ylim=(0, None))
            ax.set_xticks([50, 150, 500, 1000], ["50", "150", "500", "1000"])
            ax.minorticks_off()
        bars = [one for one in rows if one.method == "CLD-ablation"]
        labels = {"M^-1=4": "$M^{-1}=4$", "M^-1=1": "$M^{-1}=1$", "M^-1=16": "$M^{-1}=16$"}
        places = range(len(bars))
        errors = [2 * (one.stderr or 0.0) for one in bars]
        axes[2].errorbar([one.value for one in bars], places, xerr=errors, color=draw.BLUE, marker="o", linestyle="none")
        axes[2].set(yticks=list(places), yticklabels=[labels.get(one.variant, one.variant) for one in bars], xlabel="FID")
        axes[2].set_title("Ablations, 150 evaluations" if found.scale != "smoke" else "Ablations")
        axes[2].invert_yaxis()
        axes[0].legend(handles=[
            Line2D([], [], color=color, marker=shape, markersize=4, label=label) for label, color, shape in STYLES.values()
        ], fontsize=6.5)  # fmt: skip
        for ax in axes[:2]:
            draw.real_images(ax, rows)
            ax.grid()
        draw.real_images(axes[2], rows, across=True)
        pictures = {
            name.removeprefix(f"{data}/9/").replace("/", ", "): images
            for name, images in found.arrays.items() if name.startswith(f"{data}/9/CLD, ") and name.endswith(("/50", "/150", "/10"))
        }  # fmt: skip
        draw.image_rows(axes[3], pictures | {"real": found.arrays[f"{data}/real"]})
        draw.add_notes(figure, f"Scale {found.scale}. Bars: two standard errors over training seeds. {draw.FLOOR_NOTE}")


def _curves(ax: Axes, records: list[Record], striding: str) -> None:
    for (method, sampler), (_, color, marker) in STYLES.items():
        variants = (sampler,) if sampler == "DDIM" else (f"{sampler}-{striding}",)
        mine = sorted((one for one in records if one.method == method and one.variant in variants), key=lambda one: one.nfe)
        mine = [one for one in mine if one.value > 0]
        if mine:
            n, values, stderr = np.array([(one.nfe, one.value, one.stderr or 0.0) for one in mine]).T
            bars = np.minimum(2 * stderr, 0.9 * values)
            ax.errorbar(n, values, bars, color=color, marker=marker, markersize=4, linewidth=1.2)
    exact = [one for one in records if one.method == "exact" and one.value > 0]
    for one in exact:
        ax.axhline(one.value, color=draw.GREY, linewidth=1.0, linestyle="--")
    if not ax.lines:
        draw.placeholder(ax, "not run")
    ax.set(xscale="log", yscale="log")


def _one(records: Iterable[Record], table: str, variant: str, metric: str) -> Record:
    return next(one for one in records if (one.table, one.variant, one.metric) == (table, variant, metric))


def _open(results: Path) -> draw.PaperResults:
    return draw.open_results(results, "cld", ROOT)
