"""A target in other units, for samplers that start from N(0, I)."""

import math

import torch
from torch import Tensor

from rescore.targets.base import Target


class Rescaled(Target):
    """The law of y = x / scale for x ~ mu: log muhat(scale y) + d log scale, of the same Z and name."""

    def __init__(self, target: Target, scale: float):
        self.target, self.scale = target, float(scale)
        self.name, self.dim, self.log_z = target.name, target.dim, target.log_z

    def log_prob(self, x: Tensor) -> Tensor:
        return self.target.log_prob(self.scale * x) + self.dim * math.log(self.scale)

    def score(self, x: Tensor) -> Tensor:
        return self.scale * self.target.score(self.scale * x)

    def log_prob_and_score(self, x: Tensor) -> tuple[Tensor, Tensor]:
        log_prob, score = self.target.log_prob_and_score(self.scale * x)
        return log_prob + self.dim * math.log(self.scale), self.scale * score

    def sample(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        return self.target.sample(shape, generator) / self.scale
