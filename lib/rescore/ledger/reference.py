"""The committed reference of a scale, results/reference/<scale>/: `records/<paper>.csv`, `diff.csv` and `claims.csv`.

It is made by `accept`, which takes diff.csv away first and writes it last: where diff.csv is, the reference is whole.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from rescore.errors import RescoreError
from rescore.files import atomic_write
from rescore.ledger import claims, diff
from rescore.ledger.records import Record, collect_records, format_rows, read_records, read_rows, run_command, write_records
from rescore.machine.hardware import git_refusal

DIGITS = 10  # of a number: more than the gate can tell apart
RUN_FILES = ("records.csv", "diff.csv", "claims.csv")
TABLES = {"claims.csv": claims.COLUMNS, "diff.csv": diff.COLUMNS}  # in the order of writing


def require_run(folder: Path) -> None:
    """Raise RescoreError where a run's records, verdicts or claims are missing, with the command that makes them."""
    _require(folder, RUN_FILES, run_command(folder.name))


def read_reference(folder: Path) -> list[Record]:
    """All records of a reference, sorted by key; raises RescoreError where it is not whole."""
    paths = sorted((folder / "records").glob("*.csv"))
    missing = [] if paths else ["records/<paper>.csv"]
    _require(folder, ("diff.csv", "claims.csv", *missing), f"rescore accept --scale {folder.name}")
    return collect_records(paths, folder.name)


def accept(run: Path, reference: Path, allow_dirty: bool = False, paper: str | None = None) -> str:
    """Make a run the reference: its records, verdicts and claims; returns the commits that the records name.

    Args:
        run: results/<scale>.
        reference: the folder of that scale's reference.
        paper: replace what is of this paper only, in a reference that exists.

    Raises:
        RescoreError: no records, records of one paper of several commits, or of uncommitted code (unless `allow_dirty`),
            broken claims; with `paper`, no whole reference.
    """
    require_run(run)
    if paper is not None:
        read_reference(reference)
    records: dict[str, list[Record]] = {}
    for record in read_records(run / "records.csv", run.name):
        if paper in (None, record.paper):
            records.setdefault(record.paper, []).append(_shortened(record))
    commits = _commits(run / "records.csv", records, allow_dirty, paper)
    tables = {name: _rows(run / name, columns) for name, columns in TABLES.items()}
    claims.require_sound(row for row in tables["claims.csv"] if paper in (None, row["paper"]))
    if paper is not None:
        for name, rows in tables.items():
            kept = [row for row in _rows(reference / name, TABLES[name]) if row["paper"] != paper]
            own = [row for row in rows if row["paper"] == paper]
            tables[name] = sorted(kept + own, key=lambda row: row["paper"])  # stable: as a whole run orders them

    (reference / "diff.csv").unlink(missing_ok=True)
    for name, own in records.items():
        write_records(reference / "records" / f"{name}.csv", own)
    if paper is None:
        for path in (reference / "records").glob("*.csv"):
            if path.stem not in records:
                path.unlink()
    for name, rows in tables.items():
        atomic_write(reference / name, format_rows(TABLES[name], rows))
    return commits


def parse_version(version: str) -> dict[str, str | None]:
    """The parts `release`, `commit`, `dirty` and `torch` of `<release>[+g<commit>[.dirty]].torch<version>`."""
    found = re.fullmatch(r"(?P<release>.+?)(\+g(?P<commit>[0-9a-f]+)(?P<dirty>\.dirty)?)?\.torch(?P<torch>.+)", version)
    if not found:
        raise RescoreError(f"version {version!r}: expected <release>+g<commit>[.dirty].torch<version>")
    return found.groupdict()


def _require(folder: Path, names: Sequence[str], command: str) -> None:
    for name in names:
        if not (folder / name).is_file():
            raise RescoreError(f"{folder / name}: no such file; make it with `{command}`")


def _rows(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    younger = [column for column in columns if column in diff.YOUNGER]  # older files lack them
    found = read_rows(path, [column for column in columns if column not in younger], younger)
    return [dict.fromkeys(younger, "") | row for _, row in found]


def _commits(source: Path, records: Mapping[str, Sequence[Record]], allow_dirty: bool, paper: str | None) -> str:
    if not records:
        raise RescoreError(f"{source}: no records{f' of {paper}' if paper else ''} to accept")
    commits = set()
    for name, own in records.items():
        versions = [parse_version(record.version) for record in own]
        found = {version["commit"] for version in versions}
        if None in found:
            reason = git_refusal()
            raise RescoreError(f"{source}: records of {name} name no commit: they were measured outside a git checkout, or "
                               "git refused, as the job's log says" + (f"; now it says: {reason}" if reason else ""))
        if len(found) > 1:
            listed = ", ".join(sorted(found))
            raise RescoreError(f"{source}: records of {name} of {len(found)} commits ({listed}); run all its jobs at one")
        if not allow_dirty and any(version["dirty"] for version in versions):
            raise RescoreError(f"{source}: {name} was measured with uncommitted changes; "
                               "commit and run again, or give --allow-dirty")
        commits |= found
    return ", ".join(sorted(commits))


def _shortened(record: Record) -> Record:
    """The numbers to as many digits as the gate can tell apart, and some: a reference is committed and should be small."""
    value, stderr = (None if x is None else float(f"{x:.{DIGITS}g}") for x in (record.value, record.stderr))
    return replace(record, value=value, stderr=stderr, seconds=round(record.seconds, 2))
