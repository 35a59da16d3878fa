"""DiffFlow: neural SDEs whose forward process is learned (Zhang and Chen 2021; thesis chapter 3).

References:
    thesis, chapter 3: DiffFlow, arXiv:2110.07579.
"""

from rescore.neural_sde.adjoint import adjoint_loss
from rescore.neural_sde.grids import Progressive, check_grid, hat_l_beta, l_beta
from rescore.neural_sde.likelihood import elbo, ode_log_prob
from rescore.neural_sde.loss import PathLoss, draw_noise, on_new_paths, path_loss
from rescore.neural_sde.model import NeuralSDE, backward_noise, prior_log_prob
from rescore.neural_sde.network import FourierMLP, ImageField
from rescore.neural_sde.train import DiffFlow, DiffFlowTraining, TrainedDiffFlow, train_diffflow

__all__ = [
    "DiffFlow",
    "DiffFlowTraining",
    "FourierMLP",
    "ImageField",
    "NeuralSDE",
    "PathLoss",
    "Progressive",
    "TrainedDiffFlow",
    "adjoint_loss",
    "backward_noise",
    "check_grid",
    "draw_noise",
    "elbo",
    "hat_l_beta",
    "l_beta",
    "ode_log_prob",
    "on_new_paths",
    "path_loss",
    "prior_log_prob",
    "train_diffflow",
]
