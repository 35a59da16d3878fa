"""Run the sections of a paper's job in a test."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rescore.config import PaperConfig, validated
from rescore.experiments.book import Book, Result, Run
from rescore.experiments.run import measure
from rescore.ledger.records import Record
from rescore.papers import Paper
from rescore.specs.model import ModelSpec


def configured(paper: Paper, content: Mapping[str, Any]) -> PaperConfig:
    """A config of the paper as a file with this content gives it."""
    return validated(paper.module("config").Config, content, "test.yaml")


def models_of(config: PaperConfig, job: str) -> dict[str, ModelSpec]:
    """The models of a job by the names that `Run.models` has."""
    trainings = config.job_trainings(job).items()
    return {f"{name}/{seed}": spec for name, of in trainings for seed, spec in of.members.items()}


def run_of(paper: Paper, job: str, folder: Path, models: Mapping[str, Path] | None = None) -> Run:
    """What a job is told, its folder runs/<job> in `folder`, made here."""
    state = folder / "runs" / job
    state.mkdir(parents=True, exist_ok=True)
    return Run(paper.name, "smoke", job, state, "cpu", 1, models or {})


def measured(paper: Paper, config: PaperConfig, job: str, folder: Path, models: Mapping[str, Path] | None = None) -> Result:
    """All sections of a job."""
    return measure(paper, config, run_of(paper, job, folder, models))


def book_of(paper: Paper, config: PaperConfig, job: str, folder: Path, models: Mapping[str, Path] | None = None) -> Book:
    """An empty book for one section."""
    return Book(config, run_of(paper, job, folder, models))


def as_records(paper: Paper, result: Result) -> list[Record]:
    """The records that `rescore run` writes of a result."""
    common = {"paper": paper.name, "scale": "smoke", "device": "cpu", "version": "0", "config_hash": "0" * 12}
    return [Record(**(vars(one) | {"protocol": one.protocol_text} | common)) for one in result.measurements]
