"""The bound of a diffusion model's log-likelihood that its reverse SDE gives.

References:
    Song et al. 2021: arXiv:2101.09258.
    CLD: arXiv:2112.07068.
"""

import math
from dataclasses import replace

import torch
from torch import Tensor

from rescore.errors import RescoreError
from rescore.machine.precision import full_precision
from rescore.objectives import DSM, HSM, ImportanceTimes, Network, VelocityDSM, score_of
from rescore.objectives.matching import Objective
from rescore.objectives.times import T0
from rescore.processes.base import LinearSDE, gaussian_log_prob
from rescore.random import Noise


@full_precision()
def elbo(network: Network, process: LinearSDE, objective: Objective, x: Tensor, generator: Noise, t0: float = T0) -> Tensor:
    """An unbiased estimate, (n,) nats, of a lower bound of log p(x) under the reverse SDE (Song et al. 2021, theorem 3).

        log p(x) >= E log p(x | u_t0) - KL(p(u_T | x) || prior) - 1/2 integral from t0 to T of E |G^T (s_theta - s)|^2 dt

    over u_t ~ p(u_t | x), with the conditional score s. The integral is one draw of `objective` with the likelihood weight and
    importance-sampled times. p(x | u_t0) is Gaussian: its covariance is that of x given u_t0 under a flat prior, its mean
    Tweedie's E[x | u_t0], or the flat prior's where the network knows velocities only. For the exact score this is an equality
    up to p(x | u_t0) and the prior at T. On CLD velocities are marginalised, which is at least as tight as CLD's own bound.

    Args:
        network: as in training with `objective`.
        objective: only what its network predicts matters.

    Raises RescoreError for `VelocityDSM`, whose score is conditioned on v_0, and for `LCSS` and `TraceMatching`, whose losses
    lack a term of the bound: their networks are DSM's.
    """
    if not isinstance(objective, (DSM, HSM)):
        raise RescoreError(f"elbo: objective {type(objective).__name__}: allowed are DSM and HSM")
    if isinstance(objective, VelocityDSM):
        raise RescoreError("elbo: a VelocityDSM network gives the score given v_0: allowed are DSM and HSM")
    times = ImportanceTimes(t0)
    weighed: DSM | HSM
    if isinstance(objective, DSM):
        weighed = replace(objective, weighting="likelihood", times=times, per_dimension=False)
    else:
        weighed = replace(objective, weighting="likelihood", times=times)
    path = weighed(network, process, x, generator) * (process.T - t0)
    end = process.mean(process.T)(process.embed(x))
    return _decoder(network, process, objective, x, generator, t0) - _kl_to_prior(process, end) - path


def _decoder(network: Network, process: LinearSDE, objective: DSM | HSM, x: Tensor, generator: Noise, t0: float) -> Tensor:
    """log p(x | u_t0) for one draw of u_t0, (n,)."""
    u, _ = process.perturb(x, t0, generator, "L")
    mean, precision = process.mean(t0), process.Sigma(t0).inv()
    covariance = (mean.T @ precision @ mean).corner().inv()
    if isinstance(objective, DSM):
        with torch.no_grad():
            score = score_of(network, process, objective.predicts)(u, t0)
        centre = process.marginal(mean.inv()(u + process.Sigma(t0)(score)))
    else:
        centre = covariance(process.marginal((mean.T @ precision)(u)))
    return gaussian_log_prob(process.rotate(x) - centre, covariance)


def _kl_to_prior(process: LinearSDE, mean: Tensor) -> Tensor:
    """KL(N(mean, Sigma_T) || prior), (n,)."""
    state, precision, covariance = tuple(mean.shape[1:]), process.prior_covariance.inv(), process.Sigma(process.T)
    square = (mean * precision(mean)).flatten(1).sum(1)
    spread = (precision @ covariance).trace(state) - (precision @ covariance).logdet(state) - math.prod(state)
    return 0.5 * (square + spread.to(square))
