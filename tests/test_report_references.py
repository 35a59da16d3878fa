"""The report of a committed reference shows what lies beside it, and what it has."""

import shutil

from conftest import ROOT
from rescore.cli import main


def test_parity_is_shown_beside_references_too(tmp_path):
    """`rescore parity` writes into the results, which have no run."""
    (tmp_path / "parity.csv").write_text("quantity,difference,tolerance,verdict\na score,1e-7,1e-6,within\n")
    shutil.copytree(ROOT / "results/reference/gpu", tmp_path / "reference/gpu")
    assert main(["report", "--reference", "--scale", "gpu", "--root", str(ROOT), "--results", str(tmp_path)]) == 0
    assert "a score" in (tmp_path / "report/gpu/parity.html").read_text()
    page = (tmp_path / "report/gpu/cost.html").read_text()
    trained, rest = page.split("Models that have not been trained")
    assert "089a12289c03" in trained and "089a12289c03" not in rest, "the model of DEIS"
