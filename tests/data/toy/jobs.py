"""One job: the mean of some draws. With TOY_FAIL in the environment, `uniform` fails."""

import os
import sys

import numpy as np
from reproductions.toy.config import Config, Job
from tqdm import tqdm

from rescore.jobs import Measurement, Result, Run


def measure(job: Job, config: Config, run: Run) -> Result:
    if job.dataset == "uniform" and "TOY_FAIL" in os.environ:
        raise ValueError("the toy is broken")
    (run.folder / "state").write_text("kept")
    generator = np.random.default_rng(config.seed)
    draw = {"normal": generator.standard_normal, "uniform": lambda: generator.uniform(-1, 1)}[job.dataset]
    draws = np.array([draw() for _ in tqdm(range(job.draws), desc="draws", file=sys.stderr)])
    row = Measurement("1", job.dataset, "mean", "", "mean_error", None, draws.mean(), draws.std() / job.draws**0.5, 1, job.draws,
                      {"draws": job.draws, "sampler": "numpy"}, 0.1)
    skipped = [] if "TOY_DATA" in os.environ else [{"table": "1", "dataset": "elsewhere", "reason": "no toy data"}]
    return Result([row], skipped, function_evaluations=job.draws, arrays={"draws": draws})
