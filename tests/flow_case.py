"""Flows that are not the identity that they start as."""

from typing import TypeVar

import torch
from rescore.random import make_generator
from torch import nn

Network = TypeVar("Network", bound=nn.Module)


def perturbed(network: Network, size: float = 0.3) -> Network:
    """The same in float64, its parameters moved by normals of this size."""
    network = network.double()
    generator = make_generator("parameters")
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(size * torch.randn(parameter.shape, dtype=torch.float64, generator=generator))
    return network
