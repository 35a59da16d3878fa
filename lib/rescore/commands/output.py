"""How commands print: plain tables and counts."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

NUMBER = re.compile(r"[<>=]*[-+]?(\d+(\.\d*)?(e[-+]?\d+)?|inf)( [A-Za-z]+)?")
"""A cell that is aligned as a number: one that may be a bound, and may have a unit."""


def print_table(columns: Sequence[str], rows: Iterable[Mapping[str, object]], digits: int = 4, style: str = "simple") -> None:
    """A plain table, never wrapped; floats to some digits, nothing for no number; columns of numbers to the right."""
    from tabulate import tabulate

    def text(value: object) -> str:
        if value is None or str(value) in ("nan", "<NA>"):
            return ""
        if not isinstance(value, float):
            return str(value)
        return f"{value:.0f}" if 10**digits <= abs(value) < 10**10 else f"{value:.{digits}g}"

    cells = [[text(row[column]) for column in columns] for row in rows]
    filled = [[cell for cell in column if cell] for column in zip(*cells, strict=True)]
    align = ["right" if column and all(map(NUMBER.fullmatch, column)) else "left" for column in filled]
    print(tabulate(cells, headers=list(columns), disable_numparse=True, colalign=align if cells else None, tablefmt=style))


def print_frame(frame: "pd.DataFrame") -> None:
    """A data frame as a plain table."""
    print_table(list(frame.columns), frame.to_dict("records"))


def print_counts(statuses: Iterable[str], allowed: Sequence[str]) -> None:
    """How often each of the allowed statuses occurs."""
    counts = Counter(statuses)
    print("\n" + ", ".join(f"{counts[status]} {status}" for status in allowed) + f"; {counts.total()} in all")
