"""Run DiffFlow and its rivals: one module for each kind of job."""

import math

import zuko
from torch import Tensor

from reproductions.diffflow import cost, images, planar, tabular
from reproductions.diffflow.config import Config, Job
from rescore.cost.evaluations import CountEvaluations
from rescore.experiments.run import Notebook, Result, Run
from rescore.networks import NoisePrediction
from rescore.neural_sde import FourierMLP, ImageField

KINDS = {"planar": planar.measure, "cost": cost.measure, "tabular": tabular.measure, "images": images.measure}


def _rows(x: Tensor) -> int:
    return math.prod(x.shape[:-1])


POINTS = {
    FourierMLP: _rows, zuko.nn.MLP: _rows, zuko.nn.MaskedMLP: _rows, NoisePrediction: len,
    ImageField: lambda x: math.prod(x.shape[:-3]),
}  # fmt: skip


def measure(job: Job, config: Config, run: Run) -> Result:
    """All that one job measures."""
    book = Notebook()
    with CountEvaluations(POINTS) as evaluations:
        for part in job.parts if job.kind == "several" else (job,):
            KINDS[part.kind](book, part, config, run)
    book.function_evaluations = evaluations.total
    return book.result
