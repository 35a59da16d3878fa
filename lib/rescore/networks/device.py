"""How a network runs on a device: as it is on a CPU; channels-last, compiled and in bf16 on a GPU."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn


def place(network: nn.Module, device: torch.device | str) -> nn.Module:
    """The network on the device, in place; on a GPU channels-last and compiled at its first call.

    Parameters and their names stay as they are, so that checkpoints do not depend on the device.
    """
    network = network.to(device)
    if torch.device(device).type == "cuda":
        network = network.to(memory_format=torch.channels_last)
        network.compile()
    return network


def autocast(device: torch.device | str) -> AbstractContextManager:
    """bf16 matrix products and convolutions on a GPU (the parameters stay float32), nothing on a CPU."""
    return torch.autocast("cuda", torch.bfloat16) if torch.device(device).type == "cuda" else nullcontext()
