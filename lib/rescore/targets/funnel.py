"""Neal's funnel.

References:
    thesis, chapter 5: PIS, arXiv:2111.15141.
"""

import math

import torch
from torch import Tensor

from rescore.targets.base import Target


class Funnel(Target):
    """x_0 ~ N(0, variance), x_{1:9} | x_0 ~ N(0, exp(x_0) I); d = 10, log Z = 0 (thesis section 5.4.2, variance 9).

    The released code of the paper has variance 1; that twin is named `funnel1`.
    """

    dim = 10
    log_z = 0.0

    def __init__(self, variance: float = 9.0):
        self.variance = float(variance)
        self.name = "funnel" if variance == 9 else f"funnel{variance:g}"

    def log_prob(self, x: Tensor) -> Tensor:
        x0, rest = x[..., 0], x[..., 1:]
        n = self.dim - 1
        constant = -0.5 * (math.log(2 * math.pi * self.variance) + n * math.log(2 * math.pi))
        return constant - x0.square() / (2 * self.variance) - 0.5 * n * x0 - 0.5 * torch.exp(-x0) * rest.square().sum(-1)

    def score(self, x: Tensor) -> Tensor:
        x0, rest = x[..., :1], x[..., 1:]
        precision = torch.exp(-x0)
        score_0 = -x0 / self.variance - 0.5 * (self.dim - 1) + 0.5 * precision * rest.square().sum(-1, keepdim=True)
        return torch.cat((score_0, -precision * rest), -1)

    def sample(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        noise = torch.randn(*shape, self.dim, dtype=torch.float64, generator=generator)
        x0 = math.sqrt(self.variance) * noise[..., :1]
        return torch.cat((x0, torch.exp(0.5 * x0) * noise[..., 1:]), -1)
