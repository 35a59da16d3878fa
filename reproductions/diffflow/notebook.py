"""What a job has measured so far."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from reproductions.diffflow.config import Config
from rescore.jobs import Measurement, Result


@dataclass
class Notebook:
    """Measurements are means over the seeds of trainings, with the standard error of that mean."""

    config: Config
    measurements: list[Measurement] = field(default_factory=list)
    skipped: list[dict[str, object]] = field(default_factory=list)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    evaluations: int = 0

    def record(self, table: str, dataset: str, method: str, variant: str, metric: str, nfe: int | None,
               values: Sequence[float], n: int, protocol: Mapping[str, object], seconds: float = 0.0) -> None:  # fmt: skip
        """One measurement from its value at each seed."""
        mean, stderr = float(np.mean(values)), float(np.std(values, ddof=1) / np.sqrt(len(values)))
        self.measurements.append(
            Measurement(table, dataset, method, variant, metric, nfe, mean, stderr, len(values), n, protocol, seconds)
        )

    def exact(self, table: str, dataset: str, method: str, metric: str, value: float, protocol: Mapping[str, object]) -> None:
        """A number without error: a count, an entropy."""
        self.measurements.append(Measurement(table, dataset, method, "", metric, None, value, 0.0, 1, 1, protocol, 0.0))

    @property
    def result(self) -> Result:
        return Result(self.measurements, self.skipped, self.evaluations, self.arrays)
