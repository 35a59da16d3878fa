"""Estimates of log Z from log weights, and the statistics of repeated estimates that the papers print."""

import math
from collections.abc import Callable

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

    B is the mean of (estimate - truth) over all runs, S the root mean over seeds of the variance over the runs of one
    seed (ddof 1), A = sqrt(B^2 + S^2). A run is read as an evaluation repeat of one trained policy.

    Standard errors: the spread over seeds of the statistic of one seed, / sqrt(seeds); with one seed, where nothing was
    trained, a bootstrap over the runs (1,000 resamples, fixed seed).

    Args:
        estimates: log Z estimates, (seeds, runs), at least two runs.
        truth: log Z.

    Returns:
        {"logz_bias": (B, stderr), "logz_std": (S, stderr), "logz_rmse": (A, stderr)}.
    """
    errors = np.asarray(estimates, dtype=np.float64) - truth
    if errors.ndim != 2 or errors.shape[0] < 1 or errors.shape[1] < 2:
        raise RescoreError(f"log Z estimates of shape {errors.shape}: (seeds, runs) with at least 2 runs are needed")
    n_seeds, n_runs = errors.shape
    if n_seeds > 1:
        replicates, shrink = errors[:, None], 1 / math.sqrt(n_seeds)
    else:
        index = np.random.default_rng(0).integers(n_runs, size=(N_BOOTSTRAP, n_runs))
        replicates, shrink = errors[0, index][:, None], 1.0

    def with_stderr(statistic: Callable[[np.ndarray], np.ndarray]) -> tuple[float, float]:
        return float(statistic(errors)), float(statistic(replicates).std(ddof=1) * shrink)

    return {"logz_bias": with_stderr(_bias), "logz_std": with_stderr(_std), "logz_rmse": with_stderr(_rmse)}


def _bias(errors: np.ndarray) -> np.ndarray:
    """(..., seeds, runs) -> (...)."""
    return errors.mean((-2, -1))


def _std(errors: np.ndarray) -> np.ndarray:
    return np.sqrt(errors.var(-1, ddof=1).mean(-1))


def _rmse(errors: np.ndarray) -> np.ndarray:
    return np.hypot(_bias(errors), _std(errors))
