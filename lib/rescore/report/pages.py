"""The report's folder: templates filled with the results of a scale, their data as scripts, and the bundled libraries once.

Pages are opened from disk, where a browser refuses `fetch` and module files: data are scripts that call `RESCORE.add`, and the
bundle of DataTables, an ES module, is imported from a data: address in a script.
"""

import base64
import functools
import json
import math
import re
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

from rescore.files import atomic_write
from rescore.ledger import claims as claims_module
from rescore.ledger import diff as diff_module
from rescore.ledger.protocol import format_value
from rescore.ledger.published import load_published
from rescore.ledger.records import KEY, matches, run_command, write_records
from rescore.ledger.tables import MARKS
from rescore.papers import Paper
from rescore.report.cards import MEANING, WORDS, Card, Cards, address, card_data, make_cards, number, with_error
from rescore.report.layout import printed_table
from rescore.report.moved import ORDER, Change, moved
from rescore.report.source import Results, commit_of

PAGES = {
    "index.html": "Overview",
    "compare.html": "Compare",
    "matrix.html": "Matrix",
    "numbers.html": "Numbers",
    "claims.html": "Claims",
    "cost.html": "Cost",
}
MATRIX_TABLE, MATRIX_FLOOR = "matrix", "exact draws"  # of the records that are every sampler on every process
HEADS = {"dataset": "data set", "method": "method", "variant": "variant", "metric": "metric", "nfe": "NFE"}
BETTER = {"lower": "lower is better", "higher": "higher is better", "target": "nearer to 0 is better"}
CHANGES = {
    "verdict": "verdicts changed",
    "claim": "claims changed",
    "number": "numbers moved",
    "protocol": "protocols differ",
    "new": "new numbers",
    "gone": "numbers gone",
}
SCALES_IN_WORDS = {
    "smoke": "Every method once, in minutes; the numbers mean nothing but “unchanged”.",
    "laptop": "Full-size targets and small real data, shortened training, on a CPU.",
    "gpu": "One GPU, networks meant for an hour or less.",
    "paper": "The papers' own budgets.",
}
CLAIM_MARKS = {"holds": "✓", "fails": "✗", "inconclusive": "?", "broken": "!"}
MARGIN_RANGE = 6.0  # standard errors at each end of a claim's bar
MOST_CHANGES = 200  # that the overview lists
LOG_TAIL = 20_000  # bytes of a log that the report keeps


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


def write_report(
    out: Path, results: Results, papers: Mapping[str, Paper], before: Results | None = None, before_words: str = ""
) -> Path:
    """Write the report of one scale; returns the page to open.

    Args:
        before: what it is compared with, in words `before_words`; None for nothing.
    """
    write_assets(out / "assets")
    return _write_scale(out, results, papers, "assets", [results.scale], before, before_words)


def write_reference_report(
    out: Path, references: Sequence[Results], papers: Mapping[str, Paper], before: Results | None = None, before_words: str = ""
) -> Path:
    """Write the committed results of several scales, each in a folder of its own, and a page that leads to them."""
    write_assets(out / "assets")
    names = [results.scale for results in references]
    for results in references:
        _write_scale(out / results.scale, results, papers, "../assets", names, before, before_words)
    rows = [
        {
            "name": results.scale,
            "words": SCALES_IN_WORDS[results.scale],
            "verdicts": _verdict_counts(results.verdicts.values()),
            "claims": _claim_counts(results.claims),
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
    pages = list(PAGES.items()) + ([("parity.html", "Parity")] if results.parity else [])
    if (out / "workflow.html").is_file():
        pages.append(("workflow.html", "Workflow"))
    everywhere = [*PAGES, *(f"paper-{name}.html" for name in papers)]
    titles = [(name, paper.meta.title) for name, paper in papers.items()]
    site = Site(results.scale, results.kind, scales, assets, pages, everywhere, titles, before_words if before else "")
    _copy_files(out, results)
    for name in papers:
        atomic_write(out / "data" / f"{name}.js", _paper_data(name, cards, results, before, changes))
    _write_csv(out / "data", results)
    moved_keys = {change.key for change in changes if change.key and change.what != "gone"}
    moved_claims = {(c.paper, c.name): c.before for c in changes if c.what == "claim"}
    shared = {
        "site": site,
        "measured": len(results.records),
        "run_command": run_command(results.scale),
        "moved_keys": moved_keys,
        "moved_claims": moved_claims,
        "data_files": list(papers),
        "count": len(cards.cards),
    }
    environment = _environment()

    def write(page: str, template: str, title: str, **context: Any) -> None:
        text = environment.get_template(template).render(**shared | context | {"page": page, "title": title})
        atomic_write(out / page, text)

    every_claim = [_claim(row) for row in results.claims if row["paper"] in papers]
    chance = claims_module.by_chance(results.claims)
    write(
        "index.html",
        "index.html",
        "Overview",
        **_overview(results, papers, changes, before_words if before else ""),
        by_chance=chance,
        broken=[row for row in every_claim if row["status"] == "broken"],
    )
    for name, paper in papers.items():
        own = [row for row in every_claim if row["paper"] == name]
        write(
            f"paper-{name}.html",
            "paper.html",
            paper.meta.title,
            **_paper(paper, cards, results),
            claims=own,
            claim_counts=_claim_counts(own),
            measured=len(results.of(name)),
        )
    write("numbers.html", "numbers.html", "Numbers", uses_tables=True)
    write(
        "claims.html",
        "claims.html",
        "Claims",
        uses_tables=True,
        claims=every_claim,
        counts=_claim_counts(every_claim),
        by_chance=chance,
    )
    write("compare.html", "compare.html", "Compare", uses_tables=True)
    write("matrix.html", "matrix.html", "Matrix", **_matrix(results, papers))
    write("cost.html", "cost.html", "Cost", uses_tables=True, **_cost(results))
    if results.parity:
        write("parity.html", "parity.html", "Parity", uses_tables=True, columns=results.parity[0], rows=results.parity[1])
    return out / "index.html"


def _remove_old(out: Path) -> None:
    """What an earlier report of the folder left, so that no page of a paper that is gone stays; not Snakemake's page."""
    for path in out.glob("*.html"):
        if path.name != "workflow.html":
            path.unlink()
    for folder in ("data", "figures", "logs"):
        shutil.rmtree(out / folder, ignore_errors=True)


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
    content = {
        "protocols": list(protocols),
        "devices": list(devices),
        "commits": [commit_of(version) for version in versions],
        "logs": logs,
        "cards": data,
    }
    text = json.dumps(content, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    return f"RESCORE.add({json.dumps(name)}, {text});\n"


def _overview(results: Results, papers: Mapping[str, Paper], changes: Sequence[Change], against: str) -> dict[str, Any]:
    tiles = []
    for name, paper in papers.items():
        records = results.of(name)
        costs = results.costs[results.costs["paper"] == name] if len(results.costs) else results.costs
        tiles.append(
            {
                "name": name,
                "title": paper.meta.title,
                "measured": len(records),
                "date": results.made.get(name, ""),
                "verdicts": _verdict_counts(row for key, row in results.verdicts.items() if key[0] == name),
                "claims": _claim_counts(row for row in results.claims if row["paper"] == name),
                "commits": sorted({commit_of(record.version) for record in records} - {""}),
                "devices": sorted({record.device for record in records}),
                "cost": f"{duration(costs['seconds'].sum())} in {len(costs)} jobs" if len(costs) else "",
            }
        )
    tiles.sort(key=lambda tile: not tile["measured"])  # stable: those with numbers first
    counts = Counter(change.what for change in changes)
    nothing = (
        "There is no committed reference of this scale to compare with."
        if results.kind == "run"
        else "These are the committed results themselves."
    )
    return {
        "tiles": tiles,
        "total": sum(key[0] in papers for key in results.verdicts),
        "what_scale": SCALES_IN_WORDS[results.scale],
        "changes": changes,
        "change_counts": {what: counts[what] for what in ORDER if counts[what]},
        "most": MOST_CHANGES,
        "against_words": against,
        "nothing_to_compare": nothing,
    }


def _paper(paper: Paper, cards: Cards, results: Results) -> dict[str, Any]:
    own = cards.of(paper.name)
    printed: dict[str, list[Card]] = {}
    extra: Counter[str] = Counter()
    for card in own:
        if card.verdict:
            printed.setdefault(str(card.key[1]), []).append(card)
        else:
            extra[str(card.key[1])] += 1
    tables = []
    for index, (name, found) in enumerate(printed.items()):
        grid = printed_table([dict(zip(KEY, card.key, strict=True)) for card in found])
        said = {card.key[5]: card.published.direction for card in found if card.published}
        directions = {BETTER[direction] for direction in said.values()}
        metrics = (
            directions.pop() if len(directions) == 1 else "; ".join(f"{metric}: {BETTER[way]}" for metric, way in said.items())
        )
        tables.append(
            {
                "name": name,
                "heading": f"Table {name}" if name[:1].isdigit() else name,
                "anchor": f"table-{index + 1}",
                "grid": grid,
                "cards": found,
                "own": extra.get(name, 0),
                "metrics": metrics,
                "common": ", ".join(f"{text} evaluations" if head == "nfe" else text for head, text in grid.common.items()),
                "sources": "; ".join(dict.fromkeys(str(card.verdict["source"]) for card in found if card.verdict["source"])),
            }
        )
    drawn = results.figures.get(paper.name, {})
    figures = [
        {
            "name": name.replace("_", " "),
            "caption": caption,
            "file": f"figures/{paper.name}-{name}.png" if name in drawn else "",
        }
        for name, caption in paper.meta.figures.items()
    ]
    missing = (
        ""
        if len(drawn) == len(figures)
        else (
            "A reference keeps numbers only; a run draws the figures."
            if results.kind == "reference"
            else "Some figures have not been drawn yet."
        )
    )
    readme = paper.folder / "README.md"
    return {
        "paper": paper.name,
        "heading": paper.meta.title,
        "citation": paper.meta.citation,
        "url": paper.meta.url,
        "tables": tables,
        "figures": figures,
        "no_figures": missing,
        "assumptions": _assumptions(paper),
        "own": [(name, n) for name, n in extra.items() if name not in printed],
        "verdict_counts": _verdict_counts(card.verdict for card in own if card.verdict),
        "readme": readme_html(readme.read_text(encoding="utf-8")) if readme.is_file() else "",
    }


def _assumptions(paper: Paper) -> list[tuple[str, str, str]]:
    """Each assumed fact with its value and how many printed numbers it is assumed for."""
    printed = load_published({paper.name: paper})
    counts: Counter[tuple[str, str]] = Counter()
    for entry in paper.meta.protocols:
        n = sum(matches(entry.match, row) for row in printed)
        for key, value in entry.assumed.items():
            counts[key, format_value(value)] += n
    return [(key, value, str(n)) for (key, value), n in counts.items()]


def _matrix(results: Results, papers: Mapping[str, Paper]) -> dict[str, Any]:
    found = [record for record in results.records.values() if record.table == MATRIX_TABLE]
    name = found[0].paper if found else ""
    skipped = [row for row in results.skipped if row["paper"] == name and row.get("table", MATRIX_TABLE) == MATRIX_TABLE]
    facts = {"table": MATRIX_TABLE, "floor": MATRIX_FLOOR, "skipped": skipped}
    lead = papers[name].meta.citation if name in papers else ""
    return {"paper": name if name in papers else "", "facts": facts, "lead": lead, "reference": results.kind == "reference"}


def _cost(results: Results) -> dict[str, Any]:
    frame = results.costs
    label = "job" if "job" in frame else "config_hash"
    chart = [{"paper": row["paper"], "job": row[label], "seconds": row["seconds"]} for row in frame.to_dict("records")]
    shown = frame.drop(columns=["config_hash"], errors="ignore") if label == "job" else frame
    return {
        "jobs": _table(shown.to_dict("records")),
        "models": _table(results.models),
        "waiting": _table(results.waiting),
        "chart": chart,
        "total": duration(frame["seconds"].sum()) if len(frame) else "",
        "reference": results.kind == "reference",
    }


def _table(rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    rows = list(rows)
    columns = list(dict.fromkeys(column for row in rows for column in row))
    return {
        "columns": [column.replace("_", " ") for column in columns],
        "rows": [[row.get(c) for c in columns] for row in rows],
    }


def duration(seconds: float) -> str:
    """Seconds in a unit that one reads."""
    for size, unit in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"


def _verdict_counts(rows: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    counts = Counter(row["status"] for row in rows)
    return {status: counts[status] for status in diff_module.STATUSES}


def _claim_counts(rows: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    counts = Counter(row["status"] for row in rows)
    return {status: counts[status] for status in claims_module.STATUSES}


def _claim(row: Mapping[str, Any]) -> dict[str, Any]:
    """A claim with what its bar and its list of values need."""
    z, p = (None if row[name] is None or math.isnan(row[name]) else float(row[name]) for name in ("z", "p"))
    bar = None
    if z is not None:
        share = 50 * max(-1.0, min(1.0, z / MARGIN_RANGE))
        bar = (f"{50 + min(share, 0):.1f}", f"{max(abs(share), 0.6):.1f}")
    z_text = "" if z is None else f"{z:+.1f}" if math.isfinite(z) else "certain, " + ("for" if z > 0 else "against")
    return {
        **row,
        "bar": bar,
        "z_text": z_text,
        "p_text": "" if p is None else f"{p:.2g}",
        "order": "" if z is None else max(-1e9, min(1e9, z)),
        "evidence_parts": evidence_parts(str(row["evidence"] or "")),
    }


def evidence_parts(evidence: str) -> list[tuple[str, str]]:
    """(number, value) of each record that a claim's evidence names; a name may hold `; `. Empty for other evidence."""
    parts: list[str] = []
    for piece in evidence.split("; "):
        if parts and " = " not in parts[-1]:
            parts[-1] += f"; {piece}"
        else:
            parts.append(piece)
    found = [part.rpartition(" = ") for part in parts]
    return [(name, value) for name, _, value in found] if all(name for name, _, _ in found) else []


def readme_html(text: str) -> Markup:
    """A README as HTML: no raw HTML, no pictures, and of links only those to the web, for the report has no other files."""
    reader = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
    tokens = reader.parse(text)
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(int(token.tag[1]) + 2, 6)}"
        if token.children:
            token.children = list(_offline(token.children))
    html = reader.renderer.render(tokens, reader.options, {})
    return Markup(html.replace("<table>", '<div class="scroll"><table>').replace("</table>", "</table></div>"))


def _offline(tokens: Iterable[Token]) -> Iterable[Token]:
    kept = []
    for token in tokens:
        if token.type == "image":
            yield Token("text", "", 0, content=token.content)
        elif token.type == "link_open":
            kept.append(re.match("https?://", str(token.attrGet("href"))) is not None)
            if kept[-1]:
                token.attrSet("rel", "noreferrer")
                yield token
        elif token.type != "link_close" or kept.pop():
            yield token


def _show(value: object) -> str:
    if value is None or value != value:
        return ""
    return number(value) if isinstance(value, float) else str(value)


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("rescore.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {
        "MARKS": MARKS | CLAIM_MARKS,
        "WORDS": WORDS,
        "MEANING": MEANING,
        "HEADS": HEADS,
        "CHANGES": CHANGES,
        "address": address,
        "number": number,
        "with_error": with_error,
        "show": _show,
        "infinity": math.inf,
        "moved_keys": (),
        "moved_claims": {},
    }
    return environment
