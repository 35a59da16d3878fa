"""The figures of gDDIM: each function draws one, named in paper.yaml, from what was found at a scale."""

import math
from collections.abc import Iterable
from itertools import product
from pathlib import Path

from matplotlib.axes import Axes
from rescore import figures as draw
from rescore.experiments.axes import samples_name
from rescore.figures import PaperResults

from reproductions.gddim.jobs import PROCESSES, recovery_image
from reproductions.gddim.paths import PHASES
from reproductions.gddim.tables import AT_MOST, LAM, TOLERANCE, predictor

# Data sets of Tables 7.1 and 7.2: title, and the distance of Table 7.2 with its label.
OFF = {
    "mixture2d_grid": ("nine Gaussians", "off_mode", "fraction off every mode"),
    "digits_exact": ("digits", "off_data", "RMS distance to the nearest digit"),
}
RECOVERY = {  # (method, variant): label, colour, marker and line, as in all styles
    ("gDDIM", "DDPM, K=R"): ("DDIM (VP)", draw.BLUE, "o", "-"),
    ("gDDIM", "BDM, K=R"): ("gDDIM (BDM)", draw.GREEN, "s", "-"),
    ("gDDIM", "CLD, K=R"): ("gDDIM (CLD), $K=R$", draw.RED, "D", "-"),
    ("gDDIM", "CLD, K=L"): ("gDDIM (CLD), $K=L$", draw.ORANGE, "^", "-"),
    ("Euler", "DDPM"): ("Euler (VP)", draw.BLUE, "o", ":"),
    ("Euler", "BDM"): ("Euler (BDM)", draw.GREEN, "s", ":"),
    ("Euler", "CLD"): ("Euler (CLD)", draw.RED, "D", ":"),
}
ONE_STEP = {
    ("start", "DDPM"): "VP: start",
    ("gDDIM", "DDPM, K=R"): "DDIM",
    ("start", "BDM"): "BDM: start",
    ("gDDIM", "BDM, K=R"): "gDDIM",
    ("start", "CLD"): "CLD: start",
    ("gDDIM", "CLD, K=R"): "gDDIM, $K=R$",
    ("gDDIM", "CLD, K=L"): "gDDIM, $K=L$",
    ("Euler", "CLD"): "Euler",
}
PREDICTORS = {
    predictor(factor, order): (f"$K={factor}$, q = {order}", color, marker, line)
    for factor, color in (("R", draw.BLUE), ("L", draw.ORANGE))
    for order, marker, line in ((1, "o", ":"), (2, "s", "--"), (3, "D", "-"))
}
LAMBDAS = {
    "gDDIM": ("gDDIM", draw.BLUE, "o"),
    "EM": ("EM", draw.RED, "s"),
    "EM as released": ("EM as released", draw.PINK, "^"),
}
GRID = {
    "gDDIM": ("gDDIM", draw.BLUE, "o"),
    "gDDIM, q=1": ("gDDIM, q=1", draw.SKY, "o", ":"),
    "EM": ("EM", draw.RED, "s"),
    "Ancestral": ("Ancestral", draw.ORANGE, "^"),
    "Prob.Flow Heun": ("Prob.Flow Heun", draw.GREEN, "D"),
    "2nd Heun": ("2nd Heun", draw.PURPLE, "v"),
    "Prob.Flow RK45": ("Prob.Flow RK45", draw.BLACK, "x", "none"),
}
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
            draw.curves(ax, found.select(table="prop7", dataset=dataset), ("method", "variant"), RECOVERY)
            draw.against_evaluations(ax, found.config.recovery.steps, "steps from T to $t_0$")
            draw.log_values(ax, title)
        axes[0].set_ylabel("RMS distance to the exact flow")
        draw.shared_legend(figure, axes, columns=4)


def noise(found: PaperResults, out: Path) -> None:
    """Fig. 7.1: pixels and eps under L_t and R_t along the exact flow of CLD."""
    times = found.arrays.get("noise/times", found.arrays.get("noise/digits/times"))  # one grid
    if times is None:
        return draw.not_measured(out)
    titles = {"u": "the solution", "L": "$\\epsilon$ under $L_t$", "R": "$\\epsilon$ under $R_t$"}
    data = {"one_point": "one point", "digits_exact": "digits", "digits": "trained network"}
    data = {name: title for name, title in data.items() if f"noise/{name}/u" in found.arrays}
    note = (
        "One solution, three pixels in the middle of the image; sampling runs from left to right. Under L_t the x channel "
        "of eps does not enter the sampler."
    )
    with found.sheet(out, 3 * len(data), 3, (3.2, 2.4), note, sharex=True) as (_, axes):
        for ax, (dataset, key) in zip(axes, product(data, titles), strict=True):
            values = found.arrays[f"noise/{dataset}/{key}"]  # (times, channels, pixels)
            for channel, pixels in zip(("v",) if key == "L" else ("x", "v"), values.swapaxes(0, 1), strict=True):
                color = draw.BLUE if channel == "x" else draw.ORANGE
                lines = ax.plot(times, pixels, color=color, linewidth=1)
                lines[0].set_label(channel)
            ax.set(title=f"{data[dataset]}: {titles[key]}", ylim=None if key == "u" else (-4, 4))
            ax.grid()
        for ax in axes[-3:]:
            ax.set_xlabel("t")
        draw.legend(axes[0], ncols=2)
        axes[0].invert_xaxis()


def phases(found: PaperResults, out: Path) -> None:
    """Fig. 7.2: how fast eps changes along solutions, coloured by phase."""
    datasets = {"four_points": "four points in the plane", "ten_digits": "ten digits"}
    if "phases/four_points/rates" not in found.arrays:
        return draw.not_measured(out)
    colors = dict(zip(PHASES, (draw.GREEN, draw.BLUE, draw.RED), strict=True))
    with found.sheet(out, 2, 2, (4.4, 3.2), "Three solutions each; sampling runs from left to right.") as (_, axes):
        for ax, (name, title) in zip(axes, datasets.items(), strict=True):
            rates, which, times = (found.arrays[f"phases/{name}/{key}"] for key in ("rates", "which", "times"))
            for k, (phase, color) in enumerate(colors.items()):
                for one in range(rates.shape[1]):
                    inside = which[:, one] == k
                    ax.plot(times[:-1][inside], rates[inside, one], ".", ms=2, color=color, label=phase if one == 0 else None)
            draw.log_values(ax, title, "rate of change of eps over sqrt(t)" if name == "four_points" else "", grid="y")
            ax.set_xlabel("t")
            ax.set_ylim(1e-6, None)
            ax.invert_xaxis()
        draw.legend(axes[0], fontsize=6.5)


def correctors(found: PaperResults, out: Path) -> None:
    """Section 7.4.1: predictors alone and with a corrector."""
    styles = {
        (method, f"q={q}"): (f"{method}, q = {q}", color, "os"[q - 2], line)
        for method, color, line in (("predictor", draw.BLUE, "-"), ("predictor-corrector", draw.ORANGE, "--"))
        for q in found.config.corrected.orders
    }
    panels = {
        ("mixture2d_grid", "solver_rmse"): "nine Gaussians, exact",
        ("digits_exact", "solver_rmse"): "digits, exact",
        ("digits", "fid"): "trained network",
    }
    with found.sheet(out, 3, 3, (3.4, 2.9), AT_CEILING) as (_, axes):
        for ax, ((dataset, metric), title) in zip(axes, panels.items(), strict=True):
            rows = found.select(table="7.4.1", dataset=dataset, metric=metric)
            draw.curves(ax, rows, ("method", "variant"), styles, ceiling=math.inf if metric == "fid" else CEILING)
            draw.against_evaluations(ax, found.config.corrected.nfes, log=False)
            draw.log_values(ax, title, "FID" if metric == "fid" else "RMS distance to the exact flow")
        draw.legend(axes[0], fontsize=6.5)


def held(found: PaperResults, out: Path) -> None:
    """RK45 held to the evaluations of Table 7.3, beside gDDIM."""
    with found.sheet(out, 3, 3, (3.4, 2.9), f"{draw.INTERVALS} RK45 stands at the most it may take.", sharey=True) as (_, axes):
        for ax, name in zip(axes, PROCESSES, strict=True):
            budgets = AT_MOST.by("nfe", found.config.held.nfes, process=name)
            rows = found.select(table="7.3", dataset=found.trained_data or "digits", metric="fid")
            draw.curves(ax, draw.select(rows, variant=name, nfe=list(budgets.values())), ("method",), GRID)
            style = {"Prob.Flow RK45": ("RK45", draw.BLACK, "x")}
            draw.curves(ax, draw.select(rows, variant=list(budgets)), ("method",), style, x=budgets)
            draw.against_evaluations(ax, found.config.held.nfes)
            draw.log_values(ax, TITLES[name], "FID" if name == "DDPM" else "")
        draw.legend(axes[0], fontsize=6.5)


def cld(found: PaperResults, out: Path) -> None:
    """Tables 7.1 and 7.2: R_t against L_t, and the lambda family against Euler-Maruyama."""
    labels = {"solver_rmse": "RMS distance to the exact flow", "sw2": "sw2 to the data"}
    if not found.select(table="7.1", dataset=list(OFF)):
        return draw.not_measured(out)
    note = (
        f"{AT_CEILING} Grey: exact draws. Table 7.2: 50 evaluations, one-step predictors; `as released`: the drift "
        "(1 + λ)/2 of the released code instead of (1 + λ²)/2."
    )
    with found.sheet(out, 6, 3, (3.2, 2.7), note) as (_, axes):
        for row, (dataset, (title, off, label)) in zip((axes[:3], axes[3:]), OFF.items(), strict=True):
            for ax, metric in zip(row, labels, strict=False):
                rows = found.select(table="7.1", dataset=dataset, metric=metric)
                draw.curves(ax, rows, ("variant",), PREDICTORS, ceiling=CEILING)
                _floor(ax, rows)
                draw.against_evaluations(ax, log=False)
                draw.log_values(ax, f"Table 7.1, {title}", labels[metric])
            _lambdas(found, row[2], f"Table 7.2, {title}", label, dataset=dataset, metric=off)
        draw.log_axis_if_wide(axes[5])  # not the fraction, which may be 0
        draw.legend(axes[1], fontsize=6.5)
        draw.legend(axes[2])


def grid(found: PaperResults, out: Path) -> None:
    """Table 7.3 on the digits."""
    labels = {"sw2": "sw2 to the digits", "off_data": "RMS distance to\nthe nearest digit"}
    note = f"{AT_CEILING} Grey: exact draws of the digits. RK45: tolerances from the config, at the evaluations it took."
    with found.sheet(out, 6, 3, (3.2, 2.8), note, sharey="row") as (figure, axes):
        for row, (metric, label) in zip((axes[:3], axes[3:]), labels.items(), strict=True):
            rows = found.select(table="7.3", dataset="digits_exact", metric=metric)
            for ax, name in zip(row, PROCESSES, strict=True):
                variants = [name, *TOLERANCE.by("tolerance", found.config.grid.tolerances, process=name)]
                _samplers(ax, draw.select(rows, variant=variants), TITLES[name], CEILING)
                _floor(ax, rows if metric == "sw2" else [])
            row[0].set_ylabel(label)
        draw.shared_legend(figure, axes)


def trained(found: PaperResults, out: Path) -> None:
    """Tables 7.1 to 7.3 on trained networks, and samples."""
    data = found.trained_data or ""
    rows = found.select(dataset=data, metric="fid")
    with found.sheet(out, 6, 3, (3.4, 3.0), f"{draw.INTERVALS} {draw.FLOOR_NOTE}") as (_, axes):
        draw.curves(axes[0], draw.select(rows, table="7.1"), ("variant",), PREDICTORS)
        draw.against_evaluations(axes[0], log=False)
        _lambdas(found, axes[1], "Table 7.2, CLD", "FID", dataset=data, metric="fid")
        for ax, name in zip(axes[2:5], PROCESSES, strict=True):
            _samplers(ax, draw.select(rows, table="7.3", variant=name), f"Table 7.3, {TITLES[name]}")
        for ax, title in {axes[0]: "Table 7.1, CLD", axes[1]: "Table 7.2, CLD"}.items():
            draw.log_values(ax, title, "FID")
        for ax in axes[:5]:
            ax.set_ylabel("FID")
            draw.real_images(ax, rows)
            draw.legend(ax, fontsize=6.5)
        shown = {f"{name}, {nfe}": samples_name(data, "7.3", "gDDIM", name, nfe) for name in PROCESSES for nfe in (10, 50)}
        draw.image_rows(axes[5], found.named_arrays(shown | {"real": f"{data}/real"}))
        axes[5].set_title("gDDIM, and real images")


def mnist(found: PaperResults, out: Path) -> None:
    """Table 7.3's DDPM column on the network trained on MNIST, and samples."""
    rows = found.select(table="7.3", dataset="mnist", metric="fid")
    with found.sheet(out, 2, 2, (4.6, 3.6), f"{draw.INTERVALS} {draw.FLOOR_NOTE}") as (_, (curves, pictures)):
        _samplers(curves, draw.select(rows, variant="DDPM"), "Table 7.3, DDPM (VP), MNIST", ticks=(10, 20))
        curves.set_ylabel("FID, features of a small classifier")
        draw.real_images(curves, rows)
        draw.plain_log_axis(curves.yaxis, (1, 2, 5))
        draw.legend(curves, fontsize=6.5, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.15))
        cells = [(name, nfe) for name in ("EM", "gDDIM, q=1", "gDDIM") for nfe in (10, 20)]
        shown = {f"{name}, {nfe}": samples_name("mnist", "7.3", name, "DDPM", nfe) for name, nfe in cells}
        draw.image_rows(pictures, found.named_arrays(shown | {"real": "mnist/real"}))
        pictures.set_title("Samples from the same noise")


def _samplers(ax: Axes, rows: Iterable[draw.Row], title: str, ceiling: float = math.inf, ticks: Iterable[int] = TICKS) -> None:
    """The samplers of Table 7.3 on one process."""
    draw.curves(ax, rows, ("method",), GRID, ceiling=ceiling)
    draw.against_evaluations(ax, ticks)
    draw.log_values(ax, title)


def _lambdas(found: PaperResults, ax: Axes, title: str, label: str, **columns: str) -> None:
    """Table 7.2 against lambda."""
    draw.curves(ax, found.select(table="7.2", **columns), ("method",), LAMBDAS, x=LAM.by("lam", found.config.lambdas.values))
    ax.set(title=title, xlabel="$\\lambda$", ylabel=label)
    ax.grid()


def _floor(ax: Axes, rows: Iterable[draw.Row]) -> None:
    draw.reference_line(ax, draw.select(rows, method="exact draws"), line="-", color=draw.GREY)
