"""Commands that make and judge the ledger: collect, diff, explain, claims, tables, gate, accept, readme."""

import argparse
import sys

from rescore.commands.output import print_counts, print_table
from rescore.commands.places import (
    claim_rows,
    hashes_now,
    how_to_run,
    instead_of_run,
    judged,
    measured,
    papers_asked,
    scale_folder,
    scale_reference,
)
from rescore.config import SCALES, check_choice
from rescore.errors import RescoreError
from rescore.files import atomic_write
from rescore.papers import find_papers, find_root


def collect(args: argparse.Namespace) -> None:
    """Join the records of jobs."""
    from rescore.ledger import records as ledger

    folder = scale_folder(args)
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
    if args.rest_from_reference:
        from rescore.ledger.reference import with_rest
        from rescore.workflow.paths import jobs_by_hash

        papers, reference = find_papers(args.root), scale_reference(args)
        jobs = {name: jobs_by_hash(papers[name], args.scale) for name in {record.paper for record in records} & papers.keys()}
        records, skipped, stale = with_rest(records, skipped, reference, jobs)
        if stale:
            print(f"{reference}: {stale} records of jobs whose config has changed are left out", file=sys.stderr)
    for name in ("diff.csv", "claims.csv"):  # of other records: `tables` makes them anew
        (folder / name).unlink(missing_ok=True)
    ledger.write_records(folder / "records.csv", records)
    ledger.write_skipped(folder / "skipped.csv", skipped)
    print(f"{len(records)} records, {len(skipped)} skipped: {folder}")


def diff(args: argparse.Namespace) -> None:
    """Print published numbers beside measured ones."""
    from rescore.ledger.diff import STATUSES, read_diff, write_diff

    papers = papers_asked(args)
    if args.so_far and args.reference:
        raise RescoreError("diff: --so-far is of a run, --reference of none; allowed: one of them")
    if args.so_far:
        frame = judged(args)
        frame = frame[frame["status"] != "not-run"]
    elif reference := instead_of_run(args):
        frame = read_diff(reference / "diff.csv")
        frame = frame[frame["paper"].isin(papers)]
    else:
        frame = judged(args)
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
    print_table(shown, frame.to_dict("records"))
    print_counts(frame["status"], STATUSES)


def explain(args: argparse.Namespace) -> None:
    """Print numbers under their candidate protocols."""
    from rescore.ledger.explain import COLUMNS, GROUPS, explain
    from rescore.ledger.published import load_published
    from rescore.ledger.records import read_skipped
    from rescore.ledger.reference import read_reference

    papers = papers_asked(args)
    published = load_published(papers)
    for table in args.table or ():
        check_choice("table", table, dict.fromkeys(entry.table for entry in published))
    published = [entry for entry in published if not args.table or entry.table in args.table]
    reference, skipped = instead_of_run(args), scale_folder(args) / "skipped.csv"
    records = read_reference(reference) if reference else measured(args)
    lines, groups = explain(records, published, papers, read_skipped(skipped) if skipped.is_file() and not reference else ())
    if not lines:
        print("no candidate protocols are declared: `candidates` of a paper.yaml")
        return
    print_table(COLUMNS, lines)
    print("\n" + ", ".join(f"{groups[group]} {group}" for group in GROUPS) + f"; {groups.total()} numbers with candidates")


def claims(args: argparse.Namespace) -> None:
    """Print the claims, checked. Raises RescoreError for a broken one."""
    from rescore.ledger.claims import STATUSES, by_chance, read_claims, require_sound, write_claims

    papers = papers_asked(args)
    if reference := instead_of_run(args):
        rows = [row for row in read_claims(reference / "claims.csv") if row["paper"] in papers]
    else:
        rows = claim_rows(args)
    if args.out:
        write_claims(args.out, rows)
    print_table(["paper", "claim", "status", "margin", "z", "p", "evidence"], rows)
    print_counts((str(row["status"]) for row in rows), STATUSES)
    print(by_chance(rows))
    require_sound(rows)


def tables(args: argparse.Namespace) -> None:
    """Write diff.csv, claims.csv and tables/."""
    from rescore.ledger.claims import require_sound, write_claims
    from rescore.ledger.diff import write_diff
    from rescore.ledger.tables import write_tables

    folder, records = scale_folder(args), measured(args)
    verdicts, claims = judged(args, records), claim_rows(args, records)
    write_diff(folder / "diff.csv", verdicts)
    write_claims(folder / "claims.csv", claims)
    for path in write_tables(folder / "tables", records, verdicts, claims):
        print(path)
    if not args.allow_broken:
        require_sound(claims)


def gate(args: argparse.Namespace) -> int:
    """Compare a run with the reference; 1 if anything failed."""
    from rescore.ledger.gate import COLUMNS, gate, gate_reference

    papers, reference = papers_asked(args), scale_reference(args)
    if args.reference:
        report, what = gate_reference(reference, papers), f"verdicts and claims of {reference} derived again"
    elif not (scale_folder(args) / "records.csv").is_file():
        raise RescoreError(
            f"{scale_folder(args) / 'records.csv'}: no such file: there is no run to compare with the reference; "
            f"make one with `{how_to_run(args)}`, or check the reference by itself with --reference"
        )
    else:
        report = gate(scale_folder(args), reference, args.paper, hashes_now(papers, args.scale))
        what = "numbers compared"
    if report.moved:
        print_table(COLUMNS, report.moved, digits=10)
    fails = sum(line["verdict"] == "fail" for line in report.moved)
    print(f"{report.compared} {what}; {fails} failed, {len(report.moved) - fails} warnings")
    return int(report.failed)


def accept(args: argparse.Namespace) -> None:
    """Make a run the reference."""
    from rescore.ledger.cost import MODELS
    from rescore.ledger.reference import accept, judge_again
    from rescore.workflow.suite import load_suite

    reference = args.results / "reference" / args.scale
    if args.judge_again:
        judge_again(reference, papers_asked(args), args.paper)
        print(f"{reference}: verdicts and claims of {args.paper or 'all papers'} judged again")
        return
    suite = load_suite(
        {"scale": args.scale, "results": str(args.results)}, args.root, needed=None if args.paper is None else [args.paper]
    )
    models = None if suite.unusable else list(suite.models)  # those of a paper that is left out are not known
    current = {name: rules.jobs for name, rules in suite.papers.items()} | {MODELS: models}
    hashes = hashes_now({name: rules.paper for name, rules in suite.papers.items()}, args.scale)
    run = scale_folder(args)
    asked = {"allow_dirty": args.allow_dirty, "paper": args.paper, "several_commits": args.several_commits}
    commit = accept(run, reference, **asked, current=current, root=suite.root, hashes=hashes)
    print(f"{reference}: accepted the run of {args.paper or 'all papers'} at commit {commit}")


def readme(args: argparse.Namespace) -> int:
    """Render README's results; with --check 1 if they differ."""
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
