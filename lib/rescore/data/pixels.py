"""From pixels to the numbers that a model sees and back; flips and dequantisation."""

from typing import Literal

import torch
from torch import Tensor

from rescore.errors import RescoreError

Rounding = Literal["truncate", "nearest"]
QUANTISED: dict[Rounding, str] = {"truncate": "uint8-truncated", "nearest": "uint8-nearest"}  # what a protocol says
SLACK = 2.0**-10  # grey levels; float32 may leave a whole level this much too low


def to_unit(images: Tensor) -> Tensor:
    """uint8 -> float32 in [-1, 1]: x / 127.5 - 1. Raises RescoreError for another dtype."""
    _check_uint8(images, "to_unit")
    return images.float() / 127.5 - 1


def to_uint8(x: Tensor, rounding: Rounding = "truncate") -> Tensor:
    """[-1, 1] -> uint8, clipped; `to_uint8(to_unit(images))` returns the images.

    Args:
        x: any shape, floating.
        rounding: `truncate`, as the papers quantise samples for FID (Song et al. 2021: clip, times 255, cast), or `nearest`.

    Raises:
        RescoreError: a dtype or range that is not that of [-1, 1], or a value that is not finite.
    """
    if rounding not in QUANTISED:
        raise RescoreError(f"to_uint8: rounding {rounding!r}; allowed: {', '.join(QUANTISED)}")
    if not x.is_floating_point():
        raise RescoreError(f"to_uint8: {x.dtype}; allowed: floats in [-1, 1]")
    if not torch.isfinite(x).all():
        raise RescoreError("to_uint8: a pixel is not finite")
    if x.numel() and x.min() >= 0 and x.max() > 2:
        raise RescoreError(f"to_uint8: values in [{x.min():g}, {x.max():g}]; allowed: [-1, 1] (what is outside is clipped)")
    levels = (x.float().clamp(-1, 1) + 1) * 127.5
    return (levels + (0.5 if rounding == "nearest" else SLACK)).clamp(max=255).to(torch.uint8)


def dequantise(images: Tensor, generator: torch.Generator) -> Tensor:
    """Uniform dequantisation: 2 (x + u) / 256 - 1 with u ~ U[0, 1), float32 in [-1, 1) (Theis et al. 2016).

    A bin is 2/256 wide, so that bits per dimension are those of the density on [-1, 1) plus 7. `u` has 16 bits, the most that
    leave x + u exact in float32: no draw reaches the next grey level.

    Raises RescoreError for a dtype other than uint8.
    """
    _check_uint8(images, "dequantise")
    u = torch.randint(2**16, images.shape, generator=generator, device=generator.device, dtype=torch.int32)
    return (images.float() + u.to(images.device) / 2**16) / 128 - 1


def random_flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """Each image of (n, C, H, W) mirrored left to right with probability 1/2."""
    flipped = torch.rand(len(images), generator=generator, device=generator.device) < 0.5
    return torch.where(flipped.to(images.device)[:, None, None, None], images.flip(-1), images)


def _check_uint8(images: Tensor, function: str) -> None:
    if images.dtype != torch.uint8:
        raise RescoreError(f"{function}: {images.dtype}; allowed: uint8")
