"""Likelihoods by DEIS: the probability flow and its divergence in the variables of thesis eq. 6.17, from t0 up to T.

References:
    thesis, chapter 6: DEIS, arXiv:2204.13902.
"""

import math
from typing import Literal

import torch
from torch import Tensor

from rescore.errors import RescoreError
from rescore.likelihood.flow import Divergence, FlowLikelihood
from rescore.processes import Isotropic, grids
from rescore.processes.base import require
from rescore.samplers.base import Times, require_steps
from rescore.samplers.ode import TABLEAUS
from rescore.samplers.weights import past, rho_weights, warm_started
from rescore.scores import Score


def rho_log_prob(
    score: Score,
    process: Isotropic,
    u: Tensor,
    times: Times,
    divergence: Divergence,
    method: Literal["heun2", "midpoint2", "ralston2", "kutta3", "rk4"] | int = "kutta3",
) -> FlowLikelihood:
    """log p_t0(u) for states u (n, *data) at t0 = times[-1], by a fixed number of steps.

    Of dy/drho = eps with y = u / m_t:

        log p_t0(u) = log prior(u_T) + d log(m_T / m_t0) + integral of div_y eps drho,     div_y = m_t div_u.

    What the prior's own score has for divergence is integrated in closed form, also over the pieces of a chain; the method sees
    the rest.

    Args:
        score: differentiable in u.
        times: as a sampler takes them, from T down to t0; they are walked upwards.
        method: a Runge-Kutta tableau (rhoRK), or the order 0 to 3 of the polynomial (rhoAB).

    Raises RescoreError for other processes and methods, and for too few steps.
    """
    require(process, Isotropic, "rho_log_prob")
    upwards = grids.check(process, times).flip(0)
    rho, state, nfe = process.rho(upwards), tuple(u.shape[1:]), 0
    precision, low, high = process.prior_covariance.inv(), upwards[0].item(), upwards[-1].item()

    def rate(r: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """eps and its divergence in y less the prior's, at rho = r."""
        nonlocal nfe
        nfe += 1
        t = min(max(process.time_of_rho(r).item(), low), high)
        mean, root = process.mean(t), process.R(t)
        with torch.enable_grad():
            v = mean(y).detach().requires_grad_()
            eps = -root(score(v, t))
            bent = divergence(eps - root(precision(v)), v)
        return eps.detach(), bent * mean.values.item()

    y, total = process.mean(low).inv()(u), u.new_zeros(len(u))
    if isinstance(method, str):
        if method not in TABLEAUS:
            raise RescoreError(f"rho_log_prob method {method!r}: allowed are {', '.join(TABLEAUS)} and 0 to 3")
        c, a, b = TABLEAUS[method]
        for start, h in zip(rho[:-1], rho.diff().tolist(), strict=True):
            stages: list[tuple[Tensor, Tensor]] = []
            for share, row in zip(c, a, strict=True):
                at = y + sum(h * weight * slope for weight, (slope, _) in zip(row, stages, strict=True)) if row else y
                stages.append(rate(start + share * h, at))
            y = y + sum(h * weight * slope for weight, (slope, _) in zip(b, stages, strict=True))
            total = total + sum(h * weight * bend for weight, (_, bend) in zip(b, stages, strict=True))
    else:
        require_steps(upwards, method + 1, f"rho_log_prob of order {method}")
        weights = warm_started(
            len(rho) - 1, method, lambda steps, count: rho_weights(rho[:-1][steps], rho[1:][steps], past(rho, steps, count))
        )
        history: list[tuple[Tensor, Tensor]] = []
        for start, its in zip(rho[:-1], weights, strict=True):
            history = [rate(start, y), *history[:method]]
            shares = its.values.tolist()
            y = y + sum(w * slope for w, (slope, _) in zip(shares, history, strict=True))
            total = total + sum(w * bend for w, (_, bend) in zip(shares, history, strict=True))
    spread = process.GG_integral(high, low).values.item() * precision.values.item() / 2
    end = process.mean(high)
    latent = end(y)
    linear = math.prod(state) * (math.log(end.values.item() / process.mean(low).values.item()) + spread)
    return FlowLikelihood(process.prior_log_prob(latent) + linear + total, latent, nfe)
