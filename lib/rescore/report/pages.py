"""The report's folder: templates filled with the results of a scale, their data as scripts, and the bundled libraries once.

Pages are opened from disk, where a browser refuses `fetch` and module files: data are scripts that call `RESCORE.add`, and the
bundle of DataTables, an ES module, is imported from a data: address in a script.
"""

import base64
import functools
import json
import math
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from rescore.config import SCALES, run_command
from rescore.errors import RescoreError
from rescore.files import atomic_write
from rescore.ledger import claims as claims_module
from rescore.ledger import diff as diff_module
from rescore.ledger.published import depends_on_samples
from rescore.ledger.records import describe, write_records
from rescore.ledger.tables import MARKS, number, with_error
from rescore.papers import Paper
from rescore.report.cards import MEANING, WORDS, Cards, address, card_data, make_cards, paper_command
from rescore.report.content import (
    SCALES_IN_WORDS,
    claim_counts,
    claim_row,
    cost,
    judged,
    matrix,
    overview,
    paper_page,
    verdict_counts,
)
from rescore.report.moved import Change, moved
from rescore.report.readme import code
from rescore.report.source import Results, commit_of

PAGES = {
    "index.html": "Overview",
    "compare.html": "Compare",
    "matrix.html": "Matrix",
    "numbers.html": "Numbers",
    "claims.html": "Claims",
    "cost.html": "Cost",
}
HEADS = {"dataset": "data set", "method": "method", "variant": "variant", "metric": "metric", "nfe": "NFE"}
CHANGES = {
    "verdict": "verdicts changed",
    "claim": "claims changed",
    "number": "numbers moved",
    "protocol": "protocols differ",
    "new": "new numbers",
    "gone": "numbers gone",
}
PARITY = {"within": "reproduced", "explained": "imprecise", "off": "off"}  # how verdicts of parity are coloured
CLAIMS_SAY = {  # of one, of several
    "holds": ("holds", "hold"),
    "fails": ("fails", "fail"),
    "inconclusive": ("is inconclusive", "are inconclusive"),
    "not-run": ("was not run", "were not run"),
    "broken": ("is broken", "are broken"),
}
CLAIM_MARKS = {"holds": "✓", "fails": "✗", "inconclusive": "?", "broken": "!"}
LOG_TAIL = 20_000  # bytes of a log that the report keeps
LONGEST = 1e12  # a whole number that is shown with all its digits
Page = tuple[str, str, str, Mapping[str, Any]]
"""Its file, its template, its title, and what fills the template beside what all pages share."""


@dataclass(frozen=True)
class Site:
    """What all pages of one scale share."""

    scale: str
    kind: str
    scales: Sequence[str]
    assets: str
    pages: Sequence[tuple[str, str]]
    everywhere: Sequence[str]
    papers: Sequence[tuple[str, str]]
    against: str
    missing: str


def write_report(
    out: Path, results: Results, papers: Mapping[str, Paper], before: Results | None = None, before_words: str = ""
) -> Path:
    """Write the report of one scale; returns the page to open.

    Args:
        before: what it is compared with, of the same scale, in words `before_words`; None for nothing.
    """
    write_assets(out / "assets")
    return _write_scale(out, results, papers, "assets", [results.scale], before, before_words)


def write_reference_report(
    out: Path, references: Sequence[Results], papers: Mapping[str, Paper], before: Results | None = None, before_words: str = ""
) -> Path:
    """Write the committed results of several scales, each in a folder of its own, and a page that leads to them.

    That of the scale of `before` is compared with it.
    """
    write_assets(out / "assets")
    for folder in (out, *(out / scale for scale in SCALES)):  # of other scales, or a run's
        _remove_old(folder)
    names = [results.scale for results in references]
    for results in references:
        compared = before if before and before.scale == results.scale else None
        _write_scale(out / results.scale, results, papers, "../assets", names, compared, before_words)
    rows = [
        {
            "name": results.scale,
            "words": SCALES_IN_WORDS[results.scale],
            "verdicts": (counts := verdict_counts(row for key, row in results.verdicts.items() if key[0] in papers)),
            "judged": judged(counts),
            "measured": sum(len(results.of(name)) for name in papers),
            "claims": claim_counts(row for row in results.claims if row["paper"] in papers),
        }
        for results in references
    ]
    atomic_write(out / "index.html", _environment().get_template("scales.html").render(scales=rows))
    return out / "index.html"


def write_assets(folder: Path) -> None:
    """Styles, scripts, and the libraries that itables and plotly bundle."""
    import itables
    import plotly

    static = files("rescore.report") / "static"
    for source in static.iterdir():
        atomic_write(folder / source.name, source.read_bytes())
    bundle = Path(itables.__file__).parent / "html"
    module = base64.b64encode((bundle / "dt_bundle.js").read_bytes()).decode()
    atomic_write(folder / "datatables.js", f'RESCORE.datatables = import("data:text/javascript;base64,{module}");\n')
    atomic_write(folder / "datatables.css", (bundle / "dt_bundle.css").read_bytes())
    atomic_write(folder / "plotly.js", (Path(plotly.__file__).parent / "package_data" / "plotly.min.js").read_bytes())


def _write_scale(
    out: Path,
    results: Results,
    papers: Mapping[str, Paper],
    assets: str,
    scales: Sequence[str],
    before: Results | None,
    before_words: str,
) -> Path:
    _remove_old(out)
    cards = make_cards(results, papers)
    changes = moved(results, before, papers) if before else []
    site = _site(out, results, papers, assets, scales, before_words if before else "")
    _copy_files(out, results)
    for name in papers:
        atomic_write(out / "data" / f"{name}.js", _paper_data(name, cards, results, before, changes))
    _write_csv(out / "data", results)
    measured_first = sorted(papers, key=lambda name: not results.of(name))
    shared = {
        "site": site,
        "measured": len(results.records),
        "run_command": run_command(results.scale, results.at, results.root),
        "moved_keys": {change.key for change in changes if change.key and change.what != "gone"},
        "moved_claims": {(c.paper, c.name): c.before for c in changes if c.what == "claim"},
        "data_files": measured_first,
        "count": len(cards.cards),
    }
    claims = [claim_row(row) for name in measured_first for row in results.claims if row["paper"] == name]
    summary = overview(results, papers, changes, site.against)
    environment = _environment()
    for page, template, title, context in (
        *_pages_of_the_scale(results, papers, claims, summary),
        *(_page_of_a_paper(paper, cards, results, claims) for paper in papers.values()),
    ):
        text = environment.get_template(template).render(**{**shared, **context, "page": page, "title": title})
        atomic_write(out / page, text)
    return out / "index.html"


def _site(out: Path, results: Results, papers: Mapping[str, Paper], assets: str, scales: Sequence[str], against: str) -> Site:
    pages = list(PAGES.items()) + ([("parity.html", "Parity")] if results.parity else [])
    if (out / "workflow.html").is_file():
        pages.append(("workflow.html", "Workflow"))
    everywhere = [*PAGES, *(f"paper-{name}.html" for name in papers)]
    titles = [(name, paper.meta.title) for name, paper in papers.items()]
    return Site(results.scale, results.kind, scales, assets, pages, everywhere, titles, against, _still_missing(results))


def _pages_of_the_scale(
    results: Results, papers: Mapping[str, Paper], claims: Sequence[Mapping[str, Any]], summary: Mapping[str, Any]
) -> Iterator[Page]:
    tables, chance = {"uses_tables": True}, {"by_chance": claims_module.by_chance(results.claims)}
    contents: dict[str, Mapping[str, Any]] = {
        "index.html": {**summary, **chance, "broken": [row for row in claims if row["status"] == "broken"]},
        "numbers.html": tables,
        "claims.html": {**tables, **chance, "claims": claims, "counts": claim_counts(claims)},
        "compare.html": tables,
        "matrix.html": matrix(results, papers),
        "cost.html": {**tables, **cost(results)},
    }
    for page, title in PAGES.items():
        yield page, page, title, contents[page]
    if results.parity:
        columns, rows = results.parity
        yield "parity.html", "parity.html", "Parity", {**tables, "columns": columns, "rows": rows}


def _page_of_a_paper(paper: Paper, cards: Cards, results: Results, claims: Iterable[Mapping[str, Any]]) -> Page:
    own = [row for row in claims if row["paper"] == paper.name]
    counted = {"claims": own, "claim_counts": claim_counts(own), "measured": len(results.of(paper.name))}
    context = paper_page(paper, cards, results) | counted | {"paper_command": paper_command(results, paper.name)}
    return f"paper-{paper.name}.html", "paper.html", paper.meta.title, context


def _still_missing(results: Results) -> str:
    """What a run that goes on has not measured yet, in words; empty for one that has ended."""
    waiting = sum(not job["on_request"] for job in results.waiting)
    if results.kind != "so far":
        return ""
    ended = "1 job has ended" if len(results.costs) == 1 else f"{len(results.costs)} jobs have ended"
    return f"So far: {ended}, {waiting} have not. What these measure stands as not run."


def is_report(out: Path) -> bool:
    """Whether an earlier report has been written to the folder."""
    return (out / "assets" / "report.js").is_file()


def require_own_folder(out: Path) -> None:
    """Raise RescoreError where a report in a folder would remove what no earlier one has left."""
    found = next((path for folder in (out, *(out / scale for scale in SCALES)) for path in _old(folder)), None)
    if found and not is_report(out):
        raise RescoreError(
            f"{found}: it is of no report, and one in {out} would remove it; allowed: a new folder, or a report's (--out)"
        )


def _old(out: Path) -> list[Path]:
    """What an earlier report of the folder left; not Snakemake's page."""
    folders = [out / name for name in ("data", "figures", "logs") if (out / name).is_dir()]
    return [path for path in sorted(out.glob("*.html")) if path.name != "workflow.html"] + folders


def _remove_old(out: Path) -> None:
    """So that no page of a paper that is gone stays."""
    for path in _old(out):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()


def _copy_files(out: Path, results: Results) -> None:
    """Figures, and the ends of the logs, so that the folder can be sent to somebody."""
    for paper, figures in results.figures.items():
        for name, path in figures.items():
            atomic_write(out / "figures" / f"{paper}-{name}.png", path.read_bytes())
    for (paper, job), path in results.logs.items():
        atomic_write(out / "logs" / f"{paper}-{job}.txt", path.read_bytes()[-LOG_TAIL:])


def _write_csv(folder: Path, results: Results) -> None:
    write_records(folder / "records.csv", results.records.values())
    frame = pd.DataFrame(list(results.verdicts.values()), columns=diff_module.COLUMNS)
    diff_module.write_diff(folder / "diff.csv", frame.astype({"nfe": "Int64"}))
    claims_module.write_claims(folder / "claims.csv", results.claims)


def _paper_data(name: str, cards: Cards, results: Results, before: Results | None, changes: Iterable[Change]) -> str:
    """A script that adds a paper's cards. In JSON `<` is written so that no text can end a script."""
    protocols: dict[str, int] = {}
    devices: dict[str, int] = {}
    versions: dict[str, int] = {}
    moved_keys = {change.key for change in changes if change.paper == name and change.what in ("number", "verdict")}
    data = []
    for card in cards.of(name):
        entry = card_data(card, protocols, devices, versions)
        if before and card.key in moved_keys:
            was, verdict = before.records.get(card.key), before.verdicts.get(card.key)
            told = {"v": was and was.value, "e": was and was.stderr, "st": verdict and verdict["status"]}
            entry["was"] = {key: value for key, value in told.items() if value is not None}
        data.append(entry)
    logs = {job: f"logs/{paper}-{job}.txt" for paper, job in results.logs if paper == name}
    metrics = dict.fromkeys(entry["k"][5] for entry in data)
    content = {
        "protocols": list(protocols),
        "devices": list(devices),
        "commits": [commit_of(version) for version in versions],
        "logs": logs,
        "cards": data,
        "better": {metric: way for metric in metrics if (way := cards.direction(metric))},
        "ofSamples": [metric for metric in metrics if depends_on_samples(metric)],
    }
    text = json.dumps(content, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    return f"RESCORE.add({json.dumps(name)}, {text});\n"


def _show(value: object) -> str:
    if value is None or value != value:
        return ""
    if isinstance(value, float):
        return f"{value:.0f}" if value.is_integer() and abs(value) < LONGEST else number(value)
    return str(value)


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("rescore.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["code"] = code
    environment.globals |= {
        "MARKS": MARKS | CLAIM_MARKS,
        "WORDS": WORDS,
        "MEANING": MEANING,
        "HEADS": HEADS,
        "CHANGES": CHANGES,
        "CLAIMS_SAY": CLAIMS_SAY,
        "PARITY": PARITY,
        "address": address,
        "number": number,
        "with_error": with_error,
        "describe": describe,
        "show": _show,
        "infinity": math.inf,
        "moved_keys": (),
        "moved_claims": {},
    }
    return environment
