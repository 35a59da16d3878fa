"""A corruption process: a family of operators with its schedules, and the distribution at its end.

References:
    Soft Diffusion: arXiv:2209.05442.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from rescore.corruptions.families import Family, Separable
from rescore.corruptions.schedules import Schedule
from rescore.errors import RescoreError
from rescore.processes.base import Time
from rescore.processes.operators import Diagonal
from rescore.random import Noise, normal

Clean = Callable[[Tensor, float], Tensor]
"""(x_t, t) -> a prediction of x_0, the shape of x_t; t one number."""


@dataclass(frozen=True, eq=False)
class GaussianStart:
    """Blurred images C_1 x_0 as a Gaussian in a few directions: what the papers' "almost a single colour" leaves.

    Args:
        mean: (C, H, W).
        modes: (rank, C, H, W), orthogonal, each as long as the standard deviation along it.
    """

    mean: Tensor
    modes: Tensor

    @classmethod
    def fit(cls, images: Tensor, rank: int) -> GaussianStart:
        """The mean and the `rank` leading principal directions of images (n, C, H, W). Raises RescoreError for fewer than 2."""
        if len(images) < 2:
            raise RescoreError(f"GaussianStart: {len(images)} images have no covariance; needs at least 2")
        mean = images.mean(0)
        _, lengths, directions = torch.linalg.svd((images - mean).flatten(1), full_matrices=False)
        modes = (lengths[:rank] / (len(images) - 1) ** 0.5)[:, None] * directions[:rank]
        return cls(mean, modes.reshape(-1, *mean.shape))

    def sample(self, n: int, generator: Noise) -> Tensor:
        """(n, C, H, W), on the generator's device."""
        modes = self.modes.to(generator.device)
        z = normal((n, len(modes)), generator, modes.dtype, generator.device)
        return self.mean.to(generator.device) + torch.tensordot(z, modes, 1)


@dataclass(frozen=True, eq=False)
class Corruption:
    """x_t = C_t x_0 + sigma_t eta with eta ~ N(0, I), t in [0, 1] (Soft Diffusion eq. 4).

    It offers what samplers, objectives and `rescore.models.judge.draw` ask of a process.

    Args:
        family, level: C_t is the family's operator at level(t); level(0) has to be the identity's.
        noise: sigma_t.
        start: the distribution of C_1 x_0, which sampling starts from; None if nobody samples.
    """

    family: Family
    level: Schedule
    noise: Schedule
    start: GaussianStart | None = None

    T: ClassVar[float] = 1.0

    def started(self, images: Tensor, rank: int) -> Corruption:
        """With the start that `GaussianStart.fit` finds for C_1 of images (n, C, H, W)."""
        return replace(self, start=GaussianStart.fit(self.C(1.0)(images), rank))

    def C(self, t: Time) -> Separable | Diagonal:
        """C_t at one time, or at one per image."""
        return self.family(self.level(t))

    def sigma(self, t: Time) -> Tensor:
        """sigma_t, float64, the shape of t."""
        return self.noise(t)

    def perturb(self, x: Tensor, t: Time, generator: Noise) -> tuple[Tensor, Tensor]:
        """(x_t, eta) for clean images x (n, C, H, W) and one time or one per image."""
        eta = normal(x.shape, generator, x.dtype, x.device)
        return self.C(t)(x) + Diagonal(self.sigma(t))(eta), eta

    def prior_sample(
        self, shape: tuple[int, ...], generator: Noise, dtype: torch.dtype = torch.float32, device: str = "cpu"
    ) -> Tensor:
        """Draws of x_1, of shape (n, C, H, W). Raises RescoreError without a start."""
        if self.start is None:
            raise RescoreError("this corruption has no start: fit one (GaussianStart.fit) to sample from its end")
        x = self.start.sample(shape[0], generator).to(device=device, dtype=dtype)
        return x + self.sigma(1.0).item() * normal(shape, generator, dtype, device)

    def state_shape(self, data: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of a state: that of the data."""
        return tuple(data)

    def project(self, x: Tensor) -> Tensor:
        """States as data: themselves."""
        return x
