"""One job: the mean of some draws. The job that TOY_FAIL names fails."""

import os
import sys

import numpy as np
from reproductions.toy.config import Config, Job

from rescore.jobs import Measurement, Result, Run
from rescore.progress import progress

if os.environ.get("TOY_FAIL", "none") in sys.argv:
    raise ValueError("the toy is broken")


def measure(job: Job, config: Config, run: Run) -> Result:
    (run.folder / "state").write_text("kept")
    generator = np.random.default_rng(config.seed)
    draw = {"normal": generator.standard_normal, "uniform": lambda: generator.uniform(-1, 1)}[job.dataset]
    draws = np.array([draw() for _ in progress(range(job.draws), desc="draws")])
    row = Measurement.of_seeds("1", job.dataset, "mean", "", "mean_error", None, draws, job.draws,
                               {"draws": job.draws, "sampler": "numpy"}, 0.1, over="runs")
    skipped = [] if "TOY_DATA" in os.environ else [{"table": "1", "dataset": "elsewhere", "reason": "no toy data"}]
    return Result([row], skipped, function_evaluations=job.draws, arrays={"draws": draws})
