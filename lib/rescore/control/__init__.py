"""The Path Integral Sampler: a controlled SDE whose end law is a target density."""

from rescore.control.exact import MixtureControl
from rescore.control.policies import PISGrad, PISNN
from rescore.control.sde import ControlledSDE, Paths

__all__ = ["ControlledSDE", "MixtureControl", "PISGrad", "PISNN", "Paths"]
