"""Where the files of a run lie: results/<scale>/..."""

from collections.abc import Iterable
from pathlib import Path

from rescore.files import read_json

JOB_FILES = {"records": "records.csv", "skipped": "skipped.csv", "cost": "cost.json", "arrays": "arrays.npz"}
MODEL_FILES = {"weights": "weights.safetensors", "about": "about.json", "history": "history.npz"}
SNAPSHOTS = "snapshots"  # a folder beside the weights
MISSING = "missing.json"


def job_folder(results: Path | str, scale: str, paper: str, job: str) -> Path:
    """Where a job's files (`JOB_FILES`) lie."""
    return Path(results) / scale / paper / job


def ended_jobs(folder: Path, papers: Iterable[str], name: str) -> list[Path]:
    """The file `JOB_FILES[name]` of every job of these papers that has ended in results/<scale>, `folder`."""
    return [path for paper in papers for path in sorted(folder.glob(f"{paper}/*/{JOB_FILES[name]}"))]


def run_folder(results: Path | str, scale: str, config_hash: str) -> Path:
    """Where a job keeps its training state: undeclared, because Snakemake deletes declared outputs before it runs a job."""
    return Path(results) / scale / "runs" / config_hash


def model_folder(results: Path | str, scale: str, key: str) -> Path:
    """Where a node of the DAG leaves what it trains: a folder for each seed with `MODEL_FILES`, or MISSING."""
    return Path(results) / scale / "models" / key


def snapshots(weights: Path) -> dict[int, Path]:
    """The weights that were kept on the way to these, by their steps."""
    return {
        int(path.stem.removeprefix("step-")): path for path in sorted((weights.parent / SNAPSHOTS).glob("step-*.safetensors"))
    }


def missing_data(folder: Path) -> str | None:
    """Why a model was not trained, from its folder; None if it was."""
    path = folder / MISSING
    return read_json(path, ["missing"])["missing"] if path.is_file() else None


def figure_folder(results: Path | str, scale: str, paper: str) -> Path:
    """Where a paper's figures and their captions lie."""
    return Path(results) / scale / "figures" / paper


def log_path(results: Path | str, scale: str, paper: str, job: str) -> Path:
    """Where a job of a paper writes what it prints."""
    return Path(results) / scale / "logs" / f"{paper}-{job}.log"


def training_commits(weights: Iterable[Path]) -> str:
    """The commits whose code trained these weights, for the version of what is measured on them: `.weights+g1234567` or ""."""
    versions = {read_json(path.with_name(MODEL_FILES["about"]), ["version"])["version"] for path in weights}
    commits = sorted({version.partition(".torch")[0].partition("+")[2] for version in versions} - {""})
    return "".join(f".weights+{commit}" for commit in commits)
