"""The command line: run a job, and everything that is done with its numbers. Nothing but `run` and `figures` needs torch."""

import argparse
import html
import os
import sys
import webbrowser
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rescore.config import SCALES, check_choice
from rescore.errors import RescoreError
from rescore.files import atomic_write
from rescore.ledger.records import format_rows
from rescore.papers import find_papers, find_root

if TYPE_CHECKING:
    import pandas as pd

    from rescore.ledger.records import Record
    from rescore.report.source import Results
    from rescore.workflow.suite import Suite

FORMATS = {"text": "simple", "csv": "csv", "md": "github", "html": "html", "latex": "latex_booktabs"}
"""Of `compare`: how tabulate calls them."""
TITLES = {"text": "{}", "md": "### {}\n", "html": "<h3>{}</h3>", "latex": "% {}"}
RIGHT_ALIGNED = {
    "nfe",
    "published",
    "measured",
    "stderr",
    "error",
    "tolerance",
    "delta",
    "margin",
    "z",
    "p",
    "value",
    "allowed",
    "difference",
    "seconds",
    "cpu_seconds",
    "function_evaluations",
    "peak_memory_mb",
    "peak_gpu_memory_mb",
    "parameters",
    "trainings",
    "steps",
    "batch",
    "gflop",
    "gpu",
    "mem_mb",
    "gpu_hours",
    "threads",
    "minutes",
    "models",
    "samples",
    "likelihoods",
    "download_mb",
    "images_per_second",
    "tflops",
    "gpu_memory_mb",
    "sampling_steps_per_second",
    "share_of_the_sampler",
    "share_of_kernels",
    "likelihood_mb_an_image",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status: 0, 1 (a gate or a check failed) or 2 (bad input, told in one message)."""
    args = parser().parse_args(arguments)
    try:
        status = args.handler(args) or 0
        sys.stdout.flush()
        return status
    except RescoreError as error:
        print(f"rescore: error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of a table, such as `head`, has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    places = argparse.ArgumentParser(add_help=False)
    places.add_argument("--root", type=Path, metavar="DIR", help="the folder of reproductions/ and README.md (default: here)")
    places.add_argument(
        "--results", type=Path, default=Path("results"), metavar="DIR", help="the folder of results (default: results)"
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
    out.add_argument("--out", type=Path, metavar="FILE", help="write the CSV here as well")

    top = argparse.ArgumentParser(prog="rescore", description="Published numbers of generative models, measured again.")
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, handler: Callable, help_: str, *parents: argparse.ArgumentParser) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=help_, description=help_, parents=[common, *parents])
        command.set_defaults(handler=handler)
        return command

    run = add("run", _run, "run one job of a paper")
    run.add_argument("paper")
    run.add_argument("function", metavar="measure", nargs="?", choices=["measure"], help="what a job does; may be left out")
    run.add_argument("--job", required=True)
    train = add("train", _train, "train one model that papers share")
    train.add_argument("key", metavar="MODEL", help="its key (a folder of results/<scale>/models/), or <paper>/<name>")
    imported = add("import", _import, "published weights of a paper's authors, made into ours in the cache")
    imported.add_argument("source", help="whose code has saved them: score_sde, cld, gddim or edm")
    imported.add_argument("file", type=Path, help="the file as published, or a folder of checkpoint_<n> (gddim)")
    imported.add_argument("--model", metavar="NAME", help="which of the published networks; found by its tensors if left out")
    imported.add_argument("--side", type=int, default=32, help="of its images, where --model does not say it (default: 32)")
    parity = add("parity", _parity, "the library beside numbers of the authors' own code; 1 if one is off", out)
    parity.add_argument("--golden", type=Path, metavar="DIR", help="the folder of those numbers (default: the checkout's)")
    plan = add("plan", _plan, "models, jobs, downloads and estimated GPU-hours of a scale, before anything starts", one_paper)
    plan.add_argument("--write", action="store_true", help="keep the networks' sizes for the report")
    add("fetch", _fetch, "download all that a scale needs; 1 if something is missing", one_paper)
    figures = add("figures", _figures, "draw a paper's figures")
    figures.add_argument("paper")
    figures.add_argument("names", nargs="*", metavar="NAME", help="these only")
    collect = add("collect", _collect, "check and join the records of all jobs")
    collect.add_argument(
        "paths", nargs="*", type=Path, metavar="PATH", help="records.csv, skipped.csv, or a job's folder of both"
    )
    diff = add("diff", _diff, "published numbers beside measured ones, with verdicts", one_paper, out, reference)
    diff.add_argument("--status", action="append", metavar="STATUS", help="rows of this verdict only; may be repeated")
    diff.add_argument("--table", action="append", metavar="TABLE", help="rows of this table only; may be repeated")
    explained = add("explain", _explain, "printed numbers under their candidate protocols", one_paper, reference)
    explained.add_argument("--table", action="append", metavar="TABLE", help="rows of this table only; may be repeated")
    add("claims", _claims, "what the papers say about their numbers, checked", one_paper, out, reference)
    tables = add("tables", _tables, "write diff.csv, claims.csv and tables/ of results/<scale>")
    tables.add_argument("--allow-broken", action="store_true", help="broken claims are listed, but are no error")
    compare = add("compare", _compare, "methods side by side, over all papers", one_paper, reference)
    compare.add_argument("--metric", required=True, action="append", help="may be repeated: a table for each")
    compare.add_argument("--dataset", required=True)
    compare.add_argument("--method", action="append", help="this method only; may be repeated")
    compare.add_argument("--format", default="text", help=f"one of {', '.join(FORMATS)} (default: text)")
    show = add("show", _show, "everything about one number: its card", reference)
    show.add_argument("key", help="paper/table/dataset/method/variant/metric/nfe, empty parts left out")
    help_ = "write the report: a folder of pages that open from disk"
    report = commands.add_parser("report", help=help_, description=help_, parents=[places])
    report.set_defaults(handler=_report)
    report.add_argument("--scale", help=f"one of {', '.join(SCALES)} (default: laptop, with --reference all)")
    report.add_argument("--reference", action="store_true", help="the committed results, of all scales unless --scale is given")
    report.add_argument("--against", type=Path, metavar="FOLDER", help="mark what moved since the results in this folder")
    report.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="where to write it (default: results/<scale>/report, of a reference results/report)",
    )
    report.add_argument("--open", action="store_true", help="open it in a browser")
    gate = add("gate", _gate, "compare a run with the committed reference; 1 if anything failed", one_paper)
    gate.add_argument(
        "--reference", action="store_true", help="no run: derive the verdicts and claims of the reference's own records again"
    )
    accept = add("accept", _accept, "make a run the reference", one_paper)
    accept.add_argument("--allow-dirty", action="store_true", help="also from uncommitted code")
    add("cost", _cost, "seconds, function evaluations and peak memory of each job", one_paper, reference)
    proof = add("proof", _proof, "measure this machine's GPU on the library's work, without data: at most ten minutes")
    proof.add_argument("--tiny", action="store_true", help="a tiny form on the CPU, which only shows that all of it runs")
    readme = add("readme", _readme, "render the results in README.md from the reference")
    readme.add_argument("--check", action="store_true", help="write nothing; 1 if the README differs")
    return top


def _run(args: argparse.Namespace) -> None:
    from rescore.experiments.run import main_run

    main_run(args)


def _train(args: argparse.Namespace) -> None:
    from rescore.models.train import main_train

    main_train(args)


def _import(args: argparse.Namespace) -> None:
    from rescore.models.imported.load import main_import

    main_import(args)


def _parity(args: argparse.Namespace) -> int:
    from rescore.parity.compare import compare_all
    from rescore.parity.table import COLUMNS, VERDICTS, golden_folder, to_csv

    rows = list(compare_all(golden_folder(args.golden)))
    _print(COLUMNS[:-1], [vars(row) | {"verdict": row.verdict} for row in rows], digits=2)
    reasons = {row.reason: row.quantity for row in rows if row.verdict == "explained"}
    for reason, quantity in reasons.items():
        print(f"explained: {reason} (such as: {quantity})")
    _print_counts([row.verdict for row in rows], VERDICTS)
    if args.out:
        atomic_write(args.out, to_csv(rows))
    return int(any(row.verdict == "off" for row in rows))


def _suite(args: argparse.Namespace) -> "Suite":
    from rescore.workflow.suite import load_suite

    chosen = {} if args.paper is None else {"papers": args.paper}
    return load_suite({"scale": args.scale, "results": str(args.results)} | chosen, args.root)


def _plan(args: argparse.Namespace) -> None:
    from rescore.estimates import NETWORKS, arithmetic, job_rows, model_rows
    from rescore.ledger.cost import read_proofs
    from rescore.plan import all_needs, model_plans, need_rows, routes, sampling_plans, sampling_rows, write_networks

    suite = _suite(args)
    plans = model_plans(suite)
    samplings = sampling_plans(suite, plans)
    for title, rows in (
        ("models", model_rows(plans)),
        ("jobs", job_rows(suite)),
        ("published networks", sampling_rows(samplings)),
        ("needs", need_rows(all_needs(suite))),
    ):
        print(f"{title}: {len(rows)}")
        if rows:
            _print(list(rows[0]), rows)
        print()
    print("\n".join([*arithmetic(plans, read_proofs(args.results)), *routes(samplings, plans)]))
    if args.write:
        path = args.results / "reference" / NETWORKS
        print(f"{path}: {write_networks(path, plans)} networks")


def _fetch(args: argparse.Namespace) -> int:
    from rescore.plan import all_needs, fetch

    found = all_needs(_suite(args))
    missing = fetch(found)
    for name, reason in missing.items():
        print(f"{name}: {reason}", file=sys.stderr)
    print(f"{len(found) - len(missing)} of {len(found)} needs of scale {args.scale} are here")
    return int(bool(missing))


def _figures(args: argparse.Namespace) -> None:
    from rescore.experiments.run import main_figures

    main_figures(args)


def _collect(args: argparse.Namespace) -> None:
    from rescore.ledger import records as ledger

    folder = _folder(args)
    names = ("records.csv", "skipped.csv")
    if not args.paths:
        raise RescoreError(f"nothing to collect: no PATH is given, or no paper asked for has jobs at scale {args.scale}")
    for path in args.paths:
        if not path.exists():
            raise RescoreError(f"{path}: no such file or folder")
        if path.is_file():
            check_choice("kind of file", path.name, names)
    files = [file for path in args.paths for file in ([path / name for name in names] if path.is_dir() else [path])]
    records = ledger.collect_records((file for file in files if file.name == "records.csv"), args.scale)
    skipped = [row for file in files if file.name == "skipped.csv" for row in ledger.read_skipped(file)]
    ledger.write_records(folder / "records.csv", records)
    ledger.write_skipped(folder / "skipped.csv", skipped)
    print(f"{len(records)} records, {len(skipped)} skipped: {folder}")


def _diff(args: argparse.Namespace) -> None:
    from rescore.ledger.diff import STATUSES, read_diff, write_diff

    papers = _selected(args, find_papers(args.root))
    if reference := _instead_of_run(args):
        frame = read_diff(reference / "diff.csv")
        frame = frame[frame["paper"].isin(papers)]
    else:
        frame = _verdicts(args)
    for status in args.status or ():
        check_choice("status", status, STATUSES)
    for table in args.table or ():
        check_choice("table", table, dict.fromkeys(frame["table"]))
    for column, wanted in (("status", args.status), ("table", args.table)):
        frame = frame[frame[column].isin(wanted)] if wanted else frame
    if args.out:
        write_diff(args.out, frame)
    shown = [
        "paper",
        "table",
        "dataset",
        "method",
        "variant",
        "metric",
        "nfe",
        "published",
        "measured",
        "error",
        "tolerance",
        "delta",
        "status",
        "explained_by",
        "note",
    ]
    _print(shown, frame.to_dict("records"))
    _print_counts(frame["status"], STATUSES)


def _explain(args: argparse.Namespace) -> None:
    from rescore.ledger.explain import COLUMNS, GROUPS, explain
    from rescore.ledger.published import load_published
    from rescore.ledger.records import read_skipped
    from rescore.ledger.reference import read_reference

    papers = _selected(args, find_papers(args.root))
    published = load_published(papers)
    for table in args.table or ():
        check_choice("table", table, dict.fromkeys(entry.table for entry in published))
    published = [entry for entry in published if not args.table or entry.table in args.table]
    reference, skipped = _instead_of_run(args), _folder(args) / "skipped.csv"
    records = read_reference(reference) if reference else _records(args)
    lines, groups = explain(records, published, papers, read_skipped(skipped) if skipped.is_file() and not reference else ())
    if not lines:
        print("no candidate protocols are declared: `candidates` of a paper.yaml")
        return
    _print(COLUMNS, lines)
    print("\n" + ", ".join(f"{groups[group]} {group}" for group in GROUPS) + f"; {groups.total()} numbers with candidates")


def _claims(args: argparse.Namespace) -> None:
    from rescore.ledger.claims import STATUSES, by_chance, read_claims, require_sound, write_claims

    papers = _selected(args, find_papers(args.root))
    if reference := _instead_of_run(args):
        rows = [row for row in read_claims(reference / "claims.csv") if row["paper"] in papers]
    else:
        rows = _claim_rows(args)
    if args.out:
        write_claims(args.out, rows)
    _print(["paper", "claim", "status", "margin", "z", "p", "evidence"], rows)
    _print_counts((str(row["status"]) for row in rows), STATUSES)
    print(by_chance(rows))
    require_sound(rows)


def _tables(args: argparse.Namespace) -> None:
    from rescore.ledger.claims import require_sound, write_claims
    from rescore.ledger.diff import write_diff
    from rescore.ledger.tables import write_tables

    folder, verdicts, claims = _folder(args), _verdicts(args), _claim_rows(args)
    write_diff(folder / "diff.csv", verdicts)
    write_claims(folder / "claims.csv", claims)
    for path in write_tables(folder / "tables", _records(args), verdicts, claims):
        print(path)
    if not args.allow_broken:
        require_sound(claims)


def _compare(args: argparse.Namespace) -> None:
    from rescore.ledger.published import load_published
    from rescore.ledger.reference import read_reference
    from rescore.ledger.tables import compare

    check_choice("format", args.format, FORMATS)
    papers = _selected(args, find_papers(args.root))
    reference = _instead_of_run(args)
    records = read_reference(reference) if reference else _records(args)
    records, published = [record for record in records if record.paper in papers], load_published(papers)
    frames = {metric: compare(records, published, metric, args.dataset, args.method) for metric in dict.fromkeys(args.metric)}
    if args.format == "csv":
        columns = list(next(iter(frames.values())))
        rows = [{"metric": metric} | row for metric, frame in frames.items() for row in _plain(frame)]
        print(format_rows(["metric", *columns], rows), end="")
        return
    for index, (metric, frame) in enumerate(frames.items()):
        title = f"{metric} on {args.dataset}"
        if len(frames) > 1 or args.format != "text":
            print("\n" * (index > 0) + TITLES[args.format].format(html.escape(title) if args.format == "html" else title))
        if args.format == "text":
            _print_frame(frame)
        else:
            _print(list(frame.columns), frame.to_dict("records"), style=FORMATS[args.format])


def _plain(frame: "pd.DataFrame") -> list[dict]:
    """Rows with None where there is no number."""
    return frame.astype(object).where(frame.notna(), None).to_dict("records")


def _show(args: argparse.Namespace) -> None:
    from rescore.report.cards import card_text, make_cards

    papers = find_papers(args.root)
    cards = make_cards(_results(args, papers), papers)
    print(card_text(cards, cards.find(args.key)), end="")


def _results(args: argparse.Namespace, papers: dict) -> "Results":
    """The run of the scale, or the reference where that is asked for or there is no run."""
    from rescore.report.source import read_results

    folder = _instead_of_run(args) or _folder(args)
    if not (folder / "diff.csv").is_file():
        _records(args)  # tells where there is nothing at all
    return read_results(folder, papers, find_root(args.root))


def _report(args: argparse.Namespace) -> None:
    from rescore.report.pages import write_reference_report, write_report
    from rescore.report.source import nothing_run, read_results

    papers, root = find_papers(args.root), find_root(args.root)
    before = read_results(args.against, papers, root) if args.against else None
    every = args.reference and args.scale is None
    args.scale = args.scale or "laptop"
    if every:
        places = {
            scale: next((place for place in _reference_places(args, scale) if (place / "diff.csv").is_file()), None)
            for scale in SCALES
        }
        references = [
            read_results(place, papers, root) if place else nothing_run(scale, papers, root)
            for scale, place in places.items()
            if place or any(scale in paper.scales for paper in papers.values())
        ]
        if not any(places.values()):
            raise RescoreError(f"{args.results / 'reference'}: no committed results; make some with `rescore accept`")
    else:
        results = _results(args, papers)
        references = [results] if results.kind == "reference" else []
    if references:
        out = args.out or args.results / "report"
        page = write_reference_report(out, references, papers, before, str(args.against))
    else:
        words = str(args.against)
        if before is None and (_reference(args) / "diff.csv").is_file():
            before, words = read_results(_reference(args), papers, root), "the committed reference"
        page = write_report(args.out or _folder(args) / "report", results, papers, before, words)
    print(page)
    if args.open:
        webbrowser.open(page.resolve().as_uri())


def _gate(args: argparse.Namespace) -> int:
    from rescore.ledger.gate import COLUMNS, gate, gate_reference
    from rescore.ledger.records import run_command

    papers, reference = _selected(args, find_papers(args.root)), _reference(args)
    if args.reference:
        report, what = gate_reference(reference, papers), f"verdicts and claims of {reference} derived again"
    elif not (_folder(args) / "records.csv").is_file():
        raise RescoreError(
            f"{_folder(args) / 'records.csv'}: no such file: there is no run to compare with the reference; "
            f"make one with `{run_command(args.scale)}`, or check the reference by itself with --reference"
        )
    else:
        report, what = gate(_folder(args), reference, args.paper), "numbers compared"
    if report.moved:
        _print(COLUMNS, report.moved, digits=10)
    fails = sum(line["verdict"] == "fail" for line in report.moved)
    print(f"{report.compared} {what}; {fails} failed, {len(report.moved) - fails} warnings")
    return int(report.failed)


def _accept(args: argparse.Namespace) -> None:
    from rescore.ledger.reference import accept

    if args.paper is not None:
        check_choice("paper", args.paper, find_papers(args.root))
    reference = args.results / "reference" / args.scale
    commit = accept(_folder(args), reference, args.allow_dirty, args.paper)
    print(f"{reference}: accepted the run of {args.paper or 'all papers'} at commit {commit}")


def _cost(args: argparse.Namespace) -> None:
    from rescore.ledger.cost import read_costs, read_proofs, timings
    from rescore.ledger.records import run_command
    from rescore.ledger.reference import read_reference

    papers = _selected(args, find_papers(args.root))
    if reference := _instead_of_run(args, "*/*/cost.json"):
        frame = timings(read_reference(reference))
        print(
            "a reference keeps no cost.json: seconds are the timings that a job's records name, less than the whole job",
            file=sys.stderr,
        )
    else:
        frame = read_costs(_folder(args))
    frame, proofs = frame[frame["paper"].isin(papers)], read_proofs(args.results)
    if proofs:
        _print(list(proofs[0]), proofs)
        print(f"{len({row['device'] for row in proofs})} machines, as `rescore proof` measured them")
    if frame.empty and proofs:
        return
    if frame.empty:
        raise RescoreError(f"{_folder(args)}/<paper>/<job>/cost.json: no such file; make them with `{run_command(args.scale)}`")
    _print_frame(frame)
    print(f"{len(frame)} jobs, {frame['seconds'].sum():.0f} s")


def _proof(args: argparse.Namespace) -> int:
    import json

    from rescore.ledger.cost import read_proofs
    from rescore.proof import TINY, Size, prove

    path = prove(TINY, "cpu", args.results) if args.tiny else prove(Size(), "cuda", args.results)
    found = json.loads(path.read_text())
    if rows := [row for row in read_proofs(args.results) if row["device"] == found["device"]]:
        _print(list(rows[0]), rows)
    for part, error in found["failed"].items():
        print(f"{part} failed: {error}", file=sys.stderr)
    print(path)
    return int(bool(found["failed"]))


def _readme(args: argparse.Namespace) -> int:
    from rescore.ledger.tables import PLAN_MARKERS, readme_block, with_block

    path = find_root(args.root) / "README.md"
    if not path.is_file():
        raise RescoreError(f"{path}: no such file")
    text = path.read_text(encoding="utf-8")
    rendered = with_block(text, readme_block(args.results / "reference", SCALES), path)
    if PLAN_MARKERS[0] in text:
        from rescore.plan import plan_block
        from rescore.workflow.suite import load_suite

        suites = [load_suite({"scale": scale, "results": str(args.results)}, args.root) for scale in ("gpu", "paper")]
        rendered = with_block(rendered, plan_block(suites), path, PLAN_MARKERS)
    if args.check:
        if rendered != text:
            print(f"{path}: the results differ from the reference; render them with `rescore readme`", file=sys.stderr)
        return int(rendered != text)
    if rendered != text:
        atomic_write(path, rendered)
    return 0


def _folder(args: argparse.Namespace) -> Path:
    check_choice("scale", args.scale, SCALES)
    return args.results / args.scale


def _reference(args: argparse.Namespace) -> Path:
    """The reference of the scale: beside the results where one was accepted there, else the one committed with the papers."""
    check_choice("scale", args.scale, SCALES)
    places = _reference_places(args, args.scale)
    return next((place for place in places if (place / "diff.csv").is_file()), places[0])


def _reference_places(args: argparse.Namespace, scale: str) -> list[Path]:
    return [folder / "reference" / scale for folder in (args.results, find_root(args.root) / "results")]


def _instead_of_run(args: argparse.Namespace, files: str = "records.csv") -> Path | None:
    """The reference, which is said on stderr, where it is asked for or there is no run, that is none of its `files`.

    None where there is a run, or neither. Raises RescoreError for a reference that is not whole.
    """
    from rescore.ledger.reference import read_reference

    folder, reference = _folder(args), _reference(args)
    run = next(folder.glob(files), None)
    if not args.reference and (run or not (reference / "diff.csv").is_file()):
        return None
    read_reference(reference)
    reason = "" if run else f", for there is no run: no {folder / files}"
    print(f"the committed reference {reference}{reason}", file=sys.stderr)
    return reference


def _records(args: argparse.Namespace) -> "list[Record]":
    from rescore.ledger.records import read_records, run_command

    path = _folder(args) / "records.csv"
    if not path.is_file():
        raise RescoreError(f"{path}: no such file; make it with `{run_command(args.scale)}`")
    return read_records(path, args.scale)


def _verdicts(args: argparse.Namespace) -> "pd.DataFrame":
    from rescore.ledger.diff import diff
    from rescore.ledger.published import load_published
    from rescore.ledger.records import read_skipped

    papers = find_papers(args.root)
    skipped = _folder(args) / "skipped.csv"
    published = load_published(_selected(args, papers))
    return diff(_records(args), published, papers, read_skipped(skipped) if skipped.is_file() else ())


def _claim_rows(args: argparse.Namespace) -> list[dict]:
    from rescore.ledger.claims import evaluate_all

    return evaluate_all(_selected(args, find_papers(args.root)), _records(args))


def _selected(args: argparse.Namespace, papers: dict) -> dict:
    name = getattr(args, "paper", None)
    if name is None:
        return papers
    check_choice("paper", name, papers)
    return {name: papers[name]}


def _print(columns: Sequence[str], rows: Iterable[Mapping[str, object]], digits: int = 4, style: str = "simple") -> None:
    """A plain table, never wrapped; floats to some digits, nothing where there is no number."""
    from tabulate import tabulate

    def text(value: object) -> str:
        if value is None or str(value) in ("nan", "<NA>"):
            return ""
        if not isinstance(value, float):
            return str(value)
        return f"{value:.0f}" if 10**digits <= abs(value) < 10**10 else f"{value:.{digits}g}"

    cells = [[text(row[column]) for column in columns] for row in rows]
    align = ["right" if column in RIGHT_ALIGNED else "left" for column in columns]
    print(tabulate(cells, headers=list(columns), disable_numparse=True, colalign=align if cells else None, tablefmt=style))


def _print_frame(frame: "pd.DataFrame") -> None:
    _print(list(frame.columns), frame.to_dict("records"))


def _print_counts(statuses: Iterable[str], allowed: Sequence[str]) -> None:
    counts = Counter(statuses)
    print("\n" + ", ".join(f"{counts[status]} {status}" for status in allowed) + f"; {counts.total()} in all")
