"""From the authors' tensors to the weights of a `ScoreUNet`; or, if they do not fit, to the network that would take them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from itertools import product
from typing import Any

from torch import Tensor

from rescore.errors import RescoreError
from rescore.models.imported.files import Foreign
from rescore.models.imported.names import origins
from rescore.networks.base import Side, size_of
from rescore.networks.scoreunet import DDPM, DDPMPP, UNETS, ScoreUNet, UNetConfig

SHOWN = 3  # names in an error
NARROW = 4  # the least width of a U-Net


@dataclass(frozen=True)
class Fit:
    """A network as a config spells it, and the channels of its images."""

    name: str
    settings: dict[str, Any]
    channels: int
    out_channels: int

    def __str__(self) -> str:
        settings = ", ".join(
            f"{key}: {str(value).lower() if isinstance(value, bool) else value}" for key, value in self.settings.items()
        )
        return f"{{name: {self.name}, settings: {{{settings}}}}} for images of {self.channels} channels, to {self.out_channels}"


def convert(foreign: Foreign, network: ScoreUNet) -> dict[str, Tensor]:
    """The state dict of `network` from the authors' tensors, each of them used once.

    Raises RescoreError, which names the tensors that are missing, left over or of another shape and the network that would fit.
    """
    needed = origins(network, foreign.spelling)
    unused = {name for name in foreign.tensors if not name.endswith(foreign.dropped or ("\0",))}
    missing = [name for origin in needed for name in origin.sources if name not in foreign.tensors]
    used = {name for origin in needed for name in origin.sources}
    problems = [f"{len(missing)} missing ({_some(missing)})"] if missing else []
    if extra := sorted(unused - used):
        problems.append(f"{len(extra)} left over ({_some(extra)})")
    expected, found = network.state_dict(), {}
    for origin in needed:
        if any(name in missing for name in origin.sources):
            continue
        parts = [foreign.tensors[name] for name in origin.sources]
        try:
            found[origin.target] = origin.make(*parts).contiguous()
        except RuntimeError:
            found[origin.target] = parts[0]
        if found[origin.target].shape != expected[origin.target].shape:
            problems.append(
                f"{origin.sources[0]} is {tuple(parts[0].shape)}, which makes {tuple(found[origin.target].shape)} "
                f"where {tuple(expected[origin.target].shape)} is needed"
            )
    if problems:
        more = f" and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        would = fitting(foreign, network.shape[1:])
        hint = f"the network that would fit: {would}" if would else "no U-Net of ours would fit: another architecture"
        raise RescoreError(f"{foreign.path}: not the weights of this network: {'; '.join(problems[:SHOWN])}{more}; {hint}")
    return {name: value.to(expected[name].dtype) for name, value in found.items()}


def _some(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")


def fitting(foreign: Foreign, side: Side = 32) -> Fit | None:
    """The network for images of this side whose tensors are exactly those of the file, from names and shapes; None if none is.

    Weights do not show whether the output is divided by sigma, nor whether data lie in [0, 1]: that is the source's habit.
    """
    size, found = size_of(side), {name for name in foreign.tensors if not name.endswith(foreign.dropped or ("\0",))}
    for config, channels, out_channels in _candidates(foreign, size[0]):
        try:
            narrow = ScoreUNet(replace(config, width=NARROW), channels, size, out_channels)  # names do not depend on the width
            if {name for origin in origins(narrow, foreign.spelling) for name in origin.sources} != found:
                continue
        except RescoreError:
            continue
        network = ScoreUNet(config, channels, size, out_channels)
        expected = network.state_dict()
        made = {
            origin.target: origin.make(*(foreign.tensors[name] for name in origin.sources))
            for origin in origins(network, foreign.spelling)
        }
        if all(made[name].shape == value.shape for name, value in expected.items()):
            return Fit(*_spelled(config), channels, out_channels)
    return None


def _spelled(config: UNetConfig) -> tuple[str, dict[str, Any]]:
    """The named network that needs fewest settings, and these."""

    def differing(base: UNetConfig) -> dict[str, Any]:
        values = {field.name: getattr(config, field.name) for field in fields(config)}
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in values.items()
            if value != getattr(base, name)
        }

    return min(((name, differing(base)) for name, base in UNETS.items()), key=lambda found: len(found[1]))


def _candidates(foreign: Foreign, height: int) -> Iterator[tuple[UNetConfig, int, int]]:
    """Configs with the file's widths and counts, and every choice of sides with attention."""
    try:
        first, last, blocks, ddpm, halvings, fir, pyramid, fourier = _seen(foreign)
        width, channels = first.shape[:2]
        sides = halvings + 1
        spare = len(blocks) - 2 - sides - (0 if ddpm else 2 * halvings)
        per_side, rest = divmod(spare, 2 * sides)
        if rest or per_side < 1:
            return
        step = per_side if ddpm else per_side + 1
        multipliers = tuple(blocks[i * step] // width for i in range(sides))
    except (KeyError, IndexError, ValueError, ZeroDivisionError):
        return
    base = DDPM if ddpm else DDPMPP
    by_sigma = fourier and foreign.source == "score_sde"
    for chosen in product((True, False), repeat=sides):  # flax does not name the sides: the larger ones first
        attention = tuple(height >> i for i, one in enumerate(chosen) if one)
        try:
            config = replace(
                base,
                width=width,
                multipliers=multipliers,
                blocks=per_side,
                attention=attention,
                fir=fir,
                pyramid=pyramid,
                embedding="fourier" if fourier else "positional",
                scale_by_sigma=by_sigma,
                unit_input=by_sigma,
            )
        except RescoreError:
            return
        yield config, channels, last.shape[0]


def _seen(foreign: Foreign) -> tuple[Tensor, Tensor, list[int], bool, int, bool, bool, bool]:
    """First and last convolution (out, in, ...), each block's channels in order, and what the names give away."""
    tensors = foreign.tensors
    if foreign.spelling == "torch":
        groups: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            if match := re.fullmatch(r"all_modules\.(\d+)\.(.+)", name):
                groups.setdefault(int(match[1]), {})[match[2]] = value
        ordered = [groups[number] for number in sorted(groups)]
        bare = [group["weight"] for group in ordered if "weight" in group and group["weight"].ndim == 4]
        blocks = [group["Conv_1.weight"].shape[0] for group in ordered if "Conv_1.weight" in group]
        ddpm = any("NIN_0.W" in group and "Conv_0.weight" in group for group in ordered)
        alone = [group for group in ordered if set(group) == {"Conv_0.weight", "Conv_0.bias"}]
        fir = any("Conv2d_0.weight" in group for group in ordered)
        halvings = (
            len(alone) // 2
            if ddpm
            else _resampling(
                (group["Conv_0.weight"], "Conv_2.weight" in group) for group in ordered if "Conv_1.weight" in group
            )
        )
        return bare[0], bare[-1], blocks, ddpm, halvings, fir, fir or (bool(alone) and not ddpm), "W" in ordered[0]
    if foreign.spelling == "flax":
        count = sum(name.startswith("ResnetBlockBigGANpp_") and name.endswith("/Conv_0/kernel") for name in tensors)
        named = [f"ResnetBlockBigGANpp_{i}" for i in range(count)]
        blocks = [tensors[f"{name}/Conv_1/kernel"].shape[3] for name in named]
        halvings = _resampling(
            (tensors[f"{name}/Conv_0/kernel"].permute(3, 2, 0, 1), f"{name}/Conv_2/kernel" in tensors) for name in named
        )
        first, last = (tensors[f"Conv_{i}/kernel"].permute(3, 2, 0, 1) for i in (0, 1))
        fir, pyramid = "Downsample_0/Conv2d_0/weight" in tensors, any(name.startswith("Downsample_0/") for name in tensors)
        return first, last, blocks, False, halvings, fir, pyramid, "GaussianFourierProjection_0/W" in tensors
    return _seen_edm(tensors)


def _seen_edm(tensors: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, list[int], bool, int, bool, bool, bool]:
    down = {int(match[1]) for name in tensors if (match := re.match(r"enc\.(\d+)x\d+_block", name))}
    sides = sorted(down, reverse=True)
    per_side = sum(f"enc.{sides[0]}x{sides[0]}_block{i}.conv1.weight" in tensors for i in range(64))
    widths = [tensors[f"enc.{side}x{side}_block0.conv1.weight"].shape[0] for side in sides]
    blocks = [width for width in widths for _ in range(per_side + 1)]  # of the way down; the count of all is what is asked for
    blocks += [widths[-1]] * (1 + len(sides) * (per_side + 1) + len(sides) - 1)
    pyramid = any("aux_residual" in name for name in tensors)
    first, last = (
        tensors[f"{name}.weight"] for name in (f"enc.{sides[0]}x{sides[0]}_conv", f"dec.{sides[0]}x{sides[0]}_aux_conv")
    )
    return first, last, blocks, False, len(sides) - 1, pyramid, pyramid, "map_noise.freqs" in tensors


def _resampling(blocks: Iterator[tuple[Tensor, bool]]) -> int:
    """How often the side is halved: half of the blocks with a shortcut that the channels do not ask for."""
    return sum(shortcut and conv.shape[0] == conv.shape[1] for conv, shortcut in blocks) // 2
