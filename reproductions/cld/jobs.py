"""Run the sections of a job."""

from collections.abc import Callable

from reproductions.cld.config import Config, Job
from reproductions.cld.images import on_digits, on_gaussian_digits
from reproductions.cld.sections import Findings, damping, on_mixture, scores, splitting, weights
from reproductions.cld.trained import trained_tables
from rescore.experiments.run import Result, Run
from rescore.models.evaluate import TrainedModels

SECTIONS: dict[str, Callable[[Config, Findings], None]] = {
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
    found = Findings()
    for name in job.measure:
        SECTIONS[name](config, found)
    if job.models:
        models = TrainedModels(config, run, found.arrays)
        found.measurements += trained_tables(config, models)
        found.function_evaluations += models.evaluations
        found.skipped += models.skipped
    return found.result
