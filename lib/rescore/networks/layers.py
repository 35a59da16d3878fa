"""Layers of the score U-Nets (Ho et al., 2020; Score-SDE, appendix H; the FIR filters of StyleGAN2).

Every layer of a stage is called as `layer(x, time)`, x of shape (batch, channels, height, width), time (batch, features).

References:
    Score-SDE: arXiv:2011.13456.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Generic, Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

Layer = TypeVar("Layer", nn.Linear, nn.Conv2d)

Member = TypeVar("Member", bound=nn.Module)

if TYPE_CHECKING:

    class ModulesOf(nn.ModuleList, Generic[Member]):
        """A `ModuleList` of modules of one class, to whoever reads the types; any `ModuleList` when it runs."""

        def __iter__(self) -> Iterator[Member]: ...

else:
    ModulesOf = nn.ModuleList


def default_init(layer: Layer, scale: float = 1.0) -> Layer:
    """DDPM's initialisation: uniform weights of variance scale / mean(fan_in, fan_out), that is Glorot's; zero bias.

    Scale 0 gives zero weights (the published code then draws with scale 1e-10).
    """
    nn.init.xavier_uniform_(layer.weight, gain=math.sqrt(scale))
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def linear(n_in: int, n_out: int, scale: float = 1.0) -> nn.Linear:
    """A linear layer with `default_init`."""
    return default_init(nn.Linear(n_in, n_out), scale)


def conv3x3(n_in: int, n_out: int, scale: float = 1.0) -> nn.Conv2d:
    """A 3x3 convolution that keeps the side, with `default_init`."""
    return default_init(nn.Conv2d(n_in, n_out, 3, padding=1), scale)


def conv1x1(n_in: int, n_out: int, scale: float = 1.0) -> nn.Conv2d:
    """A linear map of the channels of each pixel, with `default_init`."""
    return default_init(nn.Conv2d(n_in, n_out, 1), scale)


def group_norm(channels: int, groups: int | None = None) -> nn.GroupNorm:
    """`groups` where they divide the channels, else min(channels / 4, 32), or fewer where that does not divide them.

    DDPM's class in Score-SDE has 32 groups at any width, its other networks have min(channels / 4, 32).
    """
    if groups and channels % groups == 0:
        return nn.GroupNorm(groups, channels, eps=1e-6)
    most = max(1, min(channels // 4, 32))
    return nn.GroupNorm(next(groups for groups in range(most, 0, -1) if channels % groups == 0), channels, eps=1e-6)


def fir_kernel(gain: int = 1) -> Tensor:
    """The separable low-pass filter [1, 3, 3, 1], its sum scaled to `gain`, shape (1, 1, 4, 4)."""
    taps = (1, 3, 3, 1)
    return torch.tensor([[[[gain * row * column / 64 for column in taps] for row in taps]]])


class Resample(nn.Module):
    """Twice or half the side: nearest neighbour and 2x2 means, or, with `fir`, the filter [1, 3, 3, 1] (upfirdn).

    The filter sees zeros outside the image, so that a constant image stays constant but for its outermost pixels.
    """

    kernel: Tensor

    def __init__(self, direction: Literal["up", "down"], fir: bool):
        super().__init__()
        self.up, self.fir = direction == "up", fir
        if fir:
            self.register_buffer("kernel", fir_kernel(4 if self.up else 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if not self.fir:
            return functional.interpolate(x, scale_factor=2, mode="nearest") if self.up else functional.avg_pool2d(x, 2)
        channels = x.shape[1]
        convolve = functional.conv_transpose2d if self.up else functional.conv2d
        return convolve(x, self.kernel.expand(channels, 1, 4, 4), stride=2, padding=1, groups=channels)


class ConvDown(nn.Module):
    """Half the side by a 3x3 convolution of stride 2, after the filter [1, 3, 3, 1] if `fir`."""

    kernel: Tensor

    def __init__(self, n_in: int, n_out: int, fir: bool = False):
        super().__init__()
        self.conv = default_init(nn.Conv2d(n_in, n_out, 3, stride=2))
        self.fir = fir
        if fir:
            self.register_buffer("kernel", fir_kernel(), persistent=False)

    def forward(self, x: Tensor, time: Tensor | None = None) -> Tensor:
        if not self.fir:
            return self.conv(functional.pad(x, (0, 1, 0, 1)))
        channels = x.shape[1]
        return self.conv(functional.conv2d(x, self.kernel.expand(channels, 1, 4, 4), padding=2, groups=channels))


class ConvUp(nn.Module):
    """Twice the side by nearest neighbour, then a 3x3 convolution."""

    def __init__(self, channels: int):
        super().__init__()
        self.resample, self.conv = Resample("up", fir=False), conv3x3(channels, channels)

    def forward(self, x: Tensor, time: Tensor | None = None) -> Tensor:
        return self.conv(self.resample(x))


class ResidualBlock(nn.Module):
    """x + conv(drop(act(norm(conv(resample(act(norm(x)))) + linear(time))))); the last convolution starts at zero.

    Without `resample` this is DDPM's block, with it BigGAN's.

    Args:
        time: features of the time vector, to which swish has been applied.
        resample: applied to both branches.
        rescale: divide the sum by sqrt(2).
        shortcut: scale of the initialisation of the 1x1 convolution on x (there if channels or side change).
        groups: of the norms, see `group_norm`.
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        time: int,
        dropout: float,
        rescale: bool,
        resample: Resample | None = None,
        shortcut: float = 1.0,
        groups: int | None = None,
    ):
        super().__init__()
        self.norm1, self.conv1 = group_norm(n_in, groups), conv3x3(n_in, n_out)
        self.time = linear(time, n_out)
        self.norm2, self.dropout = group_norm(n_out, groups), nn.Dropout(dropout)
        self.conv2 = conv3x3(n_out, n_out, scale=0.0)
        self.resample = nn.Identity() if resample is None else resample
        self.shortcut = nn.Identity() if n_in == n_out and resample is None else conv1x1(n_in, n_out, shortcut)
        self.scale = 2**-0.5 if rescale else 1.0

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        h = self.conv1(self.resample(functional.silu(self.norm1(x))))
        h = h + self.time(time)[:, :, None, None]
        h = self.conv2(self.dropout(functional.silu(self.norm2(h))))
        return (self.shortcut(self.resample(x)) + h) * self.scale


class Attention(nn.Module):
    """x + out(softmax(q k^T / sqrt(channels)) v) over pixels, one head, q, k, v linear in norm(x); `out` starts at zero.

    q, k and v are one convolution; each starts with scale 0.1 (so in the code of Score-SDE, not in DDPM's).
    """

    def __init__(self, channels: int, rescale: bool, groups: int | None = None):
        super().__init__()
        self.norm = group_norm(channels, groups)
        self.qkv = conv1x1(channels, 3 * channels)
        for part in self.qkv.weight.detach().chunk(3):
            nn.init.xavier_uniform_(part, gain=math.sqrt(0.1))
        self.out = conv1x1(channels, channels, scale=0.0)
        self.scale = 2**-0.5 if rescale else 1.0

    def forward(self, x: Tensor, time: Tensor | None = None) -> Tensor:
        pixels = self.qkv(self.norm(x)).flatten(2).mT.unsqueeze(1)  # (batch, 1 head, pixels, 3 channels)
        h = functional.scaled_dot_product_attention(*pixels.chunk(3, -1))
        return (x + self.out(h.squeeze(1).mT.reshape(x.shape))) * self.scale
