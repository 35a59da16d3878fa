"""Where a command finds its papers, results and reference, from its options."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rescore.config import SCALES, check_choice
from rescore.errors import RescoreError
from rescore.papers import find_papers, find_root, load_paper

if TYPE_CHECKING:
    import pandas as pd

    from rescore.ledger.records import Record
    from rescore.papers import Paper
    from rescore.report.source import Results
    from rescore.workflow.suite import Suite


def scale_folder(args: argparse.Namespace) -> Path:
    """results/<scale>. Raises RescoreError for an unknown scale, or a file in place of the results."""
    check_choice("scale", args.scale, SCALES)
    if args.results.is_file():
        raise RescoreError(f"--results: there is a file {args.results}; allowed: a folder, or the name of one to make")
    return args.results / args.scale


def scale_reference(args: argparse.Namespace) -> Path:
    """The reference of the scale: beside the results where one was accepted there, else the one committed with the papers.

    One that is not whole counts too, for whoever reads it to say so: another would be compared in its place unseen.
    """
    check_choice("scale", args.scale, SCALES)
    places = reference_places(args, args.scale)
    return next((place for place in places if (place / "diff.csv").is_file() or (place / "records").is_dir()), places[0])


def reference_places(args: argparse.Namespace, scale: str) -> list[Path]:
    """Where a reference of the scale may be, the nearest first."""
    return [folder / "reference" / scale for folder in (args.results, find_root(args.root) / "results")]


def instead_of_run(args: argparse.Namespace, files: str = "records.csv") -> Path | None:
    """The reference, which is said on stderr, where it is asked for or there is no run, that is none of its `files`.

    None where there is a run, or neither. Raises RescoreError for a reference that is not whole.
    """
    from rescore.ledger.reference import read_reference

    folder, reference = scale_folder(args), scale_reference(args)
    run = next(folder.glob(files), None)
    if not args.reference and (run or not (reference / "diff.csv").is_file()):
        return None
    read_reference(reference)
    reason = "" if run else f", for there is no run: no {folder / files}"
    print(f"the committed reference {reference}{reason}", file=sys.stderr)
    return reference


def how_to_run(args: argparse.Namespace) -> str:
    """The command that makes the results asked for."""
    from rescore.config import run_command

    return run_command(args.scale, args.results, find_root(args.root))


def measured(args: argparse.Namespace) -> "list[Record]":
    """The records of the run. Raises RescoreError where there is none."""
    from rescore.ledger.records import read_records

    path = scale_folder(args) / "records.csv"
    if not path.exists():
        raise RescoreError(f"{path}: no such file; make it with `{how_to_run(args)}`")
    return read_records(path, args.scale)


def ended(args: argparse.Namespace, papers: "Mapping[str, Paper]") -> list[Path]:
    """The records of the jobs that have ended, while a run goes on or after one that failed; how many is said on stderr.

    Raises RescoreError where there are none.
    """
    from rescore.workflow.paths import ended_jobs

    jobs = ended_jobs(scale_folder(args), papers, so_far=True)
    if not jobs:
        raise RescoreError(f"{scale_folder(args)}: no job of {', '.join(papers)} has ended there yet")
    print(f"so far: {'1 job has' if len(jobs) == 1 else f'{len(jobs)} jobs have'} ended", file=sys.stderr)
    return [path / "records.csv" for path in jobs.values()]


def judged(args: argparse.Namespace, records: "Sequence[Record] | None" = None) -> "pd.DataFrame":
    """The verdicts on the run's records, which are read unless they are given."""
    from rescore.ledger.diff import diff
    from rescore.ledger.published import load_published
    from rescore.ledger.records import collect_records, read_skipped

    papers, early = papers_asked(args), getattr(args, "so_far", False)
    skipped, published = scale_folder(args) / "skipped.csv", load_published(papers)
    if records is None:
        records = collect_records(ended(args, papers), args.scale) if early else measured(args)
    return diff(records, published, papers, read_skipped(skipped) if skipped.exists() and not early else ())


def claim_rows(args: argparse.Namespace, records: "Sequence[Record] | None" = None) -> list[dict]:
    """The claims, checked against the run's records, which are read unless they are given."""
    from rescore.ledger.claims import evaluate_all

    return evaluate_all(papers_asked(args), measured(args) if records is None else records)


def papers_asked(args: argparse.Namespace) -> "dict[str, Paper]":
    """All papers, or the one that --paper names: of the others nothing is read.

    Raises RescoreError where it names one that has configs, and none at --scale.
    """
    name = getattr(args, "paper", None)
    if name is None:
        return find_papers(args.root)
    paper = load_paper(name, args.root)
    if paper.scales and getattr(args, "scale", None):
        check_choice(f"scale for paper {name}", args.scale, paper.scales)
    return {name: paper}


def hashes_now(papers: "Mapping[str, Paper]", scale: str) -> "dict[str, dict[str, str]]":
    """By paper the job of each hash that records of its present config carry; not of papers whose config cannot be used."""
    from rescore.workflow.paths import jobs_by_hash

    return {name: jobs for name, paper in papers.items() if (jobs := jobs_by_hash(paper, scale))}


def readable_papers(args: argparse.Namespace) -> "tuple[dict[str, Paper], dict[str, str]]":
    """The papers whose printed numbers can be read, and what is wrong with each of the others, which is said on stderr.

    Raises RescoreError where that is all of them.
    """
    from rescore.ledger.published import load_published

    unusable: dict[str, str] = {}
    papers = find_papers(args.root, unusable)
    for name in [*papers]:
        try:
            load_published({name: papers[name]})
        except RescoreError as error:
            unusable[name] = str(error)
            del papers[name]
    if unusable and not papers:
        raise RescoreError("; ".join(unusable.values()))
    for name, reason in unusable.items():
        print(f"paper {name} is left out: {reason}", file=sys.stderr)
    return papers, unusable


def open_results(args: argparse.Namespace, papers: dict) -> "Results":
    """The run of the scale, or the reference where that is asked for or there is no run."""
    from rescore.report.source import read_results

    folder = instead_of_run(args) or scale_folder(args)
    if not (folder / "diff.csv").is_file():
        measured(args)  # tells where there is nothing at all
    return at_its_place(args, read_results(folder, papers, find_root(args.root)))


def ended_results(args: argparse.Namespace, papers: dict) -> "Results":
    """What the jobs that have ended of a run measured. Raises RescoreError where there are none."""
    from rescore.report.source import read_results

    ended(args, papers)
    return at_its_place(args, read_results(scale_folder(args), papers, find_root(args.root), so_far=True))


def at_its_place(args: argparse.Namespace, results: "Results") -> "Results":
    """Results whose commands name the places asked for; `rescore parity` writes there, beside a reference too."""
    from rescore.report.source import parity_table

    parity = results.parity or parity_table(args.results / results.scale)
    return replace(results, at=str(args.results), root=find_root(args.root), parity=parity)


def chosen_suite(args: argparse.Namespace) -> "Suite":
    """The DAG of the scale and paper asked for."""
    from rescore.workflow.suite import load_suite

    chosen = {} if args.paper is None else {"papers": [args.paper]}
    return load_suite({"scale": args.scale, "results": str(args.results)} | chosen, args.root)
