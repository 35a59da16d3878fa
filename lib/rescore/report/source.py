"""What a report shows: the results of one scale, of a run or of the committed reference."""

import csv
import functools
import io
import shutil
import subprocess
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from rescore.config import SCALES
from rescore.errors import RescoreError
from rescore.estimates import ModelPlan, job_rows, known_plans, networks_path, read_networks
from rescore.files import read_json, read_text
from rescore.ledger.claims import evaluate_all, read_claims
from rescore.ledger.cost import COST, MODELS, cost_frame, kept_costs, read_costs, read_proofs, timings
from rescore.ledger.diff import diff, keys, read_diff
from rescore.ledger.published import load_published
from rescore.ledger.records import Record, collect_records, read_records
from rescore.ledger.reference import parse_version, read_reference, skipped_rows
from rescore.papers import Paper, load_config
from rescore.workflow.options import Options
from rescore.workflow.paper_rules import PaperRules
from rescore.workflow.paths import MODEL_FILES, ended_jobs, figure_folder, jobs_by_hash, log_path, missing_data
from rescore.workflow.suite import Suite

Key = tuple[str | int | None, ...]
TRAINING_COSTS = ("seconds", "cpu_seconds", "peak_memory_mb", "peak_gpu_memory_mb")
TRAINED = ("seconds", "images_per_second", "peak_memory_mb", "peak_gpu_memory_mb")  # shown of each training of a run


@dataclass(frozen=True)
class Results:
    """One scale's results.

    Args:
        kind: `run`, `so far` of one that goes on, or `reference`.
        folder: results/<scale> or results/reference/<scale>.
        verdicts: by key the row of `diff.csv`, numbers as floats or None, in the order of the printed numbers.
        claims: rows of `claims.csv`.
        jobs: by a record's key, where it is known, the job that measured it.
        costs: a row for each job; of a reference without `cost.csv` what its records tell.
        models: a row for each training of a model; of a reference, which keeps their sum, for each model. Its `names` are those
            that papers give the model, `<paper>/<name>`.
        waiting: jobs of the configs that have not run, with what their configs ask for. Of a reference, which keeps no jobs,
            all those of the papers of which it has no numbers.
        planned: likewise the models that have not been trained.
        proofs: how fast machines were found to be, by `rescore proof`.
        logs: by (paper, job) the log's path.
        figures: by paper, the figures drawn: name -> path.
        made: by paper the date of its numbers.
        unusable: by paper what is wrong with its config, so that its jobs are not known, or with its printed numbers, so that
            it is left out.
        at, root: where its commands find results and papers; None for the working directory.
    """

    scale: str
    kind: Literal["run", "so far", "reference"]
    folder: Path
    records: Mapping[Key, Record]
    verdicts: Mapping[Key, dict[str, Any]]
    claims: Sequence[dict[str, Any]]
    skipped: Sequence[dict[str, str]] = ()
    jobs: Mapping[Key, str] = field(default_factory=dict)
    costs: pd.DataFrame = field(default_factory=pd.DataFrame)
    models: Sequence[dict[str, Any]] = ()
    waiting: Sequence[dict[str, Any]] = ()
    planned: Sequence[ModelPlan] = ()
    proofs: Sequence[dict[str, Any]] = ()
    logs: Mapping[tuple[str, str], Path] = field(default_factory=dict)
    figures: Mapping[str, Mapping[str, Path]] = field(default_factory=dict)
    made: Mapping[str, str] = field(default_factory=dict)
    parity: tuple[list[str], list[list[str]]] | None = None
    unusable: Mapping[str, str] = field(default_factory=dict)
    at: str = "results"
    root: Path | None = None

    def of(self, paper: str) -> list[Record]:
        return [record for record in self.records.values() if record.paper == paper]


def read_results(folder: Path, papers: Mapping[str, Paper], root: Path, so_far: bool = False) -> Results:
    """The results in `folder`: of a run where it has a `records.csv`, else of a reference.

    Verdicts and claims are those beside the records; a run that has none yet gets them from its records.

    Args:
        so_far: those of the jobs that have ended, while a run goes on, with their verdicts and claims.

    Raises:
        RescoreError: neither is there, or a file cannot be read.
    """
    folder = Path(folder)
    if so_far or (folder / "records.csv").exists():
        return _read_run(folder, papers, root, so_far)
    if not (folder / "records").is_dir():
        raise RescoreError(f"{folder}: neither a run (records.csv) nor a reference (records/<paper>.csv) is there")
    return _read_committed(folder, papers, root)


def nothing_run(scale: str, papers: Mapping[str, Paper], root: Path) -> Results:
    """What is known of a scale without any results: what is printed, and what its configs would take."""
    papers = {name: paper for name, paper in papers.items() if scale in paper.scales}
    verdicts = _verdicts(diff([], load_published(papers), papers))
    folder = root / "results" / "reference" / scale
    return Results(
        scale,
        "reference",
        folder,
        {},
        verdicts,
        evaluate_all(papers, []),
        costs=timings([]),
        **_unrun(papers, scale, root, root / "results"),
    )


def _read_run(folder: Path, papers: Mapping[str, Paper], root: Path, so_far: bool) -> Results:
    name = folder.resolve().name
    ended = ended_jobs(folder, papers, so_far)
    known_scale = name if name in SCALES else None
    records = (
        collect_records([path / "records.csv" for path in ended.values()], known_scale)
        if so_far
        else read_records(folder / "records.csv", known_scale)
    )
    scale = known_scale or next((record.scale for record in records), "laptop")
    skipped = [row for path in (ended.values() if so_far else [folder]) for row in skipped_rows(path) or ()]
    kept = {name: not so_far and (folder / name).exists() for name in ("diff.csv", "claims.csv")}
    frame = read_diff(folder / "diff.csv") if kept["diff.csv"] else diff(records, load_published(papers), papers, skipped)
    claims = read_claims(folder / "claims.csv") if kept["claims.csv"] else evaluate_all(papers, records)
    jobs: dict[Key, str] = {}
    made: dict[str, str] = {}
    for (paper, job), path in ended.items():
        jobs |= {record.key: job for record in read_records(path / "records.csv")}
        made[paper] = max(made.get(paper, ""), date.fromtimestamp((path / "records.csv").stat().st_mtime).isoformat())
    costs, models = read_costs(ended.values()), _models(folder, _model_names(papers, scale, root))
    trained = {model["model"] for model in models if "seed" in model}
    ran = set(zip(costs["paper"], costs["job"], strict=True))
    logs = {pair: path for pair in ran if (path := log_path(folder.parent, folder.name, *pair)).is_file()}
    figures = {
        name: {
            figure: path
            for figure in paper.meta.figures
            if not so_far and (path := figure_folder(folder.parent, folder.name, name) / f"{figure}.png").is_file()
        }
        for name, paper in papers.items()
    }
    return Results(
        scale,
        "so far" if so_far else "run",
        folder,
        _by_key(records),
        _verdicts(frame),
        claims,
        skipped,
        jobs,
        costs,
        models,
        logs=logs,
        figures=figures,
        made=made,
        parity=parity_table(folder),
        **_unrun(papers, scale, root, folder.parent, ran, trained),
    )


def _read_committed(folder: Path, papers: Mapping[str, Paper], root: Path) -> Results:
    scale = folder.resolve().name
    records = read_reference(folder)
    by_hash = {name: jobs_by_hash(paper, scale) for name, paper in papers.items()}
    jobs = {record.key: job for record in records if (job := by_hash.get(record.paper, {}).get(record.config_hash))}
    commits: dict[str, str] = {record.paper: commit for record in records if (commit := commit_of(record.version))}
    measured = {record.paper for record in records}
    dates = {commit: commit_date(root, commit) for commit in set(commits.values())}
    made = {paper: dates[commit] for paper, commit in commits.items() if dates[commit]}
    costs = cost_frame(kept_costs(folder / COST)) if (folder / COST).exists() else timings(records)
    of_models = costs["paper"] == MODELS
    names = _model_names(papers, scale, root) if of_models.any() else {}
    frame, claims = read_diff(folder / "diff.csv"), read_claims(folder / "claims.csv")
    known = {*frame["paper"], *(row["paper"] for row in claims)}
    younger = {name: paper for name, paper in papers.items() if scale in paper.scales and name not in known}
    return Results(
        scale,
        "reference",
        folder,
        _by_key(records),
        _verdicts(frame) | _verdicts(diff([], load_published(younger), younger)),
        [*claims, *evaluate_all(younger, [])],
        skipped_rows(folder) or [],
        jobs,
        costs[~of_models].reset_index(drop=True),
        [
            {"model": row["job"], "names": names.get(row["job"], "")} | {name: row[name] for name in TRAINING_COSTS}
            for row in costs[of_models].to_dict("records")
        ],
        made=made,
        parity=parity_table(folder),
        **_unrun(
            {name: paper for name, paper in papers.items() if name not in measured},
            scale,
            root,
            folder.parent.parent,
            trained={row["job"] for row in costs[of_models].to_dict("records")},
        ),
    )


def _by_key(records: Iterable[Record]) -> dict[Key, Record]:
    return {record.key: record for record in records}


def _verdicts(frame: pd.DataFrame) -> dict[Key, dict[str, Any]]:
    rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
    return dict(zip(keys(frame), rows, strict=True))


def _unrun(
    papers: Mapping[str, Paper],
    scale: str,
    root: Path,
    results: Path,
    ran: Container[tuple[str, str]] = (),
    trained: Container[str] = (),
) -> dict[str, Any]:
    """`waiting`, `planned`, `proofs` and `unusable` of `Results`.

    Args:
        results: the folder of all scales' results.
        ran: the (paper, job) that have run.
        trained: the keys of models that are there.
    """
    suite, unusable = _suite(papers, scale, root)
    waiting = [row for row in job_rows(suite) if (row["paper"], row["job"]) not in ran]
    networks = read_networks(networks_path(root))
    planned = known_plans(suite, networks, trained)
    return {"waiting": waiting, "planned": planned, "proofs": read_proofs(results), "unusable": unusable}


def _suite(papers: Mapping[str, Paper], scale: str, root: Path) -> tuple[Suite, dict[str, str]]:
    """The papers whose configs can be read, and what is wrong with the others'."""
    rules, unusable = {}, {}
    for name, paper in papers.items():
        try:
            config = load_config(paper, scale) if scale in paper.scales else None
        except RescoreError as error:
            unusable[name] = str(error)
            continue
        rules[name] = PaperRules(paper, scale, "results", root, config)
    return Suite(Options(scale=scale), root, rules), unusable


def _model_names(papers: Mapping[str, Paper], scale: str, root: Path) -> dict[str, str]:
    """By the key of a model what today's configs call it, `<paper>/<name>` for each paper that uses it."""
    names: dict[str, list[str]] = {}
    for name, key in _suite(papers, scale, root)[0].model_names.items():
        names.setdefault(key, []).append(name)
    return {key: ", ".join(found) for key, found in names.items()}


def _models(folder: Path, names: Mapping[str, str]) -> list[dict[str, Any]]:
    """A row for each training of a model, or why there is none, or what is wrong with a file of it; `names` by key."""
    rows: list[dict[str, Any]] = []
    for model in sorted(folder.glob("models/*")):
        common = {"model": model.name, "names": names.get(model.name, "")}
        try:
            reason = missing_data(model)
        except RescoreError as error:
            reason = str(error)
        if reason:
            rows.append(common | {"reason": reason})
        rows += [common | {"seed": path.parent.name} | _about(path) for path in sorted(model.glob(f"*/{MODEL_FILES['about']}"))]
    return rows


def _about(path: Path) -> dict[str, Any]:
    """What an `about.json` tells of a training; what is wrong with one that cannot be read, which costs no other row."""
    try:
        about = read_json(path, optional={"spec": dict, "device": str} | dict.fromkeys(TRAINED, float))
    except RescoreError as error:
        return {"reason": str(error)}
    data = {"data": str((about.get("spec") or {}).get("data", ""))}
    return data | {name: about.get(name) for name in TRAINED} | {"device": about.get("device") or ""}


def parity_table(folder: Path) -> tuple[list[str], list[list[str]]] | None:
    """Columns and rows of a `parity.csv`: of this scale, else the one that all scales share; None without."""
    path = next((p for p in (folder / "parity.csv", folder.parent / "parity.csv") if p.exists()), None)
    if path is None:
        return None
    try:
        rows = list(csv.reader(io.StringIO(read_text(path), newline="")))
    except csv.Error as error:
        raise RescoreError(f"{path}: not a table: {error}") from None
    if not rows or any(len(row) != len(rows[0]) for row in rows):
        raise RescoreError(f"{path}: not a table: a row has another number of fields than the header")
    return rows[0], rows[1:]


@functools.cache
def commit_of(version: str) -> str:
    """The commit of a record's `version`, with `.dirty` where its code was not committed; empty if it names none."""
    try:
        parts = parse_version(version)
    except RescoreError:
        return ""
    return (parts["commit"] or "") + (parts["dirty"] or "")


def commit_date(root: Path, commit: str) -> str:
    """The date of a commit of the repository at `root`; empty where git does not know it."""
    git = shutil.which("git")
    if not git:
        return ""
    found = subprocess.run(
        [git, "-C", str(root), "show", "-s", "--format=%cs", commit.removesuffix(".dirty"), "--"],
        capture_output=True,
        text=True,
    )
    return found.stdout.strip() if found.returncode == 0 else ""
