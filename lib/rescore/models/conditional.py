"""Training of a network that knows the score of series under a condition and under none."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from rescore.cost.evaluations import note
from rescore.networks.conditional import ConditionalNoise, conditioned, withheld
from rescore.objectives import DSM, UniformTimes
from rescore.training import Training, train_network

Batch = Callable[[Tensor, torch.Generator], tuple[Tensor, Tensor]]
"""batch(rows, generator): series (n, C, 1, w) of the data points `rows` (n,), and their conditions (n, K), on the device."""


def train_conditional(
    network: ConditionalNoise, batch: Batch, null_rate: float, training: Training, folder: Path, device: str, label: str
) -> ConditionalNoise:
    """The network after denoising score matching, conditions withheld at `null_rate`; interruptions as of `train_network`."""
    objective = DSM("simple", UniformTimes(1e-5))

    def losses(forward: Callable[[Tensor, Tensor], Tensor], rows: Tensor, generator: torch.Generator) -> Tensor:
        note(len(rows))
        x, y = batch(rows.to(device), generator)
        y = withheld(y, null_rate, generator)
        return objective(lambda u, t: forward(conditioned(u, y), t), network.process, x, generator)

    return train_network(network, losses, training, folder, device, label=label).network
