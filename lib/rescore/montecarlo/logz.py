"""Estimates of log Z from log weights, and the statistics of repeated estimates that the papers print.

References:
    thesis, chapter 5: PIS, arXiv:2111.15141.
"""

import math
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from rescore.errors import RescoreError

Value = TypeVar("Value")

N_BOOTSTRAP = 1000
NORMAL_MAD = 1.482602218505602  # 1 / Phi^-1(3/4): the median absolute deviation of N(0, 1) times this is 1


def log_mean_exp(log_w: Tensor) -> Tensor:
    """The importance-weighted estimate log (1/n) sum_i w_i over the last dimension, in float64 (thesis eq. 5.20).

    The exponential is unbiased for Z; the logarithm is biased down by about Var(w) / (2 n Z^2).
    """
    return torch.logsumexp(log_w.double(), -1) - math.log(log_w.shape[-1])


def elbo(log_w: Tensor) -> Tensor:
    """The unweighted estimate (1/n) sum_i log w_i over the last dimension, in float64 (thesis eq. 5.19): at most log Z."""
    return log_w.double().mean(-1)


def ess(log_w: Tensor) -> Tensor:
    """Effective sample size as a fraction, 1 / (n sum wbar_i^2) with normalised weights wbar: in [1/n, 1], float64."""
    return 1 / (log_w.shape[-1] * torch.softmax(log_w.double(), -1).square().sum(-1))


def estimates(log_w: Tensor) -> dict[str, np.ndarray]:
    """What log weights (..., n) give, each (...): the bound `elbo`, the `importance` estimate of log Z, the weights' `ess`."""
    return {"elbo": elbo(log_w).numpy(), "importance": log_mean_exp(log_w).numpy(), "ess": ess(log_w).numpy()}


def bias_std_rmse(estimates: ArrayLike, truth: float, robust: bool = False) -> dict[str, tuple[float, float]]:
    """B, S and A of the paper's tables, each with a standard error.

    Over several trainings, each with its runs as evaluation repeats: B is the mean of (estimate - truth); S the root of the
    mean variance of one training's runs (ddof 1); A the mean of sqrt(b^2 + s^2) with b and s of one training, so that it counts
    how far each training is off, also where their biases cancel. Errors are those of means over trainings, that of S by its
    square.

    With one row, where nothing was trained, the error is a bootstrap's over the runs (1,000 resamples, fixed seed).

    Args:
        estimates: log Z estimates, (trainings, runs), at least two runs.
        truth: log Z.
        robust: medians in place of means: b the median error, s the normal-consistent median absolute deviation
            1.4826 median |error - b|. A few runs far out, which decide a mean's S, then weigh nothing.

    Returns:
        {"logz_bias": (B, stderr), "logz_std": (S, stderr), "logz_rmse": (A, stderr)}.
    """
    errors = np.asarray(estimates, dtype=np.float64) - truth
    if errors.ndim != 2 or errors.shape[0] < 1 or errors.shape[1] < 2:
        raise RescoreError(f"log Z estimates of shape {errors.shape}: (trainings, runs) with at least 2 runs are needed")
    trainings, runs = errors.shape
    if trainings == 1:
        index = np.random.default_rng(0).integers(runs, size=(N_BOOTSTRAP, runs))
        drawn = _of_each(errors[0, index], robust)
        return {metric: (float(one[0]), float(drawn[metric].std(ddof=1))) for metric, one in _of_each(errors, robust).items()}
    each = _of_trainings(errors, robust)
    return {metric: (float(x.mean()), float(x.std(ddof=1)) / math.sqrt(trainings)) for metric, x in each.items()}


def of_retrained_runs(estimates: ArrayLike, truth: float) -> dict[str, tuple[float, float]]:
    """B, S and A of `bias_std_rmse` where each run is a training of its own: S counts the spread between trainings too.

    S^2 is the unbiased estimate of one run's variance, that of the trainings' means and (1 - 1 / runs) of that within a
    training; A = sqrt(B^2 + S^2). Errors are a jackknife's over trainings.

    Args:
        estimates: as there, of at least three trainings.
    """
    errors = np.asarray(estimates, dtype=np.float64) - truth
    if errors.ndim != 2 or errors.shape[0] < 3 or errors.shape[1] < 2:
        raise RescoreError(f"log Z estimates of shape {errors.shape}: at least 3 trainings of at least 2 runs are needed")

    def statistics(of: np.ndarray) -> np.ndarray:
        bias, runs = of.mean(), of.shape[1]
        variance = of.mean(1).var(ddof=1) + (1 - 1 / runs) * of.var(1, ddof=1).mean()
        return np.array([bias, math.sqrt(variance), math.sqrt(bias**2 + variance)])

    return _jackknifed(statistics, errors, 0)


def averaged_over_targets(estimates: ArrayLike, truths: ArrayLike) -> dict[str, tuple[float, float]]:
    """B and S of each target, averaged over several, and A = sqrt(B^2 + S^2) of the averages, as in thesis Table 5.3.

    Errors are a jackknife's over targets, so they hold the errors of the truths and of what was trained for each target too.

    Args:
        estimates: of log Z, (targets, runs), at least three targets and two runs.
        truths: log Z of each target, (targets,).

    Returns:
        {"logz_bias": (B, stderr), "logz_std": (S, stderr), "logz_rmse": (A, stderr)}.
    """
    errors = np.asarray(estimates, dtype=np.float64)
    if errors.ndim != 2 or errors.shape[0] < 3 or errors.shape[1] < 2:
        raise RescoreError(f"log Z estimates of shape {errors.shape}: at least 3 targets of at least 2 runs are needed")
    each = np.stack([(of := _of_each(errors - np.asarray(truths)[:, None]))["logz_bias"], of["logz_std"]])

    def statistics(of: np.ndarray) -> np.ndarray:
        bias, std = of.mean(1)
        return np.array([bias, std, math.hypot(bias, std)])

    return _jackknifed(statistics, each, 1)


def _jackknifed(statistics: Callable[[np.ndarray], np.ndarray], of: np.ndarray, axis: int) -> dict[str, tuple[float, float]]:
    """B, S and A, which are `statistics(of)`, with a jackknife's errors: one part of the axis is left out at a time."""
    parts = of.shape[axis]
    without = np.stack([statistics(np.delete(of, k, axis)) for k in range(parts)])
    errors = np.sqrt((parts - 1) ** 2 / parts * without.var(0, ddof=1))
    names = ("logz_bias", "logz_std", "logz_rmse")
    return {name: (float(value), float(error)) for name, value, error in zip(names, statistics(of), errors, strict=True)}


def logz_statistics(
    log_z: np.ndarray, truth: float | None, weights: np.ndarray | None = None
) -> dict[str, tuple[float, float]]:
    """`bias_std_rmse` of estimates of log Z, (trainings, runs); where the truth is not known, the mean estimate and S.

    Args:
        weights: the effective sample sizes of the same runs; their mean is `ess`.
    """
    found = _named(bias_std_rmse(log_z, truth or 0.0), truth)
    if weights is not None:
        means = weights.mean(1) if len(weights) > 1 else weights[0]
        found["ess"] = (float(means.mean()), float(means.std(ddof=1) / math.sqrt(len(means))))
    return found


def trainings_statistics(log_z: np.ndarray, truth: float | None, weights: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """`logz_statistics` of several trainings: a number for each, whose mean and standard error it gives."""
    found = _named(_of_trainings(np.asarray(log_z, dtype=np.float64) - (truth or 0.0)), truth)
    return found if weights is None else found | {"ess": weights.mean(1)}


def _named(found: dict[str, Value], truth: float | None) -> dict[str, Value]:
    """B, S and A; where the truth is not known, the mean in the place of B, and S."""
    return {"logz": found["logz_bias"], "logz_std": found["logz_std"]} if truth is None else found


def _of_trainings(errors: np.ndarray, robust: bool = False) -> dict[str, np.ndarray]:
    """Of each training, a row, its part in B, S and A: they are the means. S, a root, goes with its square to first order."""
    each = _of_each(errors, robust)
    variances = each["logz_std"] ** 2
    std = math.sqrt(variances.mean())
    parts = std + (variances - variances.mean()) / (2 * std) if std else variances
    return each | {"logz_std": parts}


def _of_each(errors: np.ndarray, robust: bool = False) -> dict[str, np.ndarray]:
    """B, S and A of each row of (rows, runs)."""
    if robust:
        bias = np.median(errors, 1)
        std = NORMAL_MAD * np.median(np.abs(errors - bias[:, None]), 1)
    else:
        bias, std = errors.mean(1), errors.std(1, ddof=1)
    return {"logz_bias": bias, "logz_std": std, "logz_rmse": np.hypot(bias, std)}
