"""How objectives differ: in the gradient that they give a network, and in what a single sample of each tells a training."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from rescore.objectives.pointwise import PointScore


def gradient(losses: Tensor, network: nn.Module) -> Tensor:
    """Of the mean of losses (n,) by all parameters, in one vector; 0 for a parameter that they do not depend on."""
    parameters = list(network.parameters())
    return torch.cat([g.flatten() for g in torch.autograd.grad(losses.mean(), parameters, materialize_grads=True)])


def gradient_difference(losses: Tensor, others: Tensor, network: nn.Module) -> float:
    """The largest difference of the gradients of two objectives' losses, over the largest entry of the second one's."""
    a, b = gradient(losses, network), gradient(others, network)
    return ((a - b).abs().max() / b.abs().max()).item()


def loss_moments(losses: Callable[[PointScore], Tensor], score: PointScore, n: int) -> dict[str, float]:
    """`loss_mean` and `loss_std` of single samples, and `slope_std`, the spread of their derivatives by the score's scale.

    Args:
        losses: of a score, (n,) in float64.
        score: of points (n, d).
    """
    scale = torch.ones(n, 1, dtype=torch.float64, requires_grad=True)
    values = losses(lambda y: scale * score(y))
    slopes = torch.autograd.grad(values.sum(), scale)[0]
    return {"loss_mean": values.mean().item(), "loss_std": values.std().item(), "slope_std": slopes.std().item()}
