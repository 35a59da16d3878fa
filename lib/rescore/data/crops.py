"""Parts of images and of series: at random, or all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    import numpy as np


def random_squares(x: Tensor, side: int, generator: torch.Generator, each: int = 1) -> Tensor:
    """`each` random square crops of every image (n, C, H, W), (n each, C, side, side); those of one image follow each other."""
    x = x.repeat_interleave(each, 0)
    rows = torch.randint(x.shape[2] - side + 1, (len(x),), generator=generator)
    columns = torch.randint(x.shape[3] - side + 1, (len(x),), generator=generator)
    return torch.stack([image[:, a : a + side, b : b + side] for image, a, b in zip(x, rows, columns, strict=True)])


def random_stretches(x: Tensor, length: int, generator: torch.Generator) -> Tensor:
    """A random stretch of every series (n, ..., L): `length` of its samples, or all."""
    length = min(length, x.shape[-1])
    starts = torch.randint(x.shape[-1] - length + 1, (len(x),), generator=generator)
    return torch.stack([each[..., a : a + length] for each, a in zip(x, starts.tolist(), strict=True)])


def all_stretches(series: np.ndarray, length: int) -> Tensor:
    """All stretches of series (n, C, L), (n, L - length + 1, C, 1, length) float32: images of height 1."""
    import numpy as np

    views = np.lib.stride_tricks.sliding_window_view(series, length, axis=2)
    return torch.from_numpy(np.ascontiguousarray(views.transpose(0, 2, 1, 3)[:, :, :, None])).float()


class Ragged:
    """Series (T_k, F) of unequal lengths, one after another in one tensor on `device`."""

    def __init__(self, series: Sequence[Tensor], device: torch.device | str = "cpu"):
        self.values = torch.cat(list(series)).to(device)
        self.lengths = torch.tensor([len(one) for one in series], device=device)
        self.starts = self.lengths.cumsum(0) - self.lengths

    def stretches(self, rows: Tensor, u: Tensor, length: int = 1) -> Tensor:
        """A stretch of each of the series `rows` (n,), (n, length, F), where numbers u (n,) in [0, 1) say."""
        begin = self.starts[rows] + (u * (self.lengths[rows] - length + 1)).long()
        return self.values[begin[:, None] + torch.arange(length, device=begin.device)]
