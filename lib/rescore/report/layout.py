"""A printed table laid out as it is printed, read off the order of its rows in `published.csv`.

The file lists a table's numbers as one reads them. What changes slowest from line to line is therefore the rows of the table,
what changes fastest its columns; datasets and metrics are columns of every table, as papers print them.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rescore.ledger.records import KEY

SPARSE = 0.45  # a grid with a smaller share of its cells filled is no printed table, but numbers from the text: they are listed
Row = Mapping[str, Any]  # the key columns of a published number, nfe an int or None


@dataclass(frozen=True)
class Cell:
    """One printed number in its place.

    Args:
        index: of the published row.
        extra: evaluations beyond those that the row or column is headed with, as papers print `+1`.
    """

    index: int
    extra: int = 0


@dataclass(frozen=True)
class Grid:
    """A table: rows and columns by what heads them.

    Args:
        row_heads: what the heads of the rows are, such as `("method", "variant")`.
        column_heads: likewise, from the top level down.
        rows, columns: the heads, as many texts as there are kinds of heads.
        cells: by row and column; a place that the paper leaves empty has none.
        common: what all numbers share and no head says, by key column.
    """

    row_heads: tuple[str, ...]
    column_heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    columns: tuple[tuple[str, ...], ...]
    cells: Mapping[tuple[int, int], Cell]
    common: Mapping[str, str]

    def levels(self) -> list[list[tuple[str, int]]]:
        """For each kind of column head the texts and how many columns each spans."""
        found = []
        for level in range(len(self.column_heads)):
            spans: list[tuple[str, int]] = []
            for index, column in enumerate(self.columns):
                if index and self.columns[index - 1][: level + 1] == column[: level + 1]:
                    spans[-1] = (spans[-1][0], spans[-1][1] + 1)
                else:
                    spans.append((column[level], 1))
            found.append(spans)
        return found


def printed_table(rows: Sequence[Row]) -> Grid:
    """The layout of the published numbers of one table, in the order of their file.

    - Evaluations are a head of the columns where one method has several, or of the rows where the file lists all methods at one
      number of evaluations before the next; else they stand beside the method.
    - Variants head columns where several methods have the same ones and nothing else does; or where each data set has its own.
    - Numbers that fill less than `SPARSE` of such a grid are a list: one row each.
    """
    named = [_Named(row) for row in rows]
    blocks = _blocks(named)
    if blocks:
        grid = _grid(named, ("nfe",), ("dataset", "metric", "method", "variant"), blocks)
    elif len({(n.name, n.measured) for n in named}) < len(named):  # a method at several evaluations
        grid = _grid(named, ("method", "variant"), ("dataset", "metric", "nfe"))
    elif _crossed(named):
        grid = _grid(named, ("method",), ("dataset", "metric", "variant"))
    elif _follows_dataset(named):
        grid = _grid(named, ("method",), ("dataset", "variant", "metric"))
    else:
        grid = _grid(named, ("method", "variant", "nfe"), ("dataset", "metric"))
    size = len(grid.rows) * len(grid.columns)
    if len(grid.cells) < len(rows) or (size > 4 and len(rows) < SPARSE * size):
        return _grid(named, ("dataset", "method", "variant", "metric", "nfe"), ())
    return grid


@dataclass(frozen=True)
class _Named:
    row: Row

    @property
    def name(self) -> tuple[str, str]:
        return self.row["method"], self.row["variant"]

    @property
    def measured(self) -> tuple[str, str]:
        return self.row["dataset"], self.row["metric"]

    @property
    def nfe(self) -> int | None:
        return self.row["nfe"]

    def head(self, column: str) -> str:
        value = self.row[column]
        return "" if value is None else str(value)


def _blocks(named: Sequence[_Named]) -> list[tuple[int, int]]:
    """(block, its usual nfe) for each row, where the file lists all methods at one nfe before the next; else []."""
    blocks: list[list[_Named]] = [[]]
    for entry in named:
        if any((entry.name, entry.measured) == (other.name, other.measured) for other in blocks[-1]):
            blocks.append([])
        blocks[-1].append(entry)
    usual = [Counter(entry.nfe for entry in block).most_common(1)[0] for block in blocks]
    sound = (
        len(blocks) > 1
        and all(len({entry.name for entry in block}) > 1 for block in blocks)
        and all(nfe is not None and 2 * count >= len(block) for (nfe, count), block in zip(usual, blocks, strict=True))
        and len({nfe for nfe, _ in usual}) == len(blocks)
    )
    heads = [nfe for nfe, _ in usual if nfe is not None]  # all of them where it is sound
    return [(index, heads[index]) for index, block in enumerate(blocks) for _ in block] if sound else []


def _crossed(named: Sequence[_Named]) -> bool:
    """Whether several methods have the same variants, and of one data set and metric."""
    methods = {n.row["method"] for n in named}
    variants = {n.row["variant"] for n in named}
    shared = [v for v in variants if sum(n.row["variant"] == v for n in named) > 1]
    one = len({n.measured for n in named}) == 1
    return one and len(methods) > 1 and len(variants) > 1 and 2 * len(shared) > len(variants)


def _follows_dataset(named: Sequence[_Named]) -> bool:
    """Whether each data set has one variant of its own, and methods repeat over them."""
    by_dataset: dict[str, set[str]] = {}
    for n in named:
        by_dataset.setdefault(n.row["dataset"], set()).add(n.row["variant"])
    variants = [v for found in by_dataset.values() for v in found]
    return len(by_dataset) > 1 and len(variants) == len(by_dataset) == len(set(variants)) and any(variants)


def _grid(
    named: Sequence[_Named], row_heads: Iterable[str], column_heads: Iterable[str], blocks: Sequence[tuple[int, int]] = ()
) -> Grid:
    """Place every number; heads that say the same of all, or nothing, are left out."""
    values = {head: list(dict.fromkeys(n.head(head) for n in named)) for head in KEY[2:]}
    beside = _only_nfe(named) if "nfe" in row_heads and "method" in row_heads else {}
    row_heads, column_heads = tuple(row_heads), tuple(column_heads)
    listed = not column_heads
    shown_rows = tuple(h for h in row_heads if len(values[h]) > 1 or (h in ("method", "nfe") and values[h] != [""]))
    shown_columns = tuple(h for h in column_heads if len(values[h]) > 1 and values[h] != [""])
    if not shown_columns and not listed:
        shown_columns = ("metric",)
    shown_rows = shown_rows or row_heads[:1]
    rows: dict[tuple[str, ...], int] = {}
    columns: dict[tuple[str, ...], int] = {}
    cells = {}
    for index, n in enumerate(named):
        heads = {h: n.head(h) for h in KEY[2:]}
        extra = 0
        if blocks:
            heads["nfe"] = str(blocks[index][1])
            extra = 0 if n.nfe is None else n.nfe - blocks[index][1]
        elif beside:
            heads["nfe"] = beside.get(n.name, heads["nfe"])
        row = tuple(heads[h] for h in shown_rows)
        column = ("",) if listed else tuple(heads[h] for h in shown_columns)
        cells[row, column] = Cell(index, extra)
        rows.setdefault(row, len(rows))
        columns.setdefault(column, len(columns))
    order = sorted(columns, key=lambda column: _place(column, shown_columns, values)) if not listed else list(columns)
    place = {column: index for index, column in enumerate(order)}
    common = {
        h: values[h][0] for h in KEY[2:] if len(values[h]) == 1 and values[h] != [""] and h not in (*shown_rows, *shown_columns)
    }
    return Grid(
        shown_rows,
        shown_columns,
        tuple(rows),
        tuple(order),
        {(rows[row], place[column]): cell for (row, column), cell in cells.items()},
        common,
    )


def _place(column: tuple[str, ...], heads: Sequence[str], values: Mapping[str, Sequence[str]]) -> tuple[float, ...]:
    """Columns by their heads in printed order; evaluations by size, none first."""
    return tuple(
        float(text or 0) if head == "nfe" else values[head].index(text) for head, text in zip(heads, column, strict=True)
    )


def _only_nfe(named: Sequence[_Named]) -> dict[tuple[str, str], str]:
    """By method and variant the only nfe it has, which goes also for numbers that none is printed with."""
    found: dict[tuple[str, str], set[str]] = {}
    for n in named:
        found.setdefault(n.name, set()).add(n.head("nfe"))
    return {name: max(texts) for name, texts in found.items() if len(texts - {""}) <= 1}
