"""What the tests of processes, scores and samplers share: small processes and dense views of their operators."""

import torch
from rescore.processes import CLD, VE, VP, Blurring, CosineVP, DiscreteVP, SubVP
from rescore.processes.operators import Diagonal

BETAS = torch.linspace(0.1 / 40, 20 / 40, 40, dtype=torch.float64)
PROCESSES = {
    "ve": VE(),
    "vp": VP(),
    "cosine": CosineVP(),
    "subvp": SubVP(),
    "cld": CLD(),
    "cld-beta": CLD(M=0.5, beta_min=2.0, beta_max=7.0, gamma=0.1, eps0=1e-3),
    "blurring": Blurring((2, 3), sigma_max=2.0),
}
WITH_DISCRETE = PROCESSES | {"discrete": DiscreteVP(BETAS)}
ISOTROPIC = {name: WITH_DISCRETE[name] for name in ("ve", "vp", "cosine", "subvp", "discrete")}
DATA = {"blurring": (2, 2, 3)}


def data_shape(name):
    return DATA.get(name, (3,))


def dense(operator):
    """(*times, n, n) matrices of an operator on one pair, one number or one frequency plane."""
    if isinstance(operator, Diagonal):
        times = operator.values.ndim - operator.event_ndim
        values = operator.values.flatten(times) if operator.event_ndim else operator.values[..., None]
        return torch.diag_embed(values)
    return operator.values


def matrix(operator, n):
    """One time's operator as an (n, n) numpy matrix."""
    values = dense(operator)
    return (values * torch.eye(n, dtype=torch.float64) if values.shape[-1] == 1 else values).numpy()


def size(name):
    return 6 if name == "blurring" else 2 if name.startswith("cld") else 1


def relative(a, b):
    """The largest error relative to the largest entry of b."""
    a, b = torch.as_tensor(a), torch.as_tensor(b)
    return ((a - b).abs().max() / b.abs().max()).item()


def gaussian_score_operator(process, t, variance):
    """The matrix of the score of p_t for data N(0, variance)."""
    mean = process.mean(t)
    data = process.data_covariance(torch.tensor(variance, dtype=torch.float64))
    return -(mean @ data @ mean.T + process.Sigma(t)).inv()


def generator(seed=0):
    return torch.Generator().manual_seed(seed)
