"""Variational autoencoders of binary images (Kingma and Welling 2014): latents z ~ N(0, I), pixels Bernoulli(sigmoid(f(z)))."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from rescore.config import check_choice
from rescore.cost.evaluations import note

DECODERS = ("mlp", "conv")


def mlp_decoder(latent: int, pixels: int, hidden: int) -> nn.Sequential:
    """z (..., latent) -> logits (..., pixels): one hidden layer of tanh, as in Kingma and Welling's appendix C.1."""
    return nn.Sequential(nn.Linear(latent, hidden), nn.Tanh(), nn.Linear(hidden, pixels))


class ConvDecoder(nn.Sequential):
    """z (..., latent) -> logits (..., 784) of 28x28 images: transposed convolutions, as in the code of Arbel et al. (2021).

    A linear layer to 32 maps of 7x7, then 3x3 kernels: 64 maps of 14x14, 32 of 28x28, and one map of logits.
    """

    def __init__(self, latent: int):
        twice: dict[str, Any] = {"stride": 2, "padding": 1, "output_padding": 1}
        super().__init__(
            nn.Linear(latent, 32 * 7 * 7),
            nn.Unflatten(-1, (32, 7, 7)),
            nn.ConvTranspose2d(32, 64, 3, **twice),
            nn.ReLU(),
            nn.ConvTranspose2d(64, 32, 3, **twice),
            nn.ReLU(),
            nn.ConvTranspose2d(32, 1, 3, padding=1),
            nn.Flatten(),
        )

    def forward(self, z: Tensor) -> Tensor:
        return super().forward(z.reshape(-1, z.shape[-1])).reshape(*z.shape[:-1], -1)


def make_decoder(name: str, latent: int, pixels: int, hidden: int) -> nn.Module:
    """A decoder by its name, `mlp` or `conv`, which has its own widths. Raises RescoreError for another name."""
    check_choice("decoder", name, DECODERS)
    return mlp_decoder(latent, pixels, hidden) if name == "mlp" else ConvDecoder(latent)


def bernoulli_log_likelihood(logits: Tensor, x: Tensor) -> Tensor:
    """log p(x | z) of binary pixels x (..., pixels) given their logits, (...), summed in float64."""
    return -binary_cross_entropy_with_logits(logits, x.to(logits).expand_as(logits), reduction="none").sum(
        -1, dtype=torch.float64
    )


class VAE(nn.Module):
    """q(z | x) = N(m(x), diag s(x)^2), both of one hidden layer of tanh, beside a decoder.

    Args:
        decoder: z (..., latent) -> logits (..., pixels).
    """

    def __init__(self, decoder: nn.Module, latent: int, pixels: int, hidden: int):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(pixels, hidden), nn.Tanh(), nn.Linear(hidden, 2 * latent))
        self.decoder = decoder

    def negative_elbo(self, x: Tensor, noise: Tensor) -> Tensor:
        """-E_q[log p(x | z)] + KL(q(z | x) | N(0, I)) in nats, the mean over images: at least -log p(x) in the mean.

        Args:
            x: (n, pixels) in {0, 1}.
            noise: standard normals, (n, latent), one z an image.
        """
        note(len(x))
        mean, log_std = self.encoder(x).chunk(2, -1)
        reconstruction = bernoulli_log_likelihood(self.decoder(mean + log_std.exp() * noise), x)
        kl = 0.5 * (mean.square() + (2 * log_std).exp() - 1).sum(-1) - log_std.sum(-1)
        return (kl - reconstruction).mean()
