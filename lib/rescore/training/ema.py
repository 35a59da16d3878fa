"""Exponential moving averages of a network's parameters."""

import weakref
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

Net = TypeVar("Net", bound=nn.Module)
Tensors = tuple[Tensor, ...] | list[Tensor]


class Average(AveragedModel, Generic[Net]):
    """An averaged copy of a network; its buffers are copied. Made by `averaged_copy`."""

    module: Net
    n_averaged: Tensor

    def __init__(self, network: Net, decay: float):
        def update(average: Tensors, current: Tensors, n: Tensor | int) -> None:
            weight = min(decay, (1 + int(n)) / (10 + int(n)))
            torch._foreach_lerp_(average, current, 1 - weight)

        super().__init__(network, multi_avg_fn=update)
        self.decay = decay
        self._tensors: tuple[weakref.ref[nn.Module], list[list[Tensor]]] | None = None
        self.update_parameters(network)  # the library's first update copies

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """The library's, which looks for all tensors of both networks at every step; here that is done once for a network."""
        if self.n_averaged == 0:
            super().update_parameters(model)
            return
        if self._tensors is None or self._tensors[0]() is not model:
            of_both = [list(found()) for one in (self.module, model) for found in (one.parameters, one.buffers)]
            self._tensors = weakref.ref(model), of_both
        average, buffers, current, its_buffers = self._tensors[1]
        assert self.multi_avg_fn is not None  # as it was made
        self.multi_avg_fn([mine.detach() for mine in average], [its.detach() for its in current], self.n_averaged)
        for mine, its in zip(buffers, its_buffers, strict=True):
            mine.copy_(its)
        self.n_averaged += 1

    @torch.no_grad()
    def update_if(self, good: Tensor, network: nn.Module) -> None:
        """`update_parameters(network)` where `good`, a bool on the parameters' device, is true; the host does not look at it.

        The number of updates so far has to lie on that device too (`count_on`).
        """
        n = self.n_averaged.double()  # in float32 1 - 0.9999 has three digits
        decay = torch.clamp((1 + n) / (10 + n), max=self.decay)
        average: list[Tensor] = list(self.module.parameters())
        step = torch._foreach_sub([parameter.detach() for parameter in network.parameters()], average)
        torch._foreach_mul_(step, ((1 - decay) * good).to(step[0]))
        torch._foreach_add_(average, step)
        for mine, its in zip(self.module.buffers(), network.buffers(), strict=True):
            mine.copy_(its)
        self.n_averaged += good

    def count_on(self, device: torch.device | str) -> None:
        """Keep the number of updates on this device."""
        self.n_averaged = self.n_averaged.to(device)


def averaged_copy(network: Net, decay: float) -> Average[Net]:
    """A copy whose n-th `update_parameters(network)` does average <- d average + (1 - d) network; buffers are copied.

    d = min(decay, (1 + n) / (10 + n)), as in Score-SDE's torch code and CLD's. The average starts at the network as it is now.
    """
    return Average(network, decay).requires_grad_(False)
