"""A mixture of products of Student's t, whose tails no Gaussian covers."""

import math

import torch
from torch import Tensor

from rescore.targets.base import Target

SCALE = 10.0  # half the side of the box that holds the modes
DEGREES = 2.0


class StudentMixture(Target):
    """Equal modes, each a product over coordinates of t laws with 2 degrees of freedom and scale 1; log Z = 0.

    The modes are uniform on [-10, 10]^dim, as in the benchmark of Blessing et al. (2024, arXiv:2406.07423), drawn from seed 0
    here.
    """

    log_z = 0.0

    def __init__(self, dim: int = 2, modes: int = 10):
        self.dim, self.name = dim, f"student{dim}"
        generator = torch.Generator().manual_seed(0)
        self.means = SCALE * (2 * torch.rand(modes, dim, dtype=torch.float64, generator=generator) - 1)

    def log_prob_and_score(self, x: Tensor) -> tuple[Tensor, Tensor]:
        delta = x[..., None, :] - self.means.to(x)
        inside = 1 + delta.square() / DEGREES
        each = -0.5 * (DEGREES + 1) * inside.log().sum(-1) - self.dim * 1.5 * math.log(2)  # t_2's constant is 2^(-3/2)
        share = torch.softmax(each, -1)[..., None]
        score = -(share * (DEGREES + 1) / DEGREES * delta / inside).sum(-2)
        return torch.logsumexp(each, -1) - math.log(len(self.means)), score

    def log_prob(self, x: Tensor) -> Tensor:
        return self.log_prob_and_score(x)[0]

    def score(self, x: Tensor) -> Tensor:
        return self.log_prob_and_score(x)[1]

    def sample(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        mode = torch.randint(len(self.means), shape, generator=generator)
        p = torch.rand(*shape, self.dim, dtype=torch.float64, generator=generator).clamp(1e-15, 1 - 1e-15)
        return self.means[mode] + (2 * p - 1) / torch.sqrt(2 * p * (1 - p))  # the quantiles of t_2
