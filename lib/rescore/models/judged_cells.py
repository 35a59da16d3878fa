"""Image metrics of samples, and of real images in their place, into the cells of a section."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rescore.errors import naming_diverged
from rescore.experiments.book import Book, Cell
from rescore.ledger.records import Over
from rescore.models.judge import Drawn, Judge

METRICS = ("fid", "is")
SHOWN, KEPT = 8, 16  # images of each cell for figures, and of each set of samples
SEED_OF: Mapping[Over, str] = {"trainings": "training seed", "samplings": "sampling seed", "runs": "seed"}


def judge_samples(
    cell: Cell,
    judge: Judge,
    draws: Mapping[int, Callable[[], Drawn]],
    metrics: Iterable[str] = METRICS,
    also: Mapping[str, Callable[[Tensor], float]] | None = None,
    array: str | None = None,
    **protocol: Any,
) -> Tensor:
    """Fill a cell with image metrics of samples, one set a seed.

    Args:
        draws: by seed, the set of samples of its network; a set whose drawing diverges names the seed. The evaluations that
            they took are part of the protocol, unless the cell's `nfe`, in its key or its protocol, says them.
        also: other metrics of the samples.
        array: the name under which the first samples are kept for figures.
        protocol: what more the metrics depend on.

    Returns:
        `KEPT` of the first seed's samples.
    """
    sets = {seed: _judged(cell, judge, seed, str(seed), make, metrics, also) for seed, make in draws.items()}
    return _fill(cell, judge, sets, metrics, array, **protocol)


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
    metrics = tuple(metrics)
    asked = tuple(dict.fromkeys(("fid", *metrics)))
    sets = {
        seed: [_judged(cell, judge, seed, f"{seed}-{i}", make, asked) for i, make in enumerate(snapshots)]
        for seed, snapshots in draws.items()
    }
    count = len(next(iter(sets.values())))
    best = {seed: min(those, key=lambda one: one["fid"]) for seed, those in sets.items()}
    _fill(cell, judge, best, metrics, array, checkpoint=f"best of {count} by FID")
    _fill(cell, judge, {seed: those[-1] for seed, those in sets.items()}, metrics, suffix="_last", checkpoint="last")


Set = Mapping[str, np.ndarray]
"""Of one set of samples: a number for each metric, `nfe`, `n`, `at_once`, and `KEPT` of them as `shown`."""


def _judged(
    cell: Cell,
    judge: Judge,
    seed: int,
    name: str,
    make: Callable[[], Drawn],
    metrics: Iterable[str],
    also: Mapping[str, Callable[[Tensor], float]] | None = None,
) -> Set:
    """The metrics of a set of samples, which are a part of the cell: a job that is killed draws no set again that took long."""

    def judged() -> dict[str, np.ndarray]:
        drawn = make()
        found = judge(drawn.x, metrics)
        numbers = {name: found[name] for name in metrics} | {name: of(drawn.x) for name, of in (also or {}).items()}
        numbers |= {"nfe": drawn.nfe, "n": len(drawn.x), "at_once": drawn.at_once}
        shown = drawn.x[:KEPT].numpy().copy()  # a view would hold the whole set: 26 of CIFAR-10 take 16 GB
        return {name: np.asarray(number) for name, number in numbers.items()} | {"shown": shown}

    with naming_diverged(f"{SEED_OF[cell.over]} {seed}"):
        return cell.part(name, judged)


def _fill(
    cell: Cell,
    judge: Judge,
    sets: Mapping[int, Set],
    metrics: Iterable[str],
    array: str | None = None,
    suffix: str = "",
    **protocol: Any,
) -> Tensor:
    """Enter the numbers of each seed's set, and give the first one's `shown`.

    Args:
        suffix: of the metrics' names; `protocol`: what more they depend on.
    """
    (first, *_) = sets.values()
    if array:
        cell.arrays[array] = first["shown"][:SHOWN]
    if cell.nfe is None and "nfe" not in cell.protocol:
        cell.protocol["evaluations"] = round(np.mean([one["nfe"] for one in sets.values()]))
    n = int(first["n"])
    if at_once := max(int(one["at_once"]) for one in sets.values()):
        cell.protocol["drawn_at_once"] = at_once
    for metric in [name for name in first if name not in ("nfe", "n", "at_once", "shown")]:
        if metric == "fid" and "fid" not in metrics:  # by which the best was chosen
            continue
        how: dict[str, Any] = {**judge.protocol(metric, torch.empty(n))} if metric in metrics else {}
        cell.add(f"{metric}{suffix}", [one[metric].item() for one in sets.values()], n=n, **how, **protocol)
    return torch.as_tensor(first["shown"])


def floor(
    book: Book, judge: Judge, table: str, data: str, samples: int, metrics: Iterable[str] = METRICS, prefix: str = ""
) -> None:
    """The two floors of image metrics as records; `prefix` stands before their variants."""
    for one in judge.of_real(metrics, samples):
        with book.cell(table, data, "real images", f"{prefix}{one.variant}", None, one.protocol, n=one.n) as cell:
            if cell.todo:
                cell.add(one.metric, [one.value])
