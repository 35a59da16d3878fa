"""All comparisons, one file of golden numbers after another."""

from collections.abc import Iterator
from pathlib import Path

from rescore.errors import MissingData
from rescore.parity import cld, collage, deis, gddim, ncsn, networks, neural_sde, pis, score_sde
from rescore.parity.table import Compare, Row, read_sheet


def comparisons() -> dict[str, Compare]:
    """By the name of the file, what compares it."""
    found: dict[str, Compare] = {}
    for module in (networks, score_sde, cld, deis, gddim, pis, neural_sde, collage, ncsn):
        found |= module.COMPARISONS
    return found


def compare_all(folder: Path) -> Iterator[Row]:
    """The rows of every file that is there, in the order of `comparisons`.

    Raises RescoreError, before anything is computed, for a file that is damaged, MissingData where there is none.
    """
    known = comparisons()
    sheets = {name: sheet for name in known if (sheet := read_sheet(folder, name))}
    if not sheets:
        raise MissingData(f"{folder}: no golden numbers here; allowed: {', '.join(known)}, each a .safetensors file")
    for name, sheet in sheets.items():
        known[name](sheet)
        yield from sheet.rows
