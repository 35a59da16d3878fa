"""Controlled SDEs whose end law is a target density: the Path Integral Sampler, DDS and DIS."""

from rescore.control.denoising import DDS, DIS
from rescore.control.exact import MixtureControl
from rescore.control.policies import PISNN, PISGrad
from rescore.control.sde import Controlled, ControlledSDE, PathCost, Paths

__all__ = ["DDS", "DIS", "PISNN", "Controlled", "ControlledSDE", "MixtureControl", "PISGrad", "PathCost", "Paths"]
