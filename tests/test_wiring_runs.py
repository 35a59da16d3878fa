"""Papers whose jobs no other test runs whole: tiny runs, every number of which is kept."""

from pathlib import Path

import pytest
import torch
from pinned import check_pinned
from trained_case import trained_models

from rescore.config import validated
from rescore.experiments.book import Result, Run
from rescore.papers import load_config, load_paper

TINY = {
    "soft_diffusion": {
        "schedule": {"candidates": 8, "nodes": 4, "images": 6},
        "samples": 70,
        "nfes": {"main": [3], "masking": [2], "clean": [2]},
        "masking_nfes": [2],
        "gaussian_nfes": [2, 4],
    },
}
JOBS = {
    "soft_diffusion": {"all": {"train": ["main", "clean", "masking"]}},
}


@pytest.fixture(autouse=True)
def one_thread():
    """Tensors this small gain nothing from a second one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("name", "job"), [(name, job) for name, jobs in JOBS.items() for job in jobs])
def test_numbers_are_what_they_were(name: str, job: str, tmp_path: Path):
    result = run_tiny(name, job, tmp_path)
    check_pinned(f"{name}_{job}", result.measurements, result)


def run_tiny(name: str, job: str, folder: Path) -> Result:
    paper = load_paper(name)
    content = load_config(paper, "smoke").model_dump(mode="json") | TINY[name]
    content["jobs"][job] |= JOBS[name][job]
    config = validated(paper.module("config").Config, content, "tiny.yaml")
    models = trained_models(config, job, folder / "models") if hasattr(config, "job_models") else {}
    state = folder / "runs" / job
    state.mkdir(parents=True)
    return paper.module("jobs").measure(config.jobs[job], config, Run(name, "smoke", job, state, "0", "cpu", 1, models))
