"""Numbers of tiny runs, kept: what no other test of a paper's wiring knows to ask about changes one of them.

They mean nothing but "unchanged", as those of the smoke scale. When they have to change, `RESCORE_PIN=1 pytest` writes them
anew; the diff of `tests/data/pinned/` then shows what moved.
"""

import csv
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rescore.jobs import Result
from rescore.ledger.protocol import format_protocol

FOLDER = Path(__file__).parent / "data" / "pinned"
KEY = ("table", "dataset", "method", "variant", "metric", "nfe")
EXACT = (*KEY, "n_seeds", "n_samples", "protocol")
NUMBERS = ("value", "stderr")
RELATIVE = 1e-3  # float32 on another processor; a wrong wire moves a number by far more
ROUNDING = 2e-6  # what is only rounding differs everywhere
TIMED = ("time_ratio", "seconds", "per_second", "memory_mb")  # ends of metrics that the machine decides


def check_pinned(name: str, measured: Iterable[Any], result: Result | None = None) -> None:
    """Measurements or records, against tests/data/pinned/<name>.csv: the same rows in the same order.

    Texts and counts are equal, numbers to `RELATIVE`; numbers that a clock decides are not looked at. Of a `result` also its
    function evaluations, its skipped rows, and its arrays by mean and standard deviation.
    """
    found, path = [_row(one) for one in measured], FOLDER / f"{name}.csv"
    if result is not None:
        found.append(_other("function evaluations", result.function_evaluations, 0.0, 1, ""))
        found += [_other(f"skipped {row.get('dataset', '')}", 0.0, 0.0, 1, "") for row in result.skipped]
        for array, values in sorted(result.arrays.items()):
            values = np.asarray(values, dtype=float)
            found.append(_other(f"array {array}", values.mean(), values.std(), values.size, str(values.shape)))
    if os.environ.get("RESCORE_PIN"):
        with open(path, "w", newline="") as stream:
            writer = csv.DictWriter(stream, (*EXACT, *NUMBERS), lineterminator="\n")
            writer.writeheader()
            writer.writerows(found)
    with open(path, newline="") as stream:
        wanted = list(csv.DictReader(stream))
    assert [[row[key] for key in EXACT] for row in found] == [[row[key] for key in EXACT] for row in wanted]
    for ours, theirs in zip(found, wanted, strict=True):
        for column in NUMBERS:
            assert (ours[column] == "") == (theirs[column] == ""), ours
            if theirs[column]:
                assert float(ours[column]) == pytest.approx(float(theirs[column]), rel=RELATIVE, abs=ROUNDING), (
                    ours,
                    theirs[column],
                )


def _other(name: str, value: float, spread: float, size: int, shape: str) -> dict[str, str]:
    texts = {"table": "(result)", "dataset": name, "n_samples": str(size), "protocol": shape}
    if _timed(name):
        return dict.fromkeys((*EXACT, *NUMBERS), "") | texts
    return dict.fromkeys(EXACT, "") | texts | {"value": f"{value:.7g}", "stderr": f"{spread:.7g}"}


def _timed(metric: str) -> bool:
    return metric.endswith(TIMED)


def _row(one: Any) -> dict[str, str]:
    protocol = one.protocol if isinstance(one.protocol, str) else format_protocol(one.protocol)
    columns: Mapping[str, Any] = {key: getattr(one, key) for key in (*KEY, "n_seeds", "n_samples")} | {"protocol": protocol}
    texts = {key: "" if value is None else str(value) for key, value in columns.items()}
    if _timed(one.metric):
        return texts | dict.fromkeys(NUMBERS, "")
    return texts | {key: "" if (value := getattr(one, key)) is None else f"{value:.7g}" for key in NUMBERS}
