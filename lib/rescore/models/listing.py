"""What the jobs of a paper would measure on trained models, before there are any: from their configs alone."""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from rescore.config import PaperConfig
from rescore.experiments.book import Run
from rescore.experiments.listing import Listed, Listing
from rescore.models.parts import ADAPTIVE
from rescore.papers import Paper
from rescore.specs.config import ModelJob, role


@dataclass(frozen=True)
class JobCells:
    """The cells of a job.

    Args:
        jobs: its name; of several parts all of theirs.
        cells: of all its sections on trained models.
    """

    jobs: tuple[str, ...]
    cells: tuple[Listed, ...]

    def evaluations(self, model: str) -> int:
        """Of a model's network, for one image: what its samplers take, adaptive ones `ADAPTIVE`."""
        samplings = [cell for cell in self.cells if cell.model == model and "fid" in cell.metrics and not cell.again]
        return sum(cell.nfe or ADAPTIVE for cell in samplings)

    def keys(self, paper: str) -> set[tuple[str, str, str, str, str, str, int | None]]:
        """Of its records, as `Record.key` spells them."""
        return {
            (paper, cell.table, cell.dataset, cell.method, cell.variant, metric, cell.nfe)
            for cell in self.cells
            for metric in cell.metrics
        }


def listed(paper: Paper, config: PaperConfig, scale: str, jobs: Sequence[str]) -> list[JobCells]:
    """Of jobs whose sections measure trained models and nothing else: others would do their work.

    Several parts of the same cells are listed once, whole: their samplers' coefficients take seconds.
    """
    sections, found = paper.value("jobs", "SECTIONS"), []
    whole: dict[tuple[object, object, str], list[str]] = {}
    for name in jobs:
        job_config = cast(ModelJob, config.jobs[name])
        whole.setdefault((job_config.models, job_config.measure, repr(job_config.instead)), []).append(name)
    for names in whole.values():
        job = names[0]
        one = {job: config.jobs[job].model_copy(update={"part": None})}
        book = Listing(config.under(job).model_copy(update={"jobs": one}), Run(paper.name, scale, job, Path(), "cpu", 1))
        with redirect_stderr(io.StringIO()):  # no bars
            for step in config.jobs[job].steps:
                sections[step.section](book)
        found.append(JobCells(tuple(names), tuple(book.listed)))
    return found


def listable(config: PaperConfig, job: str) -> bool:
    """Whether a job measures published weights, or a training in their place: such jobs do nothing but that."""
    models = getattr(config, "models", {})
    return any(role(name) in models and models[role(name)].weights for name in getattr(config.jobs[job], "models", ()))
