"""The figures of LCSS: each function draws one, named in paper.yaml, from results/<scale>."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from reproductions.lcss.checkerboard import HALF_WIDTH, METHODS
from reproductions.lcss.claims import STAND_INS, printed_ratio
from reproductions.lcss.theory import GAMMAS
from rescore import figures as draw
from rescore.ledger.protocol import parse_protocol
from rescore.ledger.records import Record

ROOT = Path(__file__).parents[2]
COLORS = {"SSM": draw.ORANGE, "FD-SSM": draw.GREEN, "DSM": draw.BLACK, "LCSS": draw.BLUE}
QUALITY = {"fid": "FID", "is": "inception score", "bpd": "bits per dimension"}
SHOWN = 6  # samples in a row


def densities(results: Path, out: Path) -> None:
    """Table 1."""
    found = _open(results)
    names = {"data": "data", **{f"{method}": method for method in METHODS}}
    with draw.sheet(out, len(names), len(names), (2.2, 2.9)) as (figure, axes):
        for ax, (key, title) in zip(axes, names.items(), strict=True):
            values = found.arrays.get(f"density/{key}")
            ax.set(title=title, xticks=[-4, 0, 4], yticks=[-4, 0, 4])
            if values is None:
                draw.placeholder(ax, "not measured at this scale")
                continue
            edges = (-HALF_WIDTH, HALF_WIDTH, -HALF_WIDTH, HALF_WIDTH)
            ax.imshow(values, origin="lower", extent=edges, cmap="viridis", vmin=0, vmax=np.quantile(values, 0.995))
            tv = _one(found.records, table="1", method=title, metric="tv")
            if tv:
                ax.set_xlabel(f"TV {tv.value:.2f} ± {tv.stderr:.2f}")
        draw.add_notes(
            figure, f"Scale {found.scale}. One of the networks of each objective; TV: total variation to the data's density, "
                    "mean and standard error over networks.",
        )  # fmt: skip


def costs(results: Path, out: Path) -> None:
    """Table 2 as ratios."""
    found = _open(results)
    with draw.sheet(out, 2, 2, (3.6, 2.9), sharey=True) as (figure, axes):
        for ax, (network, data) in zip(axes, STAND_INS.items(), strict=True):
            rows = {r.method: r for r in found.records if (r.metric, r.variant) == ("train_time_ratio", network)}
            at = np.arange(len(METHODS))
            ax.bar(at - 0.2, [printed_ratio(method, network) for method in METHODS], 0.38, color="#C4C4C4", label="printed")
            if rows:
                values, errors = zip(*((rows[method].value, 2 * rows[method].stderr) for method in METHODS), strict=True)
                ax.bar(at + 0.2, values, 0.38, yerr=errors, color=draw.BLUE, label="measured", error_kw={"linewidth": 0.8})
            ax.set_xticks(at, METHODS)
            ax.axhline(1, color=draw.GREY, linewidth=0.8, linestyle=":")
            ax.set(title=f"{network} (printed: {data})", ylabel="iteration / iteration of LCSS")
            ax.tick_params(labelleft=True)
            ax.grid(axis="y")
        axes[0].legend()
        draw.add_notes(
            figure, f"Scale {found.scale}. The measured NCSNv2 is narrower and sees smaller random images; bars: two "
                    "standard errors of the median.",
        )  # fmt: skip


def quality(results: Path, out: Path) -> None:
    """Table 3's shape on the digits."""
    found = _open(results)
    processes = [name for name in ("VE", "subVP") if _select(found.records, table="3", variant=f"MLP ({name})")]
    if not processes:
        return draw.not_measured(out)
    with draw.sheet(out, 3 * len(processes), 3, (3.1, 2.5), sharex=True) as (figure, axes):
        panels = [(process, metric) for process in processes for metric in QUALITY]
        for ax, (process, metric) in zip(axes, panels, strict=True):
            styles = {"DSM": {"marker": "o", "markersize": 7, "markerfacecolor": "none"}, "LCSS": {"marker": "x"}}
            for method, style in styles.items():
                cells = _curve(found.records, f"MLP ({process})", method, metric)
                _errorbar(ax, cells, label=method, color=COLORS[method], **style)
            draw.real_images(ax, [one for one in _select(found.records, table="3", metric=metric)
                                  if one.variant.startswith(f"MLP ({process})")])  # fmt: skip
            ax.set(title=process, ylabel=QUALITY[metric], xscale="log", xlabel="iterations")
            steps = [x for x, _, _ in _curve(found.records, f"MLP ({process})", "LCSS", metric)]
            ax.set_xticks(steps, [f"{x:g}" for x in steps])
            ax.minorticks_off()
            ax.grid()
        axes[0].legend()
        draw.add_notes(
            figure, f"Scale {found.scale}. Bars: two standard errors over {_repeated(found, '3')}. {draw.FLOOR_NOTE} "
                    "Crosses of LCSS lie in the circles of DSM: one seed makes the same network.",
        )  # fmt: skip


def losses(results: Path, out: Path) -> None:
    """Convergence and stability."""
    found = _open(results)
    with draw.sheet(out, 5, 5, (2.5, 2.6)) as (figure, axes):
        for ax, method in zip(axes, METHODS, strict=False):
            history = found.arrays.get(f"losses/{method}")
            if history is None:
                draw.placeholder(ax, "not measured at this scale")
                continue
            ax.plot(np.arange(1, len(history) + 1), history[:, 0], color=COLORS[method], linewidth=0.6)
            ax.set(title=f"{method}: loss", xlabel="iteration")
            spikes = _one(found.records, table="stability", method=method, metric="spikes")
            if spikes:
                label = f"{spikes.value:.2g} spikes / 1000"
                ax.text(0.97, 0.95, label, transform=ax.transAxes, ha="right", va="top", fontsize=draw.SMALL, color=draw.GREY)
            errors = found.arrays[f"errors/{method}"]
            at = np.linspace(0, len(history), len(errors))
            line = {"linewidth": 1.2, "linestyle": "--" if method == "FD-SSM" else "-"}
            line = {"marker": "x", "linestyle": "none"} if method == "LCSS" else line
            axes[4].plot(at, errors.mean(1), color=COLORS[method], label=method, **line)
        axes[4].set(title="Denoising error", xlabel="iteration")
        axes[4].grid()
        axes[4].legend()
        draw.add_notes(
            figure, f"Scale {found.scale}. Losses of one network of each; errors are means over networks. Loss values of "
                    "different objectives have different constants and noise: they cannot be compared.",
        )  # fmt: skip


def gamma(results: Path, out: Path) -> None:
    """Fig. 7."""
    found = _open(results)
    with draw.sheet(out, 2, 2, (4.4, 3.6)) as (figure, (curve, pictures)):
        exact = {r.variant: r.value for r in _select(found.records, dataset="gaussian", method="closed form", table="fig7")}
        chain = {r.variant: r.value for r in _select(found.records, dataset="gaussian", method="LCSS", table="fig7")}
        for values, label, style in ((exact, "Gaussian, closed form", "-"), (chain, "Gaussian, the chain", ".")):
            curve.plot(GAMMAS, [values.get(f"gamma={g:g}", np.nan) for g in GAMMAS], style, color=draw.GREY, label=label)
        rows = _select(found.records, table="fig7", dataset="digits", metric="variance_ratio")
        strips = {}
        for label, name, tail, color in (("digits, trained with gamma", "gamma", "", draw.BLUE),
                                         ("digits, gamma x score", "score_times", " x score", draw.RED)):  # fmt: skip
            own = [(float(_about(row)[name]), row) for row in rows if row.variant.endswith(" x score") == bool(tail)]
            own.sort(key=lambda pair: pair[0])
            _errorbar(curve, [(g, row.value, row.stderr) for g, row in own], label=label, color=color, marker="o")
            strips |= {f"{g:g}{tail or ', trained'}": found.arrays[f"samples/{row.variant}"][:SHOWN] for g, row in own}
        if strips:
            strips["real"] = found.arrays["samples/real"][:SHOWN]
        curve.set(xscale="log", yscale="log", xlabel="$\\gamma$", ylabel="variance of samples / of data")
        curve.axhline(1, color=draw.GREY, linewidth=0.8, linestyle=":")
        curve.set_xticks(GAMMAS, [f"{g:g}" if g not in (0.9, 1.1) else "" for g in GAMMAS])
        curve.minorticks_off()
        curve.grid()
        curve.legend()
        _strips(pictures, strips)
        about = f"Bars: two standard errors over {_repeated(found, 'fig7')}." if strips else "Gaussian data only."
        draw.add_notes(figure, f"Scale {found.scale}. {about} No corrector.")


def _open(results: Path) -> draw.PaperResults:
    return draw.open_results(results, "lcss", ROOT)


def _select(records: Sequence[Record], **columns: str) -> list[Record]:
    return [one for one in records if all(getattr(one, name) == value for name, value in columns.items())]


def _repeated(found: draw.PaperResults, table: str) -> str:
    """What the errors of a table on trained networks are over: trainings, or samplings of one."""
    return next(one.over for one in found.records if one.table == table and one.method == "LCSS" and one.dataset != "gaussian")


def _one(records: Sequence[Record], **columns: str) -> Record | None:
    return next(iter(_select(records, **columns)), None)


def _about(record: Record) -> dict[str, str]:
    return parse_protocol(record.protocol)


def _curve(records: Sequence[Record], variant: str, method: str, metric: str) -> list[tuple[int, float, float]]:
    """(iterations, value, standard error) of a model and of its shorter trainings."""
    rows = [one for one in _select(records, method=method, metric=metric)
            if one.table in ("3", "iterations") and one.variant.split(",")[0] == variant]  # fmt: skip
    return sorted((int(_about(one)["train_steps"]), one.value, one.stderr) for one in rows)


def _errorbar(ax: Axes, cells: Sequence[tuple[float, float, float | None]], **style: object) -> None:
    if cells:
        x, y, errors = zip(*cells, strict=True)
        bars = [2 * (error or 0.0) for error in errors]
        low = np.minimum(bars, 0.99 * np.array(y))  # a bar that reaches zero has no place on a log axis
        ax.errorbar(x, y, (low, bars), **({"linewidth": 1.2, "elinewidth": 0.8, "markersize": 5} | style))


def _strips(ax: Axes, strips: dict[str, np.ndarray]) -> None:
    """Rows of images, (n, 1, H, W) each."""
    if not strips:
        draw.placeholder(ax, "no trained network at this scale")
        return
    framed = [np.pad(images[:, 0].clip(-1, 1), ((0, 0), (1, 1), (1, 1)), constant_values=1) for images in strips.values()]
    picture = np.concatenate([np.concatenate(list(images), axis=1) for images in framed])
    ax.imshow(picture, cmap="gray", vmin=-1, vmax=1)
    side = picture.shape[0] // len(strips)
    ax.set(xticks=[], yticks=[side * (i + 0.5) for i in range(len(strips))], yticklabels=list(strips))
    ax.set_title("Samples")
