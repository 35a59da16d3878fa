"""From pixels to the numbers that a model sees and back; flips, borders and dequantisation."""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from rescore.domain import check_one_of
from rescore.errors import RescoreError
from rescore.random import Noise, integers

Rounding = Literal["truncate", "nearest"]
QUANTISED: dict[Rounding, str] = {"truncate": "uint8-truncated", "nearest": "uint8-nearest"}  # what a protocol says
SLACK = 2.0**-10  # grey levels; float32 may leave a whole level this much too low


def to_unit(images: Tensor) -> Tensor:
    """uint8 -> float32 in [-1, 1]: x / 127.5 - 1. Raises RescoreError for another dtype."""
    _check_uint8(images, "to_unit")
    return images.float() / 127.5 - 1


def to_unit_interval(images: Tensor) -> Tensor:
    """uint8 -> float64 in [0, 1]."""
    return (to_unit(images).double() + 1) / 2


def to_uint8(x: Tensor, rounding: Rounding = "truncate") -> Tensor:
    """[-1, 1] -> uint8, clipped; `to_uint8(to_unit(images))` returns the images.

    Args:
        x: any shape, floating.
        rounding: `truncate`, as the papers quantise samples for FID (Song et al. 2021: clip, times 255, cast), or `nearest`.

    Raises:
        RescoreError: a dtype or range that is not that of [-1, 1], or a value that is not finite.
    """
    check_one_of("to_uint8: rounding", rounding, QUANTISED)
    if not x.is_floating_point():
        raise RescoreError(f"to_uint8: {x.dtype}; allowed: floats in [-1, 1]")
    if not torch.isfinite(x).all():
        raise RescoreError("to_uint8: a pixel is not finite")
    if x.numel() and x.min() >= 0 and x.max() > 2:
        raise RescoreError(f"to_uint8: values in [{x.min():g}, {x.max():g}]; allowed: [-1, 1] (what is outside is clipped)")
    levels = (x.float().clamp(-1, 1) + 1) * 127.5
    return (levels + (0.5 if rounding == "nearest" else SLACK)).clamp(max=255).to(torch.uint8)


def dequantise(images: Tensor, generator: Noise, grey_levels: int = 256) -> tuple[Tensor, float]:
    """Uniform dequantisation of grey levels k by u ~ U[0, 1) (Theis et al. 2016): float32, and the levels to a unit of it.

    Of 256 levels 2 (k + u) / 256 - 1 in [-1, 1) and 128, as in Score-SDE. Fewer, spread over 0 to 255 in equal steps, get bins
    centred at their place in training, (2 k + 2 u - 1) / (levels - 1) - 1: 255 of the 256 bins would stay empty, and a density
    could gain without bound by finding the others. `u` has 16 bits, the most that leave k + u exact in float32: no draw reaches
    the next level.

    Raises RescoreError for a dtype other than uint8, or for values that are none of the levels.
    """
    _check_uint8(images, "dequantise")
    u = integers(2**16, images.shape, generator, generator.device, torch.int32)
    u = u.to(images.device) / 2**16
    if grey_levels == 256:
        return (images.float() + u) / 128 - 1, 128.0
    steps = grey_levels - 1
    k = (images.float() * steps / 255).round()
    if not torch.equal((k * 255 / steps).round().to(torch.uint8), images):
        raise RescoreError(f"dequantise: a pixel is none of {grey_levels} equal steps from 0 to 255")
    return (2 * k + 2 * u - 1) / steps - 1, steps / 2


def pad_to(images: Tensor, side: int) -> Tensor:
    """(n, C, H, W) with borders of 0 up to side x side. Before dequantisation: a constant pixel would have no density.

    Raises RescoreError for a side below that of the images.
    """
    height, width = images.shape[-2:]
    if side < max(height, width):
        raise RescoreError(f"pad_to: side {side} of images of {height}x{width}; allowed: {max(height, width)} or more")
    borders = [half for n in (images.shape[-1], images.shape[-2]) for half in ((side - n) // 2, (side - n + 1) // 2)]
    return functional.pad(images, borders)


def crop_to(images: Tensor, size: tuple[int, int]) -> Tensor:
    """The inner (height, width) of images (n, C, side, side): without the borders of `pad_to`.

    Raises RescoreError for a size above that of the images.
    """
    height, width = images.shape[-2:]
    if size[0] > height or size[1] > width:
        raise RescoreError(f"crop_to: size {size[0]}x{size[1]} of images of {height}x{width}; allowed: no more than theirs")
    top, left = (height - size[0]) // 2, (width - size[1]) // 2
    return images[..., top : top + size[0], left : left + size[1]]


def random_flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """Each image of (n, C, H, W) mirrored left to right with probability 1/2."""
    flipped = torch.rand(len(images), generator=generator, device=generator.device) < 0.5
    return torch.where(flipped.to(images.device)[:, None, None, None], images.flip(-1), images)


def _check_uint8(images: Tensor, function: str) -> None:
    if images.dtype != torch.uint8:
        raise RescoreError(f"{function}: {images.dtype}; allowed: uint8")
