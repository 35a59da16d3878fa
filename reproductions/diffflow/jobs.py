"""Run DiffFlow and its rivals: one module for each kind of job."""

from reproductions.diffflow import cost, images, planar, tabular
from reproductions.diffflow.config import Config, Job
from rescore.jobs import Result, Run

KINDS = {"planar": planar.measure, "cost": cost.measure, "tabular": tabular.measure, "images": images.measure}


def measure(job: Job, config: Config, run: Run) -> Result:
    """All that one job measures."""
    if job.kind != "several":
        return KINDS[job.kind](job, config, run)
    results = [measure(part, config, run) for part in job.parts]
    return Result(
        [one for result in results for one in result.measurements],
        [row for result in results for row in result.skipped],
        sum(result.function_evaluations for result in results),
        {name: array for result in results for name, array in result.arrays.items()},
    )
