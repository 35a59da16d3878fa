"""Under which protocol does a printed number come out? Each row with the verdicts of its candidate protocols."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from rescore.ledger.diff import CandidateVerdict, by_protocol, candidate_verdicts, decided_by, diff, keys
from rescore.ledger.protocol import MAIN
from rescore.ledger.published import Published
from rescore.ledger.records import Record, describe

if TYPE_CHECKING:
    from rescore.papers import Paper

COLUMNS = ("row", "published", "protocol", "measured", "error", "status", "note", "source")
GROUPS = ("reproduced by the main protocol", "explained by a candidate", "reproduced by none", "not decided")


def explain(
    records: Iterable[Record],
    published: Sequence[Published],
    papers: Mapping[str, "Paper"],
    skipped: Iterable[Mapping[str, str]] = (),
) -> tuple[list[dict[str, object]], Counter[str]]:
    """Published rows with candidates: a line of `COLUMNS` for each protocol, the main one first; and the sizes of `GROUPS`."""
    records = list(records)
    measured = {record.key: record for record in records}
    frame = diff(records, published, papers, skipped)
    main = dict(zip(keys(frame), frame.to_dict("records"), strict=True))
    lines: list[dict[str, object]] = []
    groups: Counter[str] = Counter()

    def add(*values: object) -> None:
        lines.append(dict(zip(COLUMNS, values, strict=True)))

    for entry in published:
        found = candidate_verdicts(entry, papers[entry.paper], measured)
        if not found:
            continue
        row = main[entry.key]
        groups[_group(found, row["status"], measured.get(entry.key))] += 1
        note = decided_by(entry, row["status"], measured.get(entry.key))
        add(describe(entry.key), entry.value, f"({MAIN})", row["measured"], row["error"], row["status"], note, row["source"])
        for one in found:
            value = one.record.value if one.record else None
            add("", "", one.name, value, one.error, one.status, one.note, one.source)
    return lines, groups


def _group(candidates: Sequence[CandidateVerdict], status: str, record: Record | None) -> str:
    decided = {protocol: verdict for protocol, (verdict, _) in by_protocol(candidates, status, record).items()}
    if decided[MAIN] == "reproduced":
        return GROUPS[0]
    if "reproduced" in decided.values():
        return GROUPS[1]
    return GROUPS[2] if set(decided.values()) == {"off"} else GROUPS[3]
