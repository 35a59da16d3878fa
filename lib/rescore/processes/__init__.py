"""Forward diffusion processes as linear SDEs du = F_t u dt + G_t dw, their closed forms in float64, and time grids."""

from rescore.processes import grids
from rescore.processes.base import LinearSDE, gaussian_log_prob
from rescore.processes.blurring import Blurring
from rescore.processes.cld import CLD, Langevin
from rescore.processes.isotropic import VE, VP, CosineVP, DiscreteVE, DiscreteVP, Isotropic, SubVP

__all__ = [
    "CLD",
    "VE",
    "VP",
    "Blurring",
    "CosineVP",
    "DiscreteVE",
    "DiscreteVP",
    "Isotropic",
    "Langevin",
    "LinearSDE",
    "SubVP",
    "gaussian_log_prob",
    "grids",
]
