"""A new paper is a new folder: a sampler of its own, a table, a claim and a figure in 120 lines, found by itself."""

import shutil

import pytest
from conftest import ROOT
from rescore.cli import main
from rescore.ledger.claims import read_claims
from rescore.ledger.records import read_records
from rescore.papers import find_papers, load_paper

SOURCE = ROOT / "tests" / "data" / "new_paper"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A repository of this paper alone, its job run, its numbers collected."""
    root = tmp_path_factory.mktemp("repository")
    shutil.copytree(SOURCE, root / "reproductions" / "half_score", ignore=shutil.ignore_patterns("__pycache__"))
    options = ["--scale", "smoke", "--root", str(root), "--results", str(root / "results")]
    folder = root / "results" / "smoke" / "half_score" / "all"
    assert not main(["run", "half_score", "measure", "--job", "all", *options])
    assert not main(["collect", str(folder), *options])
    assert not main(["tables", *options])
    assert not main(["figures", "half_score", *options])
    return root


def test_it_is_short():
    lines = [
        line
        for path in SOURCE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
        for line in path.read_text().splitlines()
    ]
    assert len(lines) <= 120


def test_it_is_found(root):
    assert list(find_papers(root)) == ["half_score"]


def test_its_numbers_are_judged_against_its_table(root):
    records = {(one.variant, one.nfe): one for one in read_records(root / "results/smoke/records.csv")}
    assert sorted(records) == [("share=0.5", 10), ("share=0.5", 40), ("share=1", 10), ("share=1", 40)]
    assert all((one.n_seeds, one.n_samples, one.over, one.df) == (3, 600, "runs", 2) for one in records.values())
    # Euler's error falls by about four with four times the steps, half a score's does not fall
    assert (
        records["share=1", 10].value / records["share=1", 40].value
        > 3
        > 1.5
        > (records["share=0.5", 10].value / records["share=0.5", 40].value)
    )
    (claim,) = read_claims(root / "results/smoke/claims.csv")
    assert claim["status"] == "holds"
    text = (root / "results/smoke/diff.csv").read_text()
    assert text.count("half_score") == 2


def test_its_sampler_is_a_method(root):
    half_score = load_paper("half_score", root).module("jobs").half_score
    assert (half_score.order, half_score.where(share=0.5).order, half_score.evaluations_per_step) == (1, 0, 1)


def test_its_figure_is_drawn(root):
    figure = root / "results/smoke/figures/half_score/errors.png"
    assert figure.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n" and figure.with_suffix(".rst").read_text().startswith(
        "The error of the"
    )
