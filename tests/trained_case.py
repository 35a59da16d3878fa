"""Smoke models of a paper, trained once for a test, and the records of its jobs that use them."""

import json
from pathlib import Path

from rescore.config import PaperConfig
from rescore.experiments.book import Run
from rescore.experiments.run import measure
from rescore.ledger.protocol import format_protocol
from rescore.ledger.records import Record
from rescore.models.build import train_model
from rescore.papers import Paper
from rescore.training import save_weights


def trained_models(config: PaperConfig, job: str, folder: Path) -> dict[str, Path]:
    """The weights of a job's models by the names that `Run.models` has, each with its about.json."""
    paths = {}
    for name, spec in config.job_models(job).items():
        place = folder / spec.key
        place.mkdir(parents=True)
        save_weights(place / "weights.safetensors", train_model(spec, place / "training", "cpu", name).network)
        about = {"device": "cpu", "images_per_second": None, "peak_memory_mb": 1.0, "peak_gpu_memory_mb": 0.0}
        (place / "about.json").write_text(json.dumps(about))
        paths[name] = place / "weights.safetensors"
    return paths


def records_of(paper: Paper, config: PaperConfig, jobs: dict[str, object], folder: Path) -> list[Record]:
    """What the jobs measure, as records; `jobs` are settings by name, as in the config or fewer."""
    common = {"paper": paper.name, "scale": "smoke", "device": "cpu", "version": "0", "config_hash": "0"}
    module, records = paper.module("jobs"), []
    for name, job in jobs.items():
        run = Run(paper.name, "smoke", name, folder / "jobs" / name, "0", "cpu", 1, trained_models(config, name, folder))
        if hasattr(module, "SECTIONS"):
            rows = measure(paper, config.model_copy(update={"jobs": jobs}), run).measurements
        else:
            rows = module.measure(job, config, run).measurements
        records += [Record(**(vars(row) | {"protocol": format_protocol(row.protocol)} | common)) for row in rows]
    return records
