"""Smoke models of a paper, trained once for a test, and the records of its jobs that use them."""

import json
import shutil
from pathlib import Path

from measuring import as_records, measured, models_of
from rescore.config import JobConfig, PaperConfig
from rescore.ledger.records import Record
from rescore.models.build import train_model
from rescore.papers import Paper
from rescore.training import save_weights
from rescore.workflow.paths import SNAPSHOTS


def trained_models(config: PaperConfig, job: str, folder: Path) -> dict[str, Path]:
    """The weights of a job's models by the names that `Run.models` has, each with its about.json."""
    paths = {}
    for name, spec in models_of(config, job).items():
        place = folder / spec.key
        paths[name] = place / "weights.safetensors"
        if paths[name].is_file():  # another job's too
            continue
        (place / SNAPSHOTS).mkdir(parents=True)
        trained = train_model(spec, place / "training", "cpu", name)
        for path in trained.snapshots.values():
            shutil.copyfile(path, place / SNAPSHOTS / path.name)
        save_weights(place / "weights.safetensors", trained.network)
        about = {"device": "cpu", "images_per_second": None, "peak_memory_mb": 1.0, "peak_gpu_memory_mb": 0.0}
        (place / "about.json").write_text(json.dumps(about))
    return paths


def records_of(paper: Paper, config: PaperConfig, jobs: dict[str, JobConfig], folder: Path) -> list[Record]:
    """What the jobs measure, as records; `jobs` are settings by name, as in the config or fewer."""
    config = config.model_copy(update={"jobs": jobs})
    results = [measured(paper, config, name, folder, trained_models(config, name, folder / name)) for name in jobs]
    return [record for result in results for record in as_records(paper, result)]
