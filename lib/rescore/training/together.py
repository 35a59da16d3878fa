"""Several networks that train alike: at once, as an ensemble, or one after another."""

import copy
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import nn

from rescore.networks.ensemble import Ensemble
from rescore.random import derive_seed
from rescore.specs.training import TogetherTraining
from rescore.training.network import Losses, Training, train_network
from rescore.training.weights import load_weights

Name = tuple[object, ...]


def train_each(
    networks: Mapping[Name, nn.Module],
    losses: Callable[[Sequence[Name]], Losses],
    config: TogetherTraining,
    data: int,
    stream: str,
    folder: Path,
    device: torch.device | str,
    every: int | None = None,
) -> dict[int, dict[Name, nn.Module]]:
    """The trained networks by their names: at the end, and as they were after `every` so many steps, by the steps.

    Those after k steps are what a training of k steps ends with: nothing in it knows where it ends.

    Args:
        losses: losses(names): the sum of the losses of these networks, one after another in an ensemble of them.
        data: the number of data points.
        stream: the first name of the order of the data and of all noise; what is trained is the second.
        folder: keeps the trainings; interruptions as in `rescore.training.train_network`.
    """
    trained: dict[int, dict[Name, nn.Module]] = {}
    for group in [list(networks)] if config.together else [[name] for name in networks]:
        network = Ensemble([networks[name] for name in group]) if config.together else networks[group[0]]
        label = "networks" if config.together else " ".join(map(str, group[0]))
        plan, place = Training.of(config, data, derive_seed(stream, label)), folder / label.replace(" ", "-")
        found = train_network(network, losses(group), plan, place, device, config.checkpoint_every, label, every)
        kept = {steps: load_weights(path, copy.deepcopy(found.network), place) for steps, path in found.snapshots.items()}
        for steps, one in (kept | {config.steps: found.network}).items():
            for i, name in enumerate(group):
                trained.setdefault(steps, {})[name] = one.member(i).eval() if isinstance(one, Ensemble) else one
    return trained
