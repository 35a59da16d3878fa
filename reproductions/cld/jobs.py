"""Run the sections of a job."""

from collections.abc import Callable

from reproductions.cld.config import Config, Job
from reproductions.cld.images import on_digits, on_gaussian_digits
from reproductions.cld.sections import Findings, damping, joined, on_mixture, scores, splitting, weights
from reproductions.cld.trained import trained_tables
from rescore.jobs import Result, Run
from rescore.models.evaluate import TrainedModels

SECTIONS: dict[str, Callable[[Config], Findings]] = {
    "scores": scores,
    "damping": damping,
    "weights": weights,
    "splitting": splitting,
    "mixture": on_mixture,
    "frechet": on_gaussian_digits,
    "digits": on_digits,
}


def measure(job: Job, config: Config, run: Run) -> Result:
    """All that one job measures."""
    found = joined(SECTIONS[name](config) for name in job.measure)
    if job.models:
        models = TrainedModels(config, run, found.arrays)
        found.rows += trained_tables(config, models)
        found.evaluations += models.evaluations
    return Result(found.rows, function_evaluations=found.evaluations, arrays=found.arrays)
