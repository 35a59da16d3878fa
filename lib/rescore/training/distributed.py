"""One process, or the several that our torchrun starts (`rescore.machine.ranks`)."""

import atexit
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, distributed

from rescore.machine.ranks import own_rank


@dataclass(frozen=True)
class World:
    """A process, this one: `rank` of `size`, and where it computes."""

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


def own_device(device: torch.device | str) -> torch.device:
    """The device of this process: of several GPUs that of its local rank; "cuda" alone is card 0 until a process chooses."""
    device, here = torch.device(device), own_rank()
    if device.type == "cuda" and device.index is None:
        return torch.device("cuda", here.local if here else 0)
    return device


@contextmanager
def world(device: torch.device | str) -> Iterator[World]:
    """Join the processes of our torchrun (`rescore.machine.ranks.own_rank`), for good; alone in any other process.

    `device` is "cpu" (gloo) or "cuda" (NCCL; each process takes the GPU of its local rank).
    """
    device, here = own_device(device), own_rank()
    if here is None or here.size == 1:
        yield World(device)
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if not distributed.is_initialized():  # once: who comes back while others still leave would meet at addresses of before
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
        atexit.register(distributed.destroy_process_group)
    yield World(device, here.rank, here.size)
