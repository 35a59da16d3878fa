"""Concentric rings (thesis fig. 5.2).

References:
    thesis, chapter 5: PIS, arXiv:2111.15141.
"""

import math

import torch
from torch import Tensor

from rescore.targets.base import Target


class Rings(Target):
    """log muhat(x) = -min_k (|x| - r_k)^2 / (2 s^2) in two dimensions, s^2 = 0.005, r = (1, 3, 5)."""

    name = "rings"
    dim = 2

    def __init__(self, radii: tuple[float, ...] = (1.0, 3.0, 5.0), std: float = math.sqrt(0.005)):
        self.radii = torch.tensor(radii, dtype=torch.float64)
        self.std = std
        # In polar coordinates Z = sum_k 2 pi r_k sqrt(2 pi) s, as each ring's radial law is a Gaussian about r_k. The cut
        # between rings and at the origin lies 14 standard deviations away, so this is exact in float64.
        self.log_z = math.log(2 * math.pi * sum(radii) * math.sqrt(2 * math.pi) * std)

    def _offset(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """|x| and the signed distance |x| - r_k to the nearest ring, both (...)."""
        radius = x.norm(dim=-1)
        delta = radius[..., None] - self.radii.to(x)
        nearest = delta.abs().argmin(-1, keepdim=True)
        return radius, delta.gather(-1, nearest).squeeze(-1)

    def log_prob(self, x: Tensor) -> Tensor:
        return -self._offset(x)[1].square() / (2 * self.std**2)

    def score(self, x: Tensor) -> Tensor:
        radius, offset = self._offset(x)
        return -(offset / self.std**2 / radius.clamp_min(1e-12))[..., None] * x

    def sample(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        n = math.prod(shape)
        ring = torch.multinomial(self.radii / self.radii.sum(), n, replacement=True, generator=generator)
        # The radial law on a ring is proportional to r N(r; r_k, s^2): a thinning of the Gaussian, whose acceptance
        # r / (r_k + 8 s) is never above 1 in float64 practice.
        radius = torch.full((n,), float("nan"), dtype=torch.float64)
        todo = torch.arange(n)
        while len(todo):
            centre = self.radii[ring[todo]]
            proposal = centre + self.std * torch.randn(len(todo), dtype=torch.float64, generator=generator)
            accept = torch.rand(len(todo), dtype=torch.float64, generator=generator) < proposal / (centre + 8 * self.std)
            radius[todo[accept]] = proposal[accept]
            todo = todo[~accept]
        angle = 2 * math.pi * torch.rand(n, dtype=torch.float64, generator=generator)
        return torch.stack((radius * angle.cos(), radius * angle.sin()), -1).reshape(*shape, 2)
