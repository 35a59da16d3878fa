"""Embeddings of a noise level: one number per image becomes a vector.

References:
    Score-SDE: arXiv:2011.13456.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from rescore.machine.precision import float32
from rescore.networks.layers import linear

Embedding = Literal["positional", "fourier"]
EMBEDDINGS = ("positional", "fourier")
LABELS = 1000  # noise levels of the discrete networks: DDPM's steps, NCSN++'s sigmas


class Positional(nn.Module):
    """c -> [sin(w_k c), cos(w_k c)], w_k = 10000^(-k / (n/2 - 1)), k = 0 .. n/2 - 1; (batch,) -> (batch, n), n even and >= 4.

    Made for c in [0, 999] (Ho et al., 2020).
    """

    def __init__(self, n: int):
        super().__init__()
        self.dim = n

    def forward(self, c: Tensor) -> Tensor:
        k = torch.arange(self.dim // 2, dtype=c.dtype, device=c.device)
        angle = c[:, None] * torch.exp(k * (-math.log(10000) / (self.dim // 2 - 1)))
        return torch.cat((angle.sin(), angle.cos()), 1)


class Fourier(nn.Module):
    """c -> [sin(2 pi w_k log c), cos(2 pi w_k log c)], w_k ~ N(0, scale^2) drawn once; (batch,) -> (batch, 2n), for c > 0.

    Score-SDE, section 4.3 and appendix C; c is sigma there and t in the CLD paper.
    """

    frequency: Tensor

    def __init__(self, n: int, scale: float):
        super().__init__()
        self.dim = 2 * n
        self.register_buffer("frequency", torch.empty(n).normal_(0, scale))

    def forward(self, c: Tensor) -> Tensor:
        angle = 2 * math.pi * c.log()[:, None] * self.frequency
        return torch.cat((angle.sin(), angle.cos()), 1)


class LevelMLP(nn.Sequential):
    """Embedding, then two linear layers of `out` features, swish after each; (batch,) -> (batch, out).

    The second swish is the one that the residual blocks of the papers each apply to the same vector. In float32 under autocast
    too: 999 t has three digits before the point, as many as bf16 has in all.
    """

    def __init__(self, embedding: Embedding, n: int, scale: float, out: int):
        embed = Positional(n) if embedding == "positional" else Fourier(n, scale)
        super().__init__(embed, linear(embed.dim, out), nn.SiLU(), linear(out, out), nn.SiLU())

    def forward(self, c: Tensor) -> Tensor:
        with float32(c):
            return super().forward(c)
