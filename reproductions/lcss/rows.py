"""One measured number on its way into the ledger."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rescore.experiments.run import Measurement
from rescore.ledger.records import Over


@dataclass(frozen=True)
class Row:
    """A number as its repeats.

    Args:
        values: one a seed, a network or a round.
        points: samples behind each value.
        protocol: how it was made.
        kind: `mean` of the values, `median` of them, or one `exact` value.
        over: what the values are repeats of.
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
    over: Over = "trainings"

    def measurement(self, seconds: float) -> Measurement:
        """With its standard error: 0 if exact, none for a single value, sqrt(pi / 2) times the mean's for a median."""
        values = np.asarray(self.values, dtype=float)
        mean = Measurement.of_seeds(self.table, self.dataset, self.method, self.variant, self.metric, None, values,
                                    len(values) * self.points, self.protocol, seconds, over=self.over)  # fmt: skip
        match self.kind:
            case "exact":
                return replace(mean, stderr=0.0, df=None, over="exact")
            case "median":
                stderr = None if mean.stderr is None else (np.pi / 2) ** 0.5 * mean.stderr
                return replace(mean, value=float(np.median(values)), stderr=stderr)
        return mean
