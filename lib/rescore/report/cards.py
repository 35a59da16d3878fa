"""A number's card: everything there is to know about it, the same in the browser and in the terminal."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rescore.config import run_command
from rescore.errors import RescoreError
from rescore.ledger.diff import CandidateVerdict, candidate_verdicts, explained_by, explanations, stand_in
from rescore.ledger.protocol import declared_protocol, format_value, parse_protocol, same_value
from rescore.ledger.published import Published, direction_of, load_published
from rescore.ledger.records import Record, describe
from rescore.ledger.tables import number, with_error
from rescore.papers import Paper
from rescore.report.source import Key, Results, commit_of
from rescore.workflow.paper_rules import job_command

WORDS = {
    "reproduced": "reproduced",
    "off": "off",
    "imprecise": "imprecise",
    "indicative": "indicative",
    "not-run": "not run",
    "": "own number",
}
MEANING = {
    "reproduced": "same protocol, within the tolerance",
    "off": "same protocol, outside the tolerance",
    "imprecise": "same protocol, but our error leaves open whether it is within the tolerance: not judged",
    "indicative": "another protocol: shown, not judged",
    "not-run": "not measured",
    "": "measured by us, printed by no paper",
}
MEASURED_ELSEWHERE = 8  # other protocols that a card in the terminal lists


@dataclass(frozen=True)
class Card:
    """One number: printed, measured or both.

    Args:
        status: of its verdict; empty for a number that the paper does not print.
        record: what was measured; for a stand-in that on other data. None where nothing was.
        met: (key, value) that the paper states and the record has; `assumed` likewise what the paper does not state;
            `differs`: (key, published value, whether assumed, the record's value); `other`: what else the record says.
        job: that measured it, where it is known.
        command: repeats it.
        candidates: its verdicts under the candidate protocols that `paper.yaml` declares for it.
    """

    key: Key
    status: str
    published: Published | None
    verdict: Mapping[str, Any]
    record: Record | None
    is_stand_in: bool
    met: Sequence[tuple[str, str]] = ()
    assumed: Sequence[tuple[str, str]] = ()
    differs: Sequence[tuple[str, str, bool, str]] = ()
    other: Sequence[tuple[str, str]] = ()
    job: str | None = None
    command: str = ""
    candidates: Sequence[CandidateVerdict] = ()

    @property
    def stands_in(self) -> str:
        """Of a stand-in, metric and data set where they are not the row's own: `frechet on digits_gaussian`, `on digits`."""
        if not self.record or not self.is_stand_in:
            return ""
        metric = "" if self.record.metric == self.key[5] else self.record.metric
        return f"{metric} on {self.record.dataset}".strip() if self.record.dataset != self.key[2] else metric

    @property
    def explanations(self) -> list[str]:
        """Of a number that the main protocol does not reproduce, the names of the candidates that do."""
        return [] if self.status == "reproduced" else explanations(self.candidates, self.status, self.record)

    @property
    def explained_by(self) -> str:
        """As `rescore.ledger.diff` says it."""
        return explained_by(self.candidates, self.status, self.record)


@dataclass(frozen=True)
class Cards:
    """All numbers of one scale, printed ones first, in printed order."""

    results: Results
    cards: Mapping[Key, Card] = field(default_factory=dict)

    def of(self, paper: str) -> list[Card]:
        return [card for card in self.cards.values() if card.key[0] == paper]

    def direction(self, metric: str) -> str:
        """`rescore.ledger.published.direction_of` the metric."""
        return direction_of(metric, (card.published for card in self.cards.values() if card.published))

    def elsewhere(self, card: Card) -> list[Record]:
        """The records of the paper with this method, variant, metric and nfe, in other tables or on other data."""
        same = (card.key[0], *card.key[3:])
        shown = card.record.key if card.record else None
        return [
            record
            for record in self.results.records.values()
            if (record.key[0], *record.key[3:]) == same and record.key not in (card.key, shown)
        ]

    def find(self, name: str) -> Card:
        """The card of a key as `describe` spells it, or as the report's addresses do, with its empty parts.

        Raises:
            RescoreError: none or several; the message lists the nearest.
        """
        found = [card for key, card in self.cards.items() if name in (describe(key), address(key))]
        if len(found) == 1:
            return found[0]
        if found:
            listed = ", ".join(address(card.key) for card in found)
            raise RescoreError(f"number {name!r}: {len(found)} have this name; with empty parts: {listed}")
        names = [describe(key) for key in self.cards]
        within = [other for other in names if all(part in other.split("/") for part in name.split("/"))]
        near = within[:6] or difflib.get_close_matches(name, names, 6, 0.4)
        raise RescoreError(f"unknown number {name!r}; {'nearest: ' + ', '.join(near) if near else 'no name is near it'}")


def address(key: Key) -> str:
    """A key as text from which no two keys are alike: all parts, also empty ones."""
    return "/".join("" if part is None else str(part) for part in key)


def make_cards(results: Results, papers: Mapping[str, Paper]) -> Cards:
    """A card for each printed number and each record of `papers`."""
    cards: dict[Key, Card] = {}
    printed = {entry.key: entry for entry in load_published(papers)}
    for key, verdict in results.verdicts.items():
        if paper := papers.get(str(key[0])):
            cards[key] = _printed(key, verdict, printed.get(key), results, paper)
    for key, record in results.records.items():
        if key[0] in papers and key not in cards:
            cards[key] = Card(key, "", None, {}, record, False, other=_pairs(record), **_origin(record, results))
    return Cards(results, cards)


def _printed(key: Key, verdict: Mapping[str, Any], entry: Published | None, results: Results, paper: Paper) -> Card:
    record, is_stand_in = results.records.get(key), False
    if record is None and entry is not None:
        record, words = stand_in(entry, paper, results.records)
        is_stand_in = bool(words)
    stated, assumed = declared_protocol(paper.meta.protocols, entry) if entry else ({}, {})
    measured = dict(_pairs(record)) if record else {}
    met: list[tuple[str, str]] = []
    guessed: list[tuple[str, str]] = []
    differs: list[tuple[str, str, bool, str]] = []
    for name, value in sorted((stated | assumed).items()):
        text = format_value(value)
        if record and name in measured and same_value(value, measured[name]):
            (guessed if name in assumed else met).append((name, text))
        else:
            differs.append((name, text, name in assumed, measured.get(name, "(not recorded)") if record else "(not run)"))
    other = [(name, value) for name, value in measured.items() if name not in stated | assumed]
    origin = _origin(record, results) if record else {"command": paper_command(results, paper.name)}
    candidates = candidate_verdicts(entry, paper, results.records) if entry else ()
    return Card(
        key,
        verdict["status"],
        entry,
        verdict,
        record,
        is_stand_in,
        met,
        guessed,
        differs,
        other,
        candidates=candidates,
        **origin,
    )


def _pairs(record: Record) -> list[tuple[str, str]]:
    try:
        return list(parse_protocol(record.protocol).items())
    except RescoreError:
        return [("protocol", record.protocol)]  # not pairs: shown as it is


def _origin(record: Record, results: Results) -> dict[str, Any]:
    job = results.jobs.get(record.key)
    if job:
        return {"job": job, "command": job_command(record.paper, record.scale, job, results.at, results.root)}
    return {"job": None, "command": paper_command(results, record.paper)}


def paper_command(results: Results, paper: str) -> str:
    """The command that measures all of a paper."""
    return run_command(results.scale, results.at, results.root, paper)


def candidate_text(one: CandidateVerdict) -> str:
    """What was measured under a candidate protocol, and its verdict."""
    verdict = f"{WORDS[one.status]}: {one.note}" if one.note else WORDS[one.status]
    return f"{with_error(one.record.value, one.record.stderr)}, {verdict}" if one.record else verdict


def card_text(cards: Cards, card: Card) -> str:
    """The card for a terminal."""
    lines = [describe(card.key), f"{WORDS[card.status]}: {MEANING[card.status]}", ""]
    rows: list[tuple[str, str]] = []
    record, verdict = card.record, card.verdict
    if record:
        error = (
            "exact"
            if record.over == "exact"
            else ("error not known" if record.stderr is None else f"over {(record.df or 0) + 1} {record.over}")
        )
        rows.append(("measured", f"{with_error(record.value, record.stderr)} ({error})"))
        if card.is_stand_in:
            rows.append(("stand-in", f"measured as {describe(record.key)}"))
    if verdict:
        plus_minus = f" ± {number(verdict['uncertainty'])}" if verdict["uncertainty"] else ""
        rows.append(("published", f"{verdict['published']}{plus_minus}"))
        rows += [(name, number(verdict[name])) for name in ("delta", "tolerance", "error") if verdict[name] is not None]
        rows += [(name, verdict[name]) for name in ("source", "note") if verdict[name]]
    if record:
        rows += [
            ("seeds", str(record.n_seeds)),
            ("samples", str(record.n_samples)),
            ("commit", commit_of(record.version) or "not named"),
            ("device", record.device),
            ("seconds", number(record.seconds)),
            ("version", record.version),
            ("config", record.config_hash),
        ]
    if card.job:
        rows.append(("job", card.job))
    rows.append(("repeat", card.command))
    log = cards.results.logs.get((str(card.key[0]), card.job or ""))
    if log:
        rows.append(("log", str(log)))
    lines += [f"{name:<10} {text}" for name, text in rows]
    stated = [
        f"{name}={published}, measured {value}{' (assumed)' if guess else ''}" for name, published, guess, value in card.differs
    ]
    for title, entries in (
        ("stated and met", [f"{k}={v}" for k, v in card.met]),
        ("assumed", [f"{k}={v}" for k, v in card.assumed]),
        ("differs", stated),
        ("also recorded", [f"{k}={v}" for k, v in card.other]),
    ):
        if entries:
            lines += ["", f"{title}:", *(f"  {entry}" for entry in entries)]
    if card.candidates:
        lines += [
            "",
            "candidate protocols:",
            *(f"  {one.name}: {candidate_text(one)} ({one.source})" for one in card.candidates),
        ]
    if others := cards.elsewhere(card):
        lines += ["", "also measured as:"]
        lines += [f"  {describe(other.key)} = {with_error(other.value, other.stderr)}" for other in others[:MEASURED_ELSEWHERE]]
        if len(others) > MEASURED_ELSEWHERE:
            lines.append(f"  and {len(others) - MEASURED_ELSEWHERE} more")
    return "\n".join(lines) + "\n"


def card_data(card: Card, protocols: dict[str, int], devices: dict[str, int], versions: dict[str, int]) -> dict[str, Any]:
    """The card as the pages' data: short names, nothing that is empty; texts that repeat by their place in a list."""
    data: dict[str, Any] = {"k": list(card.key), "st": card.status, "cmd": card.command, "job": card.job}
    if card.verdict:
        verdict = card.verdict
        data |= {
            "pub": verdict["published"],
            "unc": verdict["uncertainty"],
            "err": verdict["error"],
            "tol": verdict["tolerance"],
            "del": verdict["delta"],
            "note": verdict["note"],
            "src": verdict["source"],
        }
    if card.published:
        data |= {"num": card.published.number}
    if card.record:
        r = card.record
        data |= {
            "v": r.value,
            "e": r.stderr,
            "df": r.df,
            "o": r.over,
            "n": r.n_seeds,
            "m": r.n_samples,
            "each": r.samples_each,
            "s": r.seconds,
            "h": r.config_hash,
            "p": protocols.setdefault(r.protocol, len(protocols)),
            "d": devices.setdefault(r.device, len(devices)),
            "c": versions.setdefault(r.version, len(versions)),
        }
        if card.is_stand_in:
            data["as"] = address(r.key)
    data |= {"met": card.met, "ass": card.assumed, "dif": card.differs}
    data["can"] = [(one.name, candidate_text(one), one.source) for one in card.candidates]
    return {name: value for name, value in data.items() if value not in (None, "", [], ())} | {"st": card.status}
