"""How a network runs on a device: as it is on a CPU; channels-last, compiled and in bf16 on a GPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import nn

from rescore.machine.precision import autocast
from rescore.networks.parametrise import NoisePrediction

__all__ = ["autocast", "compile_bare", "place"]

Net = TypeVar("Net", bound=nn.Module)
RECOMPILE_LIMIT = 64  # torch's own is 8: three networks that sample and differentiate in one process reach it


def place(network: Net, device: torch.device | str) -> Net:
    """The network on the device, in place; on a GPU channels-last and compiled at its first call.

    Parameters and their names stay as they are, so that checkpoints do not depend on the device.
    """
    network = network.to(device)
    if torch.device(device).type == "cuda":
        network = network.to(memory_format=torch.channels_last)
        compile_bare(network)
    return network


def compile_bare(network: nn.Module, backend: str | Callable = "inductor", mode: str | None = None) -> None:
    """Compile a network in place; of a parametrisation the bare network alone.

    That takes tensors only, so that one graph serves all times. A parametrisation looks its coefficients up by the time, a
    Python number when samples are drawn: compiled with it there would be a graph for each time, until torch gives up.
    """
    # All networks of a class share this count, of shapes and modes of autograd; beyond it torch runs them as they are.
    torch._dynamo.config.recompile_limit = RECOMPILE_LIMIT
    bare = network.network if isinstance(network, NoisePrediction) else network
    bare.compile(backend=backend, mode=mode)
