"""Published numbers: the text a paper prints, and what it says as a number."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from rescore.errors import RescoreError
from rescore.ledger.protocol import check_declarations
from rescore.ledger.records import KEY, describe, key_of, parse_count, parse_stderr, read_rows

if TYPE_CHECKING:
    from rescore.papers import Paper

COLUMNS = (*KEY, "value", "uncertainty", "direction", "source", "note")
DIRECTIONS = ("lower", "higher", "target")
_PRINTED = re.compile(r"(>=|<=|>|<|=)?([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)")


OWN_METRICS = {  # of those that no paper prints, which way is better
    "higher": r"ess|accuracy|mode_coverage|ring_\d_covered|r_precision_top\d|\w+_per_second",
    "lower": r"(\w+_)?(rmse|error|distance|w2|sw2|tv|kl|frechet|seconds|memory_mb)|off_\w+|path_cost|sequential passes",
}

PLACES = {"fig": "Fig.", "sec": "Section", "section-": "Section", "text-": "Section"}  # in a paper: `fig7`
OF_SAMPLES = r"(w2|sw2|tv|fid|frechet)[\w-]*|is|kl_(phi|psi|eta\d)"
"""Metrics of sets of samples whose expected value depends on their size: the smaller, the farther are exact draws too."""


@dataclass(frozen=True)
class Published:
    """One printed number.

    Args:
        value: as printed: `-1.3e3`, `0.0591`, `>100`; `=0.6` is an exact value that was not rounded, as of a parameter.
        uncertainty: the printed plus-minus, as printed, or empty.
        direction: `lower` or `higher` is better, or the number has a `target`, which of a bias is zero.
        source: where it is printed.
        note: a remark on the printed value itself.
    """

    paper: str
    table: str
    dataset: str
    method: str
    variant: str
    metric: str
    nfe: int | None
    value: str
    uncertainty: str
    direction: str
    source: str
    note: str

    @property
    def key(self) -> tuple[str | int | None, ...]:
        return key_of(self)

    @property
    def bound(self) -> str:
        """One of `>`, `>=`, `<`, `<=`, or empty for a plain or an exact number."""
        return self._parts[0].removeprefix("=")

    @property
    def number(self) -> float:
        """The printed number, without a leading `>`, `>=`, `<`, `<=` or `=`."""
        return float(self._parts[1])

    @property
    def half_unit(self) -> float:
        """Half a unit of the last printed digit: 50 for `-1.3e3`, 0.0005 for `5e-3`, 0.5 for `436`; 0 after such a relation."""
        if self._parts[0]:
            return 0.0
        exponent = cast(int, Decimal(self._parts[1]).as_tuple().exponent)  # only infinities and NaN have a letter there
        return float(Decimal(5).scaleb(exponent - 1))

    @property
    def _parts(self) -> tuple[str, str]:
        """The relation, or nothing, and the number, as printed."""
        found = _PRINTED.fullmatch(self.value)
        if found is None:
            raise RescoreError(f"{describe(self.key)}: {self.value!r} is not a number as printed")
        return found[1] or "", found[2]


def direction_of(metric: str, published: Iterable[Published]) -> str:
    """Which values of a metric are better: `lower`, `higher`, of a bias `zero`; empty where none is, or it is not known."""
    if "bias" in metric:
        return "zero"
    if printed := next((row.direction for row in published if row.metric == metric), None):
        return "" if printed == "target" else printed
    return next((direction for direction, pattern in OWN_METRICS.items() if re.fullmatch(pattern, metric)), "")


def heading(table: str, source: str = "") -> str:
    """How a table's name is shown: `Table 5.1`, `Fig. 7`, `Appendix F.1`; names of our own, for other places, as words.

    Args:
        source: of its numbers. A table of another paper is named by that paper there: `psld-5` is `PSLD Table 5`.
    """
    if place := re.fullmatch(r"(fig|sec|section-|text-)(\d.*)", table):
        return f"{PLACES[place[1]]} {place[2]}"
    if (other := re.fullmatch(r"(.+)-(\d[\d.]*)", table)) and re.match(rf"{re.escape(other[1])}\b", source, re.IGNORECASE):
        return f"{source[: len(other[1])]} Table {other[2]}"
    if re.fullmatch(r"[A-Z](\.\d+)*", table):
        return f"Appendix {table}"
    words = table.replace("-", " ").replace("_", " ")
    return f"Table {table}" if table[:1].isdigit() else words[:1].upper() + words[1:]


def depends_on_samples(metric: str) -> bool:
    """Whether a metric's expected value depends on the number of samples behind it, so that only equal numbers compare."""
    return re.fullmatch(OF_SAMPLES, metric) is not None


def read_published(path: Path | str, paper: str) -> list[Published]:
    """A paper's printed numbers, in the order of the file.

    Raises:
        RescoreError: unknown or missing column, a value that is no number or bound, a key that appears twice, another
            paper's name; the message names file, line and column.
    """
    path = Path(path)
    lines: dict[tuple[str | int | None, ...], int] = {}
    rows = []
    for line, row in read_rows(path, COLUMNS):
        columns: dict[str, Any] = {**row, "nfe": _checked(path, line, row, paper)}
        entry = Published(**columns)
        if entry.key in lines:
            raise RescoreError(f"{path}, line {line}: duplicate key {describe(entry.key)}, already in line {lines[entry.key]}")
        lines[entry.key] = line
        rows.append(entry)
    return rows


def load_published(papers: Mapping[str, "Paper"]) -> list[Published]:
    """The printed numbers of all papers, papers in the order of their names.

    Raises RescoreError, as `read_published`, and for what a paper.yaml declares of numbers that its paper does not print.
    """
    rows = {name: read_published(papers[name].folder / "published.csv", name) for name in sorted(papers)}
    for name, own in rows.items():
        check_declarations(papers[name], own)
    return [row for own in rows.values() for row in own]


def _checked(path: Path, line: int, row: Mapping[str, str], paper: str) -> int | None:
    """Check one row and return its nfe."""

    def fail(column: str, problem: str) -> RescoreError:
        return RescoreError(f"{path}, line {line}, column {column}: {problem}")

    if row["paper"] != paper:
        raise fail("paper", f"{row['paper']!r} is not the folder's name {paper!r}")
    for column in ("table", "dataset", "method", "metric", "source"):
        if not row[column].strip():
            raise fail(column, "empty")
    printed = _PRINTED.fullmatch(row["value"])
    if not printed or not math.isfinite(float(printed[2])):
        raise fail("value", f"{row['value']!r} is not a number as printed, such as 0.0591, -1.3e3 or >100")
    if row["direction"] not in DIRECTIONS:
        raise fail("direction", f"unknown {row['direction']!r}; allowed: {', '.join(DIRECTIONS)}")
    column = "uncertainty"
    try:
        parse_stderr(row[column])
        column = "nfe"
        return parse_count(row[column])
    except ValueError as error:
        raise fail(column, str(error)) from None
