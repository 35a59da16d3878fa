"""The figures of gDDIM: each function draws one, named in paper.yaml, from results/<scale>."""

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, NullLocator

from reproductions.gddim.problems import PROCESSES
from rescore import figures as draw
from rescore.ledger.records import Record

ROOT = Path(__file__).parents[2]

DATASETS = {"mixture2d_grid": "nine Gaussians", "digits_exact": "digits"}
OFF = {
    "mixture2d_grid": ("off_mode", "fraction off every mode"),
    "digits_exact": ("off_data", "RMS distance to the nearest digit"),
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
    "start, DDPM": "VP: start", "gDDIM, DDPM, K=R": "DDIM", "start, BDM": "BDM: start", "gDDIM, BDM, K=R": "gDDIM",
    "start, CLD": "CLD: start", "gDDIM, CLD, K=R": "gDDIM, $K=R$", "gDDIM, CLD, K=L": "gDDIM, $K=L$", "Euler, CLD": "Euler",
}  # fmt: skip
ORDERS = {1: (":", "o"), 2: ("--", "s"), 3: ("-", "D")}
FACTORS = {"R": draw.BLUE, "L": draw.ORANGE}
LAMBDAS = {"gDDIM": (draw.BLUE, "o"), "EM": (draw.RED, "s"), "EM as released": (draw.PINK, "^")}
GRID = {
    "gDDIM": (draw.BLUE, "o", "-"), "gDDIM, q=1": (draw.SKY, "o", ":"), "EM": (draw.RED, "s", "-"),
    "Ancestral": (draw.ORANGE, "^", "-"), "Prob.Flow Heun": (draw.GREEN, "D", "-"), "2nd Heun": (draw.PURPLE, "v", "-"),
    "Prob.Flow RK45": (draw.BLACK, "x", "none"),
}  # fmt: skip
TITLES = {"DDPM": "DDPM (VP)", "BDM": "BDM", "CLD": "CLD"}
CEILING = 3.0  # what has diverged is drawn at the upper edge


def one_step(results: Path, out: Path) -> None:
    """Prop. 7 as images: draws of the prior and where one step takes them."""
    found = _open(results)
    with draw.sheet(out, len(ONE_STEP), 4, (1.5, 1.75)) as (figure, axes):
        for ax, (name, title) in zip(axes, ONE_STEP.items(), strict=True):
            ax.set_title(title)
            ax.set(xticks=[], yticks=[])
            ax.tick_params(bottom=False, labelbottom=False)
            image = found.arrays.get(f"recovery/{name}")
            if image is None:
                draw.placeholder(ax, "no such record")
            else:
                ax.imshow(image, cmap="gray_r", vmin=-1, vmax=1)
        draw.add_notes(
            figure,
            f"Scale {found.scale}. The data are one image: one step from T to t0 under R_t returns it, "
            "under L_t or by Euler it does not.",
        )


def recovery(results: Path, out: Path) -> None:
    """Prop. 7: the error against the number of steps, on one data point and on a Gaussian."""
    found = _open(results)
    titles = {"one_point": "one data point (Prop. 7)", "gaussian": "N(x, 0.5² I), beyond Prop. 7"}
    with draw.sheet(out, 2, 2, (4.0, 3.4)) as (figure, axes):
        for ax, (dataset, title) in zip(axes, titles.items(), strict=True):
            for (method, variant), (label, color, marker, line) in RECOVERY.items():
                rows = _select(found.records, table="prop7", dataset=dataset, method=method, variant=variant)
                _curve(ax, rows, label=label, color=color, marker=marker, linestyle=line)
            ax.set(title=title, xscale="log", yscale="log", xlabel="steps from T to $t_0$")
            _plain_ticks(ax, sorted({one.nfe for one in _select(found.records, table="prop7")}))
            ax.grid()
        axes[0].set_ylabel("RMS distance to the exact flow")
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper left", ncols=4)
        draw.add_notes(figure, f"Scale {found.scale}. Bars: two standard errors. Values near 1e-15 are rounding.")


def noise(results: Path, out: Path) -> None:
    """Fig. 7.1: pixels and eps under L_t and R_t along the exact flow of CLD."""
    found = _open(results)
    if "noise/times" not in found.arrays:
        return draw.not_measured(out)
    times = found.arrays["noise/times"]
    panels = [("u", "the solution"), ("L", "$\\epsilon$ under $L_t$"), ("R", "$\\epsilon$ under $R_t$")]
    with draw.sheet(out, 6, 3, (3.2, 2.4), sharex=True) as (figure, axes):
        for row, (dataset, label) in enumerate((("one_point", "one point"), ("digits_exact", "digits"))):
            for ax, (key, title) in zip(axes[3 * row : 3 * row + 3], panels, strict=True):
                values = found.arrays[f"noise/{dataset}/{key}"]
                channels = ("v",) if key == "L" else ("x", "v")
                for c, channel in enumerate(channels):
                    color = draw.ORANGE if channel == "v" else draw.BLUE
                    for pixel in range(values.shape[-1]):
                        ax.plot(times, values[:, c, pixel], color=color, linewidth=1, label=channel if pixel == 0 else None)
                ax.set_title(f"{label}: {title}")
                ax.grid()
                if key != "u":
                    ax.set_ylim(-4, 4)
                if row == 1:
                    ax.set_xlabel("t")
        axes[0].legend(ncols=2)
        axes[0].invert_xaxis()
        draw.add_notes(
            figure,
            f"Scale {found.scale}. One solution, three pixels in the middle of the image; sampling runs from left to right. "
            "Under L_t the x channel of eps does not enter the sampler.",
        )


def cld(results: Path, out: Path) -> None:
    """Tables 7.1 and 7.2: R_t against L_t, and the lambda family against Euler-Maruyama."""
    found = _open(results)
    if not any(_select(found.records, table="7.1", dataset=dataset) for dataset in DATASETS):
        return draw.not_measured(out)
    with draw.sheet(out, 6, 3, (3.2, 2.7)) as (figure, axes):
        for row, (dataset, label) in enumerate(DATASETS.items()):
            ylabels = {"solver_rmse": "RMS distance to the exact flow", "sw2": "sw2 to the data"}
            for ax, (metric, ylabel) in zip(axes[3 * row : 3 * row + 2], ylabels.items(), strict=True):
                for factor, color in FACTORS.items():
                    for order, (line, marker) in ORDERS.items():
                        variant = f"K={factor}" if order == 3 else f"K={factor}, q={order}"
                        rows = _select(found.records, table="7.1", dataset=dataset, metric=metric, variant=variant)
                        name = f"$K={factor}$, q = {order}"
                        _curve(ax, rows, CEILING, label=name, color=color, marker=marker, linestyle=line)
                _floor(ax, _select(found.records, table="7.1", dataset=dataset, metric=metric, method="exact draws"))
                ax.set(title=f"Table 7.1, {label}", yscale="log", xlabel="score evaluations", ylabel=ylabel)
                ax.yaxis.set_major_formatter("{x:g}")
                ax.grid()
            ax = axes[3 * row + 2]
            metric, ylabel = OFF[dataset]
            for method, (color, marker) in LAMBDAS.items():
                rows = _select(found.records, table="7.2", dataset=dataset, method=method, metric=metric)
                _curve(ax, rows, x=_lambda, label=method, color=color, marker=marker, linestyle="-")
            ax.set(title=f"Table 7.2, {label}", xlabel="$\\lambda$", ylabel=ylabel)
            if metric == "off_data":  # the fraction may be 0
                draw.log_axis_if_wide(ax)
            ax.grid()
        axes[1].legend(fontsize=6.5, ncols=1)
        axes[2].legend()
        axes[4].legend(handles=axes[4].lines[-1:], labels=["exact draws"])
        draw.add_notes(
            figure,
            f"Scale {found.scale}. Bars: two standard errors; values above 3 are drawn at 3. Table 7.2: 50 evaluations, one-step "
            "predictors; `as released`: the drift (1 + λ)/2 of the released code instead of (1 + λ²)/2.",
        )


def grid(results: Path, out: Path) -> None:
    """Table 7.3 on the digits."""
    found = _open(results)
    with draw.sheet(out, 6, 3, (3.2, 2.8), sharey="row") as (figure, axes):
        panels = [(metric, name) for metric in ("sw2", "off_data") for name in PROCESSES]
        for ax, (metric, name) in zip(axes, panels, strict=True):
            measured = _select(found.records, table="7.3", metric=metric)
            for method, (color, marker, line) in GRID.items():
                rows = [one for one in measured if one.method == method and one.variant.split(",")[0] == name]
                _curve(ax, rows, CEILING, label=method, color=color, marker=marker, linestyle=line)
            if metric == "sw2":
                _floor(ax, _select(measured, method="exact draws"))
            ax.set(title=TITLES[name], xscale="log", yscale="log", xlabel="score evaluations")
            _plain_ticks(ax, (10, 20, 50, 100, 1000))
            ax.yaxis.set_major_formatter("{x:g}")
            ax.grid()
        axes[0].set_ylabel("sw2 to the digits")
        axes[3].set_ylabel("RMS distance to\nthe nearest digit")
        handles = {label: handle for ax in axes for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)}
        figure.legend(handles.values(), handles, loc="outside upper left", ncols=len(handles))
        draw.add_notes(
            figure,
            f"Scale {found.scale}. Bars: two standard errors; values above 3 are drawn at 3. Grey: exact draws of the digits. "
            "RK45: tolerances from the config, at the evaluations it took.",
        )


def trained(results: Path, out: Path) -> None:
    """Tables 7.1 to 7.3 on trained networks, and samples."""
    found = _open(results)
    data = found.trained_data
    rows = _select(found.records, dataset=data, metric="fid")
    with draw.sheet(out, 6, 3, (3.4, 3.0)) as (figure, axes):
        if not rows:
            for ax in axes:
                draw.placeholder(ax, "no trained network at this scale")
            return
        for factor, color in FACTORS.items():
            of_factor = _select(rows, table="7.1", variant=f"K={factor}")
            _curve(axes[0], of_factor, label=f"$K={factor}$", color=color, marker="o", linestyle="-")
        axes[0].set(title="Table 7.1, CLD", yscale="log", xlabel="score evaluations", ylabel="FID")
        for method, (color, marker) in LAMBDAS.items():
            of_method = _select(rows, table="7.2", method=method)
            _curve(axes[1], of_method, x=_lambda, label=method, color=color, marker=marker, linestyle="-")
        axes[1].set(title="Table 7.2, CLD", yscale="log", xlabel="$\\lambda$", ylabel="FID")
        pictures = {}
        for ax, name in zip(axes[2:5], PROCESSES, strict=True):
            for method, (color, marker, line) in GRID.items():
                cells = _select(rows, table="7.3", method=method, variant=name)
                _curve(ax, cells, label=method, color=color, marker=marker, linestyle=line)
            ax.set(title=f"Table 7.3, {TITLES[name]}", xscale="log", yscale="log", xlabel="score evaluations", ylabel="FID")
            _plain_ticks(ax, (10, 20, 50, 100, 1000))
            for nfe in (10, 50):
                pictures[f"{name}, {nfe}"] = found.arrays.get(f"{data}/7.3/gDDIM, {name}/{nfe}")
        for ax in axes[:5]:
            draw.real_images(ax, rows)
            ax.grid()
            ax.legend(fontsize=6.5)
        pictures["real"] = found.arrays.get(f"{data}/real")
        draw.image_rows(axes[5], {label: images for label, images in pictures.items() if images is not None})
        axes[5].set_title("gDDIM, and real images")
        draw.add_notes(figure, f"Scale {found.scale}. Bars: two standard errors over training seeds. {draw.FLOOR_NOTE}")


def _open(results: Path) -> draw.PaperResults:
    return draw.open_results(results, "gddim", ROOT)


def _select(records: Iterable[Record], **columns: str) -> list[Record]:
    return [one for one in records if all(getattr(one, name) == value for name, value in columns.items())]


def _nfe(record: Record) -> float:
    return float(record.nfe)


def _lambda(record: Record) -> float:
    return float(record.variant.removeprefix("lam="))


def _curve(ax: Axes, rows: Iterable[Record], ceiling: float = np.inf, x: Callable = _nfe, **style: object) -> None:
    """Values with two standard errors; what exceeds the ceiling is drawn on it."""
    rows = sorted(rows, key=x)
    if not rows:
        return
    values = np.array([one.value for one in rows])
    errors = np.where(values > ceiling, 0, [2 * (one.stderr or 0.0) for one in rows])
    low = np.minimum(errors, values * 0.99)  # a bar that reaches zero has no place on a log axis
    style |= {"markersize": 4, "linewidth": 1.2, "elinewidth": 0.8}
    ax.errorbar([x(one) for one in rows], np.minimum(values, ceiling), (low, errors), **style)


def _floor(ax: Axes, rows: list[Record]) -> None:
    for one in rows[:1]:
        ax.axhline(one.value, color=draw.GREY, linewidth=1, zorder=1)


def _plain_ticks(ax: Axes, ticks: Iterable[int]) -> None:
    ax.set_xticks(list(ticks))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.xaxis.set_minor_locator(NullLocator())
