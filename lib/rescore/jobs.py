"""Run one job or draw a paper's figures: `rescore run` and `rescore figures`."""

import dataclasses
import json
import os
import sys
import time
import traceback
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rescore.config import JobConfig, check_choice, job_hash, load_config
from rescore.errors import Diverged, RescoreError
from rescore.files import atomic_path, atomic_write
from rescore.ledger.protocol import format_protocol
from rescore.ledger.records import Over, Record, run_command, write_records, write_skipped
from rescore.locks import waiting_lock
from rescore.machine import claim_gpus, device_name, peak_gpu_memory_mb, peak_memory_mb, version
from rescore.papers import Paper, load_paper
from rescore.progress import BarLines
from rescore.workflow import (
    JOB_FILES, MODEL_FILES, figure_folder, job_command, job_folder, log_path, missing_data, model_folder, run_folder,
)  # fmt: skip


@dataclass(frozen=True)
class Measurement:
    """One measured number, as a paper's jobs.py returns it; see `rescore.ledger.records.Record` for the columns."""

    table: str
    dataset: str
    method: str
    variant: str
    metric: str
    nfe: int | None
    value: float
    stderr: float | None
    df: int | None
    over: Over
    n_seeds: int
    n_samples: int
    protocol: Mapping[str, object]
    seconds: float

    @classmethod
    def of_seeds(
        cls, table: str, dataset: str, method: str, variant: str, metric: str, nfe: int | None,
        values: Sequence[float], n_samples: int, protocol: Mapping[str, object], seconds: float, *, over: Over,
    ) -> "Measurement":  # fmt: skip
        """The mean of repeats with the standard error of that mean, which a single one has not (None).

        Args:
            over: what was repeated. Samplings are all of one training, hence of one seed.
        """
        n = len(values)
        mean, stderr = float(np.mean(values)), float(np.std(values, ddof=1) / np.sqrt(n)) if n > 1 else None
        seeds, df = 1 if over == "samplings" else n, n - 1 or None
        return cls(table, dataset, method, variant, metric, nfe, mean, stderr, df, over, seeds, n_samples, protocol, seconds)

    @classmethod
    def exact(
        cls, table: str, dataset: str, method: str, variant: str, metric: str, nfe: int | None, value: float,
        protocol: Mapping[str, object], seconds: float = 0.0, n_samples: int = 1,
    ) -> "Measurement":  # fmt: skip
        """A number that no repeat would change: computed, or counted, without chance."""
        return cls(table, dataset, method, variant, metric, nfe, float(value), 0.0, None, "exact", 1, n_samples, protocol, seconds)


_MEASURED = [column.name for column in dataclasses.fields(Measurement)]


@dataclass(frozen=True)
class Result:
    """What a job returns.

    Args:
        skipped: what could not be measured, each with a `reason` and the record's key columns that apply.
        function_evaluations: calls of a network or a density for one point, training included.
        arrays: what figures need.
    """

    measurements: list[Measurement]
    skipped: list[Mapping[str, object]] = field(default_factory=list)
    function_evaluations: int = 0
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass
class Notebook:
    """What a job has measured so far; `result` is what it returns."""

    measurements: list[Measurement] = field(default_factory=list)
    skipped: list[Mapping[str, object]] = field(default_factory=list)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    function_evaluations: int = 0

    def record(
        self, table: str, dataset: str, method: str, variant: str, metric: str, nfe: int | None,
        values: Sequence[float], n_samples: int, protocol: Mapping[str, object], seconds: float = 0.0, *, over: Over,
    ) -> None:  # fmt: skip
        """`Measurement.of_seeds`; n_samples are those of all repeats."""
        self.measurements.append(
            Measurement.of_seeds(table, dataset, method, variant, metric, nfe, values, n_samples, protocol, seconds, over=over)
        )

    def exact(self, table: str, dataset: str, method: str, variant: str, metric: str, value: float,
              protocol: Mapping[str, object], nfe: int | None = None) -> None:  # fmt: skip
        """A number without an error: a count, an entropy."""
        self.measurements.append(Measurement.exact(table, dataset, method, variant, metric, nfe, value, protocol))

    @contextmanager
    def skipping(self, **cell: object) -> Iterator[None]:
        """Where the body diverges, the cell with these key columns is skipped with the reason; the job goes on."""
        try:
            yield
        except Diverged as error:
            self.skipped.append(error.cell(**cell))

    @property
    def result(self) -> Result:
        return Result(self.measurements, self.skipped, self.function_evaluations, self.arrays)


@dataclass(frozen=True)
class Run:
    """What a job is told besides its config.

    Args:
        folder: training state lives here; it outlives a killed or failed job, and only this job uses it.
        device: `cpu` or `cuda`.
        models: the weights of the trained models that the job uses, by the config's names.
    """

    paper: str
    scale: str
    job: str
    folder: Path
    config_hash: str
    device: str
    threads: int
    models: Mapping[str, Path] = field(default_factory=dict)


def main_run(args: Namespace) -> None:
    """`rescore run`: run one job and write its folder, records.csv last.

    On failure it prints the job, its log and the command that repeats it, and exits: with 2 on bad input, else with 1.
    """
    paper = load_paper(args.paper, args.root)
    config = load_config(paper, args.scale)
    check_choice(f"job of {paper.name} at scale {args.scale}", args.job, config.jobs)
    stderr = sys.stderr if sys.stderr.isatty() else BarLines(sys.stderr, f"{paper.name} {args.job} | ")
    try:
        with redirect_stderr(stderr):
            _run(paper, config, _function(paper, "jobs", args.function), args.scale, args.job, args.results)
    except Exception as error:
        if isinstance(error, RescoreError):
            print(f"error: {error}", file=sys.stderr)
        else:
            traceback.print_exc()
        command = job_command(paper.name, args.function, args.scale, args.job, str(args.results), args.root)
        print(f"failed: {paper.name} {args.job}\n"
              f"  log: {log_path(args.results, args.scale, paper.name, args.job)}\n"
              f"  repeat it alone: {command}", file=sys.stderr)
        raise SystemExit(2 if isinstance(error, RescoreError) else 1) from None


def main_figures(args: Namespace) -> None:
    """`rescore figures`: draw a paper's figures with `figures.<name>(results/<scale>, out)`, their captions beside them."""
    paper = load_paper(args.paper, args.root)
    for name in args.names:
        check_choice(f"figure of {paper.name}", name, paper.meta.figures)
    check_choice(f"scale for paper {paper.name}", args.scale, paper.scales)
    made = job_folder(args.results, args.scale, paper.name, "*") / JOB_FILES["arrays"]
    if not any(made.parents[1].glob(f"*/{made.name}")):
        raise RescoreError(f"{made}: no such file; make them with `{run_command(args.scale)}`")
    import matplotlib

    matplotlib.use("Agg")
    folder = figure_folder(args.results, args.scale, paper.name)
    for name in args.names or paper.meta.figures:
        function = _function(paper, "figures", name)
        path = folder / f"{name}.png"
        with atomic_path(path) as temporary:
            drawn = temporary.with_name(f"{temporary.name}.png")  # matplotlib reads the format off the name
            try:
                function(args.results / args.scale, drawn)
                os.replace(drawn, temporary)
            finally:
                drawn.unlink(missing_ok=True)
        atomic_write(path.with_suffix(".rst"), paper.meta.figures[name] + "\n")
        print(path)


def _function(paper: Paper, module: str, name: str) -> Any:
    functions = {key: value for key, value in vars(paper.module(module)).items()
                 if callable(value) and not key.startswith("_") and getattr(value, "__module__", "").endswith(f".{module}")}
    check_choice(f"function of {paper.folder.name}/{module}.py", name, functions)
    return functions[name]


def _run(paper: Paper, config: Any, function: Any, scale: str, job: str, results: Path) -> None:
    settings: JobConfig = config.jobs[job]
    models = {name: _weights(results, scale, spec.key) for name, spec in config.job_models(job).items()}
    digest = job_hash(config, paper.name, job)
    state = run_folder(results, scale, digest)
    state.mkdir(parents=True, exist_ok=True)
    missing = {spec.data: reason for name, spec in config.job_models(job).items() if (reason := missing_data(models[name]))}
    if missing:  # to say so takes no GPU
        settings, function = settings.model_copy(update={"gpu": 0}), _skip(missing)
    # a job outlives a killed Snakemake: whoever starts it again waits for it and finds its state
    with waiting_lock(state / "lock", f"another process that runs {paper.name} {job}"), claim_gpus(settings.gpu):
        device = prepare_torch(settings)
        run = Run(paper.name, scale, job, state, digest, device, settings.threads, models)
        # the version before the job: the checkout may change while it runs
        common = {"paper": paper.name, "scale": scale, "device": device_name(device), "version": version(),
                  "config_hash": digest}
        started = time.perf_counter()
        result = function(settings, config, run)
        seconds = time.perf_counter() - started
        cost = {"paper": paper.name, "job": job, "seconds": seconds, "function_evaluations": result.function_evaluations,
                "peak_memory_mb": peak_memory_mb(), "peak_gpu_memory_mb": peak_gpu_memory_mb(device),
                "version": common["version"], "config_hash": digest}
    records = [Record(**{key: getattr(one, key) for key in _MEASURED} | {"protocol": format_protocol(one.protocol)} | common)
               for one in result.measurements]
    paths = {key: job_folder(results, scale, paper.name, job) / name for key, name in JOB_FILES.items()}
    with atomic_path(paths["arrays"]) as temporary, open(temporary, "wb") as stream:
        np.savez_compressed(stream, **result.arrays)
    atomic_write(paths["cost"], json.dumps(cost, indent=1) + "\n")
    write_skipped(paths["skipped"], [{"paper": paper.name} | dict(row) for row in result.skipped])
    write_records(paths["records"], records)


def _skip(missing: Mapping[str, str]) -> Callable[..., Result]:
    """A job whose models were not trained, by data set the reason: it measures nothing."""
    return lambda settings, config, run: Result([], [{"dataset": data, "reason": reason} for data, reason in missing.items()])


def _weights(results: Path, scale: str, key: str) -> Path:
    path = model_folder(results, scale, key) / MODEL_FILES["weights"]
    if not path.is_file():
        raise RescoreError(f"{path}: the model is not trained yet: python -m rescore train {key} --scale {scale}")
    return path


def prepare_torch(settings: JobConfig) -> str:
    """Set threads, determinism and a default seed; return the device: `cuda` if the job asks for a GPU, else `cpu`.

    Raises:
        RescoreError: the job asks for a GPU and torch sees none.
    """
    os.environ["OMP_NUM_THREADS"] = str(settings.threads)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is deterministic only with a fixed workspace
    import torch

    torch.set_num_threads(settings.threads)
    torch.set_deterministic_debug_mode("warn")  # use_deterministic_algorithms, without its 7 s import of the compiler
    torch.manual_seed(0)  # jobs seed what they draw; this only keeps an oversight reproducible
    if not settings.gpu:
        return "cpu"
    if not torch.cuda.is_available():
        raise RescoreError(f"the job asks for {settings.gpu} GPU (gpu: {settings.gpu} in its config), but torch sees none")
    torch.backends.cudnn.benchmark = False
    return "cuda"
