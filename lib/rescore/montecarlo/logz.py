"""Estimates of log Z from log weights, and the statistics of repeated estimates that the papers print."""

import math

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from rescore.errors import RescoreError

N_BOOTSTRAP = 1000


def log_mean_exp(log_w: Tensor, dim: int = -1) -> Tensor:
    """The importance-weighted estimate log (1/n) sum_i w_i over `dim`, in float64 (thesis eq. 5.20).

    The exponential is unbiased for Z; the logarithm is biased down by about Var(w) / (2 n Z^2).
    """
    return torch.logsumexp(log_w.double(), dim) - math.log(log_w.shape[dim])


def elbo(log_w: Tensor, dim: int = -1) -> Tensor:
    """The unweighted estimate (1/n) sum_i log w_i over `dim`, in float64 (thesis eq. 5.19): at most log Z in the mean."""
    return log_w.double().mean(dim)


def ess(log_w: Tensor, dim: int = -1) -> Tensor:
    """Effective sample size as a fraction, 1 / (n sum wbar_i^2) with normalised weights wbar: in [1/n, 1], float64."""
    return 1 / (log_w.shape[dim] * torch.softmax(log_w.double(), dim).square().sum(dim))


def bias_std_rmse(estimates: ArrayLike, truth: float) -> dict[str, tuple[float, float]]:
    """B, S and A of the paper's tables, each with a standard error.

    Of one training, whose runs are evaluation repeats: B is the mean of (estimate - truth) over its runs, S their standard
    deviation (ddof 1), A = sqrt(B^2 + S^2). Each number is the mean over trainings of that of one training, and its error that
    mean's. So A counts how far every training is off, also where their biases cancel.

    With one row, where nothing was trained, the error is a bootstrap's over the runs (1,000 resamples, fixed seed).

    Args:
        estimates: log Z estimates, (trainings, runs), at least two runs.
        truth: log Z.

    Returns:
        {"logz_bias": (B, stderr), "logz_std": (S, stderr), "logz_rmse": (A, stderr)}.
    """
    errors = np.asarray(estimates, dtype=np.float64) - truth
    if errors.ndim != 2 or errors.shape[0] < 1 or errors.shape[1] < 2:
        raise RescoreError(f"log Z estimates of shape {errors.shape}: (trainings, runs) with at least 2 runs are needed")
    trainings, runs = errors.shape
    if trainings > 1:
        repeats, shrink = _of_one_training(errors), 1 / math.sqrt(trainings)
    else:
        index = np.random.default_rng(0).integers(runs, size=(N_BOOTSTRAP, runs))
        repeats, shrink = _of_one_training(errors[0, index]), 1.0
    values = {metric: float(one.mean()) for metric, one in _of_one_training(errors).items()}
    return {metric: (values[metric], float(repeats[metric].std(ddof=1) * shrink)) for metric in values}


def _of_one_training(errors: np.ndarray) -> dict[str, np.ndarray]:
    """(trainings, runs) -> each (trainings,)."""
    bias, std = errors.mean(1), errors.std(1, ddof=1)
    return {"logz_bias": bias, "logz_std": std, "logz_rmse": np.hypot(bias, std)}
