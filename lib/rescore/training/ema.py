"""Exponential moving averages of a network's parameters."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


def averaged_copy(network: nn.Module, decay: float, ramp: bool = True) -> AveragedModel:
    """A copy whose n-th `update_parameters(network)` does average <- d average + (1 - d) network; buffers are copied.

    d = min(decay, (1 + n) / (10 + n)) with `ramp`, as Score-SDE, CLD and gDDIM do, and `decay` without, as NCSNv2 does.
    The average starts at the network as it is now.
    """

    def update(average: Sequence[Tensor], current: Sequence[Tensor], n: Tensor | int) -> None:
        weight = min(decay, (1 + int(n)) / (10 + int(n))) if ramp else decay
        torch._foreach_lerp_(average, current, 1 - weight)

    average = AveragedModel(network, multi_avg_fn=update)
    average.update_parameters(network)  # the library's first update copies
    return average.requires_grad_(False)
