"""Image metrics of samples, and of real images in their place, into the cells of a section."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from rescore.errors import Diverged
from rescore.experiments.book import Book, Cell
from rescore.ledger.records import Over
from rescore.models.judge import Drawn, Judge

METRICS = ("fid", "is")
SHOWN = 8  # images kept of each cell, for figures
SEED_OF: Mapping[Over, str] = {"trainings": "training seed", "samplings": "sampling seed", "runs": "seed"}


def judge_samples(
    cell: Cell,
    judge: Judge,
    draws: Mapping[int, Callable[[], Drawn]],
    metrics: Iterable[str] = METRICS,
    also: Mapping[str, Callable[[Tensor], float]] | None = None,
    array: str | None = None,
    suffix: str = "",
    **protocol: Any,
) -> Drawn | None:
    """Fill a cell with image metrics of samples, one set a seed.

    Args:
        draws: by seed, the set of samples of its network; a set whose drawing diverges names the seed. The evaluations that
            they took are part of the protocol, unless the cell's `nfe`, in its key or its protocol, says them.
        also: other metrics of the samples.
        array: the name under which the first samples are kept for figures.
        suffix: of the metrics' names; `protocol`: what more they depend on.

    Returns:
        the first seed's samples.
    """
    values: dict[str, list[float]] = {}
    nfes: list[int] = []
    first: Drawn | None = None
    for seed, make in draws.items():
        try:
            drawn = make()
            judged = judge(drawn.x, metrics)
            found = {name: judged[name] for name in metrics} | {name: of(drawn.x) for name, of in (also or {}).items()}
        except Diverged as error:
            raise Diverged(f"{SEED_OF[cell.over]} {seed}: {error}") from None
        for metric, value in found.items():
            values.setdefault(metric, []).append(value)
        nfes.append(drawn.nfe)
        first = first or drawn
    if array and first:
        cell.arrays[array] = first.x[:SHOWN].numpy()
    if cell.nfe is None and "nfe" not in cell.protocol:
        cell.protocol["evaluations"] = round(np.mean(nfes))
    if first is None:
        return None
    for metric, numbers in values.items():
        how: dict[str, Any] = {**judge.protocol(metric, first.x)} if metric in metrics else {}
        cell.add(f"{metric}{suffix}", numbers, n=len(first.x), **how, **protocol)
    return first


def judge_best(
    cell: Cell,
    judge: Judge,
    draws: Mapping[int, Sequence[Callable[[], Drawn]]],
    metrics: Iterable[str] = METRICS,
    array: str | None = None,
) -> None:
    """`judge_samples` of the snapshot whose FID is least, for each seed; the last one's numbers beside it as `<metric>_last`.

    Args:
        draws: by seed, the samples of each snapshot, the last weights' at the end.
    """
    best: dict[int, Drawn] = {}
    last: dict[int, Drawn] = {}
    for seed, sets in draws.items():
        least = float("inf")
        for make in sets:  # no more than three sets at a time: 26 of CIFAR-10 would take 16 GB
            last[seed] = make()
            fid = judge(last[seed].x, ("fid",))["fid"]
            if seed not in best or fid < least:
                best[seed], least = last[seed], fid
    judge_samples(
        cell,
        judge,
        {seed: _again(drawn) for seed, drawn in best.items()},
        metrics,
        array=array,
        checkpoint=f"best of {len(sets)} by FID",
    )
    judge_samples(
        cell, judge, {seed: _again(drawn) for seed, drawn in last.items()}, metrics, suffix="_last", checkpoint="last"
    )


def _again(drawn: Drawn) -> Callable[[], Drawn]:
    return lambda: drawn


def floor(
    book: Book, judge: Judge, table: str, data: str, samples: int, metrics: Iterable[str] = METRICS, prefix: str = ""
) -> None:
    """The two floors of image metrics as records; `prefix` stands before their variants."""
    for one in judge.of_real(metrics, samples):
        with book.cell(table, data, "real images", f"{prefix}{one.variant}", None, one.protocol, n=one.n) as cell:
            if cell.todo:
                cell.add(one.metric, [one.value])
