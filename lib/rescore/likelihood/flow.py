"""Log-likelihoods of a diffusion model by its probability flow, solved adaptively.

References:
    Score-SDE: arXiv:2011.13456.
    CLD: arXiv:2112.07068.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from rescore.errors import RescoreError
from rescore.machine.precision import full_precision
from rescore.objectives.times import T0
from rescore.ode import dormand_prince
from rescore.processes import CLD, Isotropic
from rescore.processes.base import LinearSDE, gaussian_log_prob
from rescore.processes.operators import Diagonal, Operator
from rescore.random import Noise, integers, normal
from rescore.scores import Score

Trace = Literal["exact", "rademacher", "gaussian"]
Divergence = Callable[[Tensor, Tensor], Tensor]
"""(value(u), u) -> the divergence or an estimate, (n,): `exact_divergence` or that of `hutchinson_divergence`."""


def bits_per_dim(log_prob: Tensor, dims: int, levels_per_unit: float) -> Tensor:
    """-log2 p(x) / dims + log2 levels_per_unit, the shape of `log_prob` (nats); offsets are in `rescore.likelihood`."""
    return -log_prob / (dims * math.log(2)) + math.log2(levels_per_unit)


@dataclass(frozen=True)
class FlowLikelihood:
    """`log_prob` (n,) in nats, the `latent` u_T (n, *state), and the evaluations `nfe` of score and divergence."""

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
    tolerance: float = 1e-5,
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
        tolerance: relative and absolute, of the solver.

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
    divergence: Divergence = exact_divergence
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

    what, start = f"likelihood by the probability flow of {process}", torch.zeros_like(log_q)
    if isinstance(process, Isotropic) and not process.smooth:
        latent, change, nfe = _by_log_rho(score, process, (u, start), divergence, t0, tolerance, what)
    else:
        latent, change = dormand_prince(rate, (u, start), t0, process.T, tolerance, what)
    return FlowLikelihood(process.prior_log_prob(latent) + change - log_q, latent, nfe)


def _by_log_rho(
    score: Score, chain: Isotropic, start: tuple[Tensor, Tensor], divergence: Divergence, t0: float, tolerance: float, what: str
) -> tuple[Tensor, Tensor, int]:
    """The latent, the integral of div f, and evaluations, of a chain, whose rates by t jump at its levels.

    y = u / m obeys dy = -(Sigma / m) s d log rho, which is smooth; its divergence is -Sigma div s, and the density of y is m^D
    times that of u. As by t, the prior's score is the linear part, and probes see only what is left.
    """
    (u, log_q), nfe = start, 0
    state, precision = tuple(u.shape[1:]), chain.prior_covariance.inv()
    first, last = (chain.rho(t).log().item() for t in (t0, chain.T))

    def rate(log_rho: Tensor, values: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        nonlocal nfe
        nfe += 1
        time = chain.time_of_log_rho(log_rho, t0, chain.T)
        mean = chain.mean(time)
        Sigma: Operator = chain.Sigma(time)
        linear = Sigma @ precision
        with torch.enable_grad():
            u = mean(values[0]).detach().requires_grad_()
            rest = -Sigma(score(u, time) + precision(u))
            bent = divergence(rest, u)
        return mean.inv()(linear(u.detach()) + rest.detach()), bent + linear.trace(state).to(bent)

    y, change = dormand_prince(rate, (chain.mean(t0).inv()(u), log_q), first, last, tolerance, what)
    scaled = (chain.mean(chain.T) @ chain.mean(t0).inv()).logdet(state)
    return chain.mean(chain.T)(y), change + scaled.to(change), nfe


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
