"""Commands for who reads the results: compare, show, report."""

import argparse
import html
import shutil
import webbrowser
from dataclasses import replace
from typing import TYPE_CHECKING

from rescore.commands.output import print_frame, print_table
from rescore.commands.places import (
    at_its_place,
    ended_results,
    instead_of_run,
    measured,
    open_results,
    papers_asked,
    readable_papers,
    reference_places,
    scale_folder,
    scale_reference,
)
from rescore.config import REPORTED, check_choice
from rescore.errors import RescoreError
from rescore.ledger.records import format_rows
from rescore.papers import find_root

if TYPE_CHECKING:
    import pandas as pd

    from rescore.report.source import Results

FORMATS = {"text": "simple", "csv": "csv", "md": "github", "html": "html", "latex": "latex_booktabs"}
"""Of `compare`: how tabulate calls them."""
TITLES = {"text": "{}", "md": "### {}\n", "html": "<h3>{}</h3>", "latex": "% {}"}
NOTES = {"text": "\n{}", "md": "\n{}", "html": "<p>{}</p>", "latex": "% {}"}


def compare(args: argparse.Namespace) -> None:
    """Print methods side by side."""
    from rescore.ledger.published import load_published
    from rescore.ledger.reference import read_reference
    from rescore.ledger.tables import compare, compare_note

    check_choice("format", args.format, FORMATS)
    papers = papers_asked(args)
    reference = instead_of_run(args)
    records = read_reference(reference) if reference else measured(args)
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
            print_frame(frame)
        else:
            print_table(list(frame.columns), frame.to_dict("records"), style=FORMATS[args.format])
        if note := compare_note(frame, metric):
            print(NOTES[args.format].format(note))


def _plain(frame: "pd.DataFrame") -> list[dict]:
    """Rows with None where there is no number."""
    return frame.astype(object).where(frame.notna(), None).to_dict("records")


def show(args: argparse.Namespace) -> None:
    """Print the card of one number."""
    from rescore.report.cards import card_text, make_cards

    papers, _ = readable_papers(args)
    cards = make_cards(open_results(args, papers), papers)
    print(card_text(cards, cards.find(args.key)), end="")


def report(args: argparse.Namespace) -> None:
    """Write the report."""
    from rescore.report.pages import is_report, require_own_folder, write_reference_report, write_report
    from rescore.report.source import nothing_run, read_results

    (papers, unusable), root = readable_papers(args), find_root(args.root)
    if args.so_far and (args.reference or args.against):
        raise RescoreError("report: --so-far is of a run that goes on; allowed beside it: --scale and --out")

    def with_unusable(found: "Results") -> "Results":
        return replace(found, unusable={**found.unusable, **unusable})

    before = read_results(args.against, papers, root) if args.against else None
    every = args.reference and args.scale is None
    args.scale = args.scale or "laptop"
    if every:
        places = {
            scale: next((place for place in reference_places(args, scale) if (place / "diff.csv").is_file()), None)
            for scale in REPORTED
        }
        references = [
            with_unusable(at_its_place(args, read_results(place, papers, root) if place else nothing_run(scale, papers, root)))
            for scale, place in places.items()
            if place or any(scale in paper.scales for paper in papers.values())
        ]
        if not any(places.values()):
            raise RescoreError(f"{args.results / 'reference'}: no committed results; make some with `rescore accept`")
    else:
        results = with_unusable(ended_results(args, papers) if args.so_far else open_results(args, papers))
        references = [results] if results.kind == "reference" else []
    scales = [result.scale for result in references] or [results.scale]
    if before and before.scale not in scales:
        raise RescoreError(
            f"report: --against {args.against} is of scale {before.scale}, which is not shown; allowed: {', '.join(scales)}"
        )
    if references:
        out = args.out or args.results / "report"
        require_own_folder(out)
        page = write_reference_report(out, references, papers, before, str(args.against))
    else:
        words = str(args.against)
        if before is None and not args.so_far and (scale_reference(args) / "diff.csv").is_file():
            before, words = read_results(scale_reference(args), papers, root), "the committed reference"
        so_far = scale_folder(args) / "so-far"
        out = args.out or (so_far if args.so_far else scale_folder(args) / "report")
        require_own_folder(out)
        page = write_report(out, results, papers, before, words)
        if not args.so_far and not args.out and is_report(so_far):
            shutil.rmtree(so_far, ignore_errors=True)  # of the run while it went on
    print(page)
    if args.open:
        webbrowser.open(page.resolve().as_uri())
