"""The authors' names for the tensors of a `ScoreUNet`, in the three spellings of their code.

`torch`: `all_modules.K...`, K counts modules in the order of the forward pass (Score-SDE, CLD-SGM); `flax`: `<Class>_K/...`,
K counts the calls of one class (gDDIM, and Score-SDE's JAX code); `edm`: `enc.<side>x<side>_...` (EDM's SongUNet, the same
network).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from rescore.errors import RescoreError
from rescore.networks.embeddings import Fourier
from rescore.networks.layers import Attention, ConvDown, ConvUp, ResidualBlock
from rescore.networks.scoreunet import ScoreUNet

Spelling = Literal["torch", "flax", "edm"]
BLOCK = (("norm1", "GroupNorm_0"), ("conv1", "Conv_0"), ("time", "Dense_0"), ("norm2", "GroupNorm_1"), ("conv2", "Conv_1"))
"""Layers of a residual block, ours and those of `torch`."""


@dataclass(frozen=True)
class Origin:
    """Where one tensor of ours comes from.

    Args:
        target: its name in the network's state dict.
        sources: the authors' names of what it is made of.
        make: from these to it.
    """

    target: str
    sources: tuple[str, ...]
    make: Callable[..., Tensor]


def origins(network: ScoreUNet, spelling: Spelling) -> list[Origin]:
    """One entry for each tensor of the network's state dict.

    Raises RescoreError for a network that the authors' code has no such names for: DDPM's blocks in flax or EDM.
    """
    if spelling != "torch" and network.config.block == "ddpm":
        raise RescoreError(f"weights named as by {spelling}: not for networks with block 'ddpm'; allowed: 'biggan'")
    return list({"torch": _torch, "flax": _flax, "edm": _edm}[spelling](network))


def in_order(network: ScoreUNet) -> Iterator[tuple[str, nn.Module]]:
    """The modules with weights by their names, in the order of the forward pass."""
    if isinstance(network.time[0], Fourier):
        yield "time.0", network.time[0]
    yield "time.1", network.time[1]
    yield "time.3", network.time[3]
    yield "first", network.first
    for i, stage in enumerate(network.down):
        for j, block in enumerate(stage.blocks):
            yield from ((f"down.{i}.blocks.{j}.{k}", layer) for k, layer in enumerate(block))
        yield from ((f"down.{i}.end.{k}", layer) for k, layer in enumerate(stage.end))
        if stage.pyramid is not None:
            yield f"down.{i}.pyramid", stage.pyramid
    yield from ((f"middle.{k}", layer) for k, layer in enumerate(network.middle))
    for i, stage in enumerate(network.up):
        for j, block in enumerate(stage.blocks):
            yield from ((f"up.{i}.blocks.{j}.{k}", layer) for k, layer in enumerate(block))
        yield from ((f"up.{i}.end.{k}", layer) for k, layer in enumerate(stage.end))
    yield "last.0", network.last[0]
    yield "last.2", network.last[2]


def _same(tensor: Tensor) -> Tensor:
    return tensor


def _nin(tensor: Tensor) -> Tensor:
    """The matrix (in, out) of a "network in network" as a 1x1 convolution."""
    return tensor.T[:, :, None, None]


def _joined(*parts: Tensor) -> Tensor:
    return torch.cat([_nin(part) if part.ndim == 2 else part for part in parts])


def _hwio(tensor: Tensor) -> Tensor:
    return tensor.permute(3, 2, 0, 1)


def _transposed(tensor: Tensor) -> Tensor:
    return tensor.T


def _thirds(tensor: Tensor) -> Tensor:
    """EDM's q, k and v of one channel beside each other, as three blocks of rows."""
    return tensor.unflatten(0, (-1, 3)).transpose(0, 1).flatten(0, 1)


def _both(target: str, source: str, make: Callable = _same, weight: str = "weight") -> Iterator[Origin]:
    """Weight and bias; `source` ends with the mark that stands before them."""
    yield Origin(f"{target}.weight", (f"{source}{weight}",), make)
    yield Origin(f"{target}.bias", (f"{source}bias",), _same)


def _nins(target: str, sources: tuple[str, ...]) -> Iterator[Origin]:
    yield Origin(f"{target}.weight", tuple(f"{source}W" for source in sources), _joined)
    yield Origin(f"{target}.bias", tuple(f"{source}b" for source in sources), _joined)


def _torch(network: ScoreUNet) -> Iterator[Origin]:
    for number, (target, module) in enumerate(in_order(network)):
        here = f"all_modules.{number}"
        match module:
            case Fourier():
                yield Origin(f"{target}.frequency", (f"{here}.W",), _same)
            case ResidualBlock():
                for ours, theirs in BLOCK:
                    yield from _both(f"{target}.{ours}", f"{here}.{theirs}.")
                if isinstance(module.shortcut, nn.Conv2d):
                    if network.config.block == "ddpm":
                        yield from _nins(f"{target}.shortcut", (f"{here}.NIN_0.",))
                    else:
                        yield from _both(f"{target}.shortcut", f"{here}.Conv_2.")
            case Attention():
                yield from _both(f"{target}.norm", f"{here}.GroupNorm_0.")
                yield from _nins(f"{target}.qkv", tuple(f"{here}.NIN_{i}." for i in range(3)))
                yield from _nins(f"{target}.out", (f"{here}.NIN_3.",))
            case ConvDown(fir=True):
                yield from _both(f"{target}.conv", f"{here}.Conv2d_0.")
            case ConvDown() | ConvUp():
                yield from _both(f"{target}.conv", f"{here}.Conv_0.")
            case _:
                yield from _both(target, f"{here}.")


def _flax(network: ScoreUNet) -> Iterator[Origin]:
    seen: Counter[str] = Counter()

    def named(kind: str) -> str:
        seen[kind] += 1
        return f"{kind}_{seen[kind] - 1}"

    for target, module in in_order(network):
        match module:
            case Fourier():
                yield Origin(f"{target}.frequency", (f"{named('GaussianFourierProjection')}/W",), _same)
            case nn.Linear():
                yield from _both(target, f"{named('Dense')}/", _transposed, "kernel")
            case ResidualBlock():
                here = named("ResnetBlockBigGANpp")
                for i in (1, 2):
                    yield from _both(f"{target}.norm{i}", f"{here}/GroupNorm_{i - 1}/", weight="scale")
                    yield from _both(f"{target}.conv{i}", f"{here}/Conv_{i - 1}/", _hwio, "kernel")
                yield from _both(f"{target}.time", f"{here}/Dense_0/", _transposed, "kernel")
                if isinstance(module.shortcut, nn.Conv2d):
                    yield from _both(f"{target}.shortcut", f"{here}/Conv_2/", _hwio, "kernel")
            case Attention():
                here = named("AttnBlockpp")
                yield from _both(f"{target}.norm", f"{here}/GroupNorm_0/", weight="scale")
                yield from _nins(f"{target}.qkv", tuple(f"{here}/NIN_{i}/" for i in range(3)))
                yield from _nins(f"{target}.out", (f"{here}/NIN_3/",))
            case ConvDown(fir=True):
                yield from _both(f"{target}.conv", f"{named('Downsample')}/Conv2d_0/", _hwio)
            case ConvDown():
                yield from _both(f"{target}.conv", f"{named('Downsample')}/Conv_0/", _hwio, "kernel")
            case nn.GroupNorm():
                yield from _both(target, f"{named('GroupNorm')}/", weight="scale")
            case _:
                yield from _both(target, f"{named('Conv')}/", _hwio, "kernel")


def _edm(network: ScoreUNet) -> Iterator[Origin]:
    for target, module in in_order(network):
        here = _edm_place(network, target, module)
        match module:
            case Fourier():
                yield Origin(f"{target}.frequency", (f"{here}.freqs",), _same)
            case ResidualBlock():
                pairs = [("norm1", "norm0"), ("conv1", "conv0"), ("time", "affine"), ("norm2", "norm1"), ("conv2", "conv1")]
                pairs += [("shortcut", "skip")] if isinstance(module.shortcut, nn.Conv2d) else []
                for ours, theirs in pairs:
                    yield from _both(f"{target}.{ours}", f"{here}.{theirs}.")
            case Attention():
                yield from _both(f"{target}.norm", f"{here}.norm2.")
                yield Origin(f"{target}.qkv.weight", (f"{here}.qkv.weight",), _thirds)
                yield Origin(f"{target}.qkv.bias", (f"{here}.qkv.bias",), _thirds)
                yield from _both(f"{target}.out", f"{here}.proj.")
            case ConvDown():
                yield from _both(f"{target}.conv", f"{here}.")
            case _:
                yield from _both(target, f"{here}.")


def _edm_place(network: ScoreUNet, target: str, module: nn.Module) -> str:
    """EDM's name of a module. An attention is a part of the block before it; a resampling is named by the side it leads to."""
    sides, height = len(network.down), network.shape[1]
    fixed = {
        "time.0": "map_noise",
        "time.1": "map_layer0",
        "time.3": "map_layer1",
        "first": f"enc.{height}x{height}_conv",
        "last.0": f"dec.{height}x{height}_aux_norm",
        "last.2": f"dec.{height}x{height}_aux_conv",
    }
    if target in fixed:
        return fixed[target]
    room, number, *rest = target.split(".")
    if room == "middle":
        side = height >> (sides - 1)
        return f"dec.{side}x{side}_in{int(number == '2')}"
    level = int(number) if room == "down" else sides - 1 - int(number)
    coder = "enc" if room == "down" else "dec"
    if rest[0] == "blocks" or isinstance(module, Attention):
        side, block = height >> level, rest[1] if rest[0] == "blocks" else network.config.blocks
        return f"{coder}.{side}x{side}_block{block}"
    side = height >> (level + 1 if room == "down" else level - 1)
    return f"{coder}.{side}x{side}_{'aux_residual' if rest[0] == 'pyramid' else 'down' if room == 'down' else 'up'}"
