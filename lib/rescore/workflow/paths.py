"""Where the files of a run lie: results/<scale>/..."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from rescore.config import PaperConfig, job_hash
from rescore.files import read_json
from rescore.papers import Paper, load_config

JOB_FILES = {"records": "records.csv", "skipped": "skipped.csv", "cost": "cost.json", "arrays": "arrays.npz"}
LEDGER_FILES = ("records", "skipped")  # those of `JOB_FILES` that `rescore collect` joins
MODEL_FILES = {"weights": "weights.safetensors", "about": "about.json", "history": "history.npz"}
SNAPSHOTS = "snapshots"  # a folder beside the weights
MISSING = "missing.json"


def job_folder(results: Path | str, scale: str, paper: str, job: str) -> Path:
    """Where a job's files (`JOB_FILES`) lie."""
    return Path(results) / scale / paper / job


def ended_jobs(folder: Path, papers: Mapping[str, Paper], so_far: bool = False) -> dict[tuple[str, str], Path]:
    """The folder of every job of these papers that has ended in results/<scale>, `folder`, by the names of paper and job.

    Not of a job that its paper's config does not name any more: its folder stays, but its numbers may be another job's now.

    Args:
        so_far: in a run that goes on: those that ran under other settings are still to run again.
    """
    found = {}
    for name, paper in papers.items():
        paths = sorted(folder.glob(f"{name}/*/{JOB_FILES['records']}"))
        config = _config(paper, folder.resolve().name) if paths else None
        for path in paths:
            job, cost = path.parent.name, path.with_name(JOB_FILES["cost"])
            known = config is None or job in config.jobs
            if known and so_far and config is not None and cost.exists():
                known = read_json(cost).get("config_hash") == job_hash(config, name, job)
            if known:
                found[name, job] = path.parent
    return found


def _config(paper: Paper, scale: str) -> PaperConfig | None:
    """A paper's config; None where there is none that can be used."""
    try:
        return load_config(paper, scale) if scale in paper.scales else None
    except Exception:  # numbers that are there are shown whatever has become of the code that made them
        return None


def jobs_by_hash(paper: Paper, scale: str) -> dict[str, str]:
    """The job of each hash that records of the paper's present config carry; a config that cannot be used names none."""
    config = _config(paper, scale)
    return {} if config is None else {job_hash(config, paper.name, job): job for job in config.jobs}


def run_folder(results: Path | str, scale: str, config_hash: str) -> Path:
    """Where a job keeps its training state: undeclared, because Snakemake deletes declared outputs before it runs a job."""
    return Path(results) / scale / "runs" / config_hash


def model_folder(results: Path | str, scale: str, key: str) -> Path:
    """Where a node of the DAG leaves what it trains: a folder for each seed with `MODEL_FILES`, or MISSING."""
    return Path(results) / scale / "models" / key


def node_folder(weights: Path) -> Path:
    """The model's folder of these weights of one seed, the output of its node: the DAG trains again where that is gone."""
    return weights.parent.parent


def snapshots(weights: Path) -> dict[int, Path]:
    """The weights that were kept on the way to these, by their steps."""
    return {
        int(path.stem.removeprefix("step-")): path for path in sorted((weights.parent / SNAPSHOTS).glob("step-*.safetensors"))
    }


def missing_data(folder: Path) -> str | None:
    """Why a model was not trained, from its folder; None if it was."""
    path = folder / MISSING
    return read_json(path, {"missing": str})["missing"] if path.exists() else None


def figure_folder(results: Path | str, scale: str, paper: str) -> Path:
    """Where a paper's figures and their captions lie."""
    return Path(results) / scale / "figures" / paper


def log_path(results: Path | str, scale: str, paper: str, job: str) -> Path:
    """Where a job of a paper writes what it prints."""
    return Path(results) / scale / "logs" / f"{paper}-{job}.log"


def training_commits(weights: Iterable[Path]) -> str:
    """The commits whose code trained these weights, for the version of what is measured on them: `.weights+g1234567` or "".

    Raises RescoreError where what is written beside them cannot be read.
    """
    versions = {read_json(path.with_name(MODEL_FILES["about"]), {"version": str})["version"] for path in weights}
    commits = sorted({version.partition(".torch")[0].partition("+")[2] for version in versions} - {""})
    return "".join(f".weights+{commit}" for commit in commits)
