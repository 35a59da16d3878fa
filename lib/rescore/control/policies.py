"""The two learned policies of the paper: PIS-NN and PIS-Grad (thesis eq. 5.16 and section 5.4.1).

References:
    thesis, chapter 5: PIS, arXiv:2111.15141.
"""

import torch
from torch import Tensor, nn

from rescore.control.sde import StepControl
from rescore.targets.base import Target

CHANNELS = 64
CLIP = 1e4
LAYERS = 2  # hidden ones of each network


class FourierFeatures(nn.Module):
    """t -> [sin(c t + p), cos(c t + p)], c = linspace(0.1, 100, C) fixed, phase p ~ N(0, 1) learned; (N,) -> (N, 2C)."""

    frequency: Tensor

    def __init__(self, channels: int, generator: torch.Generator):
        super().__init__()
        self.register_buffer("frequency", torch.linspace(0.1, 100, channels))
        self.phase = nn.Parameter(torch.randn(channels, generator=generator))

    def forward(self, t: Tensor) -> Tensor:
        angle = t[:, None] * self.frequency.to(t) + self.phase
        return torch.cat((angle.sin(), angle.cos()), -1)


def linear(n_in: int, n_out: int, generator: torch.Generator) -> nn.Linear:
    """nn.Linear with torch's default initialisation law, drawn from `generator`."""
    layer = nn.Linear(n_in, n_out)
    with torch.no_grad():
        for parameter in (layer.weight, layer.bias):
            parameter.uniform_(-(n_in**-0.5), n_in**-0.5, generator=generator)
    return layer


def zeroed(layer: nn.Linear, bias: float = 0.0) -> nn.Linear:
    """The layer with zero weights and this bias, in place: it starts as a constant."""
    nn.init.zeros_(layer.weight)
    nn.init.constant_(layer.bias, bias)
    return layer


class StateNetwork(nn.Module):
    """NN1(t, x): Fourier features of time and a linear map of the state, added, then an MLP whose last layer starts at zero."""

    def __init__(self, dim: int, generator: torch.Generator, channels: int = CHANNELS):
        super().__init__()
        self.time = nn.Sequential(
            FourierFeatures(channels, generator),
            linear(2 * channels, channels, generator),
            nn.GELU(),
            linear(channels, channels, generator),
        )
        self.state = linear(dim, channels, generator)
        hidden = [module for _ in range(LAYERS) for module in (linear(channels, channels, generator), nn.GELU())]
        self.body = nn.Sequential(nn.GELU(), *hidden, zeroed(linear(channels, dim, generator)))

    def on_grid(self, times: Tensor) -> StepControl:
        features = self.time(times)
        return lambda k, x: self.body(self.state(x) + features[k])


class TimeNetwork(nn.Module):
    """NN2(t): one scalar per time; starts at 0.01, so that the first policy is 0.01 times the score."""

    def __init__(self, generator: torch.Generator, channels: int = CHANNELS):
        super().__init__()
        hidden = [module for _ in range(LAYERS) for module in (nn.GELU(), linear(channels, channels, generator))]
        self.body = nn.Sequential(
            FourierFeatures(channels, generator),
            linear(2 * channels, channels, generator),
            *hidden,
            nn.GELU(),
            zeroed(linear(channels, 1, generator), bias=0.01),
        )

    def forward(self, t: Tensor) -> Tensor:
        return self.body(t).squeeze(-1)


class PISNN(nn.Module):
    """u = NN1(t, x): knows nothing of the target but its dimension."""

    def __init__(self, target: Target, generator: torch.Generator, channels: int = CHANNELS):
        super().__init__()
        self.state_network = StateNetwork(target.dim, generator, channels)

    def on_grid(self, times: Tensor) -> StepControl:
        return self.state_network.on_grid(times)


class PISGrad(nn.Module):
    """u = clip(NN1(t, x)) + NN2(t) clip(grad log muhat(x)); the score is held constant in back-propagation."""

    def __init__(self, target: Target, generator: torch.Generator, channels: int = CHANNELS, clip: float = CLIP):
        super().__init__()
        self.state_network = StateNetwork(target.dim, generator, channels)
        self.time_network = TimeNetwork(generator, channels)
        self.target, self.clip = target, clip

    def on_grid(self, times: Tensor) -> StepControl:
        network, gain = self.state_network.on_grid(times), self.time_network(times)

        def control(k: int, x: Tensor) -> Tensor:
            score = self.target.score(x.detach()).clamp(-self.clip, self.clip)
            return torch.addcmul(network(k, x).clamp(-self.clip, self.clip), gain[k], score)

        return control
