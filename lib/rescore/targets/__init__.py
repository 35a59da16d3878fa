"""Densities with known truth."""

from rescore.targets.base import Target
from rescore.targets.funnel import Funnel
from rescore.targets.lgcp import LogGaussianCox
from rescore.targets.many_well import ManyWell
from rescore.targets.mixture import GaussianMixture, forty_modes, gaussian, nine_modes, three_modes
from rescore.targets.rescaled import Rescaled
from rescore.targets.rings import Rings
from rescore.targets.student import StudentMixture

__all__ = ["Funnel", "GaussianMixture", "LogGaussianCox", "ManyWell", "Rescaled", "Rings", "StudentMixture", "Target", "forty_modes",
           "gaussian", "nine_modes", "three_modes"]  # fmt: skip
