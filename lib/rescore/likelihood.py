"""Log-likelihoods of a diffusion model: exact by the probability flow, and the bound of its reverse SDE.

Both are densities of the data as the network sees them. Images k = 0 .. 255 become continuous by uniform noise u in [0, 1):
with n levels to a unit of x, the bin of k has volume n^-d, and -log2 p(x) / d + log2 n bounds the bits per dimension of k
(Score-SDE, appendix D; Theis et al. 2016). log2 n is

| scaling | n | offset |
| --- | --- | --- |
| x = (k + u) / 128 - 1, on [-1, 1): Score-SDE's and CLD's | 128 | 7 |
| x = (k + u) / 127.5 - 1: k / 127.5 - 1 of training with the noise of one level | 127.5 | 6.994353 |
| x = (k + u) / 256, on [0, 1) | 256 | 8 |

References:
    Score-SDE: arXiv:2011.13456.
    CLD: arXiv:2112.07068.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from rescore.errors import RescoreError
from rescore.machine.precision import full_precision
from rescore.objectives import DSM, HSM, ImportanceTimes, Network, VelocityDSM, score_of
from rescore.objectives.matching import Objective
from rescore.objectives.times import T0
from rescore.ode import dormand_prince
from rescore.processes import CLD
from rescore.processes.base import LinearSDE, gaussian_log_prob
from rescore.processes.operators import Diagonal
from rescore.random import Noise, integers, normal
from rescore.scores import Score

Trace = Literal["exact", "rademacher", "gaussian"]
Divergence = Callable[[Tensor, Tensor], Tensor]


def bits_per_dim(log_prob: Tensor, dims: int, levels_per_unit: float) -> Tensor:
    """-log2 p(x) / dims + log2 levels_per_unit, the shape of `log_prob` (nats); see the table of the module for the offset."""
    return -log_prob / (dims * math.log(2)) + math.log2(levels_per_unit)


@dataclass(frozen=True)
class FlowLikelihood:
    """What `flow_log_prob` gives: `log_prob` (n,) in nats, the `latent` u_T (n, *state), and the score evaluations `nfe`."""

    log_prob: Tensor
    latent: Tensor
    nfe: int


@full_precision()
def flow_log_prob(
    score: Score,
    process: LinearSDE,
    x: Tensor,
    generator: Noise | None = None,
    trace: Trace = "rademacher",
    t0: float = T0,
    rtol: float = 1e-5,
    atol: float = 1e-5,
) -> FlowLikelihood:
    """log p(x) of the probability flow du/dt = f = F u - G G^T s / 2 (Score-SDE eq. 39), for data x (n, *data) taken at t0.

        log p_t0(u) = log prior(u_T) + integral from t0 to T of div f dt,

    by an adaptive Dormand-Prince method. The divergence is exact, by one backward pass per coordinate, or Hutchinson's estimate
    eps^T J eps with one probe per sample, fixed along the path: then `log_prob` is unbiased. With the prior's score for s, f
    would be linear; that part's divergence is exact in both cases. The probes see only what is left, little at late times.

    On CLD velocities v ~ N(0, gamma M) are drawn and this is log p(x, v) - log q(v): on average the bound of CLD, appendix B.5,
    with the entropy of v. It is at most log p(x), and equal to it for each v where x and v are independent under the model.

    Args:
        score: differentiable in u unless it is constant.
        generator: of velocities and probes, on the device of x; not needed for an exact trace without velocities. With
            `rescore.random.Streams` those of an image do not depend on its batch, and its density only by the solver's
            tolerance, for the error is controlled over the batch.

    Raises RescoreError for an unknown trace, a missing generator, an empty batch or CLD with gamma 0, whose velocities at t = 0
    have no density; Diverged for a solution that is not finite.
    """
    if trace not in ("exact", "rademacher", "gaussian"):
        raise RescoreError(f"trace {trace!r}: allowed are exact, rademacher, gaussian")
    if generator is None and (trace != "exact" or isinstance(process, CLD)):
        raise RescoreError("flow_log_prob draws probes or velocities: it needs a torch.Generator")
    u, log_q = _with_velocities(process, x, generator)
    state, nfe = tuple(u.shape[1:]), 0
    precision = process.prior_covariance.inv()
    divergence: Callable[[Tensor, Tensor], Tensor] = exact_divergence
    if trace != "exact":
        assert generator is not None
        divergence = hutchinson_divergence(probe(u, trace, generator))

    def rate(t: Tensor, values: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        nonlocal nfe
        nfe += 1
        time = t.item()
        spread = process.GG(time) * 0.5
        linear = process.F(time) + spread @ precision
        with torch.enable_grad():
            u = values[0].detach().requires_grad_()
            rest = -spread(score(u, time) + precision(u))
            bent = divergence(rest, u)
        return linear(u.detach()) + rest.detach(), bent + linear.trace(state).to(bent)

    what = f"likelihood by the probability flow of {process}"
    latent, change = dormand_prince(rate, (u, torch.zeros_like(log_q)), t0, process.T, rtol, atol, what)
    return FlowLikelihood(process.prior_log_prob(latent) + change - log_q, latent, nfe)


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


def _with_velocities(process: LinearSDE, x: Tensor, generator: Noise | None) -> tuple[Tensor, Tensor]:
    """The state of x, and log q of what was drawn for it, (n,)."""
    u = process.embed(x)
    if not isinstance(process, CLD):
        return u, u.new_zeros(len(u))
    if process.gamma == 0:
        raise RescoreError(
            "flow_log_prob: CLD with gamma = 0 starts at velocities 0, which have no density; allowed are gamma > 0"
        )
    variance = Diagonal(torch.tensor(process.gamma * process.M, dtype=torch.float64))
    assert generator is not None
    v = variance.cholesky()(normal(x.shape, generator, x.dtype, x.device))
    return torch.stack((x, v), 1), gaussian_log_prob(v, variance)


def probe(u: Tensor, trace: Trace, generator: Noise) -> Tensor:
    """Probes with independent coordinates of mean 0 and variance 1, like u: "gaussian" normals, else random signs."""
    if trace == "gaussian":
        return normal(u.shape, generator, u.dtype, u.device)
    return integers(2, u.shape, generator, u.device).to(u) * 2 - 1


def hutchinson_divergence(probe: Tensor) -> Divergence:
    """(value(u), u) -> probe^T (d value / du) probe, (n,)."""

    def divergence(value: Tensor, u: Tensor) -> Tensor:
        return (_pullback(value, u, probe, again=False) * probe).flatten(1).sum(1)

    return divergence


def exact_divergence(value: Tensor, u: Tensor) -> Tensor:
    """tr d value / du, (n,), by one backward pass per coordinate."""
    total = u.new_zeros(len(u))
    for i in range(u[0].numel()):
        basis = torch.zeros_like(u)
        basis.flatten(1)[:, i] = 1
        total = total + _pullback(value, u, basis, again=i + 1 < u[0].numel()).flatten(1)[:, i]
    return total


def _pullback(value: Tensor, u: Tensor, vector: Tensor, again: bool) -> Tensor:
    """vector^T d value / d u.

    Args:
        again: the graph is kept for another one. A compiled network may give the memory of its graph away, and then refuses.
    """
    return torch.autograd.grad(value, u, vector, retain_graph=again)[0].detach()
