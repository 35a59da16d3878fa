"""Run the sections of a job."""

from collections.abc import Callable

from reproductions.cld.config import Config, Job
from reproductions.cld.images import on_digits, on_gaussian_digits
from reproductions.cld.sections import Findings, damping, joined, on_mixture, scores, splitting, weights
from rescore.jobs import Result, Run

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
    return Result(found.rows, function_evaluations=found.evaluations, arrays=found.arrays)
