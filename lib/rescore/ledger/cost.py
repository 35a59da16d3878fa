"""What jobs cost: seconds, of them on the CPU, function evaluations, peak memory."""

import json
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from rescore.errors import RescoreError
from rescore.ledger.records import Record

COLUMNS = (
    "paper",
    "job",
    "seconds",
    "cpu_seconds",
    "function_evaluations",
    "peak_memory_mb",
    "peak_gpu_memory_mb",
    "version",
    "config_hash",
)
NUMBERS = COLUMNS[2:7]
YOUNGER = {"cpu_seconds"}  # older files lack it


def read_cost(path: Path) -> dict[str, object]:
    """One job's `cost.json`; raises RescoreError where it is cut short or lacks a key."""
    try:
        cost = json.loads(path.read_text())
    except ValueError as error:
        raise RescoreError(f"{path}: not JSON: {error}") from None
    if not isinstance(cost, dict) or set(cost) | YOUNGER != set(COLUMNS):
        found = ", ".join(cost) if isinstance(cost, dict) else type(cost).__name__
        raise RescoreError(f"{path}: expected the keys {', '.join(COLUMNS)}; found {found}")
    for key in NUMBERS:
        if cost.get(key) is not None and (isinstance(cost[key], bool) or not isinstance(cost[key], int | float)):
            raise RescoreError(f"{path}, key {key}: {cost[key]!r} is not a number")
    return cost


def read_costs(folder: Path) -> pd.DataFrame:
    """The costs of all jobs under `results/<scale>/<paper>/<job>/cost.json`, most seconds first."""
    rows = [read_cost(path) for path in sorted(folder.glob("*/*/cost.json"))]
    return pd.DataFrame(rows, columns=COLUMNS).sort_values("seconds", ascending=False, kind="stable", ignore_index=True)


def timings(records: Iterable[Record]) -> pd.DataFrame:
    """What records tell of their jobs' costs: each job's different `seconds` in sum, for one timing may be many records'."""
    frame = pd.DataFrame(
        [(record.paper, record.config_hash, record.seconds) for record in records], columns=["paper", "config_hash", "seconds"]
    )
    jobs = frame.groupby(["paper", "config_hash"])["seconds"]
    sums = jobs.agg(records="count", seconds=lambda seconds: seconds.drop_duplicates().sum()).reset_index()
    return sums.sort_values("seconds", ascending=False, kind="stable", ignore_index=True)


def read_proofs(results: Path) -> list[dict[str, object]]:
    """A row for each way of training in the `proof-*.json` of `rescore proof`.

    A results folder and its `reference` hold one for each machine; one measured here goes before the committed one.

    Raises RescoreError for a file that is not such.
    """
    rows = []
    paths = {path.name: path for folder in (results / "reference", results) for path in folder.glob("proof-*.json")}
    for _, path in sorted(paths.items()):
        try:
            found = json.loads(path.read_text())
            sampling, likelihood = found.get("sampling", {}), found.get("likelihood", {})  # absent: that part failed
            common = {"device": found["device"], "network": f"{found['parameters'] / 1e6:.1f} M", "version": found["version"]}
            rows += [
                common
                | {
                    "training": way["way"],
                    "images_per_second": way["images_per_second"],
                    "tflops": way["tflops"],
                    "share_of_kernels": way["share_of_kernels"],
                    "gpu_memory_mb": way["gpu_memory_mb"],
                    "sampling_steps_per_second": sampling.get("steps_per_second"),
                    "share_of_the_sampler": sampling.get("share_of_the_sampler"),
                    "likelihood_mb_an_image": likelihood.get("graph_mb_an_image"),
                }
                for way in found["training"]
            ]
        except (ValueError, KeyError, TypeError) as error:
            raise RescoreError(f"{path}: not what `rescore proof` writes: {type(error).__name__}: {error}. Remove it") from None
    return rows
