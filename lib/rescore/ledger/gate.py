"""The regression gate: a fresh run beside the committed reference of the same scale."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from rescore.errors import RescoreError
from rescore.files import atomic_write
from rescore.ledger.claims import read_claims
from rescore.ledger.diff import keys, read_diff
from rescore.ledger.protocol import parse_protocol
from rescore.ledger.records import Record, describe, read_records, run_command, write_records

FILES = ("records.csv", "diff.csv", "claims.csv")
COLUMNS = ("verdict", "row", "what", "reference", "fresh", "allowed")
EXACT_RELATIVE, EXACT_ABSOLUTE = 1e-6, 1e-12
SIGMAS, STATISTICAL_RELATIVE = 5.0, 0.05
DIGITS = 10  # of a reference: more than EXACT_RELATIVE can tell apart


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


def parse_version(version: str) -> dict[str, str | None]:
    """The parts `release`, `commit`, `dirty` and `torch` of `<release>[+g<commit>[.dirty]].torch<version>`."""
    found = re.fullmatch(r"(?P<release>.+?)(\+g(?P<commit>[0-9a-f]+)(?P<dirty>\.dirty)?)?\.torch(?P<torch>.+)", version)
    if not found:
        raise RescoreError(f"version {version!r}: expected <release>+g<commit>[.dirty].torch<version>")
    return found.groupdict()


def same_class(fresh: Record, reference: Record) -> bool:
    """Whether two records must agree to rounding: one machine class, one release, one torch."""
    versions = [parse_version(record.version) for record in (fresh, reference)]
    return fresh.device == reference.device and all(versions[0][part] == versions[1][part] for part in ("release", "torch"))


def gate(fresh_dir: Path, reference_dir: Path, paper: str | None = None) -> Report:
    """Compare records, verdicts and claims of a run with its reference.

    On the same machine class and version a value and its standard error may move by 1e-6 of their size (1e-12 near zero);
    otherwise a value may move by `5 hypot(stderr, stderr) + 0.05 |value|`. Another protocol or count of seeds or samples
    fails, so does a row that is gone. A new row or a changed config hash is a warning, and so is a moved number that was read
    off a clock, which its protocol names. A changed status of a verdict or a claim fails on the same machine class and version
    and is a warning otherwise.

    Args:
        fresh_dir, reference_dir: folders with `records.csv`, `diff.csv` and `claims.csv`.
        paper: compare this paper's rows only.

    Raises:
        RescoreError: a file is missing.
    """
    _require(fresh_dir, run_command(fresh_dir.name))
    _require(reference_dir, f"rescore accept --scale {fresh_dir.name}")
    report = Report()
    fresh = {record.key: record for record in read_records(fresh_dir / "records.csv") if paper in (None, record.paper)}
    reference = {record.key: record for record in read_records(reference_dir / "records.csv") if paper in (None, record.paper)}
    for key, record in reference.items():
        if key in fresh:
            report.compared += 1
            _compare(fresh[key], record, report)
        else:
            report.add(True, describe(key), "record", record.value, "missing")
    for key in fresh.keys() - reference.keys():
        report.add(False, describe(key), "record", "none", fresh[key].value)

    common = fresh.keys() & reference.keys()
    strict = {key for key in common if same_class(fresh[key], reference[key])}
    loose_papers = {key[0] for key in common - strict}
    _compare_statuses(report, "verdict", _verdicts(fresh_dir, paper), _verdicts(reference_dir, paper), strict.__contains__)
    _compare_statuses(report, "claim", _claims(fresh_dir, paper), _claims(reference_dir, paper),
                      lambda key: key[0] not in loose_papers)
    report.moved.sort(key=lambda line: (line["verdict"], line["what"], line["row"]))
    return report


def _require(folder: Path, command: str) -> None:
    for name in FILES:
        if not (folder / name).is_file():
            raise RescoreError(f"{folder / name}: no such file; make it with `{command}`")


def _compare(fresh: Record, reference: Record, report: Report) -> None:
    name = describe(reference.key)
    for column in ("protocol", "n_seeds", "n_samples"):
        before, after = getattr(reference, column), getattr(fresh, column)
        if before != after:
            report.add(True, name, column, before, after)
    if fresh.config_hash != reference.config_hash:
        report.add(False, name, "config_hash", reference.config_hash, fresh.config_hash)
    timed = "clock" in parse_protocol(reference.protocol)  # no two runs take the same time
    if same_class(fresh, reference) and not timed:
        for column in ("value", "stderr"):
            before, after = getattr(reference, column), getattr(fresh, column)
            allowed = max(EXACT_RELATIVE * abs(before or 0.0), EXACT_ABSOLUTE)
            if (before is None) != (after is None) or (before is not None and abs(after - before) > allowed):
                report.add(True, name, column, before, after, allowed)
    else:
        noise = math.hypot(fresh.stderr or 0.0, reference.stderr or 0.0)
        allowed = SIGMAS * noise + STATISTICAL_RELATIVE * abs(reference.value)
        if abs(fresh.value - reference.value) > allowed:
            report.add(not timed, name, "value", reference.value, fresh.value, allowed)


def _verdicts(folder: Path, paper: str | None) -> dict[tuple, str]:
    frame = read_diff(folder / "diff.csv")
    return {key: status for key, status in zip(keys(frame), frame["status"], strict=True) if paper in (None, key[0])}


def _claims(folder: Path, paper: str | None) -> dict[tuple, str]:
    return {(line["paper"], line["claim"]): str(line["status"]) for line in read_claims(folder / "claims.csv")
            if paper in (None, line["paper"])}


def _compare_statuses(
    report: Report, what: str, fresh: Mapping[tuple, str], reference: Mapping[tuple, str], strict: Callable[[tuple], bool]
) -> None:
    for key in reference.keys() | fresh.keys():
        before, after = reference.get(key, "none"), fresh.get(key, "missing")
        if before != after:
            gone = after == "missing"
            report.add(gone or (before != "none" and strict(key)), describe(key), what, before, after)


def accept(fresh_dir: Path, reference_dir: Path, allow_dirty: bool = False) -> str:
    """Make a run the reference: copy its records, verdicts and claims; returns the commit the records name.

    Raises:
        RescoreError: no records, records of several commits, or of uncommitted code (unless `allow_dirty`).
    """
    _require(fresh_dir, run_command(fresh_dir.name))
    source = fresh_dir / "records.csv"
    records = read_records(source)
    if not records:
        raise RescoreError(f"{source}: no records to accept")
    versions = [parse_version(record.version) for record in records]
    commits = {version["commit"] for version in versions}
    if None in commits:
        raise RescoreError(f"{source}: the records name no commit: they were measured outside a git checkout")
    if len(commits) > 1:
        raise RescoreError(f"{source}: records of {len(commits)} commits ({', '.join(sorted(commits))}); run all jobs at one")
    if not allow_dirty and any(version["dirty"] for version in versions):
        raise RescoreError(f"{source}: measured with uncommitted changes; commit and run again, or give --allow-dirty")
    for name in FILES:
        atomic_write(reference_dir / name, (fresh_dir / name).read_bytes())
    write_records(reference_dir / "records.csv", [_shortened(record) for record in records])
    return commits.pop()


def _shortened(record: Record) -> Record:
    """The numbers to as many digits as the gate can tell apart, and some: a reference is committed and should be small."""
    value, stderr = (None if x is None else float(f"{x:.{DIGITS}g}") for x in (record.value, record.stderr))
    return replace(record, value=value, stderr=stderr, seconds=round(record.seconds, 2))
