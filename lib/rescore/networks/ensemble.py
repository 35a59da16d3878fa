"""Several independent networks of one architecture, evaluated together: small ones spend most of their time in overheads."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state


class Ensemble(nn.Module):
    """m networks with stacked parameters; each sees its own inputs and, under a sum of losses, gets its own gradient.

    Args:
        members: networks called as network(images, levels), alike but for their weights; without dropout, and without buffers
            that change.
    """

    def __init__(self, members: Sequence[nn.Module]):
        super().__init__()
        self.size = len(members)
        self.stacked = copy.deepcopy(members[0])
        parameters, buffers = stack_module_state(list(members))
        for name, value in {**parameters, **buffers}.items():
            owner, _, leaf = name.rpartition(".")
            getattr(self.stacked.get_submodule(owner), leaf).data = value.detach()

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        """(m, n, C, H, W) from images (m, n, C, H, W) and levels (m, n)."""

        def one(weights: dict[str, Tensor], x: Tensor, level: Tensor) -> Tensor:
            return functional_call(self.stacked, weights, (x, level))

        weights = dict(self.stacked.named_parameters()) | dict(self.stacked.named_buffers())
        return torch.vmap(one)(weights, x, level)

    def member(self, i: int) -> nn.Module:
        """A copy of the i-th network, on its own."""
        network = copy.deepcopy(self.stacked)
        for tensor in (*network.parameters(), *network.buffers()):
            tensor.data = tensor.data[i].clone()
        return network
