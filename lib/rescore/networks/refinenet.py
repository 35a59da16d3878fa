"""The RefineNets of NCSN (Song and Ermon, 2019) and NCSNv2 (2020): dilated residual blocks, then four refining blocks."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from rescore.domain import check_count
from rescore.errors import RescoreError
from rescore.networks.base import Side, check_input, configured, size_of
from rescore.networks.layers import ModulesOf


@dataclass(frozen=True)
class RefineNetConfig:
    """NCSNv2 if levels is 0, else NCSN with conditional norms for that many levels.

    Attributes:
        width: channels of the first stage; the others have twice as many.
        levels: NCSN's noise levels, geometric from sigma_max down to sigma_min; a sigma between two counts as the nearer.
        sigma_max, sigma_min: only used with levels.
        unit_input: data lie in [0, 1]; x -> 2 x - 1 comes first.
        patch: the pixels of each patch x patch square become channels before the first layer, and pixels again after the last.
            With 4 a network of 28x28 has 7x7 places.
    """

    width: int = 128
    levels: int = 0
    sigma_max: float = 1.0
    sigma_min: float = 0.01
    unit_input: bool = True
    patch: int = 1

    def __post_init__(self):
        if self.width < 2 or self.levels < 0 or self.levels == 1 or not 0 < self.sigma_min < self.sigma_max:
            raise RescoreError("network RefineNet: allowed are width >= 2, levels 0 or >= 2 and 0 < sigma_min < sigma_max")
        check_count("network RefineNet", "patch", self.patch)


class InstanceNormPlus(nn.Module):
    """gamma (instance_norm(x) + alpha standardised channel means) + beta, one (gamma, alpha, beta) per level.

    gamma and alpha start as N(1, 0.02^2), beta as 0. Without levels there is one set of them, for every index.
    """

    def __init__(self, channels: int, levels: int):
        super().__init__()
        self.table = nn.Parameter(torch.zeros(levels or 1, 3 * channels))
        nn.init.normal_(self.table.detach()[:, : 2 * channels], 1, 0.02)

    def forward(self, x: Tensor, index: Tensor) -> Tensor:
        means = x.mean((2, 3))
        means = (means - means.mean(1, keepdim=True)) / (means.var(1, keepdim=True) + 1e-5).sqrt()
        gamma, alpha, beta = self.table[index][:, :, None, None].chunk(3, 1)
        return gamma * (functional.instance_norm(x) + alpha * means[:, :, None, None]) + beta


class NoNorm(nn.Module):
    """The identity, called as the norms are: with the input and the index of its noise level."""

    def forward(self, x: Tensor, index: Tensor) -> Tensor:
        return x


def decoder_norm(channels: int, levels: int) -> nn.Module:
    """The refining blocks of NCSN have norms, those of NCSNv2 have none."""
    return InstanceNormPlus(channels, levels) if levels else NoNorm()


def conv(n_in: int, n_out: int, dilation: int = 1, bias: bool = True) -> nn.Conv2d:
    """A 3x3 convolution that keeps the side, with torch's initialisation."""
    return nn.Conv2d(n_in, n_out, 3, padding=dilation, dilation=dilation, bias=bias)


class Residual(nn.Module):
    """shortcut(x) + conv2(elu(norm2(conv1(elu(norm1(x)))))), then the mean over 2x2 pixels if `halve`.

    Behind the last row and column of an odd side there is nothing: the mean is over the pixels that are there.
    The first block of a stage has a convolution as its shortcut: 1x1 if it halves, 3x3 dilated if it dilates instead.
    """

    def __init__(self, n_in: int, n_out: int, levels: int, first: bool = False, halve: bool = False, dilation: int = 1):
        super().__init__()
        middle = n_in if first else n_out
        self.norm1, self.conv1 = InstanceNormPlus(n_in, levels), conv(n_in, middle, dilation)
        self.norm2, self.conv2 = InstanceNormPlus(middle, levels), conv(middle, n_out, dilation)
        self.halve = halve
        self.shortcut: nn.Module = nn.Identity()
        if first:
            self.shortcut = nn.Conv2d(n_in, n_out, 1) if halve else conv(n_in, n_out, dilation)

    def forward(self, x: Tensor, index: Tensor) -> Tensor:
        h = self.conv1(functional.elu(self.norm1(x, index)))
        h = self.shortcut(x) + self.conv2(functional.elu(self.norm2(h, index)))
        return functional.avg_pool2d(h, 2, ceil_mode=True) if self.halve else h


class ConvUnits(nn.Module):
    """`units` times x + conv(elu(norm(conv(elu(norm(x)))))), convolutions without bias."""

    def __init__(self, channels: int, units: int, levels: int):
        super().__init__()
        self.norms = nn.ModuleList(decoder_norm(channels, levels) for _ in range(2 * units))
        self.convs = nn.ModuleList(conv(channels, channels, bias=False) for _ in range(2 * units))

    def forward(self, x: Tensor, index: Tensor) -> Tensor:
        for i in range(0, len(self.convs), 2):
            h = self.convs[i](functional.elu(self.norms[i](x, index)))
            x = x + self.convs[i + 1](functional.elu(self.norms[i + 1](h, index)))
        return x


class ChainedPool(nn.Module):
    """x = elu(x) plus a chain of two (norm, 5x5 pool, conv): mean pools in NCSN, maximum pools in NCSNv2."""

    def __init__(self, channels: int, levels: int):
        super().__init__()
        self.norms = nn.ModuleList(decoder_norm(channels, levels) for _ in range(2))
        self.convs = nn.ModuleList(conv(channels, channels, bias=False) for _ in range(2))
        self.pool = functional.avg_pool2d if levels else functional.max_pool2d

    def forward(self, x: Tensor, index: Tensor) -> Tensor:
        x = path = functional.elu(x)
        for norm, convolve in zip(self.norms, self.convs, strict=True):
            path = convolve(self.pool(norm(path, index), 5, stride=1, padding=2))
            x = x + path
        return x


class Refine(nn.Module):
    """Convolution units on each input, their sum at the side of the first, a chained pool, and units again."""

    def __init__(self, inputs: list[int], channels: int, levels: int, units: int = 1):
        super().__init__()
        self.adapt = nn.ModuleList(ConvUnits(n, 2, levels) for n in inputs)
        several = inputs if len(inputs) > 1 else []
        self.norms = nn.ModuleList(decoder_norm(n, levels) for n in several)
        self.fuse = nn.ModuleList(conv(n, channels) for n in several)
        self.pool, self.output = ChainedPool(channels, levels), ConvUnits(channels, units, levels)

    def forward(self, xs: list[Tensor], index: Tensor) -> Tensor:
        side = xs[0].shape[2:]
        hs = [adapt(x, index) for adapt, x in zip(self.adapt, xs, strict=True)]
        if self.fuse:
            hs = [convolve(norm(h, index)) for convolve, norm, h in zip(self.fuse, self.norms, hs, strict=True)]
            hs = [functional.interpolate(h, side, mode="bilinear", align_corners=True) for h in hs]
        return self.output(self.pool(sum(hs), index), index)


class RefineNet(nn.Module):
    """A score as a function of an image and its sigma. NCSNv2 sees sigma only as the divisor of its output.

    Args:
        config: see there.
        channels, side: of the images taken, (height, width) where they are not square.
        out_channels: of the images given; as many as taken if None.

    Raises RescoreError for a side that is no multiple of `patch`, or of less than two such squares.
    """

    def __init__(self, config: RefineNetConfig, channels: int, side: Side, out_channels: int | None = None):
        super().__init__()
        size = size_of(side)
        if any(length % config.patch or length < 2 * config.patch for length in size):
            raise RescoreError(
                f"network RefineNet: images of side {side}; allowed are multiples of {config.patch} from {2 * config.patch} on"
            )
        self.config, self.shape = config, (channels, *size)
        channels, given = channels * config.patch**2, (out_channels or channels) * config.patch**2
        n, m, levels = config.width, 2 * config.width, config.levels
        self.first = nn.Conv2d(channels, n, 3, padding=1)
        self.stages: ModulesOf[nn.ModuleList] = ModulesOf(
            nn.ModuleList(blocks)
            for blocks in (
                (Residual(n, n, levels), Residual(n, n, levels)),
                (Residual(n, m, levels, first=True, halve=True), Residual(m, m, levels)),
                (Residual(m, m, levels, first=True, dilation=2), Residual(m, m, levels, dilation=2)),
                (Residual(m, m, levels, first=True, dilation=4), Residual(m, m, levels, dilation=4)),
            )
        )
        refine = Refine([m], m, levels), Refine([m, m], m, levels), Refine([m, m], n, levels), Refine([n, n], n, levels, 3)
        self.refine = nn.ModuleList(refine)
        self.norm, self.last = InstanceNormPlus(n, levels), nn.Conv2d(n, given, 3, padding=1)

    def _index(self, sigma: Tensor) -> Tensor:
        """The number of the level nearest to sigma in log sigma; 0 for NCSNv2."""
        c = self.config
        if not c.levels:
            return torch.zeros_like(sigma, dtype=torch.long)
        position = (c.levels - 1) * torch.log(c.sigma_max / sigma) / math.log(c.sigma_max / c.sigma_min)
        return position.round().long().clamp(0, c.levels - 1)

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        """(batch, out_channels, height, width) from x (batch, channels, height, width) and sigma (batch,)."""
        check_input("RefineNet", x, level, self.shape)
        index = self._index(level)
        x = 2 * x - 1 if self.config.unit_input else x
        h = self.first(pixel_unshuffle(x, self.config.patch))
        features = []
        for stage in self.stages:
            for block in stage:
                h = block(h, index)
            features.append(h)
        h = self.refine[0]([features[3]], index)
        for refine, feature in zip(self.refine[1:], features[2::-1], strict=True):
            h = refine([feature, h], index)
        h = pixel_shuffle(self.last(functional.elu(self.norm(h, index))), self.config.patch)
        return h if self.config.levels else h / level[:, None, None, None]


def ncsnv2(channels: int = 3, side: Side = 32, out_channels: int | None = None, **settings) -> RefineNet:
    """NCSNv2 for sides up to 64: 29.69 M parameters on CIFAR-10. Level sigma."""
    return RefineNet(configured(RefineNetConfig(), settings, "ncsnv2"), channels, side, out_channels)


def ncsn(channels: int = 3, side: Side = 32, out_channels: int | None = None, **settings) -> RefineNet:
    """NCSN with 10 levels: 30.12 M parameters on CIFAR-10; width 64 for MNIST. Level sigma."""
    return RefineNet(configured(RefineNetConfig(levels=10), settings, "ncsn"), channels, side, out_channels)
