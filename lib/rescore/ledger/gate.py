"""The regression gate: a fresh run beside the committed reference of the same scale."""

import math
import re
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rescore.ledger.claims import evaluate_all, read_claims
from rescore.ledger.diff import diff, keys, read_diff
from rescore.ledger.protocol import parse_protocol
from rescore.ledger.published import load_published
from rescore.ledger.records import KEY, TIMED, Record, describe, is_timed, matches, read_records
from rescore.ledger.reference import parse_version, portable, read_reference, require_current, require_run, skipped_rows
from rescore.papers import Paper

COLUMNS = ("verdict", "row", "what", "reference", "fresh", "allowed")
EXACT_RELATIVE, EXACT_ABSOLUTE = 1e-6, 1e-12
SIGMAS, STATISTICAL_RELATIVE = 5.0, 0.05
ROUNDING = 1e-9  # an exact number that is nothing but rounding, such as a covariance's error of 4e-16, differs elsewhere
EVALUATIONS_RELATIVE = 0.2  # what an adaptive solver's evaluations may differ by on another machine
UNKNOWN_RELATIVE, UNKNOWN_ABSOLUTE = 0.25, 0.01  # where no error is known: what one training or a count may differ by elsewhere


@dataclass
class Report:
    """What moved: rows of `COLUMNS`, `verdict` being `fail` or `warn`."""

    compared: int = 0
    moved: list[dict[str, object]] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        return any(line["verdict"] == "fail" for line in self.moved)

    def add(self, failed: bool, row: str, what: str, reference: object, fresh: object, allowed: float | None = None) -> None:
        self.moved.append(dict(zip(COLUMNS, ("fail" if failed else "warn", row, what, reference, fresh, allowed), strict=True)))


def same_class(fresh: Record, reference: Record) -> bool:
    """Whether two records must agree to rounding: one machine class, one release, one torch."""
    versions = [parse_version(record.version) for record in (fresh, reference)]
    return fresh.device == reference.device and all(versions[0][part] == versions[1][part] for part in ("release", "torch"))


def gate(
    fresh_dir: Path, reference_dir: Path, paper: str | None = None, hashes: Mapping[str, Container[str]] | None = None
) -> Report:
    """Compare records, verdicts and claims of a run with its reference.

    On the same machine class and version a value and its standard error may move by 1e-6 of their size (1e-12 near zero);
    otherwise a value may move by `5 hypot(stderr, stderr) + 0.05 |value|` (1e-9 near zero) and, where no error is known (none,
    or one of 0 over repeats that agree by chance), by `max(0.25 |value|, 0.01)`; the evaluations of adaptive solvers by 20 %.
    Another protocol, count of seeds or samples, kind of error, or label of what was repeated fails, so does a row that is gone.
    A new row or a changed config hash is a warning. A changed status of a verdict or a claim fails on the same machine class
    and version and is a warning otherwise; a claim that breaks always fails. Times and memory (`is_timed`) may move, and what
    is said of them. A skip fails, with its reason, where the reference has numbers that it takes away; any other that is new,
    gone or has another reason is a warning.

    Args:
        fresh_dir: results/<scale>.
        reference_dir: the folder of that scale's reference.
        paper: compare this paper's rows only.
        hashes: of the present configs, as `require_current` takes them; None: whatever the run has been measured under.

    Raises:
        RescoreError: a file is missing, or the run is of other settings.
    """
    require_run(fresh_dir)
    report = Report()
    fresh, reference = (
        {record.key: record for record in records if paper in (None, record.paper)}
        for records in (read_records(fresh_dir / "records.csv"), read_reference(reference_dir))
    )
    require_current(fresh_dir / "records.csv", fresh.values(), hashes or {})
    renamed = _renamed(fresh, reference)
    for key, record in reference.items():
        if key in fresh or key in renamed:
            report.compared += 1
            _compare(fresh[renamed.get(key, key)], record, report)
        else:
            report.add(True, describe(key), "record", record.value, "missing")
    for key in fresh.keys() - reference.keys() - set(renamed.values()):
        report.add(False, describe(key), "record", "none", fresh[key].value)
    lost = [record for key, record in reference.items() if key not in fresh and key not in renamed]
    _compare_skips(report, skipped_rows(fresh_dir) or [], skipped_rows(reference_dir), lost, paper)

    common = fresh.keys() & reference.keys()
    strict = {key for key in common if same_class(fresh[key], reference[key])}
    loose_papers = {key[0] for key in common - strict}
    strict = {key for key in strict if not is_timed(fresh[key].metric)}
    timed_claims = _timed_claims(fresh_dir) | _timed_claims(reference_dir)
    _compare_statuses(report, "verdict", _verdicts(fresh_dir, paper), _verdicts(reference_dir, paper), strict.__contains__)
    _compare_statuses(
        report,
        "claim",
        _claims(fresh_dir, paper),
        _claims(reference_dir, paper),
        lambda key: key[0] not in loose_papers and key not in timed_claims,
    )
    report.moved.sort(key=lambda line: (line["verdict"], line["what"], line["row"]))
    return report


def gate_reference(reference_dir: Path, papers: Mapping[str, Paper]) -> Report:
    """Derive the verdicts and claims of a reference's records again, and compare them with those beside them.

    A status that changed or is gone fails; a row of a paper that the reference covers, but not the row, is a warning.

    Args:
        papers: compare the rows of these.

    Raises:
        RescoreError: the reference is not whole.
    """
    records = read_reference(reference_dir)
    committed = {"verdict": _verdicts(reference_dir, None), "claim": _claims(reference_dir, None)}
    covered = {key[0] for statuses in committed.values() for key in statuses}.intersection(papers)
    papers = {name: paper for name, paper in papers.items() if name in covered}
    frame = diff(records, load_published(papers), papers, skipped_rows(reference_dir) or ())
    derived: dict[str, Mapping[tuple, str]] = {
        "verdict": dict(zip(keys(frame), frame["status"], strict=True)),
        "claim": {(line["paper"], line["claim"]): str(line["status"]) for line in evaluate_all(papers, records)},
    }
    report = Report()
    for what, statuses in derived.items():
        before = {key: status for key, status in committed[what].items() if key[0] in covered}
        report.compared += len(before)
        _compare_statuses(report, what, statuses, before, lambda key: True)
    report.moved.sort(key=lambda line: (line["verdict"], line["what"], line["row"]))
    return report


def _renamed(fresh: Mapping[tuple, Record], reference: Mapping[tuple, Record]) -> dict[tuple, tuple]:
    """From a reference's key to the one in its place where an adaptive solver took other evaluations on another machine.

    The two differ in nfe alone, by at most `EVALUATIONS_RELATIVE`, and neither is in the other's records; the nearest counts.
    """
    new, found = fresh.keys() - reference.keys(), {}
    for key in [key for key in reference if key not in fresh]:  # in the order of the records: each run pairs them alike
        near = {
            other: abs(other[-1] - key[-1])
            for other in new
            if other[:-1] == key[:-1] and None not in (other[-1], key[-1]) and not same_class(fresh[other], reference[key])
        }
        least = min(near, key=near.__getitem__, default=None)
        if least is not None and near[least] <= EVALUATIONS_RELATIVE * key[-1]:
            found[key] = least
            new -= {least}
    return found


def _same_protocol(fresh: Record, reference: Record) -> bool:
    """Equal texts; on another machine class, that of the training, and evaluations that an adaptive solver took, may differ."""
    if fresh.protocol == reference.protocol or same_class(fresh, reference):
        return fresh.protocol == reference.protocol
    after, before = (parse_protocol(record.protocol) for record in (fresh, reference))
    for protocol in (after, before):
        protocol.pop("trained_on", None)
    took = [float(protocol.pop("evaluations", 0)) for protocol in (after, before)]
    return after == before and abs(took[0] - took[1]) <= EVALUATIONS_RELATIVE * took[1]


def _compare(fresh: Record, reference: Record, report: Report) -> None:
    name = describe(reference.key)
    if not _same_protocol(fresh, reference):
        report.add(True, name, "protocol", reference.protocol, fresh.protocol)
    labels = ("matched",) if reference.matched else ()  # earlier code wrote none
    for column in ("over", "df", "n_seeds", "n_samples", *labels):
        before, after = getattr(reference, column), getattr(fresh, column)
        if before != after:
            report.add(True, name, column, before, after)
    if fresh.config_hash != reference.config_hash:
        report.add(False, name, "config_hash", reference.config_hash, fresh.config_hash)
    if is_timed(fresh.metric):
        return
    if same_class(fresh, reference):
        for column in ("value", "stderr"):
            before, after = getattr(reference, column), getattr(fresh, column)
            allowed = max(EXACT_RELATIVE * abs(before or 0.0), EXACT_ABSOLUTE)
            if (before is None) != (after is None) or (before is not None and abs(after - before) > allowed):
                report.add(True, name, column, before, after, allowed)
    else:
        noise = math.hypot(fresh.stderr or 0.0, reference.stderr or 0.0)
        allowed = max(SIGMAS * noise + STATISTICAL_RELATIVE * abs(reference.value), ROUNDING)
        if not noise and reference.over != "exact":
            allowed = max(UNKNOWN_RELATIVE * abs(reference.value), UNKNOWN_ABSOLUTE)
        if abs(fresh.value - reference.value) > allowed:
            report.add(True, name, "value", reference.value, fresh.value, allowed)


def _compare_skips(
    report: Report,
    fresh: Iterable[Mapping[str, str]],
    reference: Iterable[Mapping[str, str]] | None,
    lost: Iterable[Record],
    paper: str | None,
) -> None:
    """What was skipped and why.

    Args:
        reference: None: it keeps no skips, and only those are told that take numbers away.
        lost: records of the reference that are not in the run.
    """
    lost = list(lost)
    now, before = (
        {tuple(row.get(column, "") for column in KEY): portable(row["reason"]) for row in rows if paper in (None, row["paper"])}
        for rows in (fresh, reference or ())
    )
    for key in now.keys() | before.keys():
        old, new = before.get(key, "none"), now.get(key, "none")
        pattern = {column: text for column, text in zip(KEY, key, strict=True) if text}
        takes_numbers = key in now and any(matches(pattern, record) for record in lost)
        if takes_numbers or (old != new and reference is not None):
            report.add(takes_numbers, describe(key), "skip", old, new)


def _verdicts(folder: Path, paper: str | None) -> dict[tuple, str]:
    frame = read_diff(folder / "diff.csv")
    return {key: status for key, status in zip(keys(frame), frame["status"], strict=True) if paper in (None, key[0])}


def _claims(folder: Path, paper: str | None) -> dict[tuple, str]:
    return {
        (line["paper"], line["claim"]): str(line["status"])
        for line in read_claims(folder / "claims.csv")
        if paper in (None, line["paper"])
    }


def rests_on_time(claim: Mapping[str, object]) -> bool:
    """Whether a claim's evidence holds a time: its records are spelled `dataset/.../metric/nfe = value`."""
    return bool(re.search(rf"({'|'.join(TIMED)})(/[^ ]*)? = ", str(claim["evidence"])))


def _timed_claims(folder: Path) -> set[tuple]:
    return {(line["paper"], line["claim"]) for line in read_claims(folder / "claims.csv") if rests_on_time(line)}


def _compare_statuses(
    report: Report, what: str, fresh: Mapping[tuple, str], reference: Mapping[tuple, str], strict: Callable[[tuple], bool]
) -> None:
    for key in reference.keys() | fresh.keys():
        before, after = reference.get(key, "none"), fresh.get(key, "missing")
        if before != after:
            lost, new = after in ("missing", "broken"), before in ("none", "not-run")
            report.add(lost or (not new and strict(key)), describe(key), what, before, after)
