"""Likelihoods of DiffFlow: the probability-flow ODE (thesis eq. 3.16 with lambda = 0) and the negative ELBO of the path.

References:
    thesis, chapter 3: DiffFlow, arXiv:2110.07579.
"""

import math
from typing import Literal

import torch
from torch import Tensor

from rescore.domain import check_one_of
from rescore.errors import RescoreError
from rescore.likelihood import Divergence, FlowLikelihood, exact_divergence, hutchinson_divergence, probe
from rescore.neural_sde.loss import on_new_paths, path_loss
from rescore.neural_sde.model import NeuralSDE, prior_log_prob
from rescore.ode import dormand_prince
from rescore.random import Noise

EXACT_DIMS = 2  # above, the trace is Hutchinson's unless asked otherwise
Trace = Literal["auto", "exact", "hutchinson"]


def ode_log_prob(
    model: NeuralSDE,
    x: Tensor,
    t0: float,
    T: float,
    generator: Noise | None = None,
    trace: Trace = "auto",
    tolerance: float = 1e-5,
) -> FlowLikelihood:
    """log p(x) of the ODE model dx/dt = v = f - g^2 s / 2 with x_T ~ N(0, I), for data x (n, *data) taken at t0.

        log p(x) = log N(x_T; 0, I) + integral from t0 to T of tr dv/dx dt,

    by an adaptive Dormand-Prince method. It is the exact likelihood of the ODE, and that of the SDE as far as s is the score of
    the forward marginals.

    Args:
        generator: of the probes; an exact trace needs none.
        trace: "exact", one backward pass per coordinate; "hutchinson", one Rademacher probe per sample, unbiased; "auto" is
            exact up to two dimensions.
        tolerance: relative and absolute, of the solver.

    Raises RescoreError for another trace, a missing generator or an empty batch, Diverged for a solution that is not finite.
    """
    check_one_of("trace", trace, ("auto", "exact", "hutchinson"))
    if trace == "auto":
        trace = "exact" if math.prod(x.shape[1:]) <= EXACT_DIMS else "hutchinson"
    divergence: Divergence = exact_divergence
    if trace == "hutchinson":
        if generator is None:
            raise RescoreError("ode_log_prob draws probes: it needs a torch.Generator")
        divergence = hutchinson_divergence(probe(x, "rademacher", generator))
    nfe = 0

    def rate(t: Tensor, values: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        nonlocal nfe
        nfe += 1
        g = model.g(t.reshape(1))[0].to(x) if callable(model.g) else model.g
        with torch.enable_grad():
            u = values[0].detach().requires_grad_()
            velocity = model.drift(u, t) - 0.5 * g**2 * model.score(u, t)
            return velocity.detach(), divergence(velocity, u)

    what = f"likelihood by the probability flow from t = {t0:g} to {T:g}"
    latent, change = dormand_prince(rate, (x, x.new_zeros(len(x))), t0, T, tolerance, what)
    return FlowLikelihood(prior_log_prob(latent) + change, latent, nfe)


@torch.no_grad()
def elbo(model: NeuralSDE, x: Tensor, times: Tensor, generator: Noise, draws: int = 1) -> Tensor:
    """An unbiased estimate, (n,) nats, of a lower bound of the SDE's log p(x): minus `path_loss`, the mean of `draws` paths."""
    return -torch.stack([on_new_paths(path_loss, model, x, times, generator) for _ in range(draws)]).mean(0)
