"""The HMC kernel and the library's chains."""

import itertools
import math

import pytest
import torch
from rescore.errors import RescoreError
from rescore.montecarlo import pyro_chains
from rescore.montecarlo.hmc import Particles, hmc_step, leapfrog
from rescore.montecarlo.importance import standard_normal_log_prob
from rescore.montecarlo.smc import Annealing, anneal
from rescore.random import make_generator
from rescore.targets.funnel import Funnel
from rescore.targets.mixture import gaussian, nine_modes
from test_montecarlo import LOG_Z, MEAN, STD, Counting, generators, randn

F64 = torch.float64


@pytest.fixture
def target():
    return gaussian(MEAN, STD, log_z=LOG_Z)


# HMC


@pytest.mark.parametrize("beta", [0.0, 0.4, 1.0])
def test_leapfrog_is_reversible_and_leaves_the_start(target, beta):
    start = Particles.at(randn(2, 7, 3), target)
    x, momentum = start.x.clone(), randn(2, 7, 3, name="momentum")
    first = momentum.clone()
    end = leapfrog(target, start, momentum, beta, 0.2, 9)
    assert torch.equal(start.x, x) and (end.x - x).abs().min() > 1e-3
    back = leapfrog(target, end, momentum.neg_(), beta, 0.2, 9)
    assert torch.allclose(back.x, x, atol=1e-12) and torch.allclose(-momentum, first, atol=1e-12)


@pytest.mark.parametrize("density", [gaussian(MEAN, STD), nine_modes(), Funnel()], ids=lambda t: t.name)
def test_leapfrog_conserves_energy_to_second_order(density):
    start = Particles.at(0.3 * randn(200, density.dim), density)
    errors = []
    for n_steps in (32, 64, 128):
        momentum = 0.5 * randn(200, density.dim, name="momentum")
        kinetic = standard_normal_log_prob(momentum)
        end = leapfrog(density, start, momentum, 0.6, 1 / n_steps, n_steps)
        change = end.tempered_log_prob(0.6) + standard_normal_log_prob(momentum) - start.tempered_log_prob(0.6) - kinetic
        errors.append(change.abs().median().item())
    orders = [math.log2(a / b) for a, b in itertools.pairwise(errors)]
    assert all(1.9 < order < 2.1 for order in orders), orders


def test_leapfrog_costs_one_evaluation_a_step(target):
    counting = Counting(target)
    particles = Particles.at(randn(5, 3), counting)
    assert counting.n == 1
    for _ in range(4):
        hmc_step(counting, particles, randn(5, 3, name="momentum"), torch.zeros(5, dtype=F64), 0.5, 0.1, 6)
    assert counting.n == 1 + 4 * 6
    run = anneal(counting := Counting(target), Annealing(3, 2, 5), 4, generators(2))
    assert run.n_evaluations == counting.n == 1 + 3 * 2 * 5


def test_hmc_step_moves_all_or_nothing_and_keeps_the_cache(target):
    particles = Particles.at(randn(500, 3), target)
    before = particles.x.clone()
    log_uniform = randn(500, name="u").abs().neg()
    accepted = hmc_step(target, particles, randn(500, 3, name="momentum"), log_uniform, 0.7, 0.9, 3)
    assert 0.2 < accepted.double().mean() < 0.98
    moved = (particles.x != before).all(-1)
    assert torch.equal(moved, accepted) and torch.equal((particles.x != before).any(-1), accepted)
    fresh = Particles.at(particles.x, target)
    assert torch.equal(particles.log_prob, fresh.log_prob) and torch.equal(particles.score, fresh.score)


def test_hmc_rejects_a_diverged_trajectory():
    funnel = Funnel()
    particles = Particles.at(torch.full((1, 10), -2.0), funnel)
    accepted = hmc_step(funnel, particles, torch.ones(1, 10), torch.full((1,), -1e9, dtype=F64), 1.0, 50.0, 20)
    assert not accepted.item() and torch.equal(particles.x, torch.full((1, 10), -2.0))


@pytest.mark.parametrize("beta", [0.5, 1.0])
def test_hmc_leaves_the_gaussian_invariant(target, beta):
    precision = (1 - beta) + beta / STD**2
    mean, std = beta * MEAN / STD**2 / precision, precision**-0.5
    n = 20000
    particles = Particles.at(mean + std * randn(n, 3), target)
    generator = make_generator("invariance")
    for _ in range(5):
        momentum = torch.randn(n, 3, dtype=F64, generator=generator)
        log_uniform = torch.rand(n, dtype=F64, generator=generator).log()
        accepted = hmc_step(target, particles, momentum, log_uniform, beta, 1.3 * std, 3)
    assert 0.5 < accepted.double().mean() < 0.95  # a step so coarse that the accept test matters
    z = (particles.x - mean) / std
    assert (z.mean(0).abs() < 4 / math.sqrt(n)).all()
    assert ((z.square().mean(0) - 1).abs() < 4 * math.sqrt(2 / n)).all()
    assert ((z**4).mean(0) - 3).abs().max() < 4 * math.sqrt(96 / n)


# the library's chains


@pytest.mark.parametrize("kernel", ["nuts", "hmc"])
def test_library_chain_samples_the_gaussian(target, kernel):
    state = torch.get_rng_state()
    chain = pyro_chains.run_chain(target, kernel, 250, 50, seed=1, initial=torch.zeros(3, dtype=F64))
    assert torch.equal(state, torch.get_rng_state())
    assert chain.samples.shape == (250, 3) and chain.samples.dtype == F64 and chain.n_evaluations > 300
    assert (chain.samples.mean(0) - MEAN).abs().max() < 0.25 and (chain.samples.std(0) - STD).abs().max() < 0.2
    short = [pyro_chains.run_chain(target, kernel, 5, 5, seed, torch.zeros(3, dtype=F64)).samples for seed in (1, 1, 2)]
    assert torch.equal(short[0], short[1]) and not torch.equal(short[0], short[2])


def test_library_unknown_kernel(target):
    with pytest.raises(RescoreError, match="'gibbs': allowed are 'nuts', 'hmc'"):
        pyro_chains.run_chain(target, "gibbs", 1, 1, 0, torch.zeros(3))


def test_mode_coverage():
    means = nine_modes().means
    assert pyro_chains.mode_coverage(means, means, 0.01) == 1
    assert pyro_chains.mode_coverage(means[:3] + 0.3, means, 0.5) == pytest.approx(3 / 9)
    assert pyro_chains.mode_coverage(means[:3] + 0.3, means, 0.4) == 0
