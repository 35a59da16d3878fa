"""Measured numbers: one `Record` a number, read and written as CSV that returns bit-equal floats."""

import csv
import io
import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from operator import attrgetter
from pathlib import Path
from typing import Any, Literal, get_args

from rescore.config import SCALES
from rescore.errors import RescoreError
from rescore.files import atomic_write, read_text

KEY = ("paper", "table", "dataset", "method", "variant", "metric", "nfe")
_key_of = attrgetter(*KEY)
SKIPPED_COLUMNS = (*KEY, "reason")
Over = Literal["trainings", "samplings", "runs", "exact"]
"""What a record's error is an error of: the spread over `trainings`, each with samples of its own; over `samplings` of a
single training, which says nothing about another one; over independent `runs` of what is not trained; `exact`: no repeat
would change the number."""
# Metrics of time and memory are named so: they are measured and judged, but no two runs give the same.
LARGEST = 2**53  # of counts: above it not every whole number is a float
TIMED = ("_time_ms", "_time_ratio", "_seconds", "_per_second", "_memory_mb")


@dataclass(frozen=True)
class Record:
    """One measured number.

    Args:
        paper: the paper's folder name.
        table: the paper's number for the table, or a name of our own.
        variant: may be empty.
        nfe: function evaluations a sample, or None where the count has no meaning.
        value: finite.
        stderr: standard error of `value` (>= 0), None where it was not estimated, as from a single repeat.
        df: degrees of freedom of `stderr`, repeats - 1; None where there is no error or the number is exact.
        over: what `stderr` is an error of (`Over`).
        n_seeds: independent trainings behind the number; where nothing is trained, independent seeds.
        n_samples: samples behind the number, in all.
        protocol: `key=value` pairs joined by `; ` (`rescore.ledger.protocol`).
        seconds: wall-clock seconds of the cell that holds it, from where its work began.
        matched: what has been repeated, such as a network: records of the same one have their i-th training, or starting
            points, in common. Empty where nothing is.
        values: of such a record, that of each repeat, whose mean it is: numbers with a space between.

    Raises:
        RescoreError: a value outside these ranges; the message names the column.
    """

    paper: str
    table: str
    dataset: str
    method: str
    variant: str
    metric: str
    nfe: int | None
    value: float
    stderr: float | None
    df: int | None
    over: Over
    n_seeds: int
    n_samples: int
    protocol: str
    scale: str
    device: str
    seconds: float
    version: str
    config_hash: str
    matched: str = ""
    values: str = ""

    def __post_init__(self) -> None:
        for column, parse in _PARSERS.items():
            try:
                object.__setattr__(self, column, parse(getattr(self, column)))  # frozen: the only way to normalise
            except ValueError as error:
                raise RescoreError(f"record {describe(key_of(self))}: column {column}: {error}") from None
        known = self.stderr is not None and self.over != "exact"
        if known != (self.df is not None) or (self.over == "exact" and self.stderr != 0):
            raise RescoreError(
                f"record {describe(key_of(self))}: column df: {self.df} with stderr {self.stderr} over {self.over}; "
                "an exact number has stderr 0 and no df, another error has its df"
            )
        if len(self.each) != ((self.df or 0) + 1 if self.matched else 0):
            name = describe(key_of(self))
            raise RescoreError(f"record {name}: column values: {self.values!r}; with `matched` df + 1 of them, else none")

    @property
    def key(self) -> tuple[str | int | None, ...]:
        return key_of(self)

    @property
    def each(self) -> tuple[float, ...]:
        """The numbers of `values`."""
        return tuple(map(float, self.values.split()))

    @property
    def samples_each(self) -> float:
        """Samples behind each of the repeats that the value is the mean of: of `n_samples` in all, one repeat's share."""
        return self.n_samples / (self.n_seeds if self.df is None else self.df + 1)


COLUMNS = tuple(field.name for field in fields(Record))
YOUNGER = ("matched", "values")  # files of earlier code lack them


def key_of(row: Any) -> tuple[str | int | None, ...]:
    """The seven values that name a measured or published number."""
    return _key_of(row)


def describe(key: Iterable[object]) -> str:
    """A key as text for messages: its non-empty parts."""
    return "/".join(str(part) for part in key if part not in (None, ""))


def under_candidate(variant: str, candidate: str) -> str:
    """The `variant` of records made under a candidate protocol in place of the main one: `NN@long` beside `NN`."""
    return f"{variant}@{candidate}"


def parse_count(value: object) -> int | None:
    """A positive whole number, or None for None and an empty text; raises ValueError otherwise."""
    return None if value is None or value == "" else _whole(value, least=1)


def parse_stderr(value: object) -> float | None:
    """A finite number >= 0, or None for None and an empty text; raises ValueError otherwise."""
    return None if value is None or value == "" else _number(value, least=0.0)


def _over(value: object) -> str:
    if value not in get_args(Over):
        raise ValueError(f"unknown {value!r}; allowed: {', '.join(get_args(Over))}")
    return str(value)


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{value!r} is not a non-empty text")
    return value


def _text_or_empty(value: object) -> str:
    return "" if value is None or value == "" else _text(value)


def _number(value: Any, least: float = -math.inf) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{value!r} is not a number") from None
    if not math.isfinite(number):
        raise ValueError(f"{value!r} is not finite")
    if number < least:
        raise ValueError(f"{number!r} is below {least:g}")
    return number


def _whole(value: Any, least: int = 0) -> int:
    number = _number(value, least)
    if number != int(number):
        raise ValueError(f"{value!r} is not a whole number")
    if number > LARGEST:
        raise ValueError(f"{value!r} is above {LARGEST}")
    return int(number)


def _scale(value: object) -> str:
    if value not in SCALES:
        raise ValueError(f"unknown scale {value!r}; allowed: {', '.join(SCALES)}")
    return str(value)


_PARSERS: dict[str, Callable[[Any], Any]] = dict.fromkeys(COLUMNS, _text) | {
    "variant": _text_or_empty,
    "nfe": parse_count,
    "value": _number,
    "stderr": parse_stderr,
    "df": parse_count,
    "over": _over,
    "n_seeds": lambda value: _whole(value, least=1),
    "n_samples": _whole,
    "protocol": _text_or_empty,
    "scale": _scale,
    "seconds": lambda value: _number(value, least=0.0),
    "matched": _text_or_empty,
    "values": lambda value: format_values([_number(one) for one in _text_or_empty(value).split()]),
}


def format_values(values: Iterable[float]) -> str:
    """The text of `Record.values`."""
    return " ".join(f"{value:.10g}" for value in values)


def read_rows(path: Path, columns: Sequence[str], optional: Sequence[str] = ()) -> list[tuple[int, dict[str, str]]]:
    """Rows of a CSV file with their line numbers.

    Args:
        columns: names that must be in the header, in any order.
        optional: names that may be.

    Raises:
        RescoreError: a file that cannot be read, an unknown, missing or repeated column, a row with too few or too many fields,
            a file that ends in the middle of a line.
    """
    path = Path(path)
    text = read_text(path, "utf-8-sig")  # spreadsheets put a byte order mark before UTF-8
    if not text:
        raise RescoreError(f"{path}: empty file; expected the columns {', '.join(columns)}")
    if not text.endswith("\n"):
        raise RescoreError(f"{path}: the last line has no end: the file is cut short")
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows = []
    try:
        header = next(reader)
        allowed = (*columns, *optional)
        for column in header:
            if column not in allowed:
                raise RescoreError(f"{path}, line 1: unknown column {column!r}; allowed: {', '.join(allowed)}")
            if header.count(column) > 1:
                raise RescoreError(f"{path}, line 1: column {column!r} appears twice")
        if missing := [column for column in columns if column not in header]:
            raise RescoreError(f"{path}, line 1: missing column {', '.join(missing)}")
        for fields_ in reader:
            if len(fields_) != len(header):
                column = header[min(len(fields_), len(header) - 1)]
                raise RescoreError(
                    f"{path}, line {reader.line_num}, column {column}: "
                    f"the row has {len(fields_)} fields, the header {len(header)}"
                )
            rows.append((reader.line_num, dict(zip(header, fields_, strict=True))))
    except csv.Error as error:
        raise RescoreError(f"{path}, line {reader.line_num}: {error}") from None
    return rows


def number_in(path: Path, line: int, row: Mapping[str, str], column: str) -> float | None:
    """A number of a row of `read_rows`; None for an empty field. Raises RescoreError, with its place, for other text."""
    try:
        return float(row[column]) if row[column] else None
    except ValueError:
        raise RescoreError(f"{path}, line {line}, column {column}: {row[column]!r} is not a number") from None


def nfe_in(path: Path, line: int, row: Mapping[str, str]) -> int | None:
    """The nfe of a row of `read_rows`; None for an empty field. Raises RescoreError, with its place, for what is no count."""
    try:
        return parse_count(row["nfe"])
    except ValueError as error:
        raise RescoreError(f"{path}, line {line}, column nfe: {error}") from None


def check_status(path: Path, line: int, row: Mapping[str, str], statuses: Sequence[str]) -> None:
    """Raise RescoreError, with the line, unless the status of a row of `read_rows` is one of these."""
    if row["status"] not in statuses:
        raise RescoreError(f"{path}, line {line}, column status: unknown {row['status']!r}; allowed: {', '.join(statuses)}")


def format_rows(columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> str:
    """CSV text; floats with as many digits as reading needs to return the same bits, None as an empty field."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: repr(float(value)) if isinstance(value, float) else value for name, value in row.items()})
    return stream.getvalue()


def sorted_records(records: Iterable[Record]) -> list[Record]:
    """In the order of their keys, an absent nfe first."""
    return sorted(records, key=lambda record: tuple(-1 if part is None else part for part in record.key))


def write_records(path: Path | str, records: Iterable[Record]) -> None:
    """Write the records sorted by key; raises RescoreError on a duplicate key."""
    records = sorted_records(records)
    for before, after in itertools.pairwise(records):
        if before.key == after.key:
            raise RescoreError(f"{path}: two records for {describe(after.key)}: {before.value!r} and {after.value!r}")
    atomic_write(path, format_rows(COLUMNS, ({column: getattr(record, column) for column in COLUMNS} for record in records)))


def read_records(path: Path | str, scale: str | None = None) -> list[Record]:
    """Records of one file; see `collect_records` for what is checked."""
    return collect_records([path], scale)


def collect_records(paths: Iterable[Path | str], scale: str | None = None) -> list[Record]:
    """Join record files, sorted by key.

    Args:
        scale: the scale that every record must have, None for any.

    Raises:
        RescoreError: unknown or missing column, a value that cannot be read, NaN, another scale, or a key that
            appears twice; the message names file, line and column.
    """
    seen: dict[tuple[str | int | None, ...], tuple[Path, int]] = {}
    records = []
    for path in map(Path, paths):
        for line, row in read_rows(path, [name for name in COLUMNS if name not in YOUNGER], YOUNGER):
            parsed = _parse_row(path, line, row)
            try:
                record = Record(**parsed)  # type: ignore[arg-type]  # each column has been parsed to its type
            except RescoreError as error:
                raise RescoreError(f"{path}, line {line}: {error}") from None
            if scale is not None and record.scale != scale:
                raise RescoreError(f"{path}, line {line}, column scale: {record.scale!r} in results of scale {scale!r}")
            if record.key in seen:
                other, other_line = seen[record.key]
                raise RescoreError(
                    f"{path}, line {line}: duplicate key {describe(record.key)}, already in {other}, line {other_line}"
                )
            seen[record.key] = (path, line)
            records.append(record)
    return sorted_records(records)


def _parse_row(path: Path, line: int, row: Mapping[str, str]) -> dict[str, object]:
    parsed = {}
    for column, text in row.items():
        try:
            parsed[column] = _PARSERS[column](text)
        except ValueError as error:
            raise RescoreError(f"{path}, line {line}, column {column}: {error}") from None
    return parsed


def write_skipped(path: Path | str, skipped: Iterable[Mapping[str, object]]) -> None:
    """Write what a run could not measure: key columns that apply (absent or empty: any) and the `reason`."""
    rows = [dict(row) for row in skipped]
    for row in rows:
        if unknown := set(row) - set(SKIPPED_COLUMNS):
            raise RescoreError(f"{path}: unknown column {', '.join(sorted(unknown))}; allowed: {', '.join(SKIPPED_COLUMNS)}")
    atomic_write(path, format_rows(SKIPPED_COLUMNS, rows))


def read_skipped(path: Path | str) -> list[dict[str, str]]:
    """Rows of a `skipped.csv` without their empty columns, which match anything; `paper` and `reason` must be given."""
    rows = []
    for line, row in read_rows(Path(path), ("paper", "reason"), KEY[1:]):
        for column in ("paper", "reason"):
            if not row[column].strip():
                raise RescoreError(f"{path}, line {line}, column {column}: empty")
        rows.append({column: text for column, text in row.items() if text})
    return rows


def _key_text(value: object) -> str:
    """A value of a key column as patterns compare it."""
    return "" if value is None else str(value)


class Records(tuple[Record, ...]):
    """Records that are looked up by their key columns again and again: each set of columns is gone through once."""

    def having(self, columns: Mapping[str, str | int | None]) -> Sequence[Record]:
        """Those whose key columns have these values, in order."""
        names = tuple(columns)
        if names not in self._found:
            found = self._found[names] = {}
            for record in self:
                found.setdefault(tuple(_key_text(getattr(record, name)) for name in names), []).append(record)
        return self._found[names].get(tuple(map(_key_text, columns.values())), ())

    @cached_property
    def _found(self) -> dict[tuple[str, ...], dict[tuple[str, ...], list[Record]]]:
        """By names of columns and their values."""
        return {}


def matcher(pattern: Mapping[str, object]) -> Callable[[Any], bool]:
    """Whether a row's key columns agree with `pattern`, which gives a value or a list of allowed values for some of them."""
    allowed = {column: _texts(wanted) for column, wanted in pattern.items()}
    columns = list(reversed(allowed))  # those named last, such as the metric, differ most: most rows end at the first
    return lambda row: all(_key_text(getattr(row, column)) in allowed[column] for column in columns)


def matches(pattern: dict[str, Any], row: Any) -> bool:
    """Whether one row agrees with `pattern`, as `matcher` says."""
    return all(_key_text(getattr(row, column)) in _texts(wanted) for column, wanted in reversed(pattern.items()))


def _texts(wanted: object) -> set[str]:
    """What a pattern allows in a column: a value, or each of a list."""
    return {_key_text(value) for value in (wanted if isinstance(wanted, list | tuple) else [wanted])}


def is_timed(metric: str) -> bool:
    """Whether a metric is one of time or memory, which differs between two equal runs."""
    return metric.endswith(TIMED)
