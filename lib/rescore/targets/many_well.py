"""The many-well density of flow annealed importance sampling bootstrap (Midgley et al. 2023, arXiv:2208.01893)."""

import math

import torch
from torch import Tensor

from rescore.errors import RescoreError
from rescore.targets.base import Target

QUADRATURE = (-5.0, 5.0, 4001)  # the trapezium rule over all mass of a well: exact in float64


class ManyWell(Target):
    """Independent pairs with log muhat(x_1, x_2) = -x_1^4 + 6 x_1^2 + x_1 / 2 - x_2^2 / 2: 2^(dim / 2) modes of unlike weights.

    log Z is dim / 2 times the logarithm of a quadrature in one dimension and of sqrt(2 pi).

    Args:
        dim: even; odd coordinates (from 0 on the even ones) have the wells.
    """

    def __init__(self, dim: int = 32):
        if dim < 2 or dim % 2:
            raise RescoreError(f"many-well: dim {dim}; an even number of at least 2 is needed")
        self.dim, self.name = dim, f"manywell{dim}"
        axis = torch.linspace(*QUADRATURE, dtype=torch.float64)
        z = torch.exp(_well(axis)).sum().item() * (QUADRATURE[1] - QUADRATURE[0]) / (QUADRATURE[2] - 1)
        self.log_z = dim / 2 * (math.log(z) + 0.5 * math.log(2 * math.pi))

    def log_prob(self, x: Tensor) -> Tensor:
        return _well(x[..., ::2]).sum(-1) - 0.5 * x[..., 1::2].square().sum(-1)

    def score(self, x: Tensor) -> Tensor:
        wells, normals = x[..., ::2], x[..., 1::2]
        return torch.stack((-4 * wells**3 + 12 * wells + 0.5, -normals), -1).flatten(-2)


def _well(x: Tensor) -> Tensor:
    return -(x**4) + 6 * x.square() + 0.5 * x
