"""Several networks of one architecture as one module, to train them side by side."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from rescore.errors import RescoreError


class Ensemble(nn.Module):
    """k networks whose batch is in k equal blocks: block i goes through network i.

    A sum of losses over the blocks has, for each network, the gradient of its own block; with an optimiser that treats every
    parameter by itself, such as Adam without a clip, each trains as it would alone.

    Args:
        members: of one class and shape, without buffers that differ and without dropout; their parameters are copied.

    Raises RescoreError without members.
    """

    skeleton: nn.Module

    def __init__(self, members: Sequence[nn.Module]):
        super().__init__()
        if not members:
            raise RescoreError("an ensemble of no networks: needs at least 1")
        parameters, _ = stack_module_state(list(members))
        self.names = list(parameters)
        self.stacked = nn.ParameterList(nn.Parameter(value.detach().clone()) for value in parameters.values())
        self.__dict__["skeleton"] = copy.deepcopy(members[0])  # not a submodule: its own parameters are never used
        self.size = len(members)

    def forward(self, *inputs: Tensor) -> Tensor:
        """(k n, ...) from inputs (k n, ...) each; RescoreError where k does not divide the batch."""
        rows = len(inputs[0])
        if rows % self.size:
            raise RescoreError(f"an ensemble of {self.size} networks takes as many equal blocks, not {rows} rows")

        def member(parameters: dict[str, Tensor], *block: Tensor) -> Tensor:
            return functional_call(self.skeleton, parameters, block)

        blocks = (values.unflatten(0, (self.size, rows // self.size)) for values in inputs)
        return vmap(member)(dict(zip(self.names, self.stacked, strict=True)), *blocks).flatten(0, 1)

    @torch.no_grad()
    def member(self, i: int) -> nn.Module:
        """Network i by itself, a copy."""
        network = copy.deepcopy(self.skeleton)
        for name, values in zip(self.names, self.stacked, strict=True):
            network.get_parameter(name).copy_(values[i])
        return network
