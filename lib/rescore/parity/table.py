"""Comparisons with golden numbers: rows, verdicts, the file of all of them."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rescore.errors import MissingData, RescoreError
from rescore.files import is_kind, load_tensors, read_json
from rescore.papers import find_root
from rescore.random import Streams

FOLDER = Path("tests", "data", "golden")
INDEX = "index.json"
VERDICTS = ("within", "explained", "off")


@dataclass(frozen=True)
class Row:
    """One comparison.

    Args:
        golden: the file of the numbers.
        quantity: what is compared.
        source: repository and function of the authors.
        difference: our largest, as a share of the largest of their numbers, or absolute where `measure` says so.
        tolerance: what counts as the same.
        reason: why we differ on purpose; then `bound` is what that explains.
    """

    golden: str
    quantity: str
    source: str
    difference: float
    tolerance: float
    measure: str = "relative"
    reason: str = ""
    bound: float = 0.0

    @property
    def verdict(self) -> str:
        """`within` the tolerance; `explained` by the reason, up to its bound; else `off`."""
        if self.difference <= self.tolerance:
            return "within"
        return "explained" if self.reason and self.difference <= self.bound else "off"


COLUMNS = ("golden", "quantity", "source", "difference", "tolerance", "measure", "verdict", "reason")


@dataclass
class Sheet:
    """The comparisons of one file of golden numbers."""

    name: str
    about: dict[str, Any]
    tensors: dict[str, Tensor]
    folder: Path = Path()
    rows: list[Row] = field(default_factory=list)

    def __getitem__(self, name: str) -> Tensor:
        """Raises RescoreError for a tensor that the file does not have."""
        if name not in self.tensors:
            raise RescoreError(f"{self.folder / self.name}.safetensors: no tensor {name}; it has {', '.join(self.tensors)}")
        return self.tensors[name]

    def __contains__(self, name: str) -> bool:
        return name in self.tensors

    @cached_property
    def weights(self) -> dict[str, Tensor]:
        """The authors' weights in float32 by their names; empty where they are not carried."""
        return {name.removeprefix("param/"): value.float() for name, value in self.tensors.items() if name.startswith("param/")}

    def compare(
        self,
        quantity: str,
        ours: Tensor,
        theirs: Tensor | str,
        tolerance: float,
        function: int = 0,
        *,
        absolute: bool = False,
        reason: str = "",
        bound: float = 0.0,
    ) -> None:
        """Add a row; `theirs` may be the name of a tensor, `function` the place of theirs in the index.

        Raises RescoreError for another shape, or a function that the index does not name: then nothing is compared.
        """
        theirs = self[theirs] if isinstance(theirs, str) else theirs
        ours, theirs = ours.detach().double(), theirs.detach().double()
        if ours.shape != theirs.shape or not theirs.numel():
            raise RescoreError(f"parity {self.name}, {quantity}: {tuple(ours.shape)} here, {tuple(theirs.shape)} there")
        difference = (ours - theirs).abs().max()
        if not absolute:
            difference = difference / theirs.abs().max()
        value = difference.item() if difference.isfinite() else float("inf")
        functions = self.about["functions"]
        if not 0 <= function < len(functions):
            raise RescoreError(
                f"{self.folder / INDEX}, {self.name}: {len(functions)} functions; {quantity} is of number {function}"
            )
        source = f"{self.about['repository']} {functions[function]}"
        self.rows.append(
            Row(self.name, quantity, source, value, tolerance, "absolute" if absolute else "relative", reason, bound)
        )


class Played(Streams):
    """Given numbers in place of random ones: each draw takes the next tensor."""

    def __init__(self, *tensors: Tensor):
        self.left = list(tensors)

    def normal(self, shape: Any, dtype: torch.dtype = torch.float32) -> Tensor:
        return self.left.pop(0).to(dtype).reshape(tuple(shape))

    def integers(self, high: int, shape: Any, dtype: torch.dtype = torch.int64) -> Tensor:
        """Given signs as 0 and 1."""
        return ((self.left.pop(0).reshape(tuple(shape)) + 1) / 2).to(dtype)

    def draw(self, like: Tensor) -> Tensor:
        """As samplers call it."""
        return self.normal(like.shape, like.dtype)


Compare = Callable[[Sheet], None]


def golden_folder(folder: Path | None = None) -> Path:
    """The folder of golden numbers: `folder`, or that of the checkout. Raises MissingData: an installed package has none."""
    if folder is None:
        with suppress(RescoreError):
            folder = find_root() / FOLDER
    if folder is None or not (folder / INDEX).is_file():
        raise MissingData(
            f"{folder or FOLDER}: no golden numbers here; they are a part of the repository, not of the installed "
            "package: run in a checkout, or name their folder with --golden"
        )
    return folder


def read_sheet(folder: Path, name: str) -> Sheet | None:
    """A file of golden numbers; None if neither the folder nor its index has it.

    Raises RescoreError if one of the two lacks it, or if it or the index is damaged.
    """
    path, index = folder / f"{name}.safetensors", read_index(folder)
    if not path.exists() and name not in index:
        return None
    if name not in index:
        raise RescoreError(f"{folder / INDEX}: no entry for {path.name}")
    return Sheet(name, index[name], load_tensors(path), folder)


def read_index(folder: Path) -> dict[str, dict[str, Any]]:
    """By the name of each file where its numbers come from, with `repository` and `functions`.

    Raises RescoreError for an index that is damaged.
    """
    index = read_json(folder / INDEX)
    if is_kind(index.get("goldens"), list):
        index = {str(one.get("name")): one for one in index["goldens"] if is_kind(one, dict)}
    for name, about in index.items():
        functions = about.get("functions") if is_kind(about, dict) else None
        if not (functions and is_kind(functions, list) and is_kind(about.get("repository"), str)):
            raise RescoreError(f"{folder / INDEX}, key {name}: allowed: an object with a text repository and a list functions")
    return index


def to_csv(rows: list[Row]) -> str:
    """The table as CSV, differences to three digits."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        values = {one.name: getattr(row, one.name) for one in fields(row)} | {"verdict": row.verdict}
        writer.writerow([f"{values[name]:.3g}" if isinstance(values[name], float) else values[name] for name in COLUMNS])
    return stream.getvalue()
