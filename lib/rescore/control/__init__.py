"""The Path Integral Sampler: a controlled SDE whose end law is a target density."""

from rescore.control.exact import MixtureControl
from rescore.control.policies import PISNN, PISGrad
from rescore.control.sde import ControlledSDE, Paths

__all__ = ["PISNN", "ControlledSDE", "MixtureControl", "PISGrad", "Paths"]
