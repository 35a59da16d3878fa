"""One measured number on its way into the ledger."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rescore.jobs import Measurement


@dataclass(frozen=True)
class Row:
    """A number as its repeats.

    Args:
        values: one a seed, a network or a round.
        points: samples behind each value.
        protocol: how it was made.
        kind: `mean` of the values, `median` of them, or one `exact` value.
    """

    table: str
    dataset: str
    method: str
    variant: str
    metric: str
    values: Sequence[float]
    points: int
    protocol: Mapping[str, object]
    kind: str = "mean"

    def measurement(self, seconds: float) -> Measurement:
        """With its standard error: 0 if exact, none for a single value, sqrt(pi / 2) times the mean's for a median."""
        values, n = np.asarray(self.values, dtype=float), len(self.values)
        stderr = 0.0 if self.kind == "exact" else None
        if n > 1:
            widening = math.sqrt(math.pi / 2) if self.kind == "median" else 1.0
            stderr = float(widening * values.std(ddof=1) / math.sqrt(n))
        value = float(np.median(values) if self.kind == "median" else values.mean())
        return Measurement(self.table, self.dataset, self.method, self.variant, self.metric, None, value, stderr, n,
                           n * self.points, self.protocol, seconds)  # fmt: skip
