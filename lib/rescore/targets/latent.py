"""Posteriors of a latent variable model: log Z is the log likelihood of an observation (thesis eq. 5.22).

References:
    thesis, chapter 5: PIS, arXiv:2111.15141.
"""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from rescore.targets.base import AutogradTarget, standard_normal_log_prob

LogLikelihood = Callable[[Tensor, Tensor], Tensor]
"""log p(x | z), (...), of what the decoder makes of z, (..., D), and the observation x, (D,)."""


class LatentPosterior(AutogradTarget):
    """muhat(z) = N(z; 0, I) p(x | z), whose Z = p(x).

    Args:
        decoder: z (..., dim) -> (..., D); copied for each dtype that z comes in.
        observation: x, (D,).
        log_z: log p(x) where it is known.
        name: spelling in the ledger.
    """

    def __init__(
        self,
        decoder: nn.Module,
        dim: int,
        observation: Tensor,
        log_likelihood: LogLikelihood,
        log_z: float | None = None,
        name: str = "latent",
    ):
        self.dim, self.observation, self.log_likelihood, self.log_z, self.name = dim, observation, log_likelihood, log_z, name
        self._decoder = decoder
        self._decoders: dict[tuple[torch.dtype, torch.device], nn.Module] = {}

    def _decoder_like(self, z: Tensor) -> nn.Module:
        key = (z.dtype, z.device)
        if key not in self._decoders:
            with torch.inference_mode(False):  # parameters made in inference mode could not be used outside of it
                self._decoders[key] = copy.deepcopy(self._decoder).to(device=z.device, dtype=z.dtype).requires_grad_(False)
        return self._decoders[key]

    def log_prob(self, x: Tensor) -> Tensor:
        decoded = self._decoder_like(x)(x)
        return (standard_normal_log_prob(x) + self.log_likelihood(decoded, self.observation.to(decoded))).to(x.dtype)
