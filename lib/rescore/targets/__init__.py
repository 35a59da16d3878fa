"""Densities up to their normaliser: those with known truth, posteriors of a decoder, molecules."""

from rescore.targets.base import AutogradTarget, Target
from rescore.targets.funnel import Funnel
from rescore.targets.laplace import FromGaussian, from_laplace
from rescore.targets.latent import LatentPosterior
from rescore.targets.lgcp import LogGaussianCox
from rescore.targets.mixture import GaussianMixture, gaussian, nine_modes
from rescore.targets.rings import Rings

__all__ = [
    "AutogradTarget",
    "FromGaussian",
    "Funnel",
    "GaussianMixture",
    "LatentPosterior",
    "LogGaussianCox",
    "Rings",
    "Target",
    "from_laplace",
    "gaussian",
    "nine_modes",
]
