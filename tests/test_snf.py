"""Stochastic normalizing flows and their Metropolis moves: exact weights, an invariant law, gradients along accepted moves."""

import itertools
import math

import pytest
import torch
from flow_case import perturbed
from rescore.cost.evaluations import CountEvaluations
from rescore.errors import RescoreError
from rescore.flows.transport import Flow, affine_autoregressive, affine_coupling, reverse_kl_loss
from rescore.montecarlo.hmc import tempered_log_prob
from rescore.montecarlo.metropolis import random_walk
from rescore.montecarlo.snf import Moves, path_kl, sample
from rescore.random import fill_normal, fill_uniform, make_generator
from rescore.targets.base import Target
from rescore.targets.mixture import gaussian
from torch import nn

F64 = torch.float64
DIM, STD, LOG_Z = 3, 0.7, 0.4
MEAN = torch.tensor([0.5, -0.4, 0.3], dtype=F64)
TARGET = gaussian(MEAN, STD, log_z=LOG_Z)
MAKE = {"coupling": affine_coupling, "autoregressive": affine_autoregressive}


def generators(n: int, name: str = "run"):
    return [make_generator("snf", name, r) for r in range(n)]


def maps_of(blocks: int, family: str = "coupling", size: float = 0.1) -> nn.ModuleList:
    """Maps of two layers in float64, away from the identity."""
    return perturbed(nn.ModuleList(MAKE[family](DIM, 2, (8,), k) for k in range(blocks)), size)


class Identity(nn.Module):
    def forward(self, x):
        return x, torch.zeros(x.shape[:-1], dtype=x.dtype)


class Counting(Target):
    """A target that counts the points at which it is evaluated."""

    def __init__(self, target: Target):
        self.target, self.points = target, 0
        self.name, self.dim, self.log_z = target.name, target.dim, target.log_z

    def log_prob(self, x):
        self.points += x[..., 0].numel()
        return self.target.log_prob(x)

    def score(self, x):
        raise AssertionError("no gradient alone is needed")

    def log_prob_and_score(self, x):
        self.points += x[..., 0].numel()
        return self.target.log_prob_and_score(x)


# Metropolis moves


def test_uniforms_of_a_run_are_its_generator_s():
    found = fill_uniform(torch.empty(2, 5, dtype=F64), generators(2))
    for row, generator in zip(found, generators(2), strict=True):
        assert torch.equal(row, torch.rand(5, dtype=F64, generator=generator))


def tempered(beta: float) -> tuple[torch.Tensor, float]:
    """Mean and standard deviation of gamma_beta, Gaussian as the target is."""
    precision = 1 - beta + beta / STD**2
    return beta * MEAN / STD**2 / precision, precision**-0.5


@pytest.mark.parametrize("beta", [0.0, 0.4, 1.0])
def test_moves_leave_their_density_invariant(beta):
    """Exact draws stay exact draws: mean and second moment within four standard errors, and moves are made."""
    mean, std = tempered(beta)
    start = mean + std * fill_normal(torch.empty(2, 20_000, DIM, dtype=F64), generators(2, "exact"))
    end, share = random_walk(TARGET, start.clone(), beta, 5, 0.9, generators(2))
    assert ((share > 0.2) & (share < 0.8)).all()
    standardised = (end - mean) / std
    for moment, truth, spread in ((standardised, 0.0, 1.0), (standardised.square(), 1.0, math.sqrt(2))):
        assert (moment.mean((0, 1)) - truth).abs().max() < 4 * spread / 200
    assert ((start - mean) * (end - mean)).mean() / std**2 < 0.6, "they are other points"


@pytest.mark.parametrize("beta", [0.0, 0.4, 1.0])
def test_moves_go_to_their_density_from_elsewhere(beta):
    mean, std = tempered(beta)
    end, _ = random_walk(TARGET, torch.full((1, 4_000, DIM), 2.0, dtype=F64), beta, 120, 0.9, generators(1))
    assert ((end - mean).mean((0, 1)) / std).abs().max() < 4 / math.sqrt(4000)
    assert (((end - mean) / std).square().mean((0, 1)) - 1).abs().max() < 4 * math.sqrt(2 / 4000)


def test_moves_of_a_run_are_its_own_and_nan_is_no_place():
    start = fill_normal(torch.empty(3, 40, DIM, dtype=F64), generators(3, "start"))
    together, shares = random_walk(TARGET, start, 0.5, 4, 0.5, generators(3))
    alone, share = random_walk(TARGET, start[1:2], 0.5, 4, 0.5, generators(3)[1:2])
    assert torch.equal(together[1], alone[0]) and shares[1] == share[0] and shares[0] != shares[1]

    class Hole(Counting):
        def log_prob(self, x):
            return torch.where(x[..., 0] > 0.2, math.nan, super().log_prob(x))

    end, share = random_walk(Hole(TARGET), start - 3, 1.0, 40, 0.5, generators(3))
    assert (end[..., 0] <= 0.2).all() and (share > 0.1).all()
    same, none = random_walk(TARGET, start, 0.5, 0, 0.5, generators(3))
    assert torch.equal(same, start) and (none == 0).all()


# path weights


@pytest.mark.parametrize("family", MAKE)
@pytest.mark.parametrize("steps", [0, 1, 6])
def test_weights_are_unbiased_for_any_maps_and_moves(family, steps):
    paths = sample(maps_of(3, family, 0.05), Moves(3, steps, 0.5), TARGET, 10_000, generators(4), F64)
    assert paths.log_w.dtype == F64 and paths.x.shape == (4, 10_000, DIM) and paths.acceptance.shape == (4, 3)
    w = (paths.log_w - LOG_Z).exp()
    stderr = w.std().item() / 200
    assert stderr < 0.02 and abs(w.mean().item() - 1) < 4 * stderr
    assert paths.log_w.mean() < LOG_Z - 4 * paths.log_w.std() / 200
    # weighted ends are draws of the target
    for of, truth in ((paths.x, MEAN), (paths.x.square(), MEAN**2 + STD**2)):
        weighted = w[..., None] * (of - truth)
        assert (weighted.mean((0, 1)).abs() < 4.5 * weighted.std((0, 1)) / 200).all()


def test_more_moves_bring_the_bound_nearer():
    """KL of paths under the identity: annealing in small jumps, with moves that mix, loses less than one jump does."""
    identity = [Identity()] * 6
    bounds = [sample(identity, Moves(6, steps, 0.7), TARGET, 2_000, generators(2), F64).log_w.mean() for steps in (0, 2, 20)]
    assert LOG_Z > bounds[2] > bounds[1] + 0.05 > bounds[0] + 0.1


def test_without_moves_it_is_the_flow_and_its_reverse_kl():
    maps, moves = maps_of(4), Moves(4, 0)
    joined = Flow([transform for flow in maps for transform in flow.transforms])
    z = torch.empty(1, 50, DIM, dtype=F64).normal_(generator=generators(1)[0])
    flow_loss, loss = reverse_kl_loss(joined, TARGET, z), path_kl(maps, moves, TARGET, 50, generators(1), F64)
    assert loss.item() == pytest.approx(flow_loss.item(), abs=1e-12)
    expected, found = (torch.autograd.grad(of, list(maps.parameters())) for of in (flow_loss, loss))
    assert all(torch.allclose(a, b, atol=1e-12) for a, b in zip(expected, found, strict=True))
    paths = sample(maps, moves, TARGET, 50, generators(1), F64)
    assert torch.allclose(paths.x, joined(z)[0], atol=1e-12)
    assert paths.log_w.mean().item() == pytest.approx(-loss.item(), abs=1e-12)


def test_under_the_identity_it_is_annealed_importance_sampling():
    """sum_k log gamma_k(x_{k-1}) - log gamma_{k-1}(x_{k-1}), Neal's weights, with the same moves."""
    moves, streams = Moves(5, 3, 0.4), generators(2)
    x = fill_normal(torch.empty(2, 30, DIM, dtype=F64), streams)
    betas, log_w = [0.0, 0.0, 0.25, 0.5, 0.75, 1.0], 0.0  # N(0, I) itself, and then the blocks'
    for before, beta in itertools.pairwise(betas):
        log_w += tempered_log_prob(x, beta, TARGET.log_prob) - tempered_log_prob(x, before, TARGET.log_prob)
        x, _ = random_walk(TARGET, x, beta, 3, 0.4, streams)
    paths = sample([Identity()] * 5, moves, TARGET, 30, generators(2), F64)
    assert torch.allclose(paths.log_w, log_w, atol=1e-12) and torch.equal(paths.x, x)


def test_a_run_does_not_depend_on_those_beside_it():
    maps, moves = maps_of(3), Moves(3, 2, 0.4)
    together = sample(maps, moves, TARGET, 20, generators(3), F64)
    alone = sample(maps, moves, TARGET, 20, generators(3)[2:], F64)
    for of in ("x", "log_w", "acceptance"):
        assert torch.allclose(getattr(together, of)[2:], getattr(alone, of), atol=1e-13)
    assert not torch.allclose(together.x[0], together.x[2])


# the training


def test_the_loss_is_minus_the_mean_log_weight_of_samples():
    """The last moves, which the loss leaves out, change no weight: beta is 1 there."""
    maps, moves = maps_of(3), Moves(3, 2, 0.4)
    paths = sample(maps, moves, TARGET, 40, generators(2), F64)
    assert path_kl(maps, moves, TARGET, 40, generators(2), F64).item() == pytest.approx(-paths.log_w.mean().item(), abs=1e-12)


def test_the_gradient_is_that_along_the_accepted_moves():
    """Finite differences with the same draws: a small change of a parameter leaves what is accepted as it was."""
    maps, moves = maps_of(3), Moves(3, 4, 0.4)

    def loss() -> torch.Tensor:
        return path_kl(maps, moves, TARGET, 30, generators(1), F64)

    loss().backward()
    for parameter in list(maps.parameters())[::3]:
        index = parameter.grad.abs().flatten().argmax()
        values = []
        for step in (1e-6, -2e-6):
            with torch.no_grad():
                parameter.view(-1)[index] += step
                values.append(loss().item())
        with torch.no_grad():
            parameter.view(-1)[index] += 1e-6
        assert (values[0] - values[1]) / 2e-6 == pytest.approx(parameter.grad.view(-1)[index].item(), rel=1e-4)


def test_training_brings_the_bound_to_log_z():
    maps, moves = nn.ModuleList(affine_coupling(DIM, 2, (8,), k) for k in range(3)), Moves(3, 2, 0.4)
    optimizer, generator = torch.optim.Adam(maps.parameters(), lr=0.02), make_generator("training")
    before = sample(maps, moves, TARGET, 2_000, generators(1)).log_w
    for _ in range(120):
        optimizer.zero_grad()
        path_kl(maps, moves, TARGET, 100, [generator]).backward()
        optimizer.step()
    after = sample(maps, moves, TARGET, 2_000, generators(1)).log_w
    assert before.mean() < LOG_Z - 0.3 and LOG_Z - 0.05 < after.mean() < LOG_Z + 4 * after.std() / math.sqrt(2000)


@pytest.mark.parametrize("steps", [0, 3])
def test_evaluations_are_counted(steps):
    maps, moves = maps_of(4), Moves(4, steps, 0.4)
    counting = Counting(TARGET)
    with CountEvaluations() as noted:
        sample(maps, moves, counting, 5, generators(2), F64)
    assert noted.total == counting.points == 10 * moves.evaluations(training=False) == 10 * (5 + 3 * (4 if steps else 0))
    counting.points = 0
    with CountEvaluations() as noted:
        path_kl(maps, moves, counting, 5, generators(1), F64)
    assert noted.total == counting.points == 5 * moves.evaluations(training=True) == 5 * (5 + 2 * (4 if steps else 0))


def test_moves_say_what_they_are():
    assert [Moves(5).beta(k) for k in range(1, 6)] == [0, 0.25, 0.5, 0.75, 1]
    assert Moves().protocol == {"flow_blocks": 5, "metropolis_steps": 20, "metropolis_size": 0.1}
    with pytest.raises(RescoreError, match="Moves: blocks = 1; allowed are integers from 2 on"):
        Moves(1)
    with pytest.raises(RescoreError, match="Moves: steps = -1; allowed are integers from 0 on"):
        Moves(2, -1)
