"""The command line: run a job, and everything that is done with its numbers. What only reads numbers imports no torch."""

import argparse
import io
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from rescore.commands import jobs, ledger, reading
from rescore.config import SCALES
from rescore.errors import RescoreError, os_error_text

INTERRUPTED = 130  # as shells have it: 128 and the number of SIGINT
KEPT = {jobs.run: "finished cells are", jobs.train: "checkpoints are", jobs.fetch: "what has come whole is"}
"""What an interrupted command leaves for its next call."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status.

    It is 0, 1 (a gate or a check failed), 2 (bad input, told in one message) or `INTERRUPTED`.
    """
    for stream in (sys.stdout, sys.stderr):  # where there are no arrows or umlauts, their numbers
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    args = parser().parse_args(arguments)
    # A thread that waits for the others of its job would else spin: beside other work on the same cores steps of two threads
    # took many times as long, and their processor seconds counted the waiting.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        status = args.handler(args) or 0
        if sys.stdout:  # None where it is closed
            sys.stdout.flush()
        return status
    except RescoreError as error:
        print(f"rescore: error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of a table, such as `head`, has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        print(f"rescore: error: {os_error_text(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        kept = KEPT.get(args.handler)
        print(f"rescore: interrupted{f'; {kept} kept: the same command goes on from there' if kept else ''}", file=sys.stderr)
        return INTERRUPTED


def _path(text: str) -> Path:
    """An option's file or folder: the empty name would be the working directory."""
    if not text:
        raise argparse.ArgumentTypeError("'' is no name; allowed: that of a file or folder, such as '.'")
    return Path(text)


def parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    places = argparse.ArgumentParser(add_help=False)
    places.add_argument("--root", type=_path, metavar="DIR", help="the folder of reproductions/ and README.md (default: here)")
    places.add_argument(
        "--results", type=_path, default=Path("results"), metavar="DIR", help="the folder of results (default: results)"
    )
    common = argparse.ArgumentParser(add_help=False, parents=[places])
    common.add_argument("--scale", default="laptop", help=f"one of {', '.join(SCALES)} (default: laptop)")
    one_paper = argparse.ArgumentParser(add_help=False)
    one_paper.add_argument("--paper", help="this paper only")
    reference = argparse.ArgumentParser(add_help=False)
    reference.add_argument(
        "--reference", action="store_true", help="read the committed reference, as is done where there is no run of this scale"
    )
    out = argparse.ArgumentParser(add_help=False)
    out.add_argument("--out", type=_path, metavar="FILE", help="write the CSV here as well")

    top = argparse.ArgumentParser(prog="rescore", description="Published numbers of generative models, measured again.")
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, handler: Callable, help_: str, *parents: argparse.ArgumentParser) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=help_, description=help_, parents=[common, *parents])
        command.set_defaults(handler=handler)
        return command

    run = add("run", jobs.run, "run jobs of a paper")
    run.add_argument("paper")
    run.add_argument("function", metavar="measure", nargs="?", choices=["measure"], help="what a job does; may be left out")
    run.add_argument("--job", required=True, nargs="+", dest="jobs", help="one, or several, one after another")
    train = add("train", jobs.train, "train models that papers share, one after another")
    train.add_argument(
        "keys", metavar="MODEL", nargs="+", help="its key (a folder of results/<scale>/models/), or <paper>/<name>"
    )
    imported = add("import", jobs.import_weights, "published weights of a paper's authors, made into ours in the cache")
    imported.add_argument("source", help="whose code has saved them: score_sde, cld, gddim or edm")
    imported.add_argument("file", type=_path, help="the file as published, or a folder of checkpoint_<n> (gddim)")
    imported.add_argument("--model", metavar="NAME", help="which of the published networks; found by its tensors if left out")
    imported.add_argument("--side", type=int, default=32, help="of its images, where --model does not say it (default: 32)")
    parity = add("parity", jobs.parity, "the library beside numbers of the authors' own code; 1 if one is off", out)
    parity.add_argument("--golden", type=_path, metavar="DIR", help="the folder of those numbers (default: the checkout's)")
    plan = add("plan", jobs.plan, "models, jobs, downloads and estimated GPU-hours of a scale, before it starts", one_paper)
    plan.add_argument("--write", action="store_true", help="keep the networks' sizes for the report")
    add("fetch", jobs.fetch, "download what a scale needs; 1 if something is missing that you have to put in place", one_paper)
    figures = add("figures", jobs.figures, "draw papers' figures")
    figures.add_argument("papers", metavar="PAPERS", type=lambda names: names.split(","), help="one, or several: pis,deis")
    figures.add_argument("--processes", type=int, default=1, metavar="N", help="draw so many papers at once (default: 1)")
    figures.add_argument("names", nargs="*", metavar="NAME", help="these figures of one paper only")
    collect = add("collect", ledger.collect, "check and join the records of all jobs")
    collect.add_argument(
        "paths", nargs="*", type=_path, metavar="PATH", help="records.csv, skipped.csv, or a job's folder of both"
    )
    collect.add_argument(
        "--rest-from-reference",
        action="store_true",
        help="with what the reference has of the same papers' other jobs, where their configs are unchanged",
    )
    diff = add("diff", ledger.diff, "published numbers beside measured ones, with verdicts", one_paper, out, reference)
    diff.add_argument(
        "--so-far", action="store_true", help="of the jobs that have ended, while a run goes on; rows not run are left out"
    )
    diff.add_argument("--status", action="append", metavar="STATUS", help="rows of this verdict only; may be repeated")
    diff.add_argument("--table", action="append", metavar="TABLE", help="rows of this table only; may be repeated")
    explained = add("explain", ledger.explain, "printed numbers under their candidate protocols", one_paper, reference)
    explained.add_argument("--table", action="append", metavar="TABLE", help="rows of this table only; may be repeated")
    add("claims", ledger.claims, "what the papers say about their numbers, checked", one_paper, out, reference)
    tables = add("tables", ledger.tables, "write diff.csv, claims.csv and tables/ of results/<scale>")
    tables.add_argument("--allow-broken", action="store_true", help="broken claims are listed, but are no error")
    compare = add("compare", reading.compare, "methods side by side, over all papers", one_paper, reference)
    compare.add_argument("--metric", required=True, action="append", help="may be repeated: a table for each")
    compare.add_argument("--dataset", required=True)
    compare.add_argument("--method", action="append", help="this method only; may be repeated")
    compare.add_argument("--format", default="text", help=f"one of {', '.join(reading.FORMATS)} (default: text)")
    show = add("show", reading.show, "everything about one number: its card", reference)
    show.add_argument("key", help="paper/table/dataset/method/variant/metric/nfe, empty parts left out")
    help_ = "write the report: a folder of pages that open from disk"
    report = commands.add_parser("report", help=help_, description=help_, parents=[places])
    report.set_defaults(handler=reading.report)
    report.add_argument("--scale", help=f"one of {', '.join(SCALES)} (default: laptop, with --reference all)")
    report.add_argument(
        "--reference", action="store_true", help="the committed results, of all scales but smoke unless --scale is given"
    )
    report.add_argument("--so-far", action="store_true", help="of the jobs that have ended, while a run goes on")
    report.add_argument("--against", type=_path, metavar="FOLDER", help="mark what moved since the results in this folder")
    report.add_argument(
        "--out",
        type=_path,
        metavar="DIR",
        help="where to write it (default: results/<scale>/report or so-far, of a reference results/report)",
    )
    report.add_argument("--open", action="store_true", help="open it in a browser")
    gate = add("gate", ledger.gate, "compare a run with the committed reference; 1 if anything failed", one_paper)
    gate.add_argument(
        "--reference", action="store_true", help="no run: derive the verdicts and claims of the reference's own records again"
    )
    accept = add("accept", ledger.accept, "make a run the reference", one_paper)
    accept.add_argument("--allow-dirty", action="store_true", help="also from uncommitted code")
    accept.add_argument(
        "--several-commits", action="store_true", help="also where jobs of one paper are of different commits, each of its own"
    )
    accept.add_argument(
        "--judge-again",
        action="store_true",
        help="no run: judge the reference's own records by the printed numbers, protocols and claims of today",
    )
    add("cost", jobs.cost, "seconds, function evaluations and peak memory of each job", one_paper, reference)
    proof = add("proof", jobs.proof, "measure this machine's GPU on the library's work, without data: at most ten minutes")
    proof.add_argument("--tiny", action="store_true", help="a tiny form on the CPU, which only shows that all of it runs")
    proof.add_argument("--missing", action="store_true", help="measure only what an earlier call on such a machine did not")
    readme = add("readme", ledger.readme, "render the results in README.md from the reference")
    readme.add_argument("--check", action="store_true", help="write nothing; 1 if the README differs")
    return top
