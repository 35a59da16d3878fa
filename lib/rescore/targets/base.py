"""What a target density is."""

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor

from rescore.errors import RescoreError


class Target(ABC):
    """An unnormalised density muhat = Z mu on R^dim.

    `log_prob` and `score` take x of shape (..., dim) of any floating dtype, and keep that dtype and device.

    Attributes:
        name: its spelling in the ledger.
        dim: the dimension d.
        log_z: log Z where known, else None.
    """

    name: str
    dim: int
    log_z: float | None

    @abstractmethod
    def log_prob(self, x: Tensor) -> Tensor:
        """log muhat(x), shape (...)."""

    @abstractmethod
    def score(self, x: Tensor) -> Tensor:
        """grad_x log muhat(x), shape (..., dim)."""

    def log_prob_and_score(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Both at once; overridden where they share work."""
        return self.log_prob(x), self.score(x)

    def sample(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Exact draws from mu, float64, shape (*shape, dim). Raises RescoreError where there is no exact sampler."""
        raise RescoreError(f"target {self.name}: no exact sampler is known")


class AutogradTarget(Target):
    """A target whose score is the automatic derivative of its `log_prob`, which keeps the graph to x."""

    def score(self, x: Tensor) -> Tensor:
        return self.log_prob_and_score(x)[1]

    def log_prob_and_score(self, x: Tensor) -> tuple[Tensor, Tensor]:
        with torch.inference_mode(False), torch.enable_grad():
            free = x.detach().clone().requires_grad_()  # a clone: what inference mode has made can have no graph
            log_prob = self.log_prob(free)
            (score,) = torch.autograd.grad(log_prob.sum(), free)
        return log_prob.detach(), score


def standard_normal_log_prob(x: Tensor) -> Tensor:
    """log N(x; 0, I), (..., d) -> (...), summed in float64."""
    return -0.5 * x.square().sum(-1, dtype=torch.float64) - 0.5 * x.shape[-1] * math.log(2 * math.pi)


def differentiable_log_prob(target: Target, x: Tensor) -> Tensor:
    """log muhat(x), (...), whose gradient to x is the target's own score: one evaluation, no back-propagation through it."""
    log_prob, score = target.log_prob_and_score(x.detach())
    return log_prob + ((x - x.detach()) * score).sum(-1)
