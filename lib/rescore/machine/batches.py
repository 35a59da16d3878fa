"""Rows in batches that the memory of a GPU holds."""

from collections.abc import Callable, Iterator
from typing import TypeVar

import torch

from rescore.progress import warn

Made = TypeVar("Made")


def in_batches(n: int, batch: int, make: Callable[[range], Made]) -> Iterator[Made]:
    """make(rows) for n rows, `batch` at a time; where a GPU's memory does not hold so many, half as many from there on.

    What becomes of a row must not depend on its batch: noise of `rescore.random.Streams` does not.

    Raises torch.OutOfMemoryError where the memory does not hold a single row.
    """
    first = 0
    while first < n:
        rows = range(first, min(first + batch, n))
        try:
            made = make(rows)
        except torch.OutOfMemoryError:
            if len(rows) == 1:
                raise
            batch = (len(rows) + 1) // 2
        else:
            yield made
            first = rows.stop
            continue
        # Outside the handler, where the error no longer holds the tensors of what failed.
        torch.cuda.empty_cache()
        warn(f"the GPU's memory does not hold {len(rows)} at a time: going on with {batch}")
