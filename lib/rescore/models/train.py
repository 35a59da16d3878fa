"""A trained model as a node of the DAG: `rescore train KEY` writes results/<scale>/models/<key>/."""

import json
import sys
import time
from argparse import Namespace
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import numpy as np

from rescore.config import check_choice
from rescore.data.images import load_images
from rescore.errors import MissingData
from rescore.files import atomic_path, atomic_write
from rescore.experiments.run import prepare_torch
from rescore.machine.locks import waiting_lock
from rescore.machine.hardware import claim_gpus, device_name, version
from rescore.models.spec import ModelSpec
from rescore.progress import BarLines
from rescore.machine.ranks import own_rank, start_ranks
from rescore.workflow.paths import MODEL_FILES, model_folder, run_folder
from rescore.workflow.suite import load_suite


def main_train(args: Namespace) -> None:
    """`rescore train`: train one model that a paper's config names, or finish its training, on as many GPUs as its `gpu` says.

    Without its data the model's folder says why (`rescore.workflow.suite.missing_data`), and the jobs that need it are skipped.

    Raises RescoreError for a key that no config at this scale has.
    """
    suite = load_suite({"scale": args.scale, "results": str(args.results)}, args.root)
    check_choice(f"model at scale {args.scale}", args.key, suite.models)
    spec = suite.models[args.key]
    stderr = sys.stderr if sys.stderr.isatty() else BarLines(sys.stderr, f"model {args.key} | ")
    with redirect_stderr(stderr):
        if own_rank():
            _train(spec, args.results, args.scale)
            return
        state = _state(spec, args.results, args.scale)
        state.mkdir(parents=True, exist_ok=True)
        with waiting_lock(state / "lock", f"another process that trains model {spec.key}"):
            try:
                load_images(spec.data, spec.split)
            except MissingData as error:
                _leave_missing(spec, args.results, args.scale, str(error))
                return
            with claim_gpus(spec.gpu):
                if spec.gpu > 1:
                    start_ranks(spec.gpu, sys.argv[1:])
                else:
                    _train(spec, args.results, args.scale)


def _leave_missing(spec: ModelSpec, results: Path, scale: str, reason: str) -> None:
    folder = model_folder(results, scale, spec.key)
    contents = {"history": "", "about": json.dumps({"key": spec.key, "missing": reason}, indent=1) + "\n", "weights": ""}
    for name, text in contents.items():  # the weights last, as of a trained model: where they are, the rest is
        atomic_write(folder / MODEL_FILES[name], text)
    print(f"model {spec.key} is not trained: {reason}\n"
          f"  Once the data lie there the same command trains it; to try a download again, remove {folder}", file=sys.stderr)  # fmt: skip


def _state(spec: ModelSpec, results: Path, scale: str) -> Path:
    return run_folder(results, scale, f"model-{spec.key}")


def _train(spec: ModelSpec, results: Path, scale: str) -> None:
    """Train, and leave the model's folder; of several processes the first one does."""
    device = prepare_torch(spec)
    from rescore.models.build import train_model
    from rescore.training import save_weights

    about = {"key": spec.key, "device": device_name(device), "version": version(), "spec": spec.model_dump(mode="json")}
    started = time.perf_counter()
    trained = train_model(spec, _state(spec, results, scale), device, f"{spec.data} {spec.process.name}")
    here = own_rank()
    if here and here.rank:
        return
    cost = {"seconds": time.perf_counter() - started, "images_per_second": trained.images_per_second,
            "peak_memory_mb": trained.peak_memory_mb, "peak_gpu_memory_mb": trained.peak_gpu_memory_mb}  # fmt: skip
    folder = model_folder(results, scale, spec.key)
    with atomic_path(folder / MODEL_FILES["history"]) as temporary, open(temporary, "wb") as stream:
        np.savez(stream, loss=trained.history.numpy())
    atomic_write(folder / MODEL_FILES["about"], json.dumps(about | cost, indent=1) + "\n")
    save_weights(folder / MODEL_FILES["weights"], trained.network)


def read_about(weights: Path) -> dict[str, Any]:
    """What is written beside a model's weights: spec, device, version, and what its training took."""
    return json.loads(weights.with_name(MODEL_FILES["about"]).read_text())
