"""The way of one printed number to its verdict: the blocks of docs/verdict.md."""

import ast
import csv
import functools
import textwrap
from pathlib import Path

from markdown_text import REFERENCE, ROOT, code, listed, paragraph, table
from rescore.ledger import claims as claims_module
from rescore.ledger import diff as diff_module
from rescore.ledger.protocol import declared_protocol, format_value
from rescore.ledger.records import describe
from rescore.ledger.tables import MARKS, number, with_error
from rescore.papers import load_paper
from rescore.report.cards import card_text, make_cards
from rescore.report.source import read_results

KEY, SCALE, CLAIM = "pis/5.1/mg/PIS/Grad/logz_rmse/100", "paper", "gradient-helps-mg"
"""The number that docs/verdict.md follows, and the claim that it is a part of."""


@functools.cache
def cards():
    papers = {"pis": load_paper("pis", ROOT)}
    return make_cards(read_results(REFERENCE / SCALE, papers, ROOT), papers)


def the_card():
    return cards().find(KEY)


def line_of(path: Path, key: tuple) -> str:
    """The one line of a CSV file that begins with these columns, and the head above it."""
    start = ",".join("" if part is None else str(part) for part in key) + ","
    head, *lines = path.read_text(encoding="utf-8").splitlines()
    (line,) = [line for line in lines if line.startswith(start)]
    return f"{head}\n{line}"


def published_row() -> str:
    return code(line_of(ROOT / "reproductions" / "pis" / "published.csv", the_card().key), "text")


def declared() -> str:
    """The protocol of the row, as all entries of paper.yaml that match it add up."""
    stated, assumed = declared_protocol(load_paper("pis", ROOT).meta.protocols, the_card().published)
    rows = [
        {"setting": f"`{name}`", "value": format_value(value), "who says so": who}
        for who, part in (("the paper states it", stated), ("we assume it", assumed))
        for name, value in part.items()
    ]
    return table(rows)


def record_row() -> str:
    lines = line_of(REFERENCE / SCALE / "records" / "pis.csv", the_card().key).splitlines()
    return listed({name: value for name, value in next(csv.DictReader(lines)).items() if value})


def diff_row() -> str:
    shown = ("published", "measured", "stderr", "error", "tolerance", "delta", "status", "note")
    return listed({name: the_card().verdict[name] for name in shown})


def arithmetic() -> str:
    """The rule on this number, in words."""
    card, verdict = the_card(), the_card().verdict
    published, record, allowed = card.published, card.record, verdict["tolerance"]
    floor = diff_module.RELATIVE_FLOOR[published.metric]
    return paragraph(
        f"The paper prints {published.value} and no uncertainty, so the printed number allows the larger of half a unit of its",
        f"last digit, {number(published.half_unit)}, and the floor of `{published.metric}`, {floor:.0%} of {published.value}:",
        f"{number(allowed)}. We measured {with_error(record.value, record.stderr)} over {record.df + 1} {record.over}, whose",
        f"interval is {number(verdict['error'])} to each side: less than {number(allowed)}, so the number is judged.",
        f"It differs by {number(abs(verdict['delta']))}, which is",
        f"{'within' if abs(verdict['delta']) <= allowed else 'outside'} the tolerance: {MARKS[card.status]} {card.status}.",
    )


def neighbours() -> str:
    """The same row of the table, whose verdicts differ."""
    row = [card for card in cards().cards.values() if card.key[:5] == the_card().key[:5] and card.published and card.record]
    return table(
        [
            {
                "number": f"`{describe(card.key)}`",
                "printed": card.published.value,
                "measured": with_error(card.record.value, card.record.stderr),
                "allowed": number(card.verdict["tolerance"]),
                "our error": number(card.verdict["error"]),
                "verdict": f"{MARKS[card.status]} {card.status}",
            }
            for card in row
        ]
    )


def card_block() -> str:
    return code(card_text(cards(), the_card()), "text")


def claim_source() -> str:
    """The claim as it is written in claims.py."""
    source = (ROOT / "reproductions" / "pis" / "claims.py").read_text(encoding="utf-8")
    calls = (
        node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Claim"
    )
    (found,) = (node for node in calls if getattr(node.args[0], "value", None) == CLAIM)
    return code(textwrap.dedent(" " * found.col_offset + ast.get_source_segment(source, found)), "python")


def claim_row() -> str:
    (row,) = (
        row
        for row in claims_module.read_claims(REFERENCE / SCALE / "claims.csv")
        if (row["paper"], row["claim"]) == ("pis", CLAIM)
    )
    return listed(
        {
            name: number(row[name]) if name in ("margin", "z", "p") else row[name]
            for name in ("status", "margin", "z", "p", "evidence")
        }
    )
