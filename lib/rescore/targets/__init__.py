"""Densities up to their normaliser: those with known truth, posteriors of a decoder, molecules."""

from rescore.targets.base import AutogradTarget, Target
from rescore.targets.brownian import BrownianMotion
from rescore.targets.funnel import Funnel
from rescore.targets.laplace import FromGaussian, from_laplace
from rescore.targets.latent import LatentPosterior
from rescore.targets.lgcp import LogGaussianCox
from rescore.targets.many_well import ManyWell
from rescore.targets.mixture import GaussianMixture, forty_modes, gaussian, nine_modes, three_modes
from rescore.targets.rescaled import Rescaled
from rescore.targets.rings import Rings
from rescore.targets.student import StudentMixture

__all__ = [
    "AutogradTarget",
    "BrownianMotion",
    "FromGaussian",
    "Funnel",
    "GaussianMixture",
    "LatentPosterior",
    "LogGaussianCox",
    "ManyWell",
    "Rescaled",
    "Rings",
    "StudentMixture",
    "Target",
    "forty_modes",
    "from_laplace",
    "gaussian",
    "nine_modes",
    "three_modes",
]
