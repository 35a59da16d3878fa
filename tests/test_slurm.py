"""The profile for Slurm on a scheduler that runs: only where `sbatch` answers. CONTRIBUTING.md says how to start one.

It takes some minutes, for Slurm counts time limits in whole ones.
"""

import csv
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, Workspace

JOBS = '''
import os
import time
from pathlib import Path

from rescore.experiments.book import Book

COUNT = Path(os.environ["TOY_COUNT"])


def mean(book: Book, dataset: str) -> None:
    """Two cells; the first time, the job of `uniform` sleeps between them until its time limit ends it."""
    for name in ("first", "second"):
        with book.cell("1", dataset, name) as cell:
            if cell.todo:
                with open(COUNT / f"{dataset}-{name}", "a") as stream:
                    stream.write(f"{os.environ['SLURM_JOB_ID']}\\n")
                cell.add("mean_error", [0.5, 1.5])
                if dataset == "normal":
                    time.sleep(15)  # so that it is there when the other starts
        if dataset == "uniform" and name == "first" and not (COUNT / "slept").exists():
            (COUNT / "slept").touch()
            time.sleep(600)


SECTIONS = {"mean": mean}
'''
CONFIG = "jobs:\n  normal: {measure: {normal: [mean]}}\n  uniform: {measure: {uniform: [mean]}, runtime: 1}\n"
RULES = """
rule toy_gpu:
    output:
        f"{SUITE.folder}/toy-gpu.txt",
    threads: 2
    resources:
        gpu=1,
    shell:
        "scontrol show job $SLURM_JOB_ID > {output:q}"


rule toy_threads:
    output:
        f"{SUITE.folder}/toy-threads.txt",
    threads: 64
    shell:
        "true"
"""


def why_not() -> str | None:
    """Why the tests cannot run here; None if they can."""
    if not shutil.which("sbatch"):
        return "no Slurm here: no sbatch"
    if not importlib.util.find_spec("snakemake_executor_plugin_slurm"):
        return "Snakemake's plugin for Slurm is not installed: pip install -e '.[slurm]'"
    asked = subprocess.run(["sinfo", "--noheader", "--format=%T %G"], capture_output=True, text=True, check=False)
    if asked.returncode or not any(state in asked.stdout for state in ("idle", "mixed", "allocated")):
        return f"Slurm does not answer, or no node is up: {(asked.stderr or asked.stdout).strip()}"
    return None


REASON = why_not()
pytestmark = pytest.mark.skipif(REASON is not None, reason=str(REASON))


def snakemake(root: Path, *arguments: str) -> subprocess.CompletedProcess:
    options = [
        "--profile",
        "profiles/slurm",
        "--cores",
        "1000",
        "--slurm-status-command",
        "squeue",
        "--latency-wait",
        "5",
        "--slurm-init-seconds-before-status-checks",
        "2",
        "--config",
        "scale=smoke",
        "papers=toy",
    ]
    environment = os.environ | {"TOY_COUNT": str(root), "PYTHONPATH": str(ROOT / "lib"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "snakemake", *arguments, *options]
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def toy(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository with the toy, whose jobs are those above."""
    root = tmp_path_factory.mktemp("slurm") / "repository"
    shutil.copytree(workspace.root, root, ignore=shutil.ignore_patterns(".snakemake", "results"))
    folder = root / "reproductions" / "toy"
    (folder / "jobs.py").write_text(JOBS)
    (folder / "configs" / "smoke.yaml").write_text(CONFIG)
    (folder / "rules.smk").write_text(RULES)
    return root


@pytest.fixture(scope="module")
def ran(toy: Path) -> subprocess.CompletedProcess:
    jobs = ("results/smoke/toy/normal/records.csv", "results/smoke/toy/uniform/records.csv")
    return snakemake(toy, *jobs)


def test_a_job_that_its_time_limit_ends_goes_on_at_its_retry(toy, ran):
    assert ran.returncode == 0, ran.stdout + ran.stderr
    first, second = ((toy / f"uniform-{name}").read_text().split() for name in ("first", "second"))
    assert len(first) == len(second) == 1 and first != second, "the second Slurm job measured the second cell only"
    with open(toy / "results/smoke/toy/uniform/records.csv", newline="") as stream:
        assert [row["method"] for row in csv.DictReader(stream)] == ["first", "second"]


def test_two_jobs_run_at_once_on_one_node(toy, ran):
    """As Slurm's own times say."""
    spans = []
    for name in ("normal-first", "uniform-first"):
        (number, *_) = (toy / name).read_text().split()
        shown = subprocess.run(["scontrol", "show", "job", number], capture_output=True, text=True, check=True).stdout
        spans.append(re.search(r"StartTime=(\S+) EndTime=(\S+)", shown).groups())
    assert max(start for start, _ in spans) < min(end for _, end in spans)


def test_a_job_s_gpu_is_slurm_s(toy):
    if "gpu" not in subprocess.run(["sinfo", "--noheader", "--format=%G"], capture_output=True, text=True, check=True).stdout:
        pytest.skip("this Slurm has no GPUs; CONTRIBUTING.md says how to pretend some")
    done = snakemake(toy, "results/smoke/toy-gpu.txt")
    assert done.returncode == 0, done.stdout + done.stderr
    shown = (toy / "results/smoke/toy-gpu.txt").read_text()
    assert re.search(r"TresPer(Job|Node|Task)=gres:gpu:1\b", shown), shown


def test_threads_are_not_capped_by_the_cores_here(toy):
    done = snakemake(toy, "results/smoke/toy-threads.txt", "-n")
    assert "threads: 64" in done.stdout + done.stderr
