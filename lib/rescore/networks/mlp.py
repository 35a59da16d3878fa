"""A small residual MLP for flattened images and points."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

from rescore.domain import check_one_of
from rescore.errors import RescoreError
from rescore.networks.base import check_input, configured, once
from rescore.networks.embeddings import EMBEDDINGS, Embedding, LevelMLP
from rescore.networks.layers import linear
from rescore.random import seeded


@dataclass(frozen=True)
class MLPConfig:
    """Sizes of `MLP`.

    Attributes:
    width: features of the hidden layers, even.
    blocks: residual blocks.
    embedding, fourier_scale: as in `UNetConfig`.
    dropout: its probability.
    skip: add the input, its channels mixed by a matrix that depends on the noise level. Where a state is nearly all noise, the
        noise is nearly linear in it; blurring diffusion and CLD divide by little there, and the blocks alone are not that
        precise.
    """

    width: int = 256
    blocks: int = 3
    embedding: Embedding = "positional"
    fourier_scale: float = 16.0
    dropout: float = 0.0
    skip: bool = False

    def __post_init__(self):
        check_one_of("network MLP: embedding", self.embedding, EMBEDDINGS)
        if self.width < 4 or self.width % 2 or self.blocks < 1:
            raise RescoreError("network MLP: allowed are an even width >= 4 and blocks >= 1")


class ResidualLayer(nn.Module):
    """x + linear(drop(swish(linear(swish(norm(x))) + linear(time)))); the last linear layer starts at zero."""

    def __init__(self, width: int, dropout: float):
        super().__init__()
        self.norm, self.first, self.time = nn.LayerNorm(width), linear(width, width), linear(width, width)
        self.dropout, self.last = nn.Dropout(dropout), linear(width, width, scale=0.0)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        h = self.first(functional.silu(self.norm(x))) + self.time(time)
        return x + self.last(self.dropout(functional.silu(h)))


class MLP(nn.Module):
    """A function of a point and its noise level; zero at initialisation.

    Args:
        config: see there.
        shape: of one input, any number of dimensions.
        out_shape: of one output; that of the input if None.
    """

    def __init__(self, config: MLPConfig, shape: tuple[int, ...], out_shape: tuple[int, ...] | None = None):
        super().__init__()
        self.shape, self.out_shape = tuple(shape), tuple(out_shape or shape)
        self.time = LevelMLP(config.embedding, config.width, config.fourier_scale, config.width)
        self.first = linear(math.prod(self.shape), config.width)
        self.blocks = nn.ModuleList(ResidualLayer(config.width, config.dropout) for _ in range(config.blocks))
        self.norm, self.last = nn.LayerNorm(config.width), linear(config.width, math.prod(self.out_shape), scale=0.0)
        mix = (self.out_shape[0], self.shape[0])
        self.skip = (
            nn.Sequential(linear(config.width, math.prod(mix), scale=0.0), nn.Unflatten(1, mix)) if config.skip else None
        )

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        """(batch, *out_shape) from x (batch, *shape) and noise levels (batch,), which may be one, expanded (`once`)."""
        check_input("MLP", x, level, self.shape)
        time = self.time(once(level))
        h = self.first(x.flatten(1))
        for block in self.blocks:
            h = block(h, time)
        out = self.last(functional.silu(self.norm(h))).reshape(len(x), *self.out_shape)
        if self.skip is None:
            return out
        mix, pixels = self.skip(time), x.flatten(2)
        # of one matrix for all images torch makes one for each, and a product for each: three times as long as this sum
        mixed = mix @ pixels if len(mix) > 1 else (mix[..., None] * pixels[:, None]).sum(2)
        return out + mixed.reshape(out.shape)


def mlp(channels: int = 1, side: int | tuple[int, int] = 8, out_channels: int | None = None, **settings) -> MLP:
    """An MLP of images of one side, or of any height and width."""
    size = (side, side) if isinstance(side, int) else tuple(side)
    return MLP(configured(MLPConfig(), settings, "mlp"), (channels, *size), (out_channels or channels, *size))


def plain_mlp(inputs: int, width: int, outputs: int, seed: int, activation: type[nn.Module] = nn.SiLU) -> nn.Module:
    """(n, inputs) -> (n, outputs), two hidden layers; torch's own initial weights, which depend on the seed only."""

    def make() -> nn.Module:
        hidden = [nn.Linear(inputs, width), activation(), nn.Linear(width, width), activation()]
        return nn.Sequential(*hidden, nn.Linear(width, outputs))

    return seeded(make, seed)


def scalar_mlp(inputs: int, width: int, seed: int) -> nn.Module:
    """(n, inputs) -> (n, 1), two hidden layers with swish."""
    return plain_mlp(inputs, width, 1, seed)
