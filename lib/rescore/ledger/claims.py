"""Claims: what a paper says about its numbers, as predicates over records.

A claim compares selected numbers. Each comparison has a margin, positive in favour of the claim, and its standard error
(errors of different records are taken as independent). It `holds` above two standard errors, `fails` below minus two,
and is `inconclusive` between, both ends included. Without a record that it needs it is `not-run`; it is `broken` where it
cannot be evaluated, such as where it selects two records instead of one.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rescore.errors import RescoreError
from rescore.files import atomic_write
from rescore.ledger.records import KEY, Record, describe, format_rows, matches, read_rows

if TYPE_CHECKING:
    from rescore.papers import Paper

STATUSES = ("holds", "fails", "inconclusive", "not-run", "broken")
COLUMNS = ("paper", "claim", "statement", "source", "status", "margin", "evidence")
LISTED = 3  # records that a message names


class NoRecord(Exception):
    """A selected number was not measured."""


@dataclass(frozen=True)
class Comparison:
    """One comparison: `margin` > 0 speaks for the claim; `stderr` is infinite where a record has none."""

    margin: float
    stderr: float
    evidence: tuple[str, ...]

    @property
    def status(self) -> str:
        if abs(self.margin) <= 2 * self.stderr or self.margin == 0:
            return "inconclusive"
        return "holds" if self.margin > 0 else "fails"

    @property
    def z(self) -> float:
        """Margin in standard errors."""
        return self.margin / self.stderr if self.stderr else math.copysign(math.inf, self.margin) if self.margin else 0.0


Selector = Callable[[Sequence[Record]], Record]
Predicate = Callable[[Sequence[Record]], list[Comparison]]
Transform = Callable[[float], float]


@dataclass(frozen=True)
class Claim:
    """A statement of a paper.

    Args:
        name: short, unique within the paper.
        statement: one sentence.
        source: its place in the paper.
        predicate: records of the paper -> comparisons, all of which must hold.
    """

    name: str
    statement: str
    source: str
    predicate: Predicate


def row(**columns: str | int) -> Selector:
    """Select the one record whose key columns have these values, e.g. `row(dataset="mg", metric="logz_rmse", ...)`.

    A column that is not given may have any value; `variant=""` asks for an empty variant.
    """
    if unknown := set(columns) - set(KEY):
        raise RescoreError(f"row: unknown column {', '.join(sorted(unknown))}; allowed: {', '.join(KEY)}")

    def select(records: Sequence[Record]) -> Record:
        found = [record for record in records if matches(columns, record)]
        if not found:
            raise NoRecord(describe(columns.values()))
        if len(found) > 1:
            listed = ", ".join(describe(record.key) for record in found[:LISTED]) + (", ..." if len(found) > LISTED else "")
            raise RescoreError(f"{describe(columns.values())} selects {len(found)} records: {listed}")
        return found[0]

    return select


def smaller(left: Selector, right: Selector, by: Transform = float) -> Predicate:
    """`by(left) < by(right)`; `by` is the identity or `abs`."""

    def compare(records: Sequence[Record]) -> list[Comparison]:
        a, b = left(records), right(records)
        return [_comparison(by(b.value) - by(a.value), a, b)]

    return compare


def below(selector: Selector, bound: float, by: Transform = float) -> Predicate:
    """`by(value) < bound`."""

    def compare(records: Sequence[Record]) -> list[Comparison]:
        record = selector(records)
        return [_comparison(bound - by(record.value), record)]

    return compare


def above(selector: Selector, bound: float, by: Transform = float) -> Predicate:
    """`by(value) > bound`."""

    def compare(records: Sequence[Record]) -> list[Comparison]:
        record = selector(records)
        return [_comparison(by(record.value) - bound, record)]

    return compare


def agrees(left: Selector, right: Selector | float, within: float) -> Predicate:
    """`|left - right| < within`, `right` another record or a number."""

    def compare(records: Sequence[Record]) -> list[Comparison]:
        a = left(records)
        if not callable(right):
            return [_comparison(within - abs(a.value - right), a)]
        b = right(records)
        return [_comparison(within - abs(a.value - b.value), a, b)]

    return compare


def apart(left: Selector, right: Selector, by_more_than: float) -> Predicate:
    """`left - right > by_more_than`."""

    def compare(records: Sequence[Record]) -> list[Comparison]:
        a, b = left(records), right(records)
        return [_comparison(a.value - b.value - by_more_than, a, b)]

    return compare


def monotone(rows: Sequence[Selector], increasing: bool, by: Transform = float) -> Predicate:
    """Each value is above (or below) the one before it."""
    pairs = list(zip(rows, rows[1:], strict=False))
    return all_of(*(smaller(*(pair if increasing else pair[::-1]), by=by) for pair in pairs))


def all_of(*predicates: Predicate) -> Predicate:
    """Every comparison of every predicate."""

    def compare(records: Sequence[Record]) -> list[Comparison]:
        return [comparison for predicate in predicates for comparison in predicate(records)]

    return compare


def _comparison(margin: float, *records: Record) -> Comparison:
    stderr = math.hypot(*(math.inf if record.stderr is None else record.stderr for record in records))
    return Comparison(margin, stderr, tuple(_evidence(record) for record in records))


def _evidence(record: Record) -> str:
    name = describe(getattr(record, column) for column in ("dataset", "method", "variant", "metric", "nfe"))
    error = "unknown" if record.stderr is None else f"{record.stderr:.2g}"
    return f"{name} = {record.value:.4g} ± {error}"


def evaluate(paper: str, claims: Iterable[Claim], records: Iterable[Record]) -> list[dict[str, object]]:
    """One row of `claims.csv` for each claim of a paper.

    The comparison with the smallest margin in standard errors decides: it fails if any fails, is inconclusive if any is,
    and holds otherwise. `margin` is None for `not-run` and `broken`, and the evidence says why. Claims of one name are one
    broken row.
    """
    own = [record for record in records if record.paper == paper]
    rows: list[dict[str, object]] = []
    claims = list(claims)
    names = Counter(claim.name for claim in claims)
    for claim in {claim.name: claim for claim in claims}.values():
        head = {"paper": paper, "claim": claim.name, "statement": claim.statement, "source": claim.source}
        try:
            if names[claim.name] > 1:
                raise RescoreError(f"{names[claim.name]} claims have this name")
            comparisons = claim.predicate(own)
            if not comparisons:
                raise RescoreError("compares nothing")
        except NoRecord as missing:
            rows.append(head | {"status": "not-run", "margin": None, "evidence": f"no record: {missing}"})
        except Exception as error:  # whatever is wrong with one claim, the others are judged; `require_sound` tells it
            what = "" if isinstance(error, RescoreError) else f"{type(error).__name__}: "
            rows.append(head | {"status": "broken", "margin": None, "evidence": f"{what}{error}"})
        else:
            decisive = min(comparisons, key=lambda comparison: comparison.z)
            evidence = dict.fromkeys(text for comparison in comparisons for text in comparison.evidence)
            rows.append(head | {"status": decisive.status, "margin": decisive.margin, "evidence": "; ".join(evidence)})
    return rows


def evaluate_all(papers: Mapping[str, "Paper"], records: Sequence[Record]) -> list[dict[str, object]]:
    """Claims of all papers; a paper without a `claims.py` has none, one that cannot be used is one broken row `claims.py`."""
    rows: list[dict[str, object]] = []
    for name, paper in sorted(papers.items()):
        if (paper.folder / "claims.py").is_file():
            try:
                rows += evaluate(name, paper.module("claims").CLAIMS, records)
            except Exception as error:
                rows.append({"paper": name, "claim": "claims.py", "statement": "", "source": "", "status": "broken",
                             "margin": None, "evidence": f"it gives no claims: {type(error).__name__}: {error}"})
    return rows


def require_sound(rows: Iterable[Mapping[str, object]]) -> None:
    """Raise RescoreError, with what is wrong, where claims are broken."""
    broken = [f"paper {row['paper']}, claim {row['claim']!r}: {row['evidence']}" for row in rows if row["status"] == "broken"]
    if broken:
        raise RescoreError(f"{len(broken)} broken claim{'s' if len(broken) > 1 else ''}: {'; '.join(broken)}")


def write_claims(path: Path | str, rows: Iterable[Mapping[str, object]]) -> None:
    """Write `claims.csv`."""
    atomic_write(path, format_rows(COLUMNS, rows))


def read_claims(path: Path | str) -> list[dict[str, object]]:
    """Read `claims.csv`; raises RescoreError on a bad column, status or margin."""
    rows: list[dict[str, object]] = []
    for line, text in read_rows(Path(path), COLUMNS):
        if text["status"] not in STATUSES:
            allowed = ", ".join(STATUSES)
            raise RescoreError(f"{path}, line {line}, column status: unknown {text['status']!r}; allowed: {allowed}")
        try:
            margin = float(text["margin"]) if text["margin"] else None
        except ValueError:
            raise RescoreError(f"{path}, line {line}, column margin: {text['margin']!r} is not a number") from None
        rows.append(text | {"margin": margin})
    return rows
