"""Zero mean and unit variance per column."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rescore.errors import RescoreError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Standardiser:
    """z = (x - mean) / std, per column; mean and std (d,) float64."""

    mean: Tensor
    std: Tensor

    @classmethod
    def of(cls, x: Tensor, name: str) -> Standardiser:
        """Of the rows x (n, d). Raises RescoreError that names data set and column if one is constant or not finite."""
        x = x.double()
        mean, std = x.mean(0), x.std(0, correction=0)
        bad = ~(std > 1e-12 * x.abs().amax(0).clamp_min(1e-300))  # also catches NaN
        if bad.any():
            i = int(bad.nonzero()[0])
            what = f"constant ({x[0, i].item():g})" if std[i].isfinite() else "not finite"
            raise RescoreError(f"{name}: column {i} of {x.shape[1]} is {what}: it has no scale and no density; drop it")
        return cls(mean, std)

    def __call__(self, x: Tensor) -> Tensor:
        return (x.double() - self.mean) / self.std

    def inverse(self, z: Tensor) -> Tensor:
        """x of z."""
        return z.double() * self.std + self.mean

    @property
    def log_scale(self) -> float:
        """sum_j log std_j: log p(x) = log p(z) - log_scale."""
        return float(self.std.log().sum())
