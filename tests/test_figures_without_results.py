"""Every paper's figures are drawn at every scale, also where all its jobs were skipped for lack of data."""

import csv
import os
import shutil

import matplotlib
import numpy as np
import pytest
from conftest import ROOT
from ledger_case import record
from matplotlib.figure import Figure
from matplotlib.image import imread
from rescore.errors import RescoreError
from rescore.figures import PaperResults, curve, sheets
from rescore.figures.sheets import sheet
from rescore.figures.style import DPI, STYLE
from rescore.ledger.records import read_records, write_records, write_skipped
from rescore.papers import find_papers, load_config
from rescore.workflow.paths import job_folder

matplotlib.use("Agg")
PAPERS = find_papers()


@pytest.mark.filterwarnings("ignore:No artists with labels")
@pytest.mark.parametrize(("name", "scale"), [(name, scale) for name, paper in PAPERS.items() for scale in paper.scales[-1:]])
def test_figures_of_skipped_jobs_are_drawn(name, scale, tmp_path, monkeypatch):
    """Laid out, which reads every text; pixels take most of the time, and the smoke scale has those."""
    written = []
    monkeypatch.setattr(sheets.FigureCanvasAgg, "print_png", lambda self, out, metadata: written.append(out.stem))
    paper = PAPERS[name]
    for job in load_config(paper, scale).jobs:
        folder = job_folder(tmp_path, scale, name, job)
        folder.mkdir(parents=True)
        write_records(folder / "records.csv", [])
        write_skipped(folder / "skipped.csv", [{"paper": name, "reason": "no network"}])
        np.savez_compressed(folder / "arrays.npz")
    module, found = paper.module("figures"), PaperResults.open(tmp_path / scale, paper)
    for figure in paper.meta.figures:
        getattr(module, figure)(found, tmp_path / f"{figure}.png")
    assert written == list(paper.meta.figures)


REFERENCES = sorted(
    path for scale in ("laptop", "paper") for path in (ROOT / "results/reference" / scale / "records").glob("*.csv")
)
PANELS = ROOT / "tests/data/panels.csv"


class NeedsArrays(Exception):
    """Of a figure that a reference cannot draw: it keeps numbers only."""


class NoArrays(dict[str, np.ndarray]):
    def __missing__(self, name: str) -> np.ndarray:
        raise NeedsArrays(name)


@pytest.mark.filterwarnings("ignore:No artists with labels")
@pytest.mark.parametrize("path", REFERENCES, ids=[f"{path.parts[-3]}-{path.stem}" for path in REFERENCES])
def test_figures_of_committed_records_show_as_many_panels_as_they_did(path, tmp_path, monkeypatch):
    """A selector that finds nothing any more leaves a panel empty. None joins two numbers of one x, which `curve` refuses.

    After a reference has got or lost rows `RESCORE_PIN=1 pytest` counts them anew.
    """
    panels: list[int] = []
    monkeypatch.setattr(
        sheets, "write", lambda figure, out: panels.append(sum(bool(ax.has_data() or ax.tables) for ax in figure.axes))
    )
    scale, paper = path.parts[-3], PAPERS[path.stem]
    found = PaperResults.open(tmp_path / scale, paper)
    vars(found).update(records=read_records(path, scale), arrays=NoArrays())
    counted = {}
    for name in paper.meta.figures:
        panels.clear()
        try:
            getattr(paper.module("figures"), name)(found, tmp_path / f"{name}.png")
        except NeedsArrays:
            continue
        (counted[scale, paper.name, name],) = map(str, panels)
    kept = read_panels()
    if os.environ.get("RESCORE_PIN") == "1":
        kept = {key: n for key, n in kept.items() if key[:2] != (scale, paper.name)} | counted
        rows = [["scale", "paper", "figure", "panels with data"], *sorted([*key, n] for key, n in kept.items())]
        PANELS.write_text("".join(",".join(row) + "\n" for row in rows))
    assert counted == {key: n for key, n in kept.items() if key[:2] == (scale, paper.name)}


def read_panels() -> dict[tuple[str, ...], str]:
    with open(PANELS, newline="") as stream:
        return {tuple(row[:3]): row[3] for row in list(csv.reader(stream))[1:]}


def test_the_picture_of_the_results_page_is_that_of_the_reference(tmp_path):
    """`rescore figures pis rmse --scale paper` draws it anew, docs/figures/pis-rmse.png, after the reference has moved."""
    paper, reference = PAPERS["pis"], ROOT / "results/reference/paper"
    folder = job_folder(tmp_path, "paper", "pis", next(iter(load_config(paper, "paper").jobs)))
    folder.mkdir(parents=True)
    write_records(folder / "records.csv", read_records(reference / "records" / "pis.csv", "paper"))
    shutil.copy(reference / "diff.csv", tmp_path / "paper")
    paper.module("figures").rmse(PaperResults.open(tmp_path / "paper", paper), tmp_path / "rmse.png")
    drawn, shown = (imread(path)[..., :3] for path in (tmp_path / "rmse.png", ROOT / "docs/figures/pis-rmse.png"))
    assert drawn.shape == shown.shape and (abs(drawn - shown).max(-1) > 0.25).mean() < 1e-4, "the share of pixels that moved"


def test_an_empty_panel_has_no_ticks_left_not_even_of_a_logarithmic_axis(tmp_path):
    with sheet(tmp_path / "two.png", 2, 2, (3.0, 2.0)) as (_, axes):
        for ax in axes:
            ax.set(xscale="log", yscale="log")
        axes[0].plot([1, 20], [1, 20])
    shown = [[*axis.get_majorticklocs(), *axis.get_minorticklocs()] for ax in axes for axis in (ax.xaxis, ax.yaxis)]
    assert all(map(len, shown[:2])) and shown[2:] == [[], []]


def test_a_sheet_is_the_picture_that_matplotlib_saves(tmp_path):
    with sheet(tmp_path / "ours.png", 2, 2, (3.0, 2.0)) as (figure, axes):
        axes[0].plot([1, 20], [1, 20])
        axes[1].set(xlabel="a long label below", title="a title")
    with matplotlib.rc_context(STYLE):
        figure.set_layout_engine("constrained")
        figure.savefig(tmp_path / "theirs.png", dpi=DPI, metadata={"Software": None})
    assert (tmp_path / "ours.png").read_bytes() == (tmp_path / "theirs.png").read_bytes()


def test_a_curve_joins_no_two_numbers_of_one_x():
    ax, rows = Figure().subplots(), [record(dataset=name, nfe=10) for name in ("digits", "mixture9")]
    with pytest.raises(RescoreError, match=r"two numbers at x = 10, .*digits.* and .*mixture9.*; allowed: one"):
        curve(ax, rows)
    curve(ax, rows, line="none")  # points beside each other
    assert len(ax.lines) == 1


def test_a_gap_has_the_reason_of_the_jobs_that_would_fill_it(tmp_path):
    """At `paper` SMC on mg is another job than PIS-NN: what the one has skipped says nothing of the other."""
    paper = PAPERS["pis"]
    found = PaperResults.open(tmp_path / "paper", paper)
    (annealed, *_), (policy, *_) = (found.jobs_of("mg", [section]) for section in ("smc", "nn"))
    assert annealed not in found.jobs_of("mg", ["nn"]) and policy not in found.jobs_of("mg", ["smc"])
    skipped = [{"paper": "pis", "dataset": "mg", "method": "SMC", "reason": "diverged"}]
    write_skipped(found.file(annealed, "skipped"), skipped)
    assert found.why_missing("mg", ["smc"]) == "skipped: diverged"
    assert found.why_missing("mg", ["nn"]).startswith(f"not run: jobs {policy}")
