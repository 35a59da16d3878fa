"""Verdicts: each published number beside the measured one, and whether they agree."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pandas as pd

from rescore.errors import RescoreError
from rescore.files import atomic_write
from rescore.ledger.protocol import (
    MAIN,
    check_candidate,
    check_pattern,
    declared_protocol,
    differences,
    format_value,
    parse_protocol,
)
from rescore.ledger.published import Published
from rescore.ledger.records import KEY, Record, check_status, describe, matches, nfe_in, number_in, read_rows
from rescore.ledger.statistics import MOST, half_width, repeats_needed

if TYPE_CHECKING:
    from rescore.papers import Paper

STATUSES = ("reproduced", "off", "imprecise", "indicative", "not-run")
JUDGED = STATUSES[:2]
COLUMNS = (
    *KEY,
    "published",
    "uncertainty",
    "measured",
    "stderr",
    "error",
    "tolerance",
    "delta",
    "status",
    "protocol",
    "source",
    "note",
    "explained_by",
)
YOUNGER = ("explained_by",)  # columns that older files lack
NUMBERS = ("uncertainty", "measured", "stderr", "error", "tolerance", "delta")

# The relative part of the tolerance, one for each metric and the same for every paper: what a faithful repetition of the
# experiment may differ by when the paper prints no uncertainty. Chosen before any result was seen; never changed for one.
DEFAULT_FLOOR = 0.05
RELATIVE_FLOOR = {
    "logz_bias": 0.10,  # the training seed moves the bias of a trained sampler; no paper prints by how much
    "logz_std": 0.15,  # two standard errors of a standard deviation over 100 runs: 2 / sqrt(198) = 0.142
    "logz_rmse": 0.10,  # the root of bias^2 + std^2, dominated by the bias
    "fid": 0.05,  # spread between trainings that follow one recipe
    "is": 0.02,  # as FID, on a scale that is stretched less
    "bpd": 0.01,  # dequantisation noise and trace estimates average out over a test set
    "nll": 0.02,  # as bpd, over smaller test sets
}


def tolerance(published: Published) -> float:
    """What a printed number allows: `max(half a unit of its last digit, 2 * printed uncertainty, floor * |published|)`.

    The same rule for every number. A bound or an exact value was not rounded to what is printed, so it has no half unit.
    """
    floor = RELATIVE_FLOOR.get(published.metric, DEFAULT_FLOOR) * abs(published.number)
    return max(published.half_unit, 2 * float(published.uncertainty or 0), floor)


def measured_error(record: Record) -> float:
    """Half the length of the interval, by Student's t, in which the measured number's true value lies; infinite if not known.

    It is not known of a single repeat, of one training sampled repeatedly, and where all repeats gave the same by chance.
    """
    if record.over == "exact":
        return 0.0
    if record.over == "samplings" or not record.stderr or record.df is None:
        return math.inf
    return half_width(record.stderr, record.df)


def within(bound: str, delta: float, allowed: float) -> bool:
    """Whether `delta` = measured - published is within `allowed`: on both sides, or for a bound on the wrong side only."""
    rounded = allowed * (1 + 1e-9)  # 0.0185 - 0.018 exceeds 0.0005 in binary; a printed 0.018 covers it
    excess = _excess(bound, delta)
    return excess <= rounded if not bound or bound.endswith("=") else excess < allowed


def _excess(bound: str, delta: float) -> float:
    """How far off `delta` is; of a bound below 0 on the right side."""
    return abs(delta) if not bound else -delta if bound.startswith(">") else delta


@dataclass(frozen=True)
class CandidateVerdict:
    """A published number under one candidate protocol.

    Args:
        key: of the record that answers it; `record` is None where there is none.
        error: `measured_error`, None where it is not known.
        protocol: the protocol that it repeats, `main` or a candidate's name, else its own.
        note: of one that is imprecise, how many repeats would decide.
    """

    name: str
    source: str
    key: tuple[str | int | None, ...]
    record: Record | None
    status: str
    error: float | None
    protocol: str
    note: str


def diff(
    records: Iterable[Record],
    published: Iterable[Published],
    papers: Mapping[str, "Paper"],
    skipped: Iterable[Mapping[str, str]] = (),
) -> pd.DataFrame:
    """One row for each published number, in their order, with a status.

    `reproduced`, `off` or, where the measured error is too large to tell, `imprecise` where the record's protocol has every
    value that `paper.yaml` declares for the published row, `indicative` where it has not (tolerance and delta are shown, not
    judged) or where the record is a stand-in measured on something else (no delta: the units differ), `not-run` where there is
    no record.

    Args:
        papers: for the protocols and the reasons of rows that are not run.
        skipped: rows of `skipped.csv`; their reasons come before those of `paper.yaml`.
    """
    measured = {record.key: record for record in records}
    skipped = list(skipped)
    for name in papers:
        for one in papers[name].meta.candidates:
            check_candidate(one, papers[name])
    rows = []
    for entry in published:
        row = {column: getattr(entry, column) for column in KEY}
        row |= {"published": entry.value, "uncertainty": float(entry.uncertainty) if entry.uncertainty else None}
        record = measured.get(entry.key)
        shown, name = (None, "") if record else stand_in(entry, papers[entry.paper], measured)
        if shown:
            row |= {
                "measured": shown.value,
                "stderr": shown.stderr,
                "status": "indicative",
                "protocol": shown.protocol,
                "note": name,
            }
        elif record is None:
            row |= {"status": "not-run", "protocol": "", "note": _reason(entry, papers[entry.paper], skipped)}
        else:
            row |= {"measured": record.value, "stderr": record.stderr, "protocol": record.protocol}
            row |= judge(entry, record, *declared_protocol(papers[entry.paper].meta.protocols, entry))
        row["note"] = "; ".join(filter(None, (row["note"], entry.note)))
        row["source"] = entry.source
        candidates = candidate_verdicts(entry, papers[entry.paper], measured)
        row["explained_by"] = explained_by(candidates, str(row["status"]), record)
        rows.append(row)
    return _typed(pd.DataFrame(rows, columns=COLUMNS))


def judge(entry: Published, record: Record, stated: Mapping[str, object], assumed: Mapping[str, object]) -> dict[str, object]:
    """The columns that compare a record with the published number, which was made as `stated` and as we have `assumed`.

    Both errors count once the measured one is within what the printed number allows. One that exceeds it would make any
    number agree, so such a record is not judged, unless its whole interval is outside, or of a bound inside: no repeat would
    change that.
    """
    allowed, error, delta = tolerance(entry), measured_error(record), record.value - entry.number
    found: dict[str, object] = {"error": error if math.isfinite(error) else None, "tolerance": allowed, "delta": delta}
    if not stated and not assumed:
        return found | {"status": "indicative", "note": "no protocol is declared for this row"}
    if differing := differences({**stated, **assumed}, parse_protocol(record.protocol)):
        return found | {"status": "indicative", "note": f"differs: {', '.join(differing)}"}
    assumptions = ", ".join(f"{key}={format_value(value)}" for key, value in sorted(assumed.items()))
    note = f"assumes {assumptions}" if assumptions else ""
    if error > allowed and within(entry.bound, delta, allowed + error) and not within(entry.bound, delta, allowed - error):
        return found | {"status": "imprecise", "note": "; ".join(filter(None, (_would_decide(entry, record), note)))}
    if error <= allowed:
        allowed = max(allowed, math.hypot(2 * float(entry.uncertainty or 0), error))
    status = "reproduced" if within(entry.bound, delta, allowed) else "off"
    return found | {"tolerance": allowed, "status": status, "note": note}


def decided_by(entry: Published, status: str, record: Record | None) -> str:
    """Of an imprecise record, in words how many repeats would decide; else empty."""
    return _would_decide(entry, record) if record and status == "imprecise" else ""


def _would_decide(entry: Published, record: Record) -> str:
    """How many repeats would decide, should value and spread stay: `judge` reads no error above what is allowed here.

    It is what the printed number allows, or where the value is farther off what leaves the whole interval outside.
    """
    allowed = tolerance(entry)
    allowed = max(allowed, abs(_excess(entry.bound, record.value - entry.number) - allowed))
    if record.over == "samplings":
        return "one training, of which only samplings were repeated: several trainings would decide"
    if not record.stderr or record.df is None:
        return f"the error is not known: more than {(record.df or 0) + 1} {record.over} would decide"
    needed = repeats_needed(record.stderr, record.df, allowed)
    count = f"about {needed}" if needed else f"more than {MOST}"
    return f"{count} {record.over} would decide, {record.df + 1} were made"


def candidate_verdicts(entry: Published, paper: "Paper", measured: Mapping[tuple, Record]) -> list[CandidateVerdict]:
    """The candidate protocols of a published row, each with its record and the verdict that the rule for all rows gives it."""
    found: list[CandidateVerdict] = []
    changes: dict[str | None, Mapping[str, object]] = {None: {}, MAIN: {}}
    roots = {MAIN: MAIN}
    stated, assumed = declared_protocol(paper.meta.protocols, entry)
    for one in paper.meta.candidates:
        if not matches(one.match, entry):
            continue
        where = f"paper {paper.name}: candidate {one.name} of {describe(entry.key)}"
        if one.name in changes:
            raise RescoreError(f"{where}: two have this name, or it is {MAIN}, which means what `protocols` declare")
        if one.repeats not in changes:
            allowed = ", ".join(name for name in changes if name)
            raise RescoreError(f"{where}: repeats: {one.repeats}; allowed: {allowed}, those before it that match the number")
        protocol = changes[one.name] = {**changes[one.repeats], **one.protocol}
        root = roots[one.name] = roots[one.repeats] if one.repeats else one.name
        key = {column: getattr(entry, column) for column in KEY}
        names = key | {"name": one.name}
        key |= {column: value.format(**names) if isinstance(value, str) else value for column, value in one.use.items()}
        record = measured.get(tuple(key.values()))
        guessed = {name: value for name, value in assumed.items() if name not in protocol}
        verdict = judge(entry, record, {**stated, **protocol}, guessed) if record else {"status": "not-run"}
        status, error = str(verdict["status"]), cast("float | None", verdict.get("error"))
        found.append(
            CandidateVerdict(
                one.name, one.source, tuple(key.values()), record, status, error, root, decided_by(entry, status, record)
            )
        )
    return found


def by_protocol(candidates: Sequence[CandidateVerdict], status: str, record: Record | None) -> dict[str, tuple[str, str]]:
    """The verdict of each protocol with all its repeats, `MAIN` first, and who gives it: of those decided the most repeats.

    Runs of fewer repeats are often among those of more, so the two are no two chances to agree. Not the smallest error: that of
    four trainings which happen to end alike is smaller than that of many, and wrong.

    Args:
        status, record: the main protocol's own, if there is one.

    Returns:
        by protocol `reproduced` or `off` and the name of the candidate, or `MAIN`; two empty texts where none is decided.
    """
    found: dict[str, list[tuple[tuple[float, float], str, str]]] = {MAIN: []}
    own = [(MAIN, MAIN, status, record)]
    for protocol, name, verdict, its in own + [(one.protocol, one.name, one.status, one.record) for one in candidates]:
        decided = found.setdefault(protocol, [])
        if its and verdict in JUDGED:
            decided.append(((its.df or math.inf, -measured_error(its)), verdict, name))
    return {protocol: max(decided, default=((), "", ""), key=lambda one: one[0])[1:] for protocol, decided in found.items()}


def explanations(candidates: Sequence[CandidateVerdict], status: str, record: Record | None) -> list[str]:
    """The names of the candidates by which their protocol reproduces the row; arguments as of `by_protocol`."""
    decided = by_protocol(candidates, status, record).values()
    return [name for verdict, name in decided if verdict == "reproduced" and name != MAIN]


def explained_by(candidates: Sequence[CandidateVerdict], status: str, record: Record | None) -> str:
    """`explanations` as text; else how many candidate protocols do not reproduce the row, and of how many that is not known."""
    if names := explanations(candidates, status, record):
        return ", ".join(names)
    others = [verdict for protocol, (verdict, _) in by_protocol(candidates, status, record).items() if protocol != MAIN]
    off, open_ = others.count("off"), others.count("")
    return ", ".join(filter(None, (f"none of {off}" if off else "", f"{open_} not decided" if open_ else "")))


def is_explained(text: str) -> bool | None:
    """What `explained_by` said of a row: True for names of candidates, False where none reproduces it, else None."""
    if not text or re.fullmatch(r"(none of \d+, )?\d+ not decided", text):
        return None
    return not re.fullmatch(r"none of \d+", text)


def stand_in(entry: Published, paper: "Paper", measured: Mapping[tuple, Record]) -> tuple[Record | None, str]:
    """The record that `paper.yaml` shows in place of one on the published data, and the words that say so."""
    where = f"{paper.folder / 'paper.yaml'}: stand_ins"
    for declared in paper.meta.stand_ins:
        check_pattern(declared.match, f"{where}: match")
        check_pattern(declared.use, f"{where}: use")
        if matches(declared.match, entry):
            key = {column: getattr(entry, column) for column in KEY} | declared.use
            if found := measured.get(tuple(key.values())):
                return found, "stand-in: " + ", ".join(f"{column}={value}" for column, value in declared.use.items())
    return None, ""


def _reason(entry: Published, paper: "Paper", skipped: Iterable[Mapping[str, str]]) -> str:
    for row in skipped:
        if matches({column: value for column, value in row.items() if column in KEY}, entry):
            return row["reason"]
    for declared in paper.meta.not_run:
        check_pattern(declared.match, f"{paper.folder / 'paper.yaml'}: not_run: match")
        if matches(declared.match, entry):
            return declared.reason
    return "no record"


def _typed(frame: pd.DataFrame) -> pd.DataFrame:
    """Numbers as floats with NaN where there is none, nfe as whole numbers."""
    for column in NUMBERS:
        frame[column] = pd.to_numeric(frame[column]).astype(float)
    frame["nfe"] = pd.to_numeric(frame["nfe"]).astype("Int64")
    return frame


def keys(frame: pd.DataFrame) -> list[tuple[str | int | None, ...]]:
    """The key of each row, as `Record.key` spells it."""
    rows = frame[list(KEY)].itertuples(index=False, name=None)
    return [(*names, None if pd.isna(nfe) else int(nfe)) for *names, nfe in rows]


def write_diff(path: Path | str, frame: pd.DataFrame) -> None:
    """Write `diff.csv`; floats read back bit-equal."""
    atomic_write(path, frame.to_csv(index=False, lineterminator="\n"))


def read_diff(path: Path | str) -> pd.DataFrame:
    """Read `diff.csv`; raises RescoreError on unknown columns, a status outside `STATUSES` or a bad number."""
    path, rows = Path(path), []
    required = [column for column in COLUMNS if column not in YOUNGER]
    for line, row in read_rows(path, required, YOUNGER):
        check_status(path, line, row, STATUSES)
        numbers = {column: number_in(path, line, row, column) for column in NUMBERS}
        rows.append({**dict.fromkeys(YOUNGER, ""), **row, **numbers, "nfe": nfe_in(path, line, row)})
    return _typed(pd.DataFrame(rows, columns=COLUMNS))
