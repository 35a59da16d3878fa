"""Densities with known truth."""

from rescore.targets.base import Target
from rescore.targets.funnel import Funnel
from rescore.targets.lgcp import LogGaussianCox
from rescore.targets.mixture import GaussianMixture, gaussian, nine_modes
from rescore.targets.rings import Rings

__all__ = ["Funnel", "GaussianMixture", "LogGaussianCox", "Rings", "Target", "gaussian", "nine_modes"]
