"""What cells found, and the journal that keeps it in the run folder, so that a killed job goes on at the next cell."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from rescore.errors import RescoreError
from rescore.files import append_line, read_arrays, save_arrays
from rescore.ledger.protocol import format_protocol
from rescore.ledger.records import Over
from rescore.progress import warn


@dataclass(frozen=True)
class Measurement:
    """One measured number, with columns of `rescore.ledger.records.Record`. `protocol` is a mapping, or a record's text."""

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
    protocol: Mapping[str, object] | str
    seconds: float
    matched: str = ""
    values: str = ""

    @property
    def protocol_text(self) -> str:
        return self.protocol if isinstance(self.protocol, str) else format_protocol(self.protocol)


@dataclass
class Found:
    """The contents of a cell.

    Args:
        seconds, cpu_seconds: what it took since the cell before it, with whatever else the section did, such as a training.
    """

    measurements: list[Measurement] = field(default_factory=list)
    skipped: list[Mapping[str, object]] = field(default_factory=list)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    evaluations: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0


ENTRY = {"code", "cell", "measurements", "skipped", "arrays", "evaluations", "seconds", "cpu_seconds"}


class Journal:
    """The finished cells of a section, in its run folder: a line each in `cells.jsonl`, arrays beside it.

    Cells of other code, or of another machine class, are not taken up again. A line that a kill has cut, or that is
    none of ours, counts for nothing.

    Args:
        folder: None to keep nothing.
        code: the paper's folder; None where it is not known any more.
    """

    def __init__(self, folder: Path | None, code: Path | None, device: str):
        self._run_folder = folder
        self.folder = folder / "cells" if folder else None
        self._kept: dict[str, Mapping[str, Any]] = {}
        self._code = ""
        if self.folder and (path := self.folder / "cells.jsonl").is_file():
            self._code, others = code_digest(code, device), set[str]()
            for line in path.read_text(errors="replace").splitlines():
                try:
                    entry = json.loads(line)
                except (ValueError, RecursionError):
                    continue
                if not isinstance(entry, dict) or not entry.keys() >= ENTRY or not isinstance(entry["cell"], str):
                    continue
                if entry["code"] == self._code:
                    self._kept[entry["cell"]] = entry
                else:
                    others.add(entry["cell"])
            if lost := others - self._kept.keys():
                warn(f"{path}: {len(lost)} kept cells are of other code, another torch or another device: measured again")
        self._of = code, device

    @property
    def code(self) -> str:
        """The digest of what the numbers depend on beside their config."""
        self._code = self._code or code_digest(*self._of)
        return self._code

    def place(self, name: str) -> Path:
        """Where a section keeps what it makes piece by piece: a file of this code alone, in the run folder."""
        assert self._run_folder is not None, "what is kept belongs to a run"
        return self._run_folder / f"{name}-{self.code}.npz"

    def get(self, cell: str) -> Found | None:
        """A finished cell, None if it is to be measured."""
        entry = self._kept.get(cell)
        if entry is None:
            return None
        arrays = {}
        if entry["arrays"]:
            try:
                arrays = read_arrays(self.folder / entry["arrays"])
            except RescoreError as error:
                warn(f"{error}: its cell is measured again")
                return None
        took = entry["evaluations"], entry["seconds"], entry["cpu_seconds"]
        return Found([Measurement(**one) for one in entry["measurements"]], entry["skipped"], arrays, *took)

    def keep(self, cell: str, found: Found) -> None:
        """Write a finished cell. Raises RescoreError where it cannot be written."""
        if self.folder is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        name = None
        if found.arrays:
            name = f"{cell}-{self.code}.npz"  # other code has kept its own
            save_arrays(self.folder / name, found.arrays)
        measurements = [asdict(replace(one, protocol=one.protocol_text)) for one in found.measurements]
        entry = {
            "code": self.code,
            "cell": cell,
            "measurements": measurements,
            "skipped": found.skipped,
            "arrays": name,
            "evaluations": found.evaluations,
            "seconds": found.seconds,
            "cpu_seconds": found.cpu_seconds,
        }
        append_line(self.folder / "cells.jsonl", json.dumps(entry))


def code_digest(paper: Path | None, device: str) -> str:
    """Of the library's code and a paper's, of torch and the machine class."""
    import torch

    from rescore.machine.hardware import device_name

    digest = hashlib.sha256(f"{torch.__version__} {device_name(device)}".encode() + _library_digest())
    for path in sorted(paper.glob("*.py") if paper else ()):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


@cache
def _library_digest() -> bytes:
    """Of the library's code, once a process: a section asks for it, and it is a megabyte."""
    import rescore

    digest = hashlib.sha256()
    for path in sorted(Path(rescore.__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.digest()
