"""The weights of a trained network: alone in a file, and how far those of two are apart."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from rescore.errors import RescoreError
from rescore.files import load_tensors, save_tensors

Net = TypeVar("Net", bound=nn.Module)


def save_weights(path: Path, network: nn.Module) -> None:
    """Write the network's parameters and buffers to `path` (safetensors), atomically."""
    save_tensors(path, network.state_dict())


def load_weights(path: Path, blank: Net, made: Path | None = None) -> Net:
    """`blank` with the weights of `path`, frozen.

    Args:
        made: the file or folder without which they are made again; None for `path` itself.

    Raises:
        RescoreError: the file is missing, damaged or of another network; the message says to remove `made`.
    """
    try:
        blank.load_state_dict(load_tensors(path))
    except (RescoreError, RuntimeError) as error:
        why = str(error).removeprefix(f"{path}: ")
        raise RescoreError(f"{path}: not the weights it should hold ({why}). Remove {made or 'it'} to train again") from None
    return blank.requires_grad_(False)


def train_once(path: Path, train: Callable[[], Net], blank: Net) -> Net:
    """`train()`, saved to `path` (safetensors); where that file is there already, its weights in `blank`, frozen.

    For trainings too short for checkpoints of their own. Raises RescoreError if the file is damaged.
    """
    if not path.exists():
        save_weights(path, train())
    return load_weights(path, blank)


def parameter_count(network: nn.Module) -> int:
    """How many numbers a network learns."""
    return sum(parameter.numel() for parameter in network.parameters())


@torch.no_grad()
def flat_weights(network: nn.Module) -> Tensor:
    """All parameters in one vector on the CPU, in float64, whatever their memory format: to compare trainings."""
    return torch.cat([parameter.flatten().double().cpu() for parameter in network.parameters()])


def weight_distance(network: nn.Module, twin: nn.Module, start: nn.Module) -> float:
    """How far two trainings from the same `start` end apart, as a part of the way that the first one went."""
    end, other, origin = (flat_weights(one) for one in (network, twin, start))
    return ((other - end).norm() / (end - origin).norm()).item()
