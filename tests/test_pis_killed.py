"""A job of PIS that is killed at random moments."""

import json
import os
import random
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from test_pis import PAPER, files

KILLED_TINY = """
seeds: [0, 1]
runs: 40
particles: 2000
steps: 2
datasets:
  mg:
    pis: {steps: 120, batch: 20, checkpoint_every: 5}
    annealing: {step_sizes: [0.5, 0.5, 0.5, 0.3]}
    aft: {family: diagonal_affine, steps: 1}
    vi_nf: {family: diagonal_affine, steps: 1}
jobs:
  mg: {measure: {mg: [grad]}}
"""

# Each line is the command of a process of its own, which finds the slow imports done and is otherwise `python -m ...`.
# A number before it: the process kills itself with -9 in place of that renaming of a finished temporary file.
LAUNCHER = """
import os, runpy, signal, sys
import rescore.experiments.run, torch._dynamo
from rescore.training import loop
loop.SAVING_SHARE = float("inf")  # every checkpoint is due, however long a busy machine takes to write one
for line in sys.stdin:
    pid = os.fork()
    if not pid:
        left, *sys.argv = line.split()
        left, replace = int(left), os.replace
        def counted(*paths):
            global left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            replace(*paths)
        os.replace = counted
        runpy.run_module(sys.argv[0], run_name="__main__")
        os._exit(0)
    print(pid, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


class Launcher:
    """Runs the tiny job in a root with this paper alone, and kills it."""

    def __init__(self, root: Path):
        folder = root / "reproductions" / "pis"
        shutil.copytree(PAPER.folder, folder, ignore=shutil.ignore_patterns("__pycache__", "configs"))
        (folder / "configs").mkdir()
        (folder / "configs" / "smoke.yaml").write_text(KILLED_TINY)
        self.root, self.log = root, root / "log"
        with open(self.log, "w") as log:  # the process has its own handle
            self._process = subprocess.Popen(
                [sys.executable, "-c", LAUNCHER],
                env={**os.environ, "OMP_NUM_THREADS": "1"},
                cwd=root,
                text=True,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
            )

    def run(self, results: str, kill_when: Callable[[], bool] | None = None, kill_at: int = 0) -> None:
        """One process, killed with -9 once `kill_when` holds or before its renaming number `kill_at`."""
        self._process.stdin.write(f"{kill_at} rescore run pis measure --scale smoke --job mg --results {results}\n")
        self._process.stdin.flush()
        pid = int(self._process.stdout.readline())
        if kill_when is not None:
            while not kill_when():
                ended = select.select([self._process.stdout], [], [], 0.002)[0]
                assert not ended, f"the job ended before it was killed:\n{self.log.read_text()}"
            os.kill(pid, signal.SIGKILL)
        status = int(self._process.stdout.readline())
        assert status == (-signal.SIGKILL if kill_when or kill_at else 0), self.log.read_text()

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def launcher(tmp_path):
    launcher = Launcher(tmp_path)
    yield launcher
    launcher.close()


def records_text(folder: Path) -> list[str]:
    """records.csv without the column `seconds`."""
    rows = [line.split(",") for line in (folder / "smoke" / "pis" / "mg" / "records.csv").read_text().splitlines()]
    seconds = rows[0].index("seconds")
    return [",".join(row[:seconds] + row[seconds + 1 :]) for row in rows]


def arrays(folder: Path) -> dict[str, np.ndarray]:
    with np.load(folder / "smoke" / "pis" / "mg" / "arrays.npz") as stored:
        return dict(stored)


def cpu_seconds(folder: Path) -> float:
    return json.loads((folder / "smoke" / "pis" / "mg" / "cost.json").read_text())["cpu_seconds"]


def test_a_job_killed_at_random_moments_ends_in_bit_identical_records(launcher):
    whole, killed, moment = launcher.root / "whole", launcher.root / "killed", random.Random(5)
    runs = killed / "smoke" / "runs"

    def trained(seed: int) -> int:
        return max((int(path.stem.removeprefix("step-")) for path in runs.glob(f"mg-grad-seed{seed}-*/step-*.json")), default=0)

    first = moment.randrange(5, 60)  # of 120 training steps
    launcher.run("killed", kill_when=lambda: trained(0) >= first)
    assert first <= trained(0) < 120
    checkpoints = (120 - trained(0)) // 5  # two renamings each; then four batches of runs, one each
    launcher.run("killed", kill_at=2 * checkpoints + moment.randrange(2, 5))
    assert trained(0) == 120 and trained(1) == 0
    launcher.run("killed", kill_at=4 + moment.randrange(2, 48))
    assert 0 < trained(1) < 120
    assert not (killed / "smoke" / "pis").exists(), "no declared output before the end"
    kept = {path: when for path, when in files(runs).items() if "seed0" in str(path) and not path.name.startswith(".")}
    assert len(kept) == 5, "two checkpoints of two files, and the runs"
    launcher.run("killed")
    assert kept.items() <= files(runs).items(), "what was finished is not made again"
    launcher.run("whole")
    assert records_text(killed) == records_text(whole)
    assert len(records_text(whole)) == 1 + 7 + 6, "two rows, and B, S and A of each by medians"
    assert arrays(killed).keys() == arrays(whole).keys()
    assert all(np.array_equal(arrays(killed)[name], array) for name, array in arrays(whole).items())

    took = [cpu_seconds(whole)]
    launcher.run("whole")
    took.append(cpu_seconds(whole))
    assert took[1] > took[0] / 2, "what earlier processes took stays the job's: this one only reads"
