"""What a section of a paper measures: a `Book` of cells, each a place in a table with its numbers.

A finished cell is kept in the run folder at once, and so is a long part of one: a killed job goes on at the next.
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from rescore.cost.evaluations import CountEvaluations
from rescore.errors import Diverged, MissingData
from rescore.experiments.journal import Found, Journal, Measurement
from rescore.ledger.protocol import format_protocol
from rescore.ledger.records import Over, format_values, under_candidate

LONG = 60.0  # seconds; to keep what takes less costs more than it saves


@dataclass(frozen=True)
class Run:
    """What a job is told besides its config.

    Args:
        folder: training state and finished cells live here; it outlives a killed or failed job, and only this section uses it.
        models: the weights of the trained models that the job uses, by the config's names.
        candidate: the candidate protocol under which it measures: part of each record's variant. Its arrays are not kept, for
            figures are of the main protocol.
    """

    paper: str
    scale: str
    job: str
    folder: Path
    device: str
    threads: int
    models: Mapping[str, Path] = field(default_factory=dict)
    candidate: str | None = None


@dataclass(frozen=True)
class Result:
    """What a job leaves.

    Args:
        skipped: what could not be measured, each with a `reason` and the record's key columns that apply.
        function_evaluations: calls of a score, a network or a density for one point, training included.
        earlier_seconds, earlier_cpu_seconds: what earlier processes took for the cells that this one found finished.
    """

    measurements: list[Measurement]
    skipped: list[Mapping[str, object]] = field(default_factory=list)
    function_evaluations: int = 0
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)  # for figures
    earlier_seconds: float = 0.0
    earlier_cpu_seconds: float = 0.0


class Cell:
    """One place in a table, and what is found there; made by `Book.cell`, used as a `with` block.

    Where the block diverges, or adds a number that is not finite, the cell is skipped with the reason, and the job goes on.

    Attributes:
        todo: whether it is still to be measured; False where an interrupted run has finished it.
        nfe, protocol: may be set or completed in the block, before the numbers are added.
        arrays: for figures, kept with the cell.
    """

    def __init__(
        self,
        book: Book,
        key: Mapping[str, str],
        nfe: int | None,
        protocol: Mapping[str, object],
        n: int,
        over: Over,
        name: str,
        began: float | None,
        matched: str,
    ):
        self.book, self.nfe, self.protocol, self.n, self.over, self.matched = book, nfe, dict(protocol), n, over, matched
        self._key: dict[str, Any] = dict(key)
        self._name, self._began = name, began
        self._found, self._parts = Found(), list[Found]()
        self.arrays = self._found.arrays

    @property
    def todo(self) -> bool:
        return not self._kept

    def __enter__(self) -> Cell:
        self._kept = self.book.journal.get(self._name)
        self._counter = CountEvaluations().__enter__()
        self._started = self._began or time.perf_counter()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> bool:
        self._counter.__exit__(kind, error, trace)
        if isinstance(error, Diverged):
            self._found.measurements.clear()
            self._found.skipped.append({**self._key, "nfe": self.nfe, "reason": f"diverged: {error}"})
        elif error is not None:
            return False
        if self._kept:
            self.book.take(self._kept)
            return True
        seconds = time.perf_counter() - self._started + sum(part.seconds for part in self._parts)
        self._found.measurements = [replace(one, seconds=seconds) for one in self._found.measurements]
        for part in self._parts:
            self.book.take(replace(part, arrays={}))
        seconds, cpu_seconds = self.book.lap()
        self._found.evaluations = self._counter.total + sum(part.evaluations for part in self._parts)
        self._found.seconds = seconds + sum(part.seconds for part in self._parts)
        self._found.cpu_seconds = cpu_seconds + sum(part.cpu_seconds for part in self._parts)
        self.book.journal.keep(self._name, self._found)
        self.book.take(self._found, counted=True)
        return True

    def part(self, name: str, make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
        """What `make` gives, one of the repeats of a long cell, kept at once if it took `LONG` seconds or more."""
        name = f"{self._name}-{name}"
        if kept := self.book.journal.get(name):
            self._parts.append(kept)
            return kept.arrays
        (began, computed), before = _clocks(), self._counter.total
        made = Found(arrays=make())
        made.evaluations, (now, spent) = self._counter.total - before, _clocks()
        made.seconds, made.cpu_seconds = now - began, spent - computed
        if made.seconds >= LONG:
            self.book.journal.keep(name, made)
        return made.arrays

    def add(
        self, metric: str, values: Sequence[float], *, n: float | None = None, over: Over | None = None, **protocol: object
    ) -> tuple[float, float | None]:
        """The mean of repeats, with the standard error of that mean, which a single one has not; returns both.

        Args:
            n: samples behind each value, if not the cell's; their mean where these differ.
            over: what was repeated, if not the cell's. Samplings are all of one training, hence of one seed.
            protocol: what only this metric depends on.
        """
        over, count = over or self.over, len(values)
        if over == "exact":
            (value,) = values
            self._add(metric, float(value), 0.0, None, "exact", 1, n, 1, protocol)
            return float(value), 0.0
        with np.errstate(invalid="ignore"):  # of what is not finite, `_add` tells
            mean, stderr = float(np.mean(values)), float(np.std(values, ddof=1) / np.sqrt(count)) if count > 1 else None
            mean, stderr = (float(values[0]), 0.0) if stderr and np.ptp(values) == 0 else (mean, stderr)  # it was rounding
        self._add(metric, mean, stderr, count - 1 or None, over, 1 if over == "samplings" else count, n, count, protocol)
        if self.matched and count > 1 and over == self.over:
            (*_, last) = made = self._found.measurements
            made[-1] = replace(last, matched=self.matched, values=format_values(values))
        return mean, stderr

    def add_each(
        self, repeats: Sequence[Mapping[str, float]], protocols: Mapping[str, Mapping[str, Any]] | None = None
    ) -> None:
        """`add` each metric of repeats, all of which have the same ones.

        Args:
            protocols: of metrics that depend on more than the cell does.
        """
        for metric in repeats[0]:
            self.add(metric, [one[metric] for one in repeats], **(protocols or {}).get(metric, {}))

    def exact(self, metric: str, value: float, *, n: int | None = None, **protocol: object) -> None:
        """A number that no repeat would change: computed, or counted, without chance."""
        self._add(metric, float(value), 0.0, None, "exact", 1, n, 1, protocol)

    def estimate(
        self,
        metric: str,
        value: float,
        stderr: float | None,
        repeats: int,
        *,
        n: int | None = None,
        seeds: int | None = None,
        over: Over | None = None,
        **protocol: object,
    ) -> None:
        """A number whose error is not that of a mean; its degrees of freedom are `repeats` - 1.

        Args:
            seeds: independent trainings or seeds behind it, if not one a repeat.
        """
        over, df = over or self.over, None if stderr is None else repeats - 1
        seeds = seeds or (1 if over == "samplings" else repeats)
        self._add(metric, float(value), stderr, df, over, seeds, n, repeats, protocol)

    def median(self, metric: str, values: Sequence[float], **protocol: Any) -> None:
        """The median of repeats: for Normal ones its standard error is sqrt(pi / 2) times that of the mean."""
        count = len(values)
        stderr = float(np.sqrt(np.pi / 2) * np.std(values, ddof=1) / np.sqrt(count)) if count > 1 else None
        self.estimate(metric, float(np.median(values)), stderr, count, **protocol)

    def repeat(self, other: Cell) -> None:
        """The numbers, or the reason why there are none, of another cell, finished before: printed in two places."""
        if self.todo:
            found = other._kept or other._found
            self._found.measurements = [replace(one, **self._key) for one in found.measurements]
            self._found.skipped = [{**one, **self._key} for one in found.skipped]

    def skip(self, reason: str) -> None:
        """No number, and why."""
        self._found.skipped.append({**self._key, "nfe": self.nfe, "reason": reason})

    def _add(
        self,
        metric: str,
        value: float,
        stderr: float | None,
        df: int | None,
        over: Over,
        seeds: int,
        n: float | None,
        count: int,
        protocol: Mapping[str, object],
    ) -> None:
        if not all(math.isfinite(x) for x in (value, stderr or 0.0)):
            raise Diverged(f"{metric} is {value:g}" + (f" ± {stderr:g}" if stderr is not None else ""))
        size = round((self.n if n is None else n) * count)
        full = {**self.book.protocol, **self.protocol, **protocol}
        self._found.measurements.append(
            Measurement(
                **self._key,
                metric=metric,
                nfe=self.nfe,
                value=value,
                stderr=stderr,
                df=df,
                over=over,
                n_seeds=seeds,
                n_samples=size,
                protocol=full,
                seconds=0.0,
            )
        )


class Book:
    """What a section fills, and what it is told: the paper's `config`, the `job`'s own settings and the `run`.

    Args:
        protocol: part of every record's.

    Attributes:
        arrays: for figures, of what belongs to no cell.
    """

    listing = False

    def __init__(self, config: Any, run: Run | None = None, protocol: Mapping[str, object] | None = None):
        self.config, self.run, self.protocol = config, run, dict(protocol or {})
        module = sys.modules.get(type(config).__module__)  # absent once a paper of that name of another repository is loaded
        file = module.__file__ if module else None
        code = Path(file).parent if file else None  # the paper's folder, wherever its repository lies
        self.journal = Journal(run.folder if run else None, code, run.device if run else "")
        self.measurements: list[Measurement] = []
        self.skipped: list[Mapping[str, object]] = []
        self.arrays: dict[str, np.ndarray] = {}
        self._evaluations, self._seconds, self._cpu_seconds = 0, 0.0, 0.0  # of cells that an earlier process measured
        self._lap = _clocks()
        self._counter = CountEvaluations().__enter__()
        self._opened = Counter[str]()

    @property
    def job(self) -> Any:
        assert self.run is not None, "a job's settings are those of a run"
        return self.config.jobs[self.run.job]

    def cell(
        self,
        table: str,
        dataset: str,
        method: str,
        variant: object = "",
        nfe: int | None = None,
        protocol: Mapping[str, object] | None = None,
        *,
        n: int = 1,
        over: Over = "runs",
        began: float | None = None,
        matched: str = "",
    ) -> Cell:
        """A cell to measure, `with book.cell(...) as cell: if cell.todo: cell.add(...)`.

        Args:
            variant: text, or `rescore.experiments.axes.Axes` with their values.
            n: samples behind each value that is added.
            over: what its values repeat.
            began: `time.perf_counter()` where the work for it began, if before the block.
            matched: what its values are repeats of, where other cells have repeats of the same (`Record.matched`).
        """
        candidate = self.run.candidate if self.run else None
        variant = under_candidate(str(variant), candidate) if candidate else str(variant)
        key = {"table": table, "dataset": dataset, "method": method, "variant": variant}
        protocol = protocol or {}
        digest = _digest({**key, "nfe": nfe, "protocol": format_protocol(protocol), "over": over})
        self._opened[digest] += 1  # a place may be opened more than once, for other metrics
        return Cell(self, key, nfe, protocol, n, over, f"{digest}-{self._opened[digest]}", began, matched)

    def exact(
        self,
        table: str,
        dataset: str,
        method: str,
        variant: object,
        nfe: int | None,
        protocol: Mapping[str, object],
        n: int = 0,
        **numbers: Callable[[], float],
    ) -> None:
        """A cell of numbers that are computed without samples (or from `n` of them), by their metrics."""
        with self.cell(table, dataset, method, variant, nfe, protocol, n=n) as cell:
            if cell.todo:
                for metric, number in numbers.items():
                    cell.exact(metric, number())

    def repeat(
        self,
        table: str,
        dataset: str,
        method: str,
        variant: object,
        nfe: int | None,
        protocol: Mapping[str, object],
        seeds: Sequence[int],
        n: int = 1,
        over: Over = "runs",
        matched: str = "",
        **numbers: Callable[[int], float],
    ) -> None:
        """A cell of numbers that every seed repeats, by their metrics: functions of the seed."""
        with self.cell(table, dataset, method, variant, nfe, protocol, n=n, over=over, matched=matched) as cell:
            if cell.todo:
                for metric, number in numbers.items():
                    cell.add(metric, [number(seed) for seed in seeds])

    def skip(self, reason: str, **key: object) -> None:
        """What has these key columns was not measured, and why."""
        self.skipped.append({**key, "reason": reason})

    @contextmanager
    def skipping(self, **key: object) -> Iterator[None]:
        """Where the body diverges or misses data, what has these key columns is skipped with the reason; the job goes on."""
        try:
            yield
        except Diverged as error:
            self.skip(f"diverged: {error}", **key)
        except MissingData as error:
            self.skip(str(error), **key)

    def take(self, found: Found, counted: bool = False) -> None:
        """Enter a finished cell; `counted`: this process measured it."""
        self.measurements += found.measurements
        self.skipped += found.skipped
        self.arrays |= found.arrays
        if not counted:
            self._evaluations += found.evaluations
            self._seconds += found.seconds
            self._cpu_seconds += found.cpu_seconds

    def lap(self) -> tuple[float, float]:
        """Seconds and processor seconds since the last call, at first since the book was opened."""
        (began, computed), self._lap = self._lap, _clocks()
        return self._lap[0] - began, self._lap[1] - computed

    @property
    def result(self) -> Result:
        arrays = {} if self.run and self.run.candidate else self.arrays
        evaluations = self._evaluations + self._counter.total
        return Result(self.measurements, self.skipped, evaluations, arrays, self._seconds, self._cpu_seconds)


def _clocks() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def _digest(content: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


Section = Callable[..., None]
"""section(book), or section(book, subject): measures one part of a paper into the book."""
