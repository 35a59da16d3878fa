"""One process, or the several that `torchrun` starts."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, distributed


@dataclass(frozen=True)
class World:
    """This process, `rank` of `size`, and where it computes."""

    device: torch.device
    rank: int = 0
    size: int = 1

    def mean(self, value: Tensor) -> Tensor:
        """The mean of `value` over the processes; the same bits in each."""
        if self.size > 1:
            value = value.clone()
            distributed.all_reduce(value)
            value /= self.size
        return value


@contextmanager
def world(device: torch.device | str) -> Iterator[World]:
    """Join the processes that `torchrun` started (its variables RANK, WORLD_SIZE, LOCAL_RANK); alone without it.

    `device` is "cpu" (gloo) or "cuda" (NCCL; each process takes the GPU of its LOCAL_RANK).
    """
    device, size = torch.device(device), int(os.environ.get("WORLD_SIZE", "1"))
    if device.type == "cuda" and device.index is None:
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    if size == 1:
        yield World(device)
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield World(device, distributed.get_rank(), size)
    finally:
        distributed.destroy_process_group()
