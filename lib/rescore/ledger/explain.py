"""Under which protocol does a printed number come out? Each row with the verdicts of its candidate protocols."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from rescore.ledger.diff import candidate_verdicts, diff, keys
from rescore.ledger.published import Published
from rescore.ledger.records import Record, describe

if TYPE_CHECKING:
    from rescore.papers import Paper

COLUMNS = ("row", "published", "protocol", "measured", "error", "status", "source")
MAIN = "(main)"
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
        groups[_group(row["status"], [one.status for one in found])] += 1
        add(describe(entry.key), entry.value, MAIN, row["measured"], row["error"], row["status"], row["source"])
        for one in found:
            add("", "", one.name, one.record.value if one.record else None, one.error, one.status, one.source)
    return lines, groups


def _group(main: str, candidates: Sequence[str]) -> str:
    if main == "reproduced":
        return GROUPS[0]
    if "reproduced" in candidates:
        return GROUPS[1]
    return GROUPS[2] if {main, *candidates} == {"off"} else GROUPS[3]
