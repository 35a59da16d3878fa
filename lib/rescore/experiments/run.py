"""Run one job or draw a paper's figures: `rescore run` and `rescore figures`."""

import errno
import json
import os
import signal
import sys
import time
import traceback
from argparse import Namespace
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, redirect_stderr
from dataclasses import fields, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from rescore.config import JobConfig, PaperConfig, Step, check_choice, job_hash, run_command, step_hash
from rescore.domain import check_count
from rescore.errors import RescoreError, os_error_text
from rescore.experiments.book import Book, Result, Run
from rescore.experiments.journal import Measurement
from rescore.files import atomic_path, atomic_write, save_arrays
from rescore.ledger.records import Record, write_records, write_skipped
from rescore.machine.hardware import claim_gpus, device_name, peak_gpu_memory_mb, peak_memory_mb, version
from rescore.machine.locks import waiting_lock
from rescore.machine.torch_setup import prepare_torch
from rescore.papers import Paper, find_root, load_config, load_paper
from rescore.progress import BarLines
from rescore.workflow.paper_rules import job_command, place_options
from rescore.workflow.paths import (
    JOB_FILES,
    MODEL_FILES,
    figure_folder,
    job_folder,
    log_path,
    missing_data,
    model_folder,
    run_folder,
    training_commits,
)

_MEASURED = [column.name for column in fields(Measurement)]


def main_run(args: Namespace) -> None:
    """`rescore run`: run jobs one after another and write their folders, records.csv last.

    On failure of one it prints the job, its log and the command that repeats it, and exits: with 2 on bad input, or where the
    system refuses a file, else with 1.
    """
    paper = load_paper(args.paper, args.root)
    try:
        config = load_config(paper, args.scale)
    except RescoreError as error:
        _print_cause(error)
        raise
    for job in args.jobs:
        check_choice(f"job of {paper.name} at scale {args.scale}", job, config.jobs)
    for job in args.jobs:
        _run_or_exit(paper, config, args, job)


def _run_or_exit(paper: Paper, config: PaperConfig, args: Namespace, job: str) -> None:
    stderr = sys.stderr if sys.stderr.isatty() else BarLines(sys.stderr, f"{paper.name} {job} | ")
    try:
        with redirect_stderr(stderr):
            _run(paper, config, args.scale, job, args.results)
    except Exception as error:
        refused = isinstance(error, OSError) and (error.filename is not None or error.errno == errno.ENOSPC)
        if isinstance(error, RescoreError):
            _print_cause(error)
            print(f"error: {error}", file=sys.stderr)
        elif isinstance(error, OSError) and refused:
            print(f"error: {os_error_text(error)}", file=sys.stderr)
        else:
            traceback.print_exc()
        print(f"failed: {paper.name} {job}", file=sys.stderr)
        log = log_path(args.results, args.scale, paper.name, job)
        if os.path.isfile(log):  # noqa: PTH113 - Path.is_file raises where a folder may not be entered
            print(f"  log: {log}", file=sys.stderr)  # Snakemake's; a job by hand has none
        command = job_command(paper.name, args.scale, job, str(args.results), args.root)
        print(f"  repeat it alone: {command}", file=sys.stderr)
        raise SystemExit(2 if isinstance(error, RescoreError) or refused else 1) from None


def _print_cause(error: RescoreError) -> None:
    """The traceback of what a paper's own code raised, for who writes it."""
    if error.__cause__:
        traceback.print_exception(error.__cause__)


def main_figures(args: Namespace) -> None:
    """`rescore figures`: draw papers' figures with `figures.<name>(found, out)`, their captions beside them."""
    check_count("figures", "--processes", args.processes)
    papers = [load_paper(name, args.root) for name in args.papers]
    if args.names and len(papers) > 1:
        raise RescoreError(f"figures {','.join(args.papers)}: names of figures follow one paper, not {len(papers)}")
    for paper in papers:
        for name in args.names:
            check_choice(f"figure of {paper.name}", name, paper.meta.figures)
        check_choice(f"scale for paper {paper.name}", args.scale, paper.scales)
        made = job_folder(args.results, args.scale, paper.name, "*") / JOB_FILES["arrays"]
        if not any(made.parents[1].glob(f"*/{made.name}")):
            raise RescoreError(
                f"{made}: no such file; make them with `{run_command(args.scale, args.results, find_root(args.root))}`"
            )
    os.environ["MPLBACKEND"] = "Agg"  # that of a notebook may be unknown here, and the import would fail
    import rescore.figures  # noqa: F401 - before the fork: every process has it then

    tasks = [(paper, args.names or [*paper.meta.figures], args.scale, args.results) for paper in papers]
    if min(args.processes, len(tasks)) == 1:
        for task in tasks:
            _draw(*task)
        return
    ignored = (signal.SIGINT, signal.SIG_IGN)  # of Ctrl-C, which reaches all processes, one tells
    with ProcessPoolExecutor(args.processes, get_context("fork"), signal.signal, ignored) as pool:
        try:
            for drawn in [pool.submit(_draw, *task) for task in sorted(tasks, key=lambda task: -len(task[1]))]:
                drawn.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _draw(paper: Paper, names: Iterable[str], scale: str, results: Path) -> None:
    from rescore.figures import PaperResults

    folder, found = figure_folder(results, scale, paper.name), PaperResults.open(results / scale, paper)
    for name in names:
        function = _function(paper, "figures", name)
        path = folder / f"{name}.png"
        with atomic_path(path) as temporary:
            drawn = temporary.with_name(f"{temporary.name}.png")  # matplotlib reads the format off the name
            try:
                function(found, drawn)
                drawn.replace(temporary)
            finally:
                drawn.unlink(missing_ok=True)
        atomic_write(path.with_suffix(".rst"), paper.meta.figures[name] + "\n")
        print(path)


def _function(paper: Paper, module: str, name: str) -> Any:
    """A function of a paper's module by its name. Raises RescoreError, naming those there are."""
    functions = {
        key: value
        for key, value in vars(paper.module(module)).items()
        if callable(value) and not key.startswith("_") and getattr(value, "__module__", "").endswith(f".{module}")
    }
    check_choice(f"function of {paper.folder.name}/{module}.py", name, functions)
    return functions[name]


def _run(paper: Paper, config: PaperConfig, scale: str, job: str, results: Path) -> None:
    settings: JobConfig = config.jobs[job]
    root = paper.folder.parents[1]
    trainings = config.job_trainings(job)
    missing = {
        of.spec.data: reason for of in trainings.values() if (reason := missing_data(model_folder(results, scale, of.key)))
    }
    models = (
        {}
        if missing
        else {
            f"{name}/{seed}": _weights(results, scale, of.key, seed, root)
            for name, of in trainings.items()
            for seed in of.seeds
        }
    )
    gpu = 0 if missing else settings.gpu  # to say so takes no GPU
    digest = job_hash(config, paper.name, job)
    state = run_folder(results, scale, digest)
    # a job outlives a killed Snakemake: whoever starts it again waits for it and finds its state
    with _alone(state, f"another process that runs {paper.name} {job}"), claim_gpus(gpu):
        device = prepare_torch(settings.model_copy(update={"gpu": gpu}))
        # the version before the job: the checkout may change while it runs
        about = {"version": version(root) + training_commits(models.values()), "config_hash": digest}
        run = Run(paper.name, scale, job, state, device, settings.threads, models)
        started, computed = time.perf_counter(), time.process_time()
        if missing:
            result = Result([], [{"dataset": data, "reason": reason} for data, reason in missing.items()])
        else:
            result = measure(paper, config, run, results)
        cost = {
            "paper": paper.name,
            "job": job,
            "seconds": result.earlier_seconds + time.perf_counter() - started,
            # of all threads; other work on the machine does not add to it
            "cpu_seconds": result.earlier_cpu_seconds + time.process_time() - computed,
            "function_evaluations": result.function_evaluations,
            "peak_memory_mb": peak_memory_mb(),
            "peak_gpu_memory_mb": peak_gpu_memory_mb(device),
        } | about
    common = {"paper": paper.name, "scale": scale, "device": device_name(device)} | about
    records = [
        Record(**{key: getattr(one, key) for key in _MEASURED} | {"protocol": one.protocol_text} | common)
        for one in result.measurements
    ]
    paths = {key: job_folder(results, scale, paper.name, job) / name for key, name in JOB_FILES.items()}
    save_arrays(paths["arrays"], result.arrays, compressed=True)
    atomic_write(paths["cost"], json.dumps(cost, indent=1) + "\n")
    write_skipped(paths["skipped"], [{"paper": paper.name} | dict(row) for row in result.skipped])
    write_records(paths["records"], records)


def measure(paper: Paper, config: PaperConfig, run: Run, results: Path | None = None) -> Result:
    """All sections of a job, one after another.

    Each has a run folder of its own, named by what it depends on: when a setting changes, the finished cells of the other
    sections are taken up again.

    Args:
        run: of the job.
        results: where the run folders are; None for folders beside the job's own.

    Raises RescoreError for a section that the paper's jobs.py does not have.
    """
    sections, joined = paper.value("jobs", "SECTIONS"), Result([])
    config = config.under(run.job)
    run = replace(run, candidate=config.jobs[run.job].candidate)
    for step in config.jobs[run.job].steps:
        check_choice(f"section of {paper.name}", step.section, sections)
        digest = step_hash(config, paper.name, run.job, step)
        folder = (
            run_folder(results, run.scale, digest)
            if results
            else run.folder.with_name(f"{run.folder.name}-{step}".replace("/", "-"))
        )
        with _alone(folder, f"another process that measures {step} of {paper.name}"):
            book = Book(config, replace(run, folder=folder))
            with book.skipping(**_about(config, run.job, step)):
                sections[step.section](book, *(() if step.subject is None else (step.subject,)))
        found = book.result
        skipped = [row for row in found.skipped if row not in joined.skipped]  # missing data stop several sections alike
        joined = Result(
            joined.measurements + found.measurements,
            joined.skipped + skipped,
            joined.function_evaluations + found.function_evaluations,
            {**joined.arrays, **found.arrays},
            joined.earlier_seconds + found.earlier_seconds,
            joined.earlier_cpu_seconds + found.earlier_cpu_seconds,
        )
    return joined


def _about(config: PaperConfig, job: str, step: Step) -> dict[str, str]:
    """What a section that stops whole says nothing of: its subject, else the data set of its models if they have one."""
    if step.subject is not None:
        return {"dataset": step.subject}
    data = {of.spec.data for of in config.job_trainings(job).values()}
    return {"dataset": data.pop()} if len(data) == 1 else {}


@contextmanager
def _alone(folder: Path, who: str) -> Iterator[None]:
    """Hold a run folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with waiting_lock(folder / "lock", who):
        yield


def _weights(results: Path, scale: str, key: str, seed: int, root: Path) -> Path:
    path = model_folder(results, scale, key) / str(seed) / MODEL_FILES["weights"]
    if not path.is_file():
        places = place_options(str(results), root)
        raise RescoreError(f"{path}: the model is not trained yet: python -m rescore train {key} --scale {scale}{places}")
    return path
