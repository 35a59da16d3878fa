"""What moved between two results: numbers beyond their errors, verdicts and claims with another status."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from rescore.ledger.gate import rests_on_time
from rescore.ledger.records import Record, describe, is_timed
from rescore.report.source import Key, Results

SIGMAS = 2.0  # standard errors of the difference beyond which a number has moved
RELATIVE = 1e-6  # where no error is known


@dataclass(frozen=True)
class Change:
    """One thing that moved.

    Args:
        what: `verdict`, `claim`, `number`, `protocol`, `new` or `gone`.
        name: of the number or claim.
        key: of a number, None for a claim.
        before, after: texts or values.
        sigmas: of a number, its change in standard errors of the difference; infinite where no error is known.
    """

    what: str
    paper: str
    name: str
    key: Key | None
    before: Any
    after: Any
    sigmas: float | None = None


ORDER = ("verdict", "claim", "number", "protocol", "new", "gone")


def moved(now: Results, before: Results, papers: Iterable[str]) -> list[Change]:
    """What is not as it was `before`, the largest changes first; of times and memory, which no two runs share, nothing."""
    chosen = set(papers)
    ours, theirs = (
        {key: r for key, r in results.records.items() if key[0] in chosen and not is_timed(r.metric)}
        for results in (now, before)
    )
    found: list[Change] = []
    for key, record in ours.items():
        if key not in theirs:
            found.append(Change("new", record.paper, describe(key), key, None, record.value))
        else:
            found += _number(record, theirs[key])
    found += [
        Change("gone", record.paper, describe(key), key, record.value, None)
        for key, record in theirs.items()
        if key not in ours
    ]
    timed = {key for key in now.verdicts if is_timed(str(key[5]))}
    judged = [{key: row["status"] for key, row in run.verdicts.items() if key not in timed} for run in (now, before)]
    for key, after, earlier in _changed(judged[0], judged[1], chosen):
        found.append(Change("verdict", str(key[0]), describe(key), key, earlier, after))
    claims = [
        {(row["paper"], row["claim"]): row["status"] for row in run.claims if not rests_on_time(row)} for run in (now, before)
    ]
    for key, after, earlier in _changed(claims[0], claims[1], chosen):
        found.append(Change("claim", key[0], key[1], None, earlier, after))
    return sorted(found, key=lambda change: (ORDER.index(change.what), -(change.sigmas or 0.0), change.name))


def _number(now: Record, before: Record) -> list[Change]:
    name, changes = describe(now.key), []
    noise = math.hypot(now.stderr or 0.0, before.stderr or 0.0)
    delta = abs(now.value - before.value)
    sigmas = delta / noise if noise else math.inf
    if delta > RELATIVE * abs(before.value) and sigmas > SIGMAS:
        changes.append(Change("number", now.paper, name, now.key, before.value, now.value, sigmas))
    if now.protocol != before.protocol:
        changes.append(Change("protocol", now.paper, name, now.key, before.protocol, now.protocol))
    return changes


def _changed(now: Mapping[Any, str], before: Mapping[Any, str], papers: set[str]) -> list[tuple[Any, str, str]]:
    """(key, status now, status before) where both have the key and differ."""
    return [
        (key, status, before[key])
        for key, status in now.items()
        if key[0] in papers and key in before and before[key] != status
    ]
