"""What a process imports is what it uses: each of these libraries takes a second or more to import."""

import json
import os
import subprocess
import sys

import pytest
from conftest import ROOT
from rescore.papers import find_papers
from rescore.workflow.suite import load_suite

HEAVY = ("torch", "torch._dynamo", "torch_fidelity", "torchvision", "ot", "pyro", "sklearn", "skimage", "openmm", "matplotlib")
WITHOUT_TORCH = (
    "rescore.cli",
    "rescore.workflow.suite",
    "rescore.ledger.tables",
    "rescore.ledger.gate",
    "rescore.ledger.explain",
    "rescore.ledger.cost",
    "rescore.report.pages",
)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> list[set[str]]:
    """The heavy libraries in a process that reads numbers and plans jobs; that has all jobs; that has trained a model."""
    suite = load_suite({"scale": "smoke"}, ROOT)
    key = next(key for key in suite.short_models if suite.models[key].spec.data == "digits")
    words = ["train", key, "--scale", "smoke", "--results", str(tmp_path_factory.mktemp("trained"))]
    papers = "; ".join(f"load_paper({name!r}).module('jobs')" for name in find_papers(ROOT))
    plan = "from rescore.workflow.suite import load_suite\nsuite = load_suite({'scale': 'laptop'})"
    data = "[paper.known.data_fingerprint(job) for paper in suite.papers.values() for job in paper.jobs]"
    stages = (
        "\n".join([*(f"import {name}" for name in WITHOUT_TORCH), plan, data]),
        f"import rescore.experiments.run\nfrom rescore.papers import load_paper\n{papers}",
        f"from rescore.cli import main\nassert main({words}) == 0",
    )
    tell = f"print(json.dumps([name for name in {HEAVY} if name in sys.modules]))"
    leave = "sys.stdout.flush()\nos._exit(0)"  # without taking all these modules apart
    script = "\n".join(["import json, os, sys", *(f"{stage}\n{tell}" for stage in stages), leave])
    environment = os.environ | {"PYTHONPATH": str(ROOT / "lib")}
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    return [set(json.loads(line)) for line in done.stdout.splitlines() if line.startswith('["') or line == "[]"]


def test_what_only_reads_numbers_or_plans_jobs_imports_no_heavy_library(loaded):
    assert loaded[0] == set()


def test_a_job_of_any_paper_starts_with_torch_alone(loaded):
    assert loaded[1] == {"torch"}


def test_a_training_adds_what_torch_s_optimiser_imports(loaded):
    """No data set of the digits' trainings needs scikit-learn, and nothing of them the networks of judges."""
    assert len(loaded) == 3 and loaded[2] == {"torch", "torch._dynamo"}
