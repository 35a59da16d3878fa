"""A library's NUTS and HMC (pyro) on a target: rows of our own beside the table's. A chain defines no log Z."""

import math
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from rescore.cost.evaluations import note
from rescore.domain import check_finite
from rescore.errors import RescoreError
from rescore.targets.base import Target, differentiable_log_prob
from rescore.targets.mixture import GaussianMixture

TRAJECTORY = math.pi / 2
"""Of HMC, in units of the adapted mass. pyro's own, 2 pi, is a full period of a Gaussian and brings chains back."""


class Chain(NamedTuple):
    """Samples after the warm-up, (n, d), and the evaluations of log_prob with score that the whole chain took."""

    samples: Tensor
    n_evaluations: int


def run_chain(target: Target, kernel: Literal["nuts", "hmc"], n_samples: int, warmup: int, seed: int, initial: Tensor) -> Chain:
    """One chain of pyro's sampler; step size and a diagonal mass are adapted during the warm-up.

    Args:
        n_samples: kept.
        warmup: iterations before them.
        seed: of a fork of torch's global generator, which is the one that pyro draws from.
        initial: where the chain starts, (d,); its dtype is the chain's.

    Raises:
        RescoreError: another kernel's name.
    """
    from pyro.infer import HMC, MCMC, NUTS  # slow to import

    n_evaluations = 0

    def potential(state: dict[str, Tensor]) -> Tensor:
        nonlocal n_evaluations
        n_evaluations += 1
        note(1)
        return -differentiable_log_prob(target, state["x"])

    if kernel == "nuts":
        sampler: HMC = NUTS(potential_fn=potential)
    elif kernel == "hmc":
        sampler = HMC(potential_fn=potential, trajectory_length=TRAJECTORY)
    else:
        raise RescoreError(f"kernel {kernel!r}: allowed are 'nuts', 'hmc'")
    devices = [initial.device] if initial.is_cuda else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        chain = MCMC(sampler, n_samples, warmup, initial_params={"x": initial}, disable_progbar=True)
        chain.run()
    return Chain(chain.get_samples()["x"], n_evaluations)


def mode_coverage(samples: Tensor, means: Tensor, radius: float) -> float:
    """The fraction of the modes `means` (k, d) that have at least one of `samples` (n, d) within `radius`.

    Raises RescoreError for a sample that is not finite.
    """
    check_finite(samples, "mode_coverage", "a sample")
    return (torch.cdist(means.to(samples), samples).amin(1) <= radius).double().mean().item()


def chain_metrics(target: Target, samples: Tensor) -> dict[str, np.ndarray]:
    """Of each chain of samples (chains, n, d): the mean of log muhat, for a mixture also the fraction of its modes visited."""
    metrics = {"mean_log_prob": target.log_prob(samples).mean(-1).numpy()}
    if isinstance(target, GaussianMixture):
        metrics["mode_coverage"] = np.array([mode_coverage(chain, target.means, 3 * target.std) for chain in samples])
    return metrics
