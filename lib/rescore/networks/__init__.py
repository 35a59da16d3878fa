"""Networks of scores and noise: called as network(images, levels), named as in the papers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import nn

from rescore.errors import RescoreError
from rescore.networks.base import Side
from rescore.networks.cld import VelocityPrediction
from rescore.networks.device import autocast, compile_bare, place
from rescore.networks.mlp import mlp
from rescore.networks.parametrise import NoisePrediction, state_channels
from rescore.networks.refinenet import ncsn, ncsnv2
from rescore.networks.scoreunet import UNETS, score_unet
from rescore.random import seeded

__all__ = [
    "NETWORKS",
    "NoisePrediction",
    "VelocityPrediction",
    "autocast",
    "compile_bare",
    "make_network",
    "place",
    "state_channels",
]

NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "mlp": mlp,
    **{name: partial(score_unet, name) for name in UNETS},
    "ncsn": ncsn,
    "ncsnv2": ncsnv2,
}


def make_network(name: str, settings: dict, channels: int, side: Side, seed: int, out_channels: int | None = None) -> nn.Module:
    """A network with weights that depend on the seed only (and on torch's version), on the CPU; leaves torch's seed as it was.

    Args:
        name: a key of `NETWORKS`.
        settings: fields of its config that differ from the published ones.
        channels, side: of the images it takes; `state_channels(process, channels)` for a process. The side of images that
            are not square is (height, width).
        seed: as of `rescore.random.derive_seed`.
        out_channels: of the images it gives; as many as it takes if None.

    Raises RescoreError for an unknown name or setting, or a size the network cannot take.
    """
    if name not in NETWORKS:
        raise RescoreError(f"unknown network {name!r}; allowed are {', '.join(NETWORKS)}")
    return seeded(lambda: NETWORKS[name](channels, side, out_channels, **settings), seed)
