"""Networks of drift and score. A field is called as field(x, t): t has one time for each of the first dimensions of x.

So one call evaluates a batch at one time (x (n, *data), t ()) or a whole trajectory (x (N, n, *data), t (N,)).

References:
    thesis, chapter 3: DiffFlow, arXiv:2110.07579.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from rescore.cost.evaluations import note


class FourierMLP(nn.Module):
    """The network of the authors' code for points: the time enters once, through learnable phases.

    h = W_x x + MLP([sin(w t + phase), cos(w t + phase)]), w from 0.1 to 100; then `layers` hidden layers with GELU.

    Args:
        dim: d of the points.
        width: features of the hidden layers.
        layers: linear layers from width to width after the sum. With the released code's 3, five linear layers act on x, with
            four layers of hidden units between them; the thesis says "less than 5 layers".
    """

    frequency: Tensor

    def __init__(self, dim: int, width: int, layers: int = 3):
        super().__init__()
        self.register_buffer("frequency", torch.linspace(0.1, 100.0, width))
        self.phase = nn.Parameter(torch.randn(width))
        self.time = nn.Sequential(nn.Linear(2 * width, width), nn.GELU(), nn.Linear(width, width))
        self.first = nn.Linear(dim, width)
        self.hidden = nn.ModuleList(nn.Linear(width, width) for _ in range(layers))
        self.last = nn.Linear(width, dim)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """(*times, n, d) from x (*times, n, d) and t (*times)."""
        note(x.shape[:-1].numel())
        angle = t.to(x)[..., None] * self.frequency + self.phase
        h = self.first(x) + self.time(torch.cat((angle.sin(), angle.cos()), -1)).unsqueeze(-2)
        for layer in self.hidden:
            h = layer(functional.gelu(h))
        return self.last(functional.gelu(h))


class ImageField(nn.Module):
    """A network of (images, levels) as a field: `gain` times its output. Each image gets the time of its place, times `scale`.

    A drift that carries a pixel over 1 in time T is of size 1 / T, for which the last layer would have to grow.
    """

    def __init__(self, network: nn.Module, scale: float, gain: float = 1.0):
        super().__init__()
        self.network, self.scale, self.gain = network, scale, gain

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """(*times, n, C, H, W) from x of that shape and t (*times)."""
        note(x.shape[:-3].numel())
        levels = (self.scale * t.to(x))[..., None].expand(x.shape[: t.ndim + 1])
        return self.gain * self.network(x.flatten(0, t.ndim), levels.flatten()).reshape(x.shape)
