"""Claims: what a paper says about its numbers, as predicates over records.

A claim compares selected numbers. Each comparison has a margin, positive in favour of the claim, and a standard error. Two
records of the same networks, or from the same starting points (`Record.matched`), are compared repeat by repeat: the error is
that of the mean of the differences, with one degree of freedom less than repeats. Errors of other records are taken as
independent, with Welch's degrees of freedom.

The claim `holds` where every margin is above 0 with a one-sided p value of at most LEVEL / 2; it `fails` where one of its k
margins is below 0 with at most LEVEL / (2 k) (Bonferroni, so that a claim of many comparisons fails by chance no more often
than one of a single one); else it is `inconclusive`. LEVEL is that of two standard errors of a normal law, 4.6 %.

An error that is not known decides nothing: that of a single repeat, and that of repeated samplings of a single training,
which says nothing about another training (but see `on_the_network`). Repeats that all gave the same are no proof of
certainty: such a record is taken to have the largest error among those that it is compared with, and an unknown one where
there is none.

Without a record that it needs a claim is `not-run`; it is `broken` where it cannot be evaluated, such as where it selects two
records instead of one.
"""

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rescore.errors import RescoreError
from rescore.files import atomic_write
from rescore.ledger.protocol import parse_protocol
from rescore.ledger.records import KEY, Record, Records, check_status, describe, format_rows, number_in, read_rows
from rescore.ledger.statistics import LEVEL, UNKNOWN, Error, combined, decided, of_mean, p_above, z_value

if TYPE_CHECKING:
    from rescore.papers import Paper

STATUSES = ("holds", "fails", "inconclusive", "not-run", "broken")
COLUMNS = ("paper", "claim", "statement", "source", "status", "margin", "z", "p", "evidence")
NUMBERS = ("margin", "z", "p")
MARGIN = "margin"  # what evidence calls it, among the numbers
LISTED = 3  # records that a message names
ROUNDING = 1e-9  # of the ten digits of `Record.values`


class NoRecord(Exception):
    """A selected number was not measured."""


@dataclass(frozen=True)
class Comparison:
    """One comparison: `margin` > 0 speaks for the claim; `matched`: its error is that of differences of matched repeats."""

    margin: float
    error: Error
    evidence: tuple[str, ...]
    matched: bool = False

    @property
    def z(self) -> float:
        """The margin in standard errors of a normal law of the same p value."""
        return z_value(self.margin, self.error)


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

    asked = describe(columns.get(column) for column in KEY)

    def select(records: Sequence[Record]) -> Record:
        found = (records if isinstance(records, Records) else Records(records)).having(columns)
        if not found:
            raise NoRecord(asked)
        if len(found) > 1:
            listed = ", ".join(describe(record.key) for record in found[:LISTED]) + (", ..." if len(found) > LISTED else "")
            raise RescoreError(f"{asked} selects {len(found)} records: {listed}")
        return found[0]

    return select


def either(*selectors: Selector) -> Selector:
    """What the first of them finds that finds a record: scales measure the same on other data, or with other budgets."""

    def select(records: Sequence[Record]) -> Record:
        missing = []
        for selector in selectors:
            try:
                return selector(records)
            except NoRecord as none:
                missing.append(str(none))
        raise NoRecord(" or ".join(missing))

    return select


def row_on(datasets: Sequence[str], **columns: str | int) -> Selector:
    """`row` of the first of these data sets that has it: a network's images are others at each scale."""
    return either(*(row(dataset=dataset, **columns) for dataset in datasets))


def smaller(left: Selector, right: Selector, by: Transform = float) -> Predicate:
    """`by(left) < by(right)`; `by` is the identity, `abs`, or a distance from a number."""

    def compare(records: Sequence[Record]) -> list[Comparison]:
        a, b = left(records), right(records)
        return [_comparison(by(b.value) - by(a.value), (-_slope(by, a), a), (_slope(by, b), b))]

    return compare


def below(selector: Selector, bound: float, by: Transform = float) -> Predicate:
    """`by(value) < bound`."""

    def compare(records: Sequence[Record]) -> list[Comparison]:
        record = selector(records)
        return [_comparison(bound - by(record.value), (1.0, record))]

    return compare


def above(selector: Selector, bound: float, by: Transform = float) -> Predicate:
    """`by(value) > bound`."""

    def compare(records: Sequence[Record]) -> list[Comparison]:
        record = selector(records)
        return [_comparison(by(record.value) - bound, (1.0, record))]

    return compare


def agrees(left: Selector, right: Selector | float, within: float) -> Predicate:
    """`|left - right| < within`, `right` another record or a number."""

    def compare(records: Sequence[Record]) -> list[Comparison]:
        a = left(records)
        if not callable(right):
            return [_comparison(within - abs(a.value - right), (1.0, a))]
        b = right(records)
        return [_comparison(within - abs(a.value - b.value), (1.0, a), (-1.0, b))]

    return compare


def apart(left: Selector, right: Selector, by_more_than: float) -> Predicate:
    """`left - right > by_more_than`."""

    def compare(records: Sequence[Record]) -> list[Comparison]:
        a, b = left(records), right(records)
        return [_comparison(a.value - b.value - by_more_than, (1.0, a), (-1.0, b))]

    return compare


def above_share(left: Selector, right: Selector, share: float) -> Predicate:
    """`left > share * right`."""

    def compare(records: Sequence[Record]) -> list[Comparison]:
        a, b = left(records), right(records)
        return [_comparison(a.value - share * b.value, (1.0, a), (-share, b))]

    return compare


def monotone(rows: Sequence[Selector], increasing: bool, by: Transform = float) -> Predicate:
    """Each value is above (or below) the one before it."""
    pairs = list(itertools.pairwise(rows))
    return all_of(*(smaller(*(pair if increasing else pair[::-1]), by=by) for pair in pairs))


def all_of(*predicates: Predicate) -> Predicate:
    """Every comparison of every predicate."""

    def compare(records: Sequence[Record]) -> list[Comparison]:
        return [comparison for predicate in predicates for comparison in predicate(records)]

    return compare


def on_the_network(predicate: Predicate) -> Predicate:
    """The same of the one network that was sampled repeatedly, as a paper's own sentence is of its checkpoint.

    The spread of its samplings is then the error. It says nothing about another training, so the claim's statement has to say
    that it is of one network, and no claim that compares networks is made so. Records over trainings stay what they are.
    """

    def compare(records: Sequence[Record]) -> list[Comparison]:
        judged = predicate(Records(replace(one, over="runs") if one.over == "samplings" else one for one in records))
        return [replace(one, evidence=told.evidence) for one, told in zip(judged, predicate(records), strict=True)]

    return compare


def _slope(by: Transform, record: Record) -> float:
    """1 or -1: how `by`, the identity or a distance, goes with the record's value."""
    step = 1e-6 * abs(record.value) or 1e-6
    return math.copysign(1.0, by(record.value + step) - by(record.value))


Term = tuple[float, Record]
"""A record, and what the margin gains where its value grows by 1; the sign of all terms together does not matter."""


def _comparison(margin: float, *terms: Term) -> Comparison:
    paired = _paired(terms)
    return Comparison(margin, paired or combined(_errors(terms)), tuple(_evidence(one) for _, one in terms), bool(paired))


def _paired(terms: Sequence[Term]) -> Error | None:
    """The error of a difference of two matched records, repeat by repeat; None where there are no such two.

    Nor where either has, or their differences are, the same in all repeats but for rounding, which is no proof of certainty.
    """
    records = [record for _, record in terms]
    known = all(one.each and one.stderr and one.over != "samplings" for one in records)
    if not known or len(records) < 2 or len({(one.matched, one.over, one.df) for one in records}) > 1:
        return None
    margins = zip(*([weight * value for value in record.each] for weight, record in terms), strict=True)
    error = of_mean([sum(margin) for margin in margins])
    return error if error.stderr > ROUNDING * max(abs(one.value) for one in records) else None


def _errors(terms: Sequence[Term]) -> list[Error]:
    records = [
        record if record.stderr is None else replace(record, stderr=abs(weight) * record.stderr) for weight, record in terms
    ]
    repeated = [record for record in records if record.over in ("trainings", "runs")]
    known = {record: Error(record.stderr, record.df) for record in repeated if record.stderr and record.df}
    largest = max(known.values(), key=lambda error: error.stderr, default=UNKNOWN)
    alike = {record: largest for record in repeated if record.stderr == 0}
    certain = {record: Error(0.0) for record in records if record.over == "exact"}
    return [(known | alike | certain).get(record, UNKNOWN) for record in records]


def _evidence(record: Record) -> str:
    name = describe(getattr(record, column) for column in ("dataset", "method", "variant", "metric", "nfe"))
    if record.over == "exact":
        return f"{name} = {record.value:.4g} exactly"
    error = "unknown" if record.stderr is None else f"{record.stderr:.2g}"
    told = parse_protocol(record.protocol).get("error", "")  # such as `over images`
    repeats = told.removeprefix("over ") if told.startswith("over ") else record.over
    return f"{name} = {record.value:.4g} ± {error} over {(record.df or 0) + 1} {repeats}"


def judge(comparisons: Sequence[Comparison]) -> tuple[str, Comparison, float]:
    """The status, the comparison that decides it, and the two-sided p value of the whole claim.

    The p value is the level at which the claim would just be decided: twice that of the weakest comparison where it holds, and
    where it fails twice that of the strongest against it, times their number.
    """
    decisive = min(comparisons, key=lambda comparison: comparison.z)
    against = len(comparisons) * p_above(-decisive.margin, decisive.error)
    weakest = max(p_above(comparison.margin, comparison.error) for comparison in comparisons)
    p = min(1.0, 2 * min(weakest, against))
    status = "inconclusive" if p > LEVEL else "holds" if weakest < against else "fails"
    return status, decisive, p


def evaluate(paper: str, claims: Iterable[Claim], records: Iterable[Record]) -> list[dict[str, object]]:
    """One row of `claims.csv` for each claim of a paper.

    `margin` and `z`, the same in standard errors, are those of the comparison with the smallest z; `p` is of the whole claim
    (`judge`). The three are None for `not-run` and `broken`, and the evidence says why. Claims of one name are one broken row.
    """
    own = Records(record for record in records if record.paper == paper)
    rows: list[dict[str, object]] = []
    claims = list(claims)
    names = Counter(claim.name for claim in claims)
    for claim in {claim.name: claim for claim in claims}.values():
        head: dict[str, object] = {"paper": paper, "claim": claim.name, "statement": claim.statement, "source": claim.source}
        head |= dict.fromkeys(NUMBERS)
        try:
            if names[claim.name] > 1:
                raise RescoreError(f"{names[claim.name]} claims have this name")
            comparisons = claim.predicate(own)
            if not comparisons:
                raise RescoreError("compares nothing")
        except NoRecord as missing:
            rows.append(head | {"status": "not-run", "evidence": f"no record: {missing}"})
        except Exception as error:  # whatever is wrong with one claim, the others are judged; `require_sound` tells it
            rows.append(head | {"status": "broken", "evidence": _what(error)})
        else:
            status, decisive, p = judge(comparisons)
            texts = dict.fromkeys(text for comparison in comparisons for text in comparison.evidence)
            if decisive.matched:
                stderr, n = decisive.error.stderr, decisive.error.df + 1
                texts[f"{MARGIN} = {decisive.margin:.4g} ± {stderr:.2g} over {n} matched repeats"] = None
            evidence = "; ".join(texts)
            rows.append(head | {"status": status, "margin": decisive.margin, "z": decisive.z, "p": p, "evidence": evidence})
    return rows


def _what(error: Exception) -> str:
    """Its message; of an error that is none of ours also its type, without which the message says little."""
    return str(error) if isinstance(error, RescoreError) else f"{type(error).__name__}: {error}"


def evaluate_all(papers: Mapping[str, "Paper"], records: Sequence[Record]) -> list[dict[str, object]]:
    """Claims of all papers; a paper without a `claims.py` has none, one that cannot be used is one broken row `claims.py`."""
    rows: list[dict[str, object]] = []
    for name, paper in sorted(papers.items()):
        if (paper.folder / "claims.py").is_file():
            try:
                rows += evaluate(name, paper.value("claims", "CLAIMS"), records)
            except Exception as error:
                rows.append(
                    dict.fromkeys(COLUMNS)
                    | {
                        "paper": name,
                        "claim": "claims.py",
                        "statement": "",
                        "source": "",
                        "status": "broken",
                        "evidence": f"it gives no claims: {_what(error)}",
                    }
                )
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
    path = Path(path)
    for line, text in read_rows(path, COLUMNS):
        check_status(path, line, text, STATUSES)
        rows.append({**text, **{column: number_in(path, line, text, column) for column in NUMBERS}})
    return rows


def _has_error(row: Mapping[str, Any]) -> bool:
    """Whether a claim rests on numbers with a known error: else z is infinite, of exact ones, or 0 whatever the margin."""
    return row["z"] is not None and math.isfinite(row["z"]) and (row["z"] != 0 or row["margin"] == 0)


def by_chance(rows: Iterable[Mapping[str, Any]]) -> str:
    """How many claims chance may have decided, in words; "" where no claim rests on numbers with an error.

    A claim at its margin of 0 is decided, one way or the other, with probability LEVEL at most.
    """
    p_values = [float(row["p"]) for row in rows if row["p"] is not None and _has_error(row)]
    if not p_values:
        return ""
    n, found, kept = len(p_values), sum(p <= LEVEL for p in p_values), decided(p_values)
    return (
        f"{found} of {n} claims on numbers with an error are decided; if all their margins were 0, chance would decide at most "
        f"{LEVEL * n:.1f}. At a false discovery rate of 5 % (Benjamini-Hochberg) {kept} are."
    )
