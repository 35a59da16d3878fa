"""The figures of PIS, drawn from a small made-up results folder: what is in the panels is what is in the files."""

from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from matplotlib.figure import Figure
from rescore import figures as draw
from rescore.cli import main
from rescore.figures import sheets
from rescore.ledger.protocol import declared_protocol, format_protocol
from rescore.ledger.published import read_published
from rescore.ledger.records import Record, write_records, write_skipped
from rescore.ledger.statistics import half_width
from rescore.papers import load_paper

PAPER = load_paper("pis", ROOT)
PUBLISHED = read_published(PAPER.folder / "published.csv", "pis")
PRINTED = [row for row in PUBLISHED if (row.table, row.metric) == ("5.1", "logz_rmse")]
TABLE_ORDER = ["PIS_RW-GT", "PIS-NN", "PIS-Grad", "PIS_RW-NN", "PIS_RW-Grad", "AFT", "SMC", "NUTS", "HMC", "VI-NF"]
OTHER_TABLES = {"posteriors": "job vae", "torsions": "jobs alanine and alanine-snf"}  # of scale smoke
ALL = sorted(set(PAPER.meta.figures) - set(OTHER_TABLES))


def printed(dataset: str, method: str, variant: str = ""):
    return next(row for row in PRINTED if (row.dataset, row.method, row.variant) == (dataset, method, variant))


def record(dataset: str, method: str, variant: str, metric: str, value: float, **others: object) -> Record:
    common = {
        "paper": "pis",
        "table": "5.1",
        "nfe": 10,
        "stderr": None,
        "df": None,
        "over": "runs",
        "n_seeds": 2,
        "n_samples": 100,
        "protocol": "",
        "scale": "smoke",
        "device": "cpu",
        "seconds": 1.0,
        "version": "0",
        "config_hash": "0",
    }
    if others.get("stderr") is not None:
        common["df"] = 3
    return Record(dataset=dataset, method=method, variant=variant, metric=metric, value=value, **common | others)


def write_job(results: Path, job: str, records=(), arrays=None, skipped=()) -> None:
    folder = results / "smoke" / "pis" / job
    folder.mkdir(parents=True)
    write_records(folder / "records.csv", records)
    write_skipped(folder / "skipped.csv", skipped)
    np.savez_compressed(folder / "arrays.npz", **arrays or {})


@pytest.fixture
def drawn(tmp_path, monkeypatch):
    """Draw a figure by its command and return the matplotlib figure that was written, with a check of the file."""
    written = []
    write = sheets.write
    monkeypatch.setattr(sheets, "write", lambda figure, out: (written.append(figure), write(figure, out)))
    monkeypatch.chdir(ROOT)

    def draw_one(name: str) -> Figure:
        assert main(["figures", "pis", name, "--scale", "smoke", "--results", str(tmp_path)]) == 0
        out = tmp_path / "smoke" / "figures" / "pis" / f"{name}.png"
        assert out.read_bytes().startswith(b"\x89PNG") and out.stat().st_size < 400_000
        assert out.with_suffix(".rst").read_text().strip()
        assert {path.suffix for path in out.parent.iterdir()} == {".png", ".rst"}, "a temporary file was left"
        return written.pop()

    return draw_one


def titles(figure: Figure) -> list[str]:
    return [ax.get_title("left") for ax in figure.axes]


def panel(figure: Figure, title: str):
    return figure.axes[titles(figure).index(title)]


def texts(ax) -> str:
    return " ".join(text.get_text().replace("\n", " ") for text in ax.texts)


def notes(figure: Figure) -> str:
    return figure.get_supxlabel().replace("\n", " ")


def plain(label: str) -> str:
    return label.replace(r"$_{\mathrm{RW}}$", "_RW")


@pytest.mark.parametrize("name", ALL)
def test_a_figure_says_which_jobs_it_needs(drawn, tmp_path, name):
    write_job(tmp_path, "another", arrays={})  # without any results there is no figure but an error
    figure = drawn(name)
    said = notes(figure) + " ".join(map(texts, figure.axes))
    if name == "text":
        assert said.count("not run: job theory") == said.count("not run: job sweeps") == 3
        return
    assert "not run: job low-dimensional" in said
    assert ("not run: job lgcp" in said) == (not name.startswith("samples"))


@pytest.mark.parametrize(("name", "jobs"), OTHER_TABLES.items())
def test_a_figure_of_another_table_says_which_jobs_it_needs(drawn, tmp_path, name, jobs):
    write_job(tmp_path, "another", arrays={})
    figure = drawn(name)
    assert f"not run: {jobs}" in notes(figure) + " ".join(map(texts, figure.axes))


def test_posteriors_show_bias_and_spread_beside_the_printed_values(drawn, tmp_path):
    common = {"table": "5.3", "nfe": 10, "stderr": 0.1}
    records = [
        record("vae_digits", "PIS", "RW-NN", "logz_bias", -0.7, **common),
        record("vae_digits", "PIS", "RW-NN", "logz_std", 0.2, **common),
        record("vae_digits", "SMC", "3-temperatures", "logz_bias", 0.4, **common),
    ]
    images = np.random.default_rng(0).integers(0, 2, (3, 64)).astype(np.uint8)
    write_job(tmp_path, "vae", records, {"vae_digits/truth/images": images})
    figure = drawn("posteriors")
    rows = [plain(label.get_text()) for label in figure.axes[0].get_yticklabels()]
    assert rows == ["VI-NF", "AFT", "SMC", "PIS_RW-NN", "PIS_RW-Grad"]
    for ax, metric, measured in (
        (figure.axes[0], "logz_bias", {"PIS_RW-NN": 0.7, "SMC": 0.4}),
        (figure.axes[1], "logz_std", {"PIS_RW-NN": 0.2}),
    ):
        of = {
            marker: {rows[round(line.get_ydata()[0])]: line.get_xdata()[0] for line in ax.lines if line.get_marker() == marker}
            for marker in "Do"
        }
        assert of["o"] == measured
        printed = [abs(row.number) for row in PUBLISHED if (row.table, row.metric) == ("5.3", metric)]
        assert of["D"] == dict(zip(rows, printed, strict=True))
    (picture,) = figure.axes[2].images
    assert picture.get_array().shape == (20, 20)  # two rows of two framed images of 8x8, the last place empty


def test_torsions_are_smoothed_histograms_of_each_method(drawn, tmp_path):
    angles = np.zeros((4, 5), np.float32) + 0.01
    write_job(
        tmp_path, "alanine", arrays={"alanine_dipeptide/md/torsions": angles, "alanine_dipeptide/nn/torsions": angles + 1}
    )
    figure = drawn("torsions")
    assert titles(figure) == ["$\\phi$", "$\\psi$", "$\\eta_1$", "$\\eta_2$", "$\\eta_3$"]
    for ax in figure.axes:
        dynamics, model = ax.lines
        assert [line.get_label() for line in ax.lines] == ["molecular dynamics", "PIS-NN"]
        assert dynamics.get_ydata().max() == pytest.approx(0.4) and dynamics.get_ydata().sum() == pytest.approx(1)
        assert abs(dynamics.get_xdata()[dynamics.get_ydata().argmax()]) < 4
        assert abs(model.get_xdata()[model.get_ydata().argmax()] - np.degrees(1.01)) < 4
    assert "Missing: SMC, VI-NF and SNF (not run: jobs alanine and alanine-snf)" in notes(figure)


def test_torsions_of_a_method_that_is_there_ask_for_no_job_of_its_own(drawn, tmp_path):
    names = [f"alanine_dipeptide/{method}/torsions" for method in ("md", "nn", "smc", "vi_nf")]
    write_job(tmp_path, "alanine", arrays=dict.fromkeys(names, np.zeros((4, 5), np.float32)))
    assert "Missing: SNF (not run: job alanine-snf)" in notes(drawn("torsions"))


def test_samples_are_drawn_in_panels_of_one_size_and_gaps_are_named(drawn, tmp_path):
    points = np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32)
    far = np.array([[0, 0], [0, 9], [-8.5, 0], [1, 1]], dtype=np.float32)
    write_job(tmp_path, "low-dimensional", arrays={"mg/gt/samples": points, "mg/hmc/samples": far})
    figure = drawn("samples_mg")
    assert titles(figure) == [
        "PIS-GT",
        "PIS-NN",
        "PIS-Grad",
        "SMC",
        "AFT",
        "VI-NF",
        "HMC (library)",
        "NUTS (library)",
        "exact draws",
    ]
    assert {ax.get_xlim() + ax.get_ylim() for ax in figure.axes} == {(-8.0, 8.0, -8.0, 8.0)}
    assert all(ax.collections for ax in figure.axes), "the density is in every panel"
    (line,) = panel(figure, "PIS-GT").lines
    np.testing.assert_array_equal(line.get_xydata(), points)
    assert texts(panel(figure, "PIS-GT")) == "50 points"
    assert texts(panel(figure, "HMC (library)")) == "4 points, 50.0% outside"
    assert not panel(figure, "SMC").lines and texts(panel(figure, "SMC")) == "not run: job low-dimensional"


def test_rings_leave_out_methods_that_no_job_draws(drawn, tmp_path):
    write_job(tmp_path, "low-dimensional", arrays={"rings/exact/samples": np.zeros((3, 2), np.float32)})
    figure = drawn("samples_rings")
    assert not {"PIS-GT", "AFT"} & set(titles(figure))
    assert "No job of this scale draws PIS-GT, AFT" in notes(figure)


def test_rmse_shows_the_records_beside_the_printed_values(drawn, tmp_path):
    grad, nn = printed("mg", "PIS", "Grad"), printed("mg", "PIS", "NN")
    stated, assumed = declared_protocol(PAPER.meta.protocols, grad)
    as_printed = {"nfe": 100, "protocol": format_protocol(stated | assumed)}
    loose = printed("mg", "PIS", "RW-NN")
    stated, assumed = declared_protocol(PAPER.meta.protocols, loose)
    weighted = format_protocol(stated | assumed)
    records = [
        record("mg", "PIS", "Grad", "logz_rmse", grad.number * 1.01, stderr=0.003, **as_printed),
        record("mg", "PIS", "NN", "logz_rmse", nn.number * 3, stderr=0.05, **as_printed),
        record("mg", "PIS", "RW-NN", "logz_rmse", loose.number * 1.01, stderr=0.5, **as_printed | {"protocol": weighted}),
        record("mg", "SMC", "3-temperatures", "logz_rmse", 2.5, stderr=4.0, df=99, nfe=18),
    ]
    write_job(tmp_path, "low-dimensional", records)
    figure = drawn("rmse")
    assert titles(figure) == ["MG (d = 2)", "Funnel (d = 10)", "LGCP (d = 1600)"]
    ax = figure.axes[0]
    rows = [plain(label.get_text()) for label in ax.get_yticklabels()]
    assert rows == TABLE_ORDER and ax.get_ylim()[0] > ax.get_ylim()[1] and ax.get_xscale() == "log"

    def shown(marker: str, filled: bool = True) -> dict[str, float]:
        lines = [line for line in ax.lines if line.get_marker() == marker and (line.get_markerfacecolor() != "white") == filled]
        return {rows[round(line.get_ydata()[0])]: line.get_xdata()[0] for line in lines}

    numbers = [row.number for row in PRINTED if row.dataset == "mg"]
    assert shown("D", filled=False) == dict(zip(TABLE_ORDER, numbers, strict=True))
    assert shown("o") == {"PIS-Grad": grad.number * 1.01}  # reproduced
    assert shown("X") == {"PIS-NN": nn.number * 3}  # off
    assert shown("s", filled=False) == {"PIS_RW-NN": loose.number * 1.01}  # imprecise
    assert shown("o", filled=False) == {"SMC": 2.5}  # indicative: another number of temperatures
    bars = {}
    for bar in ax.collections:
        (((low, y), (high, _)),) = bar.get_segments()
        bars[rows[round(y)]] = low, high
    spread = half_width(0.003, 3)
    assert bars["PIS-Grad"] == pytest.approx((grad.number * 1.01 - spread, grad.number * 1.01 + spread))
    assert bars["SMC"] == pytest.approx((2.5 - half_width(4.0, 99), 2.5 + half_width(4.0, 99))) and bars["SMC"][0] < 0
    assert "Student's t" in notes(figure)
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend[0] == "printed"
    assert sorted(legend[1:]) == [f"measured, {verdict}" for verdict in ("imprecise", "indicative", "off", "reproduced")]
    assert "Scale smoke" in notes(figure) and "another protocol" in notes(figure)
    assert "lgcp (not run: job lgcp)" in notes(figure) and "VI-NF on mg" in plain(notes(figure))


def test_weights_are_sorted_and_carry_the_recorded_ess(drawn, tmp_path):
    arrays = {"mg/gt/log_w": np.log([1.0, 5.0, 2.0]) - 700, "mg/nn/log_w": np.zeros(3)}
    write_job(tmp_path, "low-dimensional", [record("mg", "PIS", "RW-GT", "ess", 0.7113, stderr=0.01)], arrays)
    figure = drawn("weights")
    ax = panel(figure, "MG (d = 2)")
    np.testing.assert_allclose(ax.lines[0].get_xydata(), [[1, 15 / 8], [2, 6 / 8], [3, 3 / 8]], rtol=1e-12)
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["PIS-GT: ESS 0.71", "PIS-NN: no ESS record"]
    assert "Missing: PIS-Grad on mg (not run: job low-dimensional)" in notes(figure)
    assert "not run: job lgcp" in texts(panel(figure, "LGCP (d = 1600)"))


def test_training_shows_nats_above_minus_log_z_a_line_a_seed(drawn, tmp_path):
    history = np.array([[900.0, 80.0, 7.0], [800.0, 70.0, 6.0]])
    arrays = {"lgcp/nn/loss": history - 501.6, "lgcp/vi_nf/loss": history[:1] - 501.6, "lgcp_synthetic/grad/loss": history}
    write_job(tmp_path, "lgcp", arrays=arrays)
    figure = drawn("training")
    pines, synthetic = panel(figure, "LGCP (d = 1600)"), panel(figure, "LGCP, synthetic points")
    np.testing.assert_allclose([line.get_ydata() for line in pines.lines], [*history, history[0]])
    np.testing.assert_array_equal(pines.lines[0].get_xdata(), [1, 2, 3])
    assert len({line.get_color() for line in pines.lines}) == 2, "a colour a method"
    assert pines.get_yscale() == "log" and pines.get_ylabel().startswith("nats above")
    assert synthetic.get_yscale() == "linear" and synthetic.get_ylabel() == "cost (nats)"
    np.testing.assert_array_equal([line.get_ydata() for line in synthetic.lines], history)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["PIS-NN", "VI-NF", "PIS-Grad"]


def test_a_skipped_data_set_shows_the_reason_of_its_job(drawn, tmp_path):
    write_job(tmp_path, "lgcp", skipped=[{"paper": "pis", "dataset": "lgcp", "reason": "no pines here"}])
    figure = drawn("training")
    assert texts(panel(figure, "LGCP (d = 1600)")) == "skipped: no pines here"
    assert texts(panel(figure, "LGCP, synthetic points")) == "not run: job lgcp"


def test_block_means_keep_the_mean_and_every_step():
    steps, means = draw.block_means(np.arange(301.0))
    np.testing.assert_array_equal(steps, [*range(2, 302, 2), 301])
    np.testing.assert_array_equal(means, [*np.arange(0.5, 300, 2), 300.0])
    few = np.arange(11.0)
    np.testing.assert_array_equal(draw.block_means(few)[1], few)


def test_bands_of_a_gaussian_density_lie_at_one_two_and_three_standard_deviations():
    figure = Figure()
    ax = figure.subplots()
    draw.DensityMap.of(lambda x: 3 - x.square().sum(-1) / (2 * 0.5**2), half_width=2.0).draw(ax)
    extents = [path.get_extents().xmax for path in ax.collections[0].get_paths()]
    np.testing.assert_allclose(extents, [1.5, 1.0, 0.5], atol=0.01)


def test_names_are_joined_as_in_a_sentence():
    assert [draw.join_names(names) for names in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == ["", "a", "a and b", "a, b and c"]
