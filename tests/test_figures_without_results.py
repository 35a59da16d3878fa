"""Every paper's figures are drawn at every scale, also where all its jobs were skipped for lack of data."""

import matplotlib
import numpy as np
import pytest
from rescore.figures import PaperResults
from rescore.ledger.records import write_records, write_skipped
from rescore.papers import find_papers, load_config
from rescore.workflow.paths import job_folder

matplotlib.use("Agg")
PAPERS = find_papers()


@pytest.mark.filterwarnings("ignore:No artists with labels")
@pytest.mark.parametrize(("name", "scale"), [(name, scale) for name, paper in PAPERS.items() for scale in paper.scales[-1:]])
def test_figures_of_skipped_jobs_are_drawn(name, scale, tmp_path):
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
        assert (tmp_path / f"{figure}.png").stat().st_size > 1000
