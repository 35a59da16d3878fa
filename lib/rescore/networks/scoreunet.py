"""The U-Nets of DDPM and Score-SDE: DDPM, DDPM++, NCSN++ and their deep forms (Score-SDE, section 4.4 and appendix H).

References:
    Score-SDE: arXiv:2011.13456.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle

from rescore.domain import check_count, check_number, check_one_of
from rescore.errors import RescoreError
from rescore.networks.base import Side, check_input, configured, size_of
from rescore.networks.embeddings import EMBEDDINGS, LABELS, Embedding, LevelMLP
from rescore.networks.layers import Attention, ConvDown, ConvUp, ModulesOf, Resample, ResidualBlock, conv3x3, group_norm

GROUPS = 32  # of every norm of DDPM in Score-SDE's code
NIN = 0.1  # the scale of the 1x1 shortcuts in the blocks of DDPM in Score-SDE's code


@dataclass(frozen=True)
class UNetConfig:
    """A score U-Net; the defaults are DDPM++ for CIFAR-10.

    Attributes:
        width: channels of the first layer, even; the time vector has 4 times as many.
        multipliers: channels at each side, in widths; height and width halve from one to the next.
        blocks: residual blocks per side on the way down; one more on the way up.
        attention: the heights that have attention, after each block down and once up. The middle always has it.
        block: "biggan" resamples inside residual blocks, "ddpm" by convolutions between them.
        fir: resample with the filter [1, 3, 3, 1] ("biggan" only).
        pyramid: add a convolved pyramid of the input on the way down ("progressive input: residual").
        rescale: divide sums of two branches by sqrt(2).
        embedding: of the noise level c: "positional" (c up to 999) or "fourier" (of log c, so c > 0).
        fourier_scale: the standard deviation of Fourier frequencies.
        dropout: its probability.
        scale_by_sigma: divide the output by sigma: by c itself if "fourier"; if "positional", c is the label of one of LABELS
            geometric levels, 0 the largest, and sigma that level's; between two labels it is that of the smaller one.
        sigmas: the smallest and the largest of these levels.
        unit_input: data lie in [0, 1]; x -> 2 x - 1 comes first.
        level_factor: what is embedded is c times this. With 0.5, and without `unit_input`, weights of "fourier" trained on
            data in [0, 1] give the score of the same data in [-1, 1], where sigma is twice as large.
        patch: the pixels of each patch x patch square become channels before the first layer, and pixels again after the last:
            the sides of `multipliers` and `attention` are those of this coarser image. With 4 a network of 28x28 has 7x7
            places.
    """

    width: int = 128
    multipliers: Sequence[int] = (1, 2, 2, 2)
    blocks: int = 4
    attention: Sequence[int] = (16,)
    block: Literal["biggan", "ddpm"] = "biggan"
    fir: bool = False
    pyramid: bool = False
    rescale: bool = True
    embedding: Embedding = "positional"
    fourier_scale: float = 16.0
    dropout: float = 0.1
    scale_by_sigma: bool = False
    sigmas: Sequence[float] | None = None
    unit_input: bool = False
    level_factor: float = 1.0
    patch: int = 1

    def __post_init__(self):
        check_number("network U-Net", "level_factor", self.level_factor, 0, brackets="()")
        check_one_of("network U-Net: embedding", self.embedding, EMBEDDINGS)
        check_one_of("network U-Net: block", self.block, ("biggan", "ddpm"))
        if self.width < 4 or self.width % 2 or self.blocks < 1 or not self.multipliers or min(self.multipliers) < 1:
            raise RescoreError("network U-Net: allowed are an even width >= 4, blocks >= 1 and multipliers >= 1")
        check_count("network U-Net", "patch", self.patch)
        if self.block == "ddpm" and (self.fir or self.pyramid):
            raise RescoreError("network U-Net: fir and pyramid need block 'biggan'")
        by_label = self.scale_by_sigma and self.embedding == "positional"
        if by_label != (self.sigmas is not None):
            raise RescoreError(
                "network U-Net: scale_by_sigma with embedding 'positional' needs sigmas, (smallest, largest); "
                "allowed otherwise are no sigmas"
            )
        if self.sigmas is not None:
            if len(self.sigmas) != 2:
                raise RescoreError(f"network U-Net: sigmas = {self.sigmas!r}; allowed are (smallest, largest)")
            check_number("network U-Net", "sigmas[0]", self.sigmas[0], 0, brackets="()")
            check_number("network U-Net", "sigmas[1]", self.sigmas[1], self.sigmas[0], brackets="()")


class Stage(nn.Module):
    """All blocks at one side.

    Attributes:
        blocks: each a list of layers.
        end: what follows the last block.
        pyramid: from the input pyramid to the output of `end`, or None.
    """

    blocks: ModulesOf[Timed]

    def __init__(self, blocks: Sequence[Sequence[nn.Module]], end: Sequence[nn.Module], pyramid: nn.Module | None = None):
        super().__init__()
        self.blocks, self.end = ModulesOf(Timed(*block) for block in blocks), Timed(*end)
        self.pyramid = pyramid


class Timed(nn.Sequential):
    """Layers in a row, each called with the time vector."""

    def forward(self, x: Tensor, time: Tensor) -> Tensor:  # type: ignore[override]  # a Sequential of two arguments
        for layer in self:
            x = layer(x, time)
        return x


class ScoreUNet(nn.Module):
    """A function of an image and its noise level; zero at initialisation.

    Args:
        config: see there.
        channels, side: of the images taken; side is (height, width) where they are not square.
        out_channels: of the images given; as many as taken if None.

    Raises RescoreError for a side that cannot be halved often enough.
    """

    sigmas: Tensor
    down: ModulesOf[Stage]
    up: ModulesOf[Stage]

    def __init__(self, config: UNetConfig, channels: int, side: Side, out_channels: int | None = None):
        super().__init__()
        halvings = len(config.multipliers) - 1
        height, width = size_of(side)
        least = config.patch * 2**halvings
        for length in (height, width):
            if length % least:
                squares = f" of squares of {config.patch} pixels" if config.patch > 1 else ""
                raise RescoreError(
                    f"network U-Net: {halvings} halvings{squares} of images of side {length}; allowed are sides "
                    f"divisible by {least}, or fewer multipliers"
                )
        self.config, self.shape = config, (channels, height, width)
        height, width = height // config.patch, width // config.patch
        channels, given = channels * config.patch**2, (out_channels or channels) * config.patch**2
        self.time = LevelMLP(config.embedding, config.width, config.fourier_scale, 4 * config.width)
        if config.sigmas is not None:
            smallest, largest = (math.log(sigma) for sigma in config.sigmas)
            sigmas = torch.linspace(largest, smallest, LABELS, dtype=torch.float64).exp()
            self.register_buffer("sigmas", sigmas, persistent=False)
        self.first = conv3x3(channels, config.width)
        widths = [config.width * multiplier for multiplier in config.multipliers]
        heights = [height >> i for i in range(len(widths))]

        kept, pyramid, self.down = [config.width], channels, ModulesOf()
        for n, here in zip(widths, heights, strict=True):
            blocks = [[self._block(n_in, n), *self._attention(n, here)] for n_in in [kept[-1]] + [n] * (config.blocks - 1)]
            kept += [n] * config.blocks
            if here == heights[-1]:
                self.down.append(Stage(blocks, []))
            else:
                step = ConvDown(pyramid, n, config.fir) if config.pyramid else None
                self.down.append(Stage(blocks, [self._resample(n, "down")], step))
                kept.append(n)
                pyramid = n

        n = widths[-1]
        self.middle = Timed(self._block(n, n), Attention(n, config.rescale, self._groups), self._block(n, n))

        self.up = ModulesOf()
        for m, here in zip(reversed(widths), reversed(heights), strict=True):
            blocks = []
            for _ in range(config.blocks + 1):
                blocks.append([self._block(n + kept.pop(), m)])
                n = m
            end = self._attention(n, here) + ([] if here == height else [self._resample(n, "up")])
            self.up.append(Stage(blocks, end))

        self.last = nn.Sequential(group_norm(n, self._groups), nn.SiLU(), conv3x3(n, given, scale=0.0))

    @property
    def _groups(self) -> int | None:
        return GROUPS if self.config.block == "ddpm" else None

    def _block(self, n_in: int, n_out: int, resample: Resample | None = None) -> ResidualBlock:
        c = self.config
        shortcut = 1.0 if c.block == "biggan" else NIN
        return ResidualBlock(n_in, n_out, 4 * c.width, c.dropout, c.rescale, resample, shortcut, self._groups)

    def _attention(self, n: int, height: int) -> list[nn.Module]:
        return [Attention(n, self.config.rescale, self._groups)] if height in self.config.attention else []

    def _resample(self, n: int, direction: Literal["up", "down"]) -> nn.Module:
        if self.config.block == "ddpm":
            return ConvUp(n) if direction == "up" else ConvDown(n, n)
        return self._block(n, n, Resample(direction, self.config.fir))

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        """(batch, out_channels, height, width) from x (batch, channels, height, width) and noise levels (batch,)."""
        check_input("U-Net", x, level, self.shape)
        if self.config.unit_input:
            x = 2 * x - 1
        if self.config.patch > 1:
            x = pixel_unshuffle(x, self.config.patch)
        time = self.time(level if self.config.level_factor == 1 else level * self.config.level_factor)
        pyramid = x
        kept = [self.first(x)]
        for stage in self.down:
            for block in stage.blocks:
                kept.append(block(kept[-1], time))
            if len(stage.end):
                h = stage.end(kept[-1], time)
                if stage.pyramid is not None:
                    h = pyramid = (stage.pyramid(pyramid) + h) * (2**-0.5 if self.config.rescale else 1.0)
                kept.append(h)
        h = self.middle(kept[-1], time)
        for stage in self.up:
            for block in stage.blocks:
                h = block(torch.cat((h, kept.pop()), 1), time)
            h = stage.end(h, time)
        h = self.last(h)
        if self.config.patch > 1:
            h = pixel_shuffle(h, self.config.patch)
        if not self.config.scale_by_sigma:
            return h
        # a label between two takes the sigma of the smaller one, as the authors' integers do
        sigma = level if self.config.sigmas is None else self.sigmas[level.long()].to(h)
        return h / sigma[:, None, None, None]


DDPMPP = UNetConfig()
DDPM = replace(DDPMPP, blocks=2, block="ddpm", rescale=False)
NCSNPP = UNetConfig(fir=True, pyramid=True, embedding="fourier", scale_by_sigma=True, unit_input=True)
UNETS = {
    "ddpm": DDPM,
    "ddpmpp": DDPMPP,
    "ddpmpp_deep": replace(DDPMPP, blocks=8),
    "ncsnpp": NCSNPP,
    "ncsnpp_deep": replace(NCSNPP, blocks=8),
}
"""By name; "deep" has twice the blocks.

`ddpm` is the network of DDPM as Score-SDE has it (its Tables 1 and 4), with one attention per side on the way up; `ddpmpp` is
DDPM++, 61.80 M parameters on CIFAR-10. They take levels 999 t.

`ncsnpp` is NCSN++ cont.: a score, for data in [0, 1]. Level sigma. Score-SDE's CIFAR-10 configs train it for 1,300,001 steps of
128, the deep one for 950,001. The discrete form has `embedding="positional", sigmas=(0.01, 50.0)`, those of the VE process, and
level "labels", round(999 (1 - t)): it falls as t rises.
"""


def score_unet(name: str, channels: int, side: Side, out_channels: int | None = None, /, **settings: Any) -> ScoreUNet:
    """A network of `UNETS`, with the fields of its config that `settings` replace."""
    return ScoreUNet(configured(UNETS[name], settings, name), channels, side, out_channels)
