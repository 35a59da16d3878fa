"""A trained model as a node of the DAG: `rescore train KEY` writes results/<scale>/models/<key>/<seed>/."""

import json
import math
import shutil
import sys
import time
from argparse import Namespace
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, redirect_stderr
from pathlib import Path
from typing import Any

from rescore.data.images import load_images
from rescore.errors import MissingData
from rescore.files import atomic_path, atomic_write, read_json, save_arrays
from rescore.machine.hardware import claim_gpus, device_name, version
from rescore.machine.locks import waiting_lock
from rescore.machine.ranks import own_rank, start_ranks
from rescore.machine.torch_setup import prepare_torch
from rescore.progress import BarLines, warn
from rescore.specs.model import Trainings
from rescore.workflow.paths import MISSING, MODEL_FILES, SNAPSHOTS, model_folder, run_folder
from rescore.workflow.suite import Suite, load_suite

TOOK = ("seconds", "cpu_seconds", "images_per_second", "peak_memory_mb", "peak_gpu_memory_mb")


def main_train(args: Namespace) -> None:
    """`rescore train`: train models that papers' configs name, one after another, or finish their trainings.

    A model is named by its key or by `<paper>/<name>`. Its seeds are trained one after another, each on as many GPUs as its
    `gpu` says. Published weights (`ModelSpec.weights`) are imported in place of a training.

    Without its data, or those weights, the model's folder says why (`rescore.workflow.paths.missing_data`), and the jobs that
    need it are skipped. Where a job that uses it will judge by Inception, whose weights cannot be had, this is said before the
    training.

    Raises RescoreError for a name that no config at this scale has.
    """
    suite = load_suite({"scale": args.scale, "results": str(args.results)}, args.root, needed=[])
    keys = {name: suite.model_key(name) for name in args.keys}
    for name, key in keys.items():
        others = keys.keys() - {name}
        command = [word for word in sys.argv[1:] if word not in others]  # what each GPU's process is started with
        _train_model(suite, key, args.results, args.scale, command)


def _train_model(suite: Suite, key: str, results: Path, scale: str, command: Sequence[str]) -> None:
    trainings = suite.models[key]
    spec, folder = trainings.spec, model_folder(results, scale, key)
    # by training and not by node: a node of more seeds goes on from these
    states = {seed: run_folder(results, scale, f"model-{one.key}") for seed, one in trainings.members.items()}
    stderr = sys.stderr if sys.stderr.isatty() else BarLines(sys.stderr, f"model {key} | ")
    with redirect_stderr(stderr):
        if own_rank():
            _train(trainings, folder, states)
            return
        with ExitStack() as locks:
            for state in sorted(set(states.values())):
                state.mkdir(parents=True, exist_ok=True)
                locks.enter_context(waiting_lock(state / "lock", f"another process that trains model {key}"))
            try:
                load_images(spec.data, spec.split)
            except MissingData as error:
                _leave_missing(key, folder, str(error))
                return
            (folder / MISSING).unlink(missing_ok=True)  # of an earlier call: jobs would go on being skipped
            if spec.weights:
                try:
                    _import(trainings, folder)
                except MissingData as error:
                    _leave_missing(key, folder, str(error))
                return
            _look_for_judges(suite, key)
            with claim_gpus(spec.gpu):
                if spec.gpu > 1:
                    start_ranks(spec.gpu, command)
                else:
                    _train(trainings, folder, states)


def _look_for_judges(suite: Suite, key: str) -> None:
    """Fetch what the jobs that use a model will need besides its images, and warn of what cannot be had."""
    for name, rules in suite.papers.items():
        users = [job for job in rules.jobs if key in {of.key for of in rules.known.job_trainings(job).values()}]
        if not users:
            continue
        from rescore.models.needs import needs

        for need in needs(rules.known, users):
            try:
                if need.name == "inception" and need.get is not None:
                    need.get()
            except MissingData as error:
                warn(f"{name} {', '.join(users)} will not judge samples of this model: {error}. Training goes on")


def _leave_missing(key: str, folder: Path, reason: str) -> None:
    atomic_write(folder / MISSING, json.dumps({"key": key, "missing": reason}, indent=1) + "\n")
    print(
        f"model {key} is not trained: {reason}\n"
        f"  Once the data lie there the same command trains it; to try a download again, remove {folder}",
        file=sys.stderr,
    )


def _import(trainings: Trainings, folder: Path) -> None:
    """Leave the published weights for each seed: the same network."""
    from rescore.models.build import make_model, make_process
    from rescore.models.imported.load import published_network
    from rescore.training import save_weights

    spec = trainings.spec
    shape = load_images(spec.data, spec.split).shape
    model = make_model(spec, make_process(spec.process, shape), shape)
    about = {"key": spec.key, "device": "", "version": "", "spec": spec.model_dump(mode="json")}
    assert spec.weights is not None, "what is imported has published weights"
    about |= {"weights": published_network(spec.weights, model.network, spec.steps)}
    for seed in trainings.seeds:
        place = folder / str(seed)
        atomic_write(place / MODEL_FILES["about"], json.dumps(about, indent=1) + "\n")
        save_weights(place / MODEL_FILES["weights"], model)


def _train(trainings: Trainings, folder: Path, states: Mapping[int, Path]) -> None:
    """Train with each seed, and leave a folder for each; of several processes the first one does."""
    device = prepare_torch(trainings.spec)
    from rescore.models.build import train_model
    from rescore.training import save_weights

    for seed, spec in trainings.members.items():
        about = {"key": spec.key, "device": device_name(device), "version": version(), "spec": spec.model_dump(mode="json")}
        started, computed = time.perf_counter(), time.process_time()
        trained = train_model(spec, states[seed], device, f"{spec.data} {spec.process.name} seed {seed}")
        here = own_rank()
        if here and here.rank:
            continue
        cost = {
            "seconds": trained.earlier_seconds + time.perf_counter() - started,
            "cpu_seconds": trained.earlier_cpu_seconds + time.process_time() - computed,
            "images_per_second": trained.images_per_second if math.isfinite(trained.images_per_second) else None,
            "peak_memory_mb": trained.peak_memory_mb,
            "peak_gpu_memory_mb": trained.peak_gpu_memory_mb,
        }
        place = folder / str(seed)
        save_arrays(place / MODEL_FILES["history"], {"loss": trained.history.numpy()})
        atomic_write(place / MODEL_FILES["about"], json.dumps(about | cost, indent=1) + "\n")
        for path in trained.snapshots.values():
            with atomic_path(place / SNAPSHOTS / path.name) as temporary:
                shutil.copyfile(path, temporary)
        save_weights(place / MODEL_FILES["weights"], trained.network)


def read_about(weights: Path) -> dict[str, Any]:
    """What is written beside a model's weights: spec, device, version, and what its training took.

    Its `seconds` and `cpu_seconds` are of all processes that had a part in it, but for steps that a kill undid. Raises
    RescoreError where it cannot be read or is another file.
    """
    return read_json(weights.with_name(MODEL_FILES["about"]), {"device": str}, dict.fromkeys(TOOK, float))
