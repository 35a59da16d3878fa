"""The figures of gDDIM: each function draws one, named in paper.yaml, from what was found at a scale."""

from collections.abc import Iterable
from pathlib import Path

from matplotlib.axes import Axes

from reproductions.gddim.jobs import PROCESSES, recovery_image
from reproductions.gddim.tables import LAM, PREDICTOR_ORDERS, STOCHASTIC, TOLERANCE, predictor
from rescore import figures as draw
from rescore.experiments.axes import samples_name
from rescore.figures import PaperResults

# Data sets of Tables 7.1 and 7.2: title, and the distance of Table 7.2 with its label.
OFF = {
    "mixture2d_grid": ("nine Gaussians", "off_mode", "fraction off every mode"),
    "digits_exact": ("digits", "off_data", "RMS distance to the nearest digit"),
}
RECOVERY = {
    ("gDDIM", "DDPM, K=R"): ("DDIM (VP)", draw.BLUE, "o", "-"),
    ("gDDIM", "BDM, K=R"): ("gDDIM (BDM)", draw.GREEN, "s", "-"),
    ("gDDIM", "CLD, K=R"): ("gDDIM (CLD), $K=R$", draw.RED, "D", "-"),
    ("gDDIM", "CLD, K=L"): ("gDDIM (CLD), $K=L$", draw.ORANGE, "^", "-"),
    ("Euler", "DDPM"): ("Euler (VP)", draw.BLUE, "o", ":"),
    ("Euler", "BDM"): ("Euler (BDM)", draw.GREEN, "s", ":"),
    ("Euler", "CLD"): ("Euler (CLD)", draw.RED, "D", ":"),
}
ONE_STEP = {
    ("start", "DDPM"): "VP: start", ("gDDIM", "DDPM, K=R"): "DDIM",
    ("start", "BDM"): "BDM: start", ("gDDIM", "BDM, K=R"): "gDDIM",
    ("start", "CLD"): "CLD: start", ("gDDIM", "CLD, K=R"): "gDDIM, $K=R$", ("gDDIM", "CLD, K=L"): "gDDIM, $K=L$", ("Euler", "CLD"): "Euler",
}  # fmt: skip
ORDER_LINES = {1: ("s", ":"), 2: ("^", "--"), 3: ("D", "-")}
FACTORS = {"R": draw.BLUE, "L": draw.ORANGE}
LAMBDAS = {"gDDIM": (draw.BLUE, "o"), "EM": (draw.RED, "s"), "EM as released": (draw.PINK, "^")}
GRID = {
    "gDDIM": (draw.BLUE, "o", "-"), "gDDIM, q=1": (draw.SKY, "o", ":"), "EM": (draw.RED, "s", "-"),
    "Ancestral": (draw.ORANGE, "^", "-"), "Prob.Flow Heun": (draw.GREEN, "D", "-"), "2nd Heun": (draw.PURPLE, "v", "-"),
    "Prob.Flow RK45": (draw.BLACK, "x", "none"),
}  # fmt: skip
TITLES = {"DDPM": "DDPM (VP)", "BDM": "BDM", "CLD": "CLD"}
CEILING = 3.0  # what has diverged is drawn at the upper edge
AT_CEILING = f"{draw.INTERVALS} Values above 3 are drawn at 3."
TICKS = (10, 20, 50, 100, 1000)


def one_step(found: PaperResults, out: Path) -> None:
    """Prop. 7 as images: draws of the prior and where one step takes them."""
    note = "The data are one image: one step from T to t0 under R_t returns it, under L_t or by Euler it does not."
    with found.sheet(out, len(ONE_STEP), 4, (1.5, 1.75), note) as (_, axes):
        for ax, (place, title) in zip(axes, ONE_STEP.items(), strict=True):
            ax.set(title=title, xticks=[], yticks=[])
            ax.tick_params(bottom=False, labelbottom=False)
            if (name := recovery_image(*place)) in found.arrays:
                ax.imshow(found.arrays[name], cmap="gray_r", vmin=-1, vmax=1)


def recovery(found: PaperResults, out: Path) -> None:
    """Prop. 7: the error against the number of steps, on one data point and on a Gaussian."""
    titles = {"one_point": "one data point (Prop. 7)", "gaussian": "N(x, 0.5² I), beyond Prop. 7"}
    with found.sheet(out, 2, 2, (4.0, 3.4), f"{draw.INTERVALS} Values near 1e-15 are rounding.") as (figure, axes):
        for ax, (dataset, title) in zip(axes, titles.items(), strict=True):
            for (method, variant), style in RECOVERY.items():
                draw.curve(ax, found.select(table="prop7", dataset=dataset, method=method, variant=variant), *style)
            draw.against_evaluations(ax, found.config.recovery.steps, "steps from T to $t_0$")
            ax.set(title=title, yscale="log")
            ax.grid()
        axes[0].set_ylabel("RMS distance to the exact flow")
        draw.shared_legend(figure, axes, columns=4)


def noise(found: PaperResults, out: Path) -> None:
    """Fig. 7.1: pixels and eps under L_t and R_t along the exact flow of CLD."""
    if "noise/times" not in found.arrays:
        return draw.not_measured(out)
    data = {"one_point": "one point", "digits_exact": "digits"}
    titles = {"u": "the solution", "L": "$\\epsilon$ under $L_t$", "R": "$\\epsilon$ under $R_t$"}
    panels = [(dataset, key) for dataset in data for key in titles]
    note = ("One solution, three pixels in the middle of the image; sampling runs from left to right. Under L_t the x channel of eps "
            "does not enter the sampler.")  # fmt: skip
    with found.sheet(out, 6, 3, (3.2, 2.4), note, sharex=True) as (_, axes):
        for ax, (dataset, key) in zip(axes, panels, strict=True):
            values = found.arrays[f"noise/{dataset}/{key}"]  # (times, channels, pixels)
            for channel, pixels in zip(("v",) if key == "L" else ("x", "v"), values.swapaxes(0, 1), strict=True):
                lines = ax.plot(found.arrays["noise/times"], pixels, color={"x": draw.BLUE, "v": draw.ORANGE}[channel], linewidth=1)
                lines[0].set_label(channel)
            ax.set_title(f"{data[dataset]}: {titles[key]}")
            ax.grid()
            if key != "u":
                ax.set_ylim(-4, 4)
        for ax in axes[3:]:
            ax.set_xlabel("t")
        axes[0].legend(ncols=2)
        axes[0].invert_xaxis()


def cld(found: PaperResults, out: Path) -> None:
    """Tables 7.1 and 7.2: R_t against L_t, and the lambda family against Euler-Maruyama."""
    if not found.select(table="7.1", dataset=list(OFF)):
        return draw.not_measured(out)
    note = (f"{AT_CEILING} Table 7.2: 50 evaluations, one-step predictors; `as released`: the drift (1 + λ)/2 of the released code "
            "instead of (1 + λ²)/2.")  # fmt: skip
    ylabels = {"solver_rmse": "RMS distance to the exact flow", "sw2": "sw2 to the data"}
    with found.sheet(out, 6, 3, (3.2, 2.7), note) as (_, axes):
        for i, (dataset, (label, off, ylabel)) in enumerate(OFF.items()):
            for ax, metric in zip(axes[3 * i : 3 * i + 2], ylabels, strict=True):
                rows = found.select(table="7.1", dataset=dataset, metric=metric)
                for factor, color in FACTORS.items():
                    for order in PREDICTOR_ORDERS:
                        of_order = draw.select(rows, method="gDDIM", variant=predictor(factor, order))
                        draw.curve(ax, of_order, f"$K={factor}$, q = {order}", color, *ORDER_LINES[order], ceiling=CEILING)
                draw.reference_line(ax, draw.select(rows, method="exact draws"), "exact draws", "-", draw.GREY)
                _log(ax, f"Table 7.1, {label}", ylabels[metric])
                draw.against_evaluations(ax, log=False)
            _lambdas(found, axes[3 * i + 2], dataset, off, f"Table 7.2, {label}", ylabel)
        draw.log_axis_if_wide(axes[5])  # not the fraction, which may be 0
        axes[1].legend(fontsize=6.5)
        axes[2].legend()


def grid(found: PaperResults, out: Path) -> None:
    """Table 7.3 on the digits."""
    ylabels = {"sw2": "sw2 to the digits", "off_data": "RMS distance to\nthe nearest digit"}
    panels = [(metric, name) for metric in ylabels for name in PROCESSES]
    note = f"{AT_CEILING} Grey: exact draws of the digits. RK45: tolerances from the config, at the evaluations it took."
    with found.sheet(out, 6, 3, (3.2, 2.8), note, sharey="row") as (figure, axes):
        for ax, (metric, name) in zip(axes, panels, strict=True):
            rows = found.select(table="7.3", dataset="digits_exact", metric=metric)
            tolerances = [TOLERANCE(process=name, tolerance=tolerance) for tolerance in found.config.grid.tolerances]
            _samplers(ax, draw.select(rows, variant=[name, *tolerances]), TITLES[name])
            if metric == "sw2":
                draw.reference_line(ax, draw.select(rows, method="exact draws"), line="-", color=draw.GREY)
        for ax, label in zip(axes[::3], ylabels.values(), strict=True):
            ax.set_ylabel(label)
        draw.shared_legend(figure, axes)


def trained(found: PaperResults, out: Path) -> None:
    """Tables 7.1 to 7.3 on trained networks, and samples."""
    data = found.trained_data
    if not data:
        return draw.not_measured(out)
    rows = found.select(dataset=data, metric="fid")
    with found.sheet(out, 6, 3, (3.4, 3.0), f"{draw.INTERVALS} {draw.FLOOR_NOTE}") as (_, axes):
        for factor, color in FACTORS.items():
            draw.curve(axes[0], draw.select(rows, table="7.1", variant=predictor(factor, 3)), f"$K={factor}$", color)
        _log(axes[0], "Table 7.1, CLD", "FID")
        draw.against_evaluations(axes[0], log=False)
        _lambdas(found, axes[1], data, "fid", "Table 7.2, CLD", "FID")
        axes[1].set_yscale("log")
        for ax, name in zip(axes[2:5], PROCESSES, strict=True):
            _samplers(ax, draw.select(rows, table="7.3", variant=name), f"Table 7.3, {TITLES[name]}", "FID", float("inf"))
        for ax in axes[:5]:
            draw.real_images(ax, rows)
            ax.legend(fontsize=6.5)
        shown = {f"{name}, {nfe}": samples_name(data, "7.3", "gDDIM", name, nfe) for name in PROCESSES for nfe in (10, 50)}
        draw.image_rows(axes[5], found.named_arrays(shown | {"real": f"{data}/real"}))
        axes[5].set_title("gDDIM, and real images")


def _samplers(ax: Axes, rows: Iterable[draw.Row], title: str, ylabel: str = "", ceiling: float = CEILING) -> None:
    """The samplers of Table 7.3 on one process."""
    for method, style in GRID.items():
        draw.curve(ax, draw.select(rows, method=method), method, *style, ceiling=ceiling)
    draw.against_evaluations(ax, TICKS)
    _log(ax, title, ylabel)


def _lambdas(found: PaperResults, ax: Axes, dataset: str, metric: str, title: str, ylabel: str) -> None:
    """Table 7.2 against lambda."""
    for method in STOCHASTIC:
        rows = found.select(table="7.2", dataset=dataset, method=method, metric=metric)
        draw.curve(ax, rows, method, *LAMBDAS[method], x=LAM.by("lam", found.config.lambdas.values))
    ax.set(title=title, xlabel="$\\lambda$", ylabel=ylabel)
    ax.grid()


def _log(ax: Axes, title: str, ylabel: str) -> None:
    """A log scale with plain numbers."""
    ax.set(title=title, yscale="log", ylabel=ylabel)
    ax.yaxis.set_major_formatter("{x:g}")
    ax.grid()
