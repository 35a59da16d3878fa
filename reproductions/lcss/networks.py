"""The networks of the small experiments, with weights that depend on the seed only."""

import torch
from torch import nn

from rescore.networks import make_network
from rescore.networks.mlp import MLP
from rescore.random import derive_seed


def density_mlp(width: int, seed: int) -> nn.Module:
    """The published f(x), (n, 1) from (n, 2): two hidden layers; its gradient is the score. Swish is ours."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed("lcss", "density", seed))
        hidden = [nn.Linear(2, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU()]
        return nn.Sequential(*hidden, nn.Linear(width, 1))


def score_mlp(width: int, blocks: int, seed: int) -> MLP:
    """A small noise prediction for the digits, called with times."""
    settings = {"width": width, "blocks": blocks}
    return make_network("mlp", settings, 1, 8, derive_seed("lcss", "score", seed) % 2**31)
