"""Log-likelihoods of a diffusion model: exact by the probability flow, adaptively or by DEIS's steps; the reverse SDE's bound.

All are densities of the data as the network sees them. Images k = 0 .. 255 become continuous by uniform noise u in [0, 1):
with n levels to a unit of x, the bin of k has volume n^-d, and -log2 p(x) / d + log2 n bounds the bits per dimension of k
(Score-SDE, appendix D; Theis et al. 2016). log2 n is

| scaling | n | offset |
| --- | --- | --- |
| x = (k + u) / 128 - 1, on [-1, 1): Score-SDE's and CLD's | 128 | 7 |
| x = (k + u) / 127.5 - 1: k / 127.5 - 1 of training with the noise of one level | 127.5 | 6.994353 |
| x = (k + u) / 256, on [0, 1) | 256 | 8 |

References:
    Score-SDE: arXiv:2011.13456.
    CLD: arXiv:2112.07068.
"""

from rescore.likelihood.bound import elbo
from rescore.likelihood.flow import (
    Divergence,
    FlowLikelihood,
    bits_per_dim,
    exact_divergence,
    flow_log_prob,
    hutchinson_divergence,
    probe,
)
from rescore.likelihood.rho import rho_log_prob

__all__ = [
    "Divergence",
    "FlowLikelihood",
    "bits_per_dim",
    "elbo",
    "exact_divergence",
    "flow_log_prob",
    "hutchinson_divergence",
    "probe",
    "rho_log_prob",
]
