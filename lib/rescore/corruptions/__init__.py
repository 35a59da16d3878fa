"""Linear corruptions with noise, x_t = C_t x_0 + sigma_t eta (Daras et al. 2022, Soft Diffusion, eq. 4).

A family holds the operators C, one for each level; a schedule says which level and which sigma belong to a time t in [0, 1];
a `Corruption` is both together. Networks for it are trained by `rescore.objectives.soft` and sampled by
`rescore.samplers.momentum`.

| family | level | operator |
| --- | --- | --- |
| `Blur` | std in pixels | Gaussian kernel of fixed support, zero padding: K X K |
| `DCTBlur` | std in pixels | heat dissipation with reflecting borders, as in blurring diffusion |
| `Masking` | pixels removed | multiplication by 0 or 1 |
| `Identity` | none | noise alone |

References:
    Soft Diffusion: arXiv:2209.05442.
"""

from rescore.corruptions.families import Blur, DCTBlur, Family, Identity, Masking, Separable, pseudo_inverse
from rescore.corruptions.process import Corruption, GaussianStart
from rescore.corruptions.schedules import Constant, GeometricNoise, Interpolated, mse_matched
from rescore.corruptions.shortest_path import (
    NodePath,
    find_path,
    kept_schedule,
    pairwise_wasserstein,
    shortest_path,
    wasserstein_schedule,
)

__all__ = [
    "Blur",
    "Constant",
    "Corruption",
    "DCTBlur",
    "Family",
    "GaussianStart",
    "GeometricNoise",
    "Identity",
    "Interpolated",
    "Masking",
    "NodePath",
    "Separable",
    "find_path",
    "kept_schedule",
    "mse_matched",
    "pairwise_wasserstein",
    "pseudo_inverse",
    "shortest_path",
    "wasserstein_schedule",
]
