"""Noise in sequences under a condition, and a transformer for sequences of any length.

A sequence is an image (C, 1, w) of height 1; a condition (K,) follows it as K more channels, each the same all along. Zeros
are no condition: a network that sees them in a part of its training knows the unconditional score as well.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from rescore.cost.evaluations import note
from rescore.networks.embeddings import LevelMLP, Positional
from rescore.networks.layers import linear
from rescore.processes import Isotropic

LEVELS = 999  # of t = 1, as what `Positional` was made for


def conditioned(u: Tensor, y: Tensor) -> Tensor:
    """u (n, C, 1, w) with the condition y (n, K) as K more channels, (n, C + K, 1, w)."""
    return torch.cat((u, y[:, :, None, None].expand(-1, -1, *u.shape[2:])), 1)


def withheld(y: Tensor, rate: float, generator: torch.Generator) -> Tensor:
    """Conditions (n, K), each replaced by zeros with probability `rate`."""
    return y * (torch.rand(len(y), 1, generator=generator, device=y.device) >= rate)


class ConditionalNoise(nn.Module):
    """eps(u, t) of sequences under a condition, from a network of (what `conditioned` joins, 999 t).

    The network adds to the noise prediction of N(0, spread^2) data, R_t u / (m_t^2 spread^2 + R_t^2): so it need not carry
    all of u through its hidden layers.
    """

    def __init__(self, network: nn.Module, process: Isotropic, channels: int, conditions: int, spread: float = 1.0):
        super().__init__()
        self.network, self.process, self.spread = network, process, spread
        self.channels, self.conditions = channels, conditions

    def forward(self, joined: Tensor, t: Tensor) -> Tensor:
        m, r = (a.values.to(joined)[:, None, None, None] for a in (self.process.mean(t), self.process.R(t)))
        linear_part = joined[:, : self.channels] * (r / ((m * self.spread) ** 2 + r**2))
        return linear_part + self.network(joined, LEVELS * t)

    def score(self, gradients: bool = False) -> Callable[..., Tensor]:
        """(u, t, y = None) -> score; without `gradients` none pass it. It is noted as evaluations."""

        def evaluate(u: Tensor, t: float, y: Tensor | None = None) -> Tensor:
            note(len(u))
            y = u.new_zeros(len(u), self.conditions) if y is None else y
            with torch.set_grad_enabled(gradients):
                noise = self(conditioned(u, y), torch.full((len(u),), t, dtype=u.dtype, device=u.device))
            return noise * (-1 / self.process.R(t).values.item())

        return evaluate


class SequenceTransformer(nn.Module):
    """From sequences (n, inputs, 1, w) and noise levels (n,) to (n, outputs, 1, w): a transformer over the w places, any w.

    Zero before training.
    """

    def __init__(self, inputs: int, outputs: int, hidden: int, layers: int, heads: int):
        super().__init__()
        self.time = LevelMLP("positional", hidden, 1.0, hidden)
        self.first, self.place = linear(inputs, hidden), Positional(hidden)
        layer = nn.TransformerEncoderLayer(hidden, heads, 2 * hidden, 0.0, "gelu", batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.norm, self.last = nn.LayerNorm(hidden), linear(hidden, outputs, scale=0.0)

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        places = torch.arange(x.shape[-1], device=x.device, dtype=x.dtype)
        h = self.first(x.squeeze(2).mT) + self.place(places) + self.time(level)[:, None]
        return self.last(self.norm(self.layers(h))).mT.unsqueeze(2)
