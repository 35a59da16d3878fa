"""What jobs cost: seconds, of them on the CPU, function evaluations, peak memory."""

import math
from collections.abc import Container, Iterable, Mapping
from pathlib import Path

import pandas as pd

from rescore.errors import RescoreError
from rescore.files import read_json
from rescore.ledger.records import Record, number_in, read_rows

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
PROOF = {"device": str, "parameters": float, "version": str, "training": list}  # keys of what `rescore proof` writes

COST = "cost.csv"
COSTS = COLUMNS[:7]
MODELS = "(models)"
"""In `cost.csv`, the paper of a training; its job is the key of the model, and its numbers are of all its seeds together."""


def read_cost(path: Path) -> dict[str, object]:
    """One job's `cost.json`; raises RescoreError where it is cut short, lacks a key, or has one of another kind."""
    texts = [name for name in COLUMNS if name not in NUMBERS]
    cost = read_json(path, dict.fromkeys(texts, str), dict.fromkeys(NUMBERS, float))
    if set(cost) | YOUNGER != set(COLUMNS):
        raise RescoreError(f"{path}: expected the keys {', '.join(COLUMNS)}; found {', '.join(cost) or 'none'}")
    return cost


def read_costs(jobs: Iterable[Path]) -> pd.DataFrame:
    """The costs of jobs, from their folders, `results/<scale>/<paper>/<job>`, most seconds first."""
    rows = [read_cost(path) for path in sorted(job / "cost.json" for job in jobs) if path.exists()]
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
            found = read_json(path, PROOF, {"sampling": dict, "likelihood": dict, "versions": dict})
            sampling, likelihood = found.get("sampling") or {}, found.get("likelihood") or {}  # absent: that part failed
            common = {"device": found["device"], "network": f"{found['parameters'] / 1e6:.1f} M"}
            versions = found.get("versions") or {}  # of each part, where not all are of one
            rows += [
                common
                | {
                    "version": versions.get(way["way"], found["version"]),
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
        except (KeyError, TypeError) as error:
            raise RescoreError(f"{path}: not what `rescore proof` writes: {type(error).__name__}: {error}. Remove it") from None
        except RescoreError as error:
            raise RescoreError(f"{error}: not what `rescore proof` writes. Remove it") from None
    return rows


def kept_costs(path: Path) -> list[dict[str, str]]:
    """The rows of a `cost.csv`; a number that was not measured is empty. Raises RescoreError for what is none."""
    rows = read_rows(path, COSTS)
    for line, row in rows:
        for column in COSTS[2:]:
            number = number_in(path, line, row, column)
            if number is not None and not math.isfinite(number):
                raise RescoreError(f"{path}, line {line}, column {column}: {row[column]!r} is not finite")
    return [row for _, row in rows]


def cost_frame(rows: Iterable[Mapping[str, object]]) -> pd.DataFrame:
    """Such rows as a table, most seconds first."""
    frame = pd.DataFrame(list(rows), columns=COSTS)
    frame[[*COSTS[2:]]] = frame[[*COSTS[2:]]].apply(pd.to_numeric)
    return frame.sort_values("seconds", ascending=False, kind="stable", ignore_index=True)


def cost_by_rule(path: Path) -> dict[tuple[str, str], float]:
    """CPU seconds by the names of rule and job in the DAG, of a `cost.csv`."""
    rules = {MODELS: "model"}
    return {
        (rules.get(row["paper"], f"{row['paper']}_measure"), row["job"]): float(row["cpu_seconds"])
        for row in kept_costs(path)
        if row["cpu_seconds"]
    }


def run_costs(run: Path, current: Mapping[str, Container[str] | None] | None = None) -> list[dict[str, object]]:
    """What the jobs and the trainings of a run took.

    Args:
        current: by paper its jobs, and by `MODELS` the keys of its models: what others took is left out; None leaves out none.
    """

    def is_current(row: Mapping[str, object]) -> bool:
        known = None if current is None else current.get(str(row["paper"]), ())
        return known is None or row["job"] in known

    jobs = {path: read_cost(path) for path in run.glob("*/*/cost.json")}
    # a copy of a job's folder is no other job
    own = [job for path, job in jobs.items() if path.parts[-3:-1] == (job["paper"], job["job"])]
    rows = [{name: job.get(name) for name in COSTS} for job in own]
    for folder in (run / "models").glob("*"):
        took = dict.fromkeys((*COSTS[2:4], *COSTS[-2:]), float)
        seeds = [read_json(path, optional=took) for path in sorted(folder.glob("*/about.json"))]
        if seeds and all("seconds" in seed for seed in seeds):  # published weights took no training
            time = {name: sum(seed.get(name) or 0.0 for seed in seeds) for name in ("seconds", "cpu_seconds")}
            memory = {name: max(seed.get(name) or 0.0 for seed in seeds) for name in COSTS[-2:]}
            rows.append({"paper": MODELS, "job": folder.name, "function_evaluations": None} | time | memory)
    digits = ("seconds", "cpu_seconds", "peak_memory_mb", "peak_gpu_memory_mb")
    rows = [row | {name: round(float(str(row[name])), 1) for name in digits if row[name]} for row in rows]
    return sorted(filter(is_current, rows), key=lambda row: (row["paper"], row["job"]))
