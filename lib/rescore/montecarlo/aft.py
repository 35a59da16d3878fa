"""Annealed Flow Transport (Arbel, Matthews and Doucet 2021, algorithm 2): SMC with a learned map before each temperature.

The maps are learned in one annealed run and then frozen; evaluation runs use fresh particles, so their estimates of Z
are unbiased. The PIS paper does not say whether its 100 AFT runs share the learned maps; here (an assumption) a training
seed learns them once and all evaluation runs of that seed share them.
"""

import copy
import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from rescore.cost.evaluations import note
from rescore.montecarlo.hmc import Particles
from rescore.montecarlo.smc import Annealing, Transport, TransportAt, anneal
from rescore.targets.base import Target, differentiable_log_prob, standard_normal_log_prob
from rescore.training import Adam

VALIDATE_EVERY = 10  # steps


def frozen(transports: Iterable[Transport]) -> TransportAt:
    """For `anneal`: transports[k - 1] before temperature k."""
    transports = list(transports)
    return lambda k, particles, log_weights: transports[k - 1]


def transport_loss(transport: Transport, target: Target, x: Tensor, weights: Tensor, beta: float) -> Tensor:
    """-sum_i W_i [log gamma_beta(T x_i) + log |det dT/dx_i|], a scalar, float64.

    With x (n, d) and normalised weights W (n,) from pi_{k-1} this is KL(T# pi_{k-1} | pi_k) up to a constant.
    """
    note(len(x))
    y, log_det = transport(x)
    log_gamma = (1 - beta) * standard_normal_log_prob(y) + beta * differentiable_log_prob(target, y)
    return -(weights * (log_gamma + log_det)).sum()


def train_transports(
    target: Target,
    annealing: Annealing,
    make_transport: Callable[[int], nn.Module],
    n_particles: int,
    generators: tuple[torch.Generator, torch.Generator],
    adam: Adam,
    dtype: torch.dtype = torch.float32,
) -> nn.ModuleList:
    """Learn the maps of temperatures 1..n_temperatures in one pass of `anneal`, on all training particles.

    Two runs go side by side: the first trains, the second validates. Each temperature keeps the parameters with the
    least validation loss among every tenth step, the initial ones and the last.

    Args:
        make_transport: k -> a new map for temperature k, started at the identity (`rescore.flows.transport`).
        n_particles: of each of the two runs.
        generators: of the training and the validation particles.
        adam: of each temperature; it takes about 1.1 evaluations of the target for a step and training particle.

    Returns:
        The frozen maps, in order; pass them through `frozen` to `anneal`.
    """
    learned = nn.ModuleList()

    def learn(k: int, particles: Particles, log_weights: Tensor) -> nn.Module:
        transport = make_transport(k).to(particles.x)
        train, validation = zip(particles.x, log_weights.exp(), strict=True)
        _fit(transport, target, train, validation, annealing.beta(k), adam)
        learned.append(transport.requires_grad_(False))
        return transport

    anneal(target, annealing, n_particles, list(generators), learn, dtype)
    return learned


def training_evaluations(annealing: Annealing, steps: int, n_particles: int) -> int:
    """Of the target by `train_transports`: two annealed runs, and each temperature's training and validations."""
    validations = math.ceil(steps / VALIDATE_EVERY) + 1
    one_temperature = 2 * (1 + annealing.steps_per_temperature) + steps + validations
    return n_particles * (2 + annealing.n_temperatures * one_temperature)


def _fit(
    transport: nn.Module,
    target: Target,
    train: tuple[Tensor, Tensor],
    validation: tuple[Tensor, Tensor],
    beta: float,
    adam: Adam,
) -> None:
    optimizer = adam.optimizer(transport)
    best_loss, best = math.inf, None
    for step in range(adam.steps + 1):
        if step % VALIDATE_EVERY == 0 or step == adam.steps:
            loss = transport_loss(transport, target, *validation, beta).item()
            if loss < best_loss:
                best_loss, best = loss, copy.deepcopy(transport.state_dict())
        if step < adam.steps:
            with torch.enable_grad():
                optimizer.zero_grad()
                transport_loss(transport, target, *train, beta).backward()
            adam.set_rate(optimizer, step)
            if adam.clip is not None:
                nn.utils.clip_grad_norm_(transport.parameters(), adam.clip)
            optimizer.step()
    if best is not None:  # else every validation loss was NaN or infinite: `anneal` reports the weights
        transport.load_state_dict(best)
