"""The committed reference of a scale, results/reference/<scale>/.

It is `records/<paper>.csv`, `diff.csv`, `claims.csv`, `skipped.csv`, which says what could not be measured and why, and
`cost.csv`, what its jobs and trainings took; references made before those were kept have none. A reference is made by
`accept`, which writes a new one beside the old one and then puts its files in place, diff.csv last: where diff.csv is, the
reference is whole.
"""

import re
import shlex
import shutil
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from rescore.config import run_command
from rescore.errors import RescoreError
from rescore.files import atomic_write
from rescore.ledger import claims, diff
from rescore.ledger.cost import COST, COSTS, MODELS, kept_costs, run_costs
from rescore.ledger.published import load_published
from rescore.ledger.records import (
    KEY,
    Record,
    collect_records,
    format_rows,
    matches,
    read_records,
    read_rows,
    read_skipped,
    sorted_records,
    write_records,
    write_skipped,
)
from rescore.machine.hardware import git_refusal

if TYPE_CHECKING:
    from rescore.papers import Paper

DIGITS = 10  # of a number: more than the gate can tell apart
RUN_FILES = ("records.csv", "diff.csv", "claims.csv")
SKIPPED = "skipped.csv"
NEW = ".new"  # where one is written, within the one that it will replace
FOLDERS = re.compile(r"(?<![\w.:/])/(?:[\w.+-]+/)+(?=[\w.+-])")  # of an absolute path: those of one machine
TABLES = {"claims.csv": claims.COLUMNS, "diff.csv": diff.COLUMNS}  # in the order of writing


def require_run(folder: Path, root: Path | None = None) -> None:
    """Raise RescoreError where a run's records, verdicts or claims are missing, with the command that makes them."""
    _require(folder, RUN_FILES, run_command(folder.name, folder.parent, root))


def require_current(
    path: Path, records: Iterable[Record], hashes: Mapping[str, Container[str]], root: Path | None = None
) -> None:
    """Raise RescoreError where records in `path`, results/<scale>/records.csv, are of settings that no config has now.

    Args:
        hashes: by paper those that records of its config carry; nothing is asked of papers that are not there.
        root: of the papers, for the command that measures them again.
    """
    old = Counter(one.paper for one in records if one.paper in hashes and one.config_hash not in hashes[one.paper])
    if old:
        counts = ", ".join(f"{count} of {name}" for name, count in old.items())
        command = run_command(path.parent.name, path.parent.parent, root)
        raise RescoreError(
            f"{path}: records measured under settings that the configs do not have now: {counts}; measure them again with "
            f"`{command}`"
        )


def read_reference(folder: Path) -> list[Record]:
    """All records of a reference, sorted by key; raises RescoreError where it is not whole."""
    paths = sorted((folder / "records").glob("*.csv"))
    missing = [] if paths else ["records/<paper>.csv"]
    results = folder.parent.parent
    place = "" if results == Path("results") else f" --results {shlex.quote(str(results))}"
    _require(folder, ("diff.csv", "claims.csv", *missing), f"rescore accept --scale {folder.name}{place}")
    return collect_records(paths, folder.name)


def skipped_rows(folder: Path) -> list[dict[str, str]] | None:
    """What a run or a reference could not measure; None where it keeps no such file."""
    path = folder / SKIPPED
    return read_skipped(path) if path.is_file() else None


def with_rest(
    records: Sequence[Record], skipped: Sequence[dict[str, str]], reference: Path, jobs: Mapping[str, Mapping[str, str]]
) -> tuple[list[Record], list[dict[str, str]], int]:
    """What jobs of a run measured and skipped, with what a reference has of the same papers' other jobs.

    Args:
        jobs: by paper the names of its jobs by the hashes that records of its present config have.

    Returns:
        records, skipped rows, and how many records of the reference are left out, since no job has their hash now.
    """

    def pattern(row: Mapping[str, str]) -> dict[str, str]:
        return {column: text for column, text in row.items() if column in KEY and text}

    def is_now(row: Mapping[str, str]) -> bool:
        """Whether a skip of the reference is one of this run too, or of what this run has a number of."""
        return pattern(row) in patterns or any(matches(pattern(row), record) for record in records)

    keys = {record.key for record in records}
    patterns = [pattern(row) for row in skipped]
    made = {(record.paper, jobs.get(record.paper, {}).get(record.config_hash)) for record in records}
    others = [record for record in read_reference(reference) if record.paper in jobs and record.key not in keys]
    job_of = {record.key: jobs[record.paper].get(record.config_hash) for record in others}
    kept = [one for one in others if job_of[one.key] is not None and (one.paper, job_of[one.key]) not in made]
    older = [row for row in skipped_rows(reference) or () if row["paper"] in jobs and not is_now(row)]
    return sorted_records([*records, *kept]), [*skipped, *older], list(job_of.values()).count(None)


def portable(reason: str) -> str:
    """A reason without the folders of the machine that it was met on: `/home/me/data/x.npz` is `.../x.npz`."""
    return FOLDERS.sub(".../", reason)


def accept(
    run: Path,
    reference: Path,
    *,
    allow_dirty: bool = False,
    paper: str | None = None,
    current: Mapping[str, Container[str] | None] | None = None,
    root: Path | None = None,
    several_commits: bool = False,
    hashes: Mapping[str, Container[str]] | None = None,
) -> str:
    """Make a run the reference: its records, verdicts, claims and what it skipped; returns the commits that the records name.

    Args:
        run: results/<scale>.
        reference: the folder of that scale's reference.
        paper: replace what is of this paper only; where the scale has no reference yet, one of this paper alone is begun.
            What the trainings of the run took is kept too, since papers share them.
        current: by paper the jobs of the scale, and by `MODELS` the keys of all that it trains: what others took is dropped,
            and a paper with jobs that the reference has must be in the run. None drops nothing and asks for nothing, and so
            for one of them.
        root: of the papers, whose commit git is asked for; None for the library's checkout.
        several_commits: jobs of one paper may be of different commits, each of its own; with `paper`, what jobs that the run
            has not made took stays as the reference has it.
        hashes: of the present configs, as `require_current` takes them.

    Raises:
        RescoreError: no records, or of settings that no config has now, records of one paper of several commits, or of
            uncommitted code (unless `allow_dirty`), broken claims; a paper that would be lost; with `paper`, a reference that
            has other papers but is not whole.
    """
    require_run(run, root)
    is_begun = paper is not None and _is_begun(reference, paper)
    if is_begun:
        read_reference(reference)
    records: dict[str, list[Record]] = {}
    for record in read_records(run / "records.csv", run.name):
        if paper in (None, record.paper):
            records.setdefault(record.paper, []).append(_shortened(record))
    for own in records.values():
        require_current(run / "records.csv", own, hashes or {}, root)
    commits = _commits(run / "records.csv", records, allow_dirty, paper, root, several_commits)
    present = [path.stem for path in sorted((reference / "records").glob("*.csv"))] if paper is None else []
    if records and (lost := [name for name in present if name not in records and current and current.get(name)]):
        raise RescoreError(
            f"{run / 'records.csv'}: no records of {', '.join(lost)}, which the reference would lose; "
            "run all papers, or accept single ones with --paper"
        )
    tables = _tables(run)
    claims.require_sound(row for row in tables["claims.csv"] if paper in (None, row["paper"]))
    skipped, costs = skipped_rows(run), run_costs(run, current)
    if paper is not None:
        kept = kept_costs(reference / COST) if is_begun and (reference / COST).is_file() else []
        if several_commits:
            made, jobs = {row["job"] for row in costs if row["paper"] == paper}, current.get(paper) if current else None
            older = (row for row in kept if row["paper"] == paper and row["job"] not in made)
            costs += [dict[str, object](row) for row in older if jobs is None or row["job"] in jobs]
        costs = _with_models(costs, kept, paper, None if current is None else current.get(MODELS, ()))
        for name, rows in tables.items():
            tables[name] = _of_one_paper(rows, _rows(reference / name, TABLES[name]) if is_begun else [], paper)
        before = skipped_rows(reference) if is_begun else None
        if not (skipped is None and before is None):
            skipped = _of_one_paper(skipped or [], before or [], paper)

    with _replacing(reference, keeps_papers=paper is not None) as new:
        for name, own in records.items():
            write_records(new / "records" / f"{name}.csv", own)
        if skipped is not None:
            write_skipped(new / SKIPPED, ({**row, "reason": portable(row["reason"])} for row in skipped))
        if costs:
            atomic_write(new / COST, format_rows(COSTS, costs))
        for name, rows in tables.items():
            atomic_write(new / name, format_rows(TABLES[name], rows))
    return commits


def judge_again(reference: Path, papers: Mapping[str, "Paper"], paper: str | None = None) -> None:
    """Write a reference's verdicts and claims as printed numbers, protocols and claims are now; what was measured stays.

    Args:
        papers: all of them.
        paper: replace what is of this paper only.

    Raises:
        RescoreError: the reference is not whole, or claims are broken.
    """
    records = read_reference(reference)
    chosen = papers if paper is None else {paper: papers[paper]}
    verdicts = diff.diff(records, load_published(chosen), papers, skipped_rows(reference) or ())
    found = claims.evaluate_all(chosen, records)
    claims.require_sound(found)
    with TemporaryDirectory() as folder:
        diff.write_diff(Path(folder, "diff.csv"), verdicts)
        claims.write_claims(Path(folder, "claims.csv"), found)
        tables = _tables(Path(folder))
    for name, rows in tables.items():
        own = rows if paper is None else _of_one_paper(rows, _rows(reference / name, TABLES[name]), paper)
        atomic_write(reference / name, format_rows(TABLES[name], own))


@contextmanager
def _replacing(reference: Path, keeps_papers: bool) -> Iterator[Path]:
    """A folder to write a reference in, which then takes the place of the one that is there.

    Should that fail, on a full disk say, the old one stays; only its files' renaming is left to the end, diff.csv last.

    Args:
        keeps_papers: records of papers that are not in the new one stay.
    """
    new = reference / NEW
    shutil.rmtree(new, ignore_errors=True)  # of one that was killed
    new.mkdir(parents=True)
    try:
        yield new
        (reference / "diff.csv").unlink(missing_ok=True)
        (reference / "records").mkdir(exist_ok=True)
        written = {path.relative_to(new) for path in new.rglob("*.csv")}
        here = {Path(SKIPPED), Path(COST), *(path.relative_to(reference) for path in reference.glob("records/*.csv"))}
        for name in here - written:
            if not (keeps_papers and name.parent == Path("records")):
                (reference / name).unlink(missing_ok=True)
        for name in sorted(written, key=lambda name: name == Path("diff.csv")):
            (new / name).replace(reference / name)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def parse_version(version: str) -> dict[str, str | None]:
    """The parts `release`, `commit`, `dirty` and `torch` of a `rescore.machine.hardware.version`.

    The commit is that of the papers; `.dirty` is theirs or the library's.
    """
    found = re.fullmatch(
        r"(?P<release>.+?)(\+g(?P<commit>[0-9a-f]+)(?P<dirty>\.dirty)?)?(\.lib\+g[0-9a-f]+(?P<library>\.dirty)?)?"
        r"\.torch(?P<torch>.+)",
        version,
    )
    if not found:
        raise RescoreError(f"version {version!r}: expected <release>+g<commit>[.dirty].torch<version>")
    parts = found.groupdict()
    library = parts.pop("library")
    return parts | {"dirty": parts["dirty"] or library}


def _is_begun(reference: Path, paper: str) -> bool:
    """Whether there is anything of other papers to keep: verdicts, or records that an interrupted `accept` has left."""
    others = {path.stem for path in (reference / "records").glob("*.csv")} - {paper}
    return bool(others) or (reference / "diff.csv").is_file()


def _of_one_paper(run: Iterable[dict], reference: Iterable[dict], paper: str) -> list[dict]:
    """The reference's rows with those of one paper replaced by the run's, in the order of a whole run."""
    kept = [row for row in reference if row["paper"] != paper] + [row for row in run if row["paper"] == paper]
    return sorted(kept, key=lambda row: row["paper"])  # stable


def _with_models(run: Sequence[dict], reference: Sequence[dict], paper: str, models: Container[str] | None) -> list[dict]:
    """Costs as `_of_one_paper` joins them; of trainings those of the run, and those of the reference that are still in use."""
    older = {row["job"]: row for row in reference if row["paper"] == MODELS and (models is None or row["job"] in models)}
    trained = older | {row["job"]: row for row in run if row["paper"] == MODELS}
    jobs = _of_one_paper(run, [row for row in reference if row["paper"] != MODELS], paper)
    return [trained[key] for key in sorted(trained)] + jobs


def _require(folder: Path, names: Sequence[str], command: str) -> None:
    for name in names:
        if not (folder / name).is_file():
            raise RescoreError(f"{folder / name}: no such file; make it with `{command}`")


def _tables(folder: Path) -> dict[str, list[dict[str, str]]]:
    """Verdicts and claims of a run, as a reference keeps them: no folder of this machine, numbers cut."""
    tables = {name: _rows(folder / name, columns) for name, columns in TABLES.items()}
    for row in tables["diff.csv"]:
        row["note"] = portable(row["note"])
        row |= {name: str(_cut(float(row[name]))) for name in diff.NUMBERS if row[name]}
    return tables


def _rows(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    younger = [column for column in columns if column in diff.YOUNGER]  # older files lack them
    found = read_rows(path, [column for column in columns if column not in younger], younger)
    return [dict.fromkeys(younger, "") | row for _, row in found]


def _commits(
    source: Path,
    records: Mapping[str, Sequence[Record]],
    allow_dirty: bool,
    paper: str | None,
    root: Path | None,
    several: bool,
) -> str:
    if not records:
        raise RescoreError(f"{source}: no records{f' of {paper}' if paper else ''} to accept")
    commits: set[str] = set()
    for name, own in records.items():
        versions = [parse_version(record.version) for record in own]
        named = [version["commit"] for version in versions]
        found = {commit for commit in named if commit is not None}
        if None in named:
            reason = git_refusal(root)
            raise RescoreError(
                f"{source}: records of {name} name no commit: they were measured outside a git checkout, or "
                "git refused, as the job's log says" + (f"; now it says: {reason}" if reason else "")
            )
        of_jobs: dict[str, set[str | None]] = {}
        for record, commit in zip(own, named, strict=True):
            of_jobs.setdefault(record.config_hash if several else "", set()).add(commit)
        if any(len(of_one) > 1 for of_one in of_jobs.values()):
            listed = ", ".join(sorted(found))
            raise RescoreError(
                f"{source}: records of {'one job of ' * several}{name} of {len(found)} commits ({listed}); run all its jobs at "
                "one" + ("" if several else ", or give --several-commits: each job of its own")
            )
        if not allow_dirty and any(version["dirty"] for version in versions):
            raise RescoreError(
                f"{source}: {name} was measured with uncommitted changes; commit and run again, or give --allow-dirty"
            )
        commits |= found
    return ", ".join(sorted(commits))


def _shortened(record: Record) -> Record:
    """The numbers to as many digits as the gate can tell apart, and some: a reference is committed and should be small."""
    stderr = None if record.stderr is None else _cut(record.stderr)
    return replace(record, value=_cut(record.value), stderr=stderr, seconds=round(record.seconds, 2))


def _cut(number: float) -> float:
    return float(f"{number:.{DIGITS}g}")
