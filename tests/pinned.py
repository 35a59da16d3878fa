"""Numbers of tiny runs, kept: what no other test of a paper's wiring knows to ask about changes one of them.

They mean nothing but "unchanged", as those of the smoke scale. When they have to change, `RESCORE_PIN=1 pytest` writes them
anew; the diff of `tests/data/pinned/` then shows what moved.

The first row of a file names the machine classes and torch that agree with it. Elsewhere rounding differs, and what is chaotic,
such as a sample between two modes or an adaptive solver's next step, with it. `RESCORE_PIN=add pytest` on another class adds
it: rows whose numbers differ there are marked `chaotic`, and all others are compared strictly on both. On a class that is not
named, and of chaotic rows, most numbers must agree, not all. What is wrong with one method alone is few numbers of a file, so
half of each method's and of each metric's must agree as well, roughly: one chaotic solution moves all the numbers of its cell,
and all those that are differences from it, but not by their size.
"""

import csv
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rescore.experiments.book import Result
from rescore.ledger.protocol import format_protocol
from rescore.machine.hardware import device_name

FOLDER = Path(__file__).parent / "data" / "pinned"
KEY = ("table", "dataset", "method", "variant", "metric", "nfe")
EXACT = (*KEY, "n_seeds", "n_samples", "over", "df", "protocol")
NUMBERS = ("value", "stderr")
CHAOTIC = "chaotic"  # a row whose numbers differ between machine classes that the file names
RELATIVE = 1e-3  # a wrong wire moves a number by far more
ROUNDING = 2e-6  # what is only rounding differs everywhere
ELSEWHERE_RELATIVE, ELSEWHERE_SHARE = 1e-2, 0.9  # on another machine class: so many of the numbers agree so well,
GROUP_RELATIVE, GROUP_SHARE, FEW = 0.25, 0.5, 3  # and of each method's and metric's, if they are more than a few, these
TIMED = ("time_ratio", "seconds", "per_second", "memory_mb")  # ends of metrics that the machine decides


def check_pinned(name: str, measured: Iterable[Any], result: Result | None = None) -> None:
    """Measurements or records, against tests/data/pinned/<name>.csv: the same rows, in any order.

    Texts and counts are equal, numbers to `RELATIVE`; numbers that a clock decides are not looked at. Of a `result` also its
    function evaluations, its skipped rows, and its arrays by mean and standard deviation. On another machine class, and where
    the file names several, the evaluations of adaptive solvers may differ. On another one, and of chaotic rows,
    `ELSEWHERE_SHARE` of the numbers agree to `ELSEWHERE_RELATIVE`, and of each method and metric, and of the values and the
    errors of each, `GROUP_SHARE` to `GROUP_RELATIVE`. What is only rounding, such as an error of 0, counts as no number there:
    it would agree whatever was wrong.
    """
    found, path = [_row(one) for one in measured], FOLDER / f"{name}.csv"
    if result is not None:
        found.append(_other("function evaluations", result.function_evaluations, 0.0, 1, ""))
        found += [_other(f"skipped {row.get('dataset', '')}", 0.0, 0.0, 1, "") for row in result.skipped]
        for array, values in sorted(result.arrays.items()):
            values = np.asarray(values, dtype=float)
            found.append(_other(f"array {array}", values.mean(), values.std(), values.size, str(values.shape)))
    here = f"{device_name('cpu')}, torch {torch.__version__.partition('+')[0]}"
    if how := os.environ.get("RESCORE_PIN"):
        _write(path, here, found, _read(path) if how == "add" else None)
    machines, wanted = _read(path)
    found, wanted = _in_order(found), _in_order(wanted)
    known, texts = here in machines, _texts if machines == [here] else _texts_elsewhere
    assert [texts(row) for row in found] == [texts(row) for row in wanted]
    numbers, off = Counter[tuple[str, ...]](), Counter[tuple[str, ...]]()
    moved: list[tuple[dict[str, str], str]] = []
    for ours, theirs in zip(found, wanted, strict=True):
        strict = known and not theirs[CHAOTIC]
        for column in NUMBERS:
            assert (ours[column] == "") == (theirs[column] == ""), ours
            if not theirs[column]:
                continue
            agrees = _agrees(ours, theirs, column, RELATIVE if strict else ELSEWHERE_RELATIVE)
            assert agrees or not strict, (ours, theirs[column])
            if agrees and abs(float(theirs[column])) <= ROUNDING:
                continue
            groups = [(key, theirs[key], *of) for key in ("method", "metric") for of in ((), (column,))]
            numbers.update([(), *groups])
            if not agrees:
                off[()] += 1
                moved.append((ours, theirs[column]))
            if not _agrees(ours, theirs, column, GROUP_RELATIVE):
                off.update(groups)
    assert numbers[()] - off[()] >= ELSEWHERE_SHARE * numbers[()], moved
    wrong = [group for group, n in numbers.items() if group and n > FEW and n - off[group] < GROUP_SHARE * n]
    assert not wrong, (wrong, moved)


def _agrees(ours: Mapping[str, str], theirs: Mapping[str, str], column: str, relative: float) -> bool:
    if not (ours[column] and theirs[column]):
        return ours[column] == theirs[column]
    return bool(float(ours[column]) == pytest.approx(float(theirs[column]), rel=relative, abs=ROUNDING))


def _read(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """The machine classes that a file names, and its rows."""
    with open(path, newline="") as stream:
        machine, *rows = csv.DictReader(stream)
    return machine["dataset"].split(" | "), [{CHAOTIC: ""} | row for row in rows]


def _write(path: Path, here: str, found: list[dict[str, str]], kept: tuple[list[str], list[dict[str, str]]] | None) -> None:
    """These rows, of this machine class; or those that are `kept`, with this class and marks of what differs here."""
    machines, rows = [here], _in_order(row | {CHAOTIC: ""} for row in found)
    if kept:
        machines, rows = sorted({*kept[0], here}), _in_order(kept[1])
        found = _in_order(found)
        assert [_texts_elsewhere(row) for row in found] == [_texts_elsewhere(row) for row in rows], "other rows: RESCORE_PIN=1"
        for ours, row in zip(found, rows, strict=True):
            same = all(_agrees(ours, row, column, RELATIVE) for column in NUMBERS)
            row[CHAOTIC] = row[CHAOTIC] or ("" if same else "yes")
    with open(path, "w", newline="") as stream:
        writer = csv.DictWriter(stream, (*EXACT, *NUMBERS, CHAOTIC), lineterminator="\n")
        writer.writeheader()
        writer.writerow({"table": "(machine)", "dataset": " | ".join(machines)})
        writer.writerows(rows)


def _in_order(rows: Iterable[dict[str, str]]) -> list[dict[str, str]]:
    return sorted(rows, key=_texts_elsewhere)


def _texts(row: Mapping[str, str]) -> list[str]:
    return [row[key] for key in EXACT]


def _texts_elsewhere(row: Mapping[str, str]) -> list[str]:
    """Without the evaluations that an adaptive solver takes."""
    adaptive = "RK45" in row["method"] + row["variant"]
    changed = {"nfe": ""} if adaptive else {}
    changed["protocol"] = re.sub(r"evaluations=\d+", "evaluations", row["protocol"])
    return _texts({**row, **changed})


def _other(name: str, value: float, spread: float, size: int, shape: str) -> dict[str, str]:
    texts = {"table": "(result)", "dataset": name, "n_samples": str(size), "protocol": shape}
    if _timed(name):
        return dict.fromkeys((*EXACT, *NUMBERS), "") | texts
    return dict.fromkeys(EXACT, "") | texts | {"value": f"{value:.7g}", "stderr": f"{spread:.7g}"}


def _timed(metric: str) -> bool:
    return metric.endswith(TIMED)


def _row(one: Any) -> dict[str, str]:
    protocol = one.protocol if isinstance(one.protocol, str) else format_protocol(one.protocol)
    columns: Mapping[str, Any] = {key: getattr(one, key) for key in EXACT} | {"protocol": protocol}
    texts = {key: "" if value is None else str(value) for key, value in columns.items()}
    if _timed(one.metric):
        return texts | dict.fromkeys(NUMBERS, "")
    return texts | {key: "" if (value := getattr(one, key)) is None else f"{value:.7g}" for key in NUMBERS}
