"""Objectives: exact scores minimise them, their forms agree, importance-sampled time changes nothing but variance."""

import math
from dataclasses import replace

import pytest
import torch
from diffusion_cases import PROCESSES, WITH_DISCRETE, data_shape, generator, relative
from rescore.errors import RescoreError
from rescore.objectives import DSM, HSM, DiscreteTimes, ImportanceTimes, UniformTimes, VelocityDSM, ncsn, score_of
from rescore.processes import CLD, VE, VP, Blurring, grids
from rescore.processes.quadrature import gauss_legendre
from rescore.samplers import euler_maruyama
from rescore.scores import GaussianMixture

each_process = pytest.mark.parametrize("name", PROCESSES)
WEIGHTINGS = ["simple", "sigma^2", "likelihood"]
VARIANCE = 0.3
PAPER_CLD = CLD(eps0=0.0, eps_num=1e-9)


def data(name, n):
    return 0.5 + math.sqrt(VARIANCE) * torch.randn(n, *data_shape(name), generator=generator(1), dtype=torch.float64)


def exact_score(process, shape):
    """(u, t) -> the score of diffused N(0.5, VARIANCE), with one time per sample."""
    centre = process.embed(torch.full((1, *shape), 0.5, dtype=torch.float64))

    def score(u, t):
        mean = process.mean(t)
        spread = mean @ process.data_covariance(torch.tensor(VARIANCE, dtype=torch.float64)) @ mean.T + process.Sigma(t)
        return spread.inv()(mean(centre.expand_as(u)) - u)

    return score


def exact_network(process, shape, predicts):
    score = exact_score(process, shape)
    if predicts == "score":
        return score
    if predicts == "velocity":
        return lambda u, t: -score(u, t)[:, 1] * process.L(t).values[:, 1, 1].reshape(-1, *[1] * (u.ndim - 2))
    return lambda u, t: (-process.K(t, predicts).T)(score(u, t))


def slopes(objective, process, network, x0, direction):
    """d loss / d a of each sample, for the network + a direction, at a = 0."""
    a = torch.zeros(len(x0), dtype=torch.float64, requires_grad=True)

    def moved(u, t):
        output = network(u, t)
        step = direction(u if output.shape == u.shape else u[:, 1], t.reshape(-1, *[1] * (output.ndim - 1)))
        return output + a.reshape(-1, *[1] * (output.ndim - 1)) * step

    return torch.autograd.grad(objective(moved, process, x0, generator(2)).sum(), a)[0]


def z_score(values):
    return (values.mean() / (values.std() / math.sqrt(len(values)))).item()


DIRECTIONS = [lambda u, t: u, lambda u, t: torch.sin(3 * u + t), lambda u, t: torch.ones_like(u) * (1 - t)]


# minimisers


def test_importance_sampled_times_stay_in_their_cell_whatever_rounding_leaves_of_the_shares(monkeypatch):
    """Shares whose sum falls short of 1 by rounding, here by more: a p above it is at the end of the last cell, not beyond."""
    knots, shares = torch.tensor([0.1, 0.5, 1.0], dtype=torch.float64), torch.tensor([0.4, 0.5], dtype=torch.float64)
    monkeypatch.setattr(ImportanceTimes, "cells", lambda self, process: (knots, shares))
    t, _ = ImportanceTimes(0.1).quantile(VP(), torch.tensor([0.0, 0.2, 0.4, 0.65, 0.95], dtype=torch.float64))
    assert t.tolist() == pytest.approx([0.1, 0.3, 0.5, 0.75, 1.0], rel=1e-12)


@pytest.mark.parametrize("predicts", ["R", "L", "score"])
@pytest.mark.parametrize(("weighting", "times"), [("simple", UniformTimes()), ("likelihood", ImportanceTimes(1e-3))])
@each_process
def test_the_exact_score_is_stationary(name, weighting, times, predicts):
    """The mean gradient at the exact network is 0 in any direction, and it is not at a network that is a tenth off."""
    process, x0 = PROCESSES[name], data(name, 3000)
    network = exact_network(process, data_shape(name), predicts)
    objective = DSM(weighting, times, predicts)
    for direction in DIRECTIONS:
        assert abs(z_score(slopes(objective, process, network, x0, direction))) < 4
    off = slopes(objective, process, lambda u, t: 0.9 * network(u, t), x0, network_direction(process, name, predicts))
    assert z_score(off) < -8


def network_direction(process, name, predicts):
    network = exact_network(process, data_shape(name), predicts)
    return lambda u, t: network(u, t.reshape(-1))


@pytest.mark.parametrize("weighting", ["simple", "likelihood"])
@pytest.mark.parametrize("kind", [HSM, VelocityDSM])
def test_both_objectives_of_cld_have_the_score_of_the_velocities_as_minimiser(kind, weighting):
    """For DSM the noise is that of gamma = 0, yet the score is the marginal one."""
    x0 = data("cld", 3000)
    conditional = replace(PAPER_CLD, gamma=0.0)
    parameterised = conditional if kind is VelocityDSM else PAPER_CLD
    score = exact_score(PAPER_CLD, (3,))

    def network(u, t):
        return -score(u, t)[:, 1] * parameterised.L(t).values[:, 1, 1, None]

    objective = kind(weighting, UniformTimes(1e-3))
    for direction in DIRECTIONS:
        assert abs(z_score(slopes(objective, PAPER_CLD, network, x0, direction))) < 4
    off = slopes(objective, PAPER_CLD, lambda u, t: 0.5 * network(u, t), x0, lambda u, t: u / (0.2 + t))
    assert z_score(off) < -8


def test_the_best_linear_network_is_the_exact_one():
    """Least squares at one time: with eps_theta = A u, sum eps u^T (sum u u^T)^-1 tends to K^T C^-1."""
    process, t, n = CLD(), 0.3, 40_000
    x0 = math.sqrt(VARIANCE) * torch.randn(n, 1, generator=generator(3), dtype=torch.float64)
    seen = {}

    def network(u, t):
        seen["u"] = u[..., 0]
        return torch.zeros_like(u, requires_grad=True)

    def noise_of(u):
        zero = torch.zeros(n, 2, 1, dtype=torch.float64, requires_grad=True)
        losses = DSM(times=DiscreteTimes((t,)))(lambda u, t: zero, process, x0, generator(4))
        return -0.5 * torch.autograd.grad(losses.sum(), zero)[0][..., 0]  # of |0 - eps|^2

    DSM(times=DiscreteTimes((t,)))(network, process, x0, generator(4))
    fitted = torch.linalg.lstsq(seen["u"], noise_of(seen["u"])).solution.T
    mean = process.mean(t)
    spread = mean @ process.data_covariance(torch.tensor(VARIANCE, dtype=torch.float64)) @ mean.T + process.Sigma(t)
    assert relative(fitted, (process.R(t).T @ spread.inv()).values) < 0.03


# values and forms


@pytest.mark.parametrize("weighting", WEIGHTINGS)
@each_process
def test_score_form_and_noise_form_agree(name, weighting):
    process, x0, times = PROCESSES[name], data(name, 6), UniformTimes(1e-2)

    def noise(u, t):
        return torch.cos(u) + t.reshape(-1, *[1] * (u.ndim - 1))

    def score(u, t):
        return (-process.L(t).T.inv())(noise(u, t))

    in_noise = DSM(weighting, times, "L")(noise, process, x0, generator())
    in_score = DSM(weighting, times, "score")(score, process, x0, generator())
    assert in_noise.shape == (6,)
    assert torch.allclose(in_noise, in_score, rtol=1e-8)


def test_weightings_of_vp_written_out():
    """Score-SDE eq. 7 with 1/2 lambda |s - grad log p(u | x)|^2 and lambda = sigma^2, beta; DDPM eq. 14."""
    x0, g = data("vp", 5), generator(7)
    t = 1e-5 + (1 - 1e-5) * torch.rand(5, generator=g, dtype=torch.float64)
    z = torch.randn(5, 3, generator=g, dtype=torch.float64)
    alpha = torch.exp(-(0.1 * t + 19.9 * t**2 / 2))[:, None]
    sigma, beta = (1 - alpha).sqrt(), (0.1 + 19.9 * t)
    u = alpha.sqrt() * x0 + sigma * z
    error = (-torch.tanh(u) / sigma + z / sigma).square().sum(1)
    expected = {
        "simple": (torch.tanh(u) - z).square().sum(1),
        "sigma^2": 0.5 * sigma[:, 0] ** 2 * error,
        "likelihood": 0.5 * beta * error,
    }
    for weighting, value in expected.items():
        objective = DSM(weighting)
        assert torch.allclose(objective(lambda u, t: torch.tanh(u), VP(), x0, generator(7)), value, rtol=1e-9)
        mean = replace(objective, per_dimension=True)(lambda u, t: torch.tanh(u), VP(), x0, generator(7))
        assert torch.allclose(mean, value / 3, rtol=1e-9)


def test_ncsn_loss_written_out():
    process, x0, g = VE(0.01, 1.0), data("ve", 8), generator(7)
    sigmas = torch.logspace(-2, 0, 10, dtype=torch.float64)
    i = torch.randint(10, (8,), generator=g)
    z = torch.randn(8, 3, generator=g, dtype=torch.float64)
    sigma = sigmas[i][:, None]
    u = x0 + sigma * z
    expected = 0.5 * sigma[:, 0] ** 2 * (-u + z / sigma).square().sum(1)
    levels = []
    losses = ncsn(process, 10)(lambda u, t: levels.append(process.Sigma(t).values.sqrt()) or -u, process, x0, generator(7))
    assert torch.allclose(losses, expected, rtol=1e-9)
    assert torch.allclose(levels[0], sigma[:, 0], rtol=1e-12)


@pytest.mark.parametrize(
    ("kind", "ells"), [(HSM, {1e-5: 11.1634, 1e-3: 19.9185, 0.5: 2.00843}), (VelocityDSM, {1e-3: 22.357, 0.5: 2.00856})]
)
def test_weights_of_cld(kind, ells):
    """simple: 1 of the noise; likelihood: Gamma beta ell_t^2, with the ell_t of the paper's constants (Gamma beta = 4)."""
    x0 = data("cld", 4)
    for t, ell in ells.items():
        simple, half, likelihood = (
            kind(weighting, DiscreteTimes((t,)))(lambda u, t: torch.ones_like(u[:, 1]), PAPER_CLD, x0, generator(5))
            for weighting in WEIGHTINGS
        )
        assert torch.allclose(half, simple / 2, rtol=1e-12)
        assert torch.allclose(likelihood, 4 * ell**2 * simple, rtol=6e-5)


def test_a_network_of_the_whole_state_serves_for_its_velocities():
    x0 = data("cld", 4)
    alone = HSM()(lambda u, t: torch.sin(u[:, 1]), PAPER_CLD, x0, generator())
    whole = HSM()(lambda u, t: torch.stack((u[:, 0] * 7, torch.sin(u[:, 1])), 1), PAPER_CLD, x0, generator())
    assert torch.equal(alone, whole)


def test_images_in_float32():
    seen = []
    x0 = torch.rand(4, 3, 8, 8, generator=generator()) * 2 - 1

    def network(u, t):
        seen.append((u.shape, u.dtype, t.shape, t.dtype))
        return u

    for process in (VP(), CLD(), Blurring((8, 8))):
        losses = DSM("likelihood", ImportanceTimes())(network, process, x0, generator())
        assert losses.shape == (4,) and losses.dtype == torch.float32 and losses.isfinite().all()
    shapes = [(4, 3, 8, 8), (4, 2, 3, 8, 8), (4, 3, 8, 8)]
    assert seen == [(torch.Size(shape), torch.float32, torch.Size([4]), torch.float32) for shape in shapes]


# hybrid score matching


@pytest.mark.parametrize("t", [1e-3, 0.1, 0.7])
def test_the_target_of_hsm_is_the_mean_of_that_of_dsm(t):
    """E[-ell' eps'_v | u, x0] = -ell eps_v, by Gaussian conditioning given x0."""
    hybrid, conditional = PAPER_CLD, replace(PAPER_CLD, gamma=0.0)
    root, root_given_v0 = hybrid.L(t).values, conditional.L(t).values
    gain = root_given_v0[:, 1] / root_given_v0[1, 1] @ torch.linalg.inv(hybrid.Sigma(t).values)
    expected = torch.linalg.inv(root)[1] / root[1, 1]
    assert torch.allclose(gain, expected, rtol=1e-6)


def test_hsm_has_the_gradient_of_dsm_with_less_variance():
    """Rao-Blackwell, at t = 0.01 on networks that mean the same score."""
    t, x0 = 0.01, data("cld", 20_000)

    def gradient(kind, process):
        ell = 1 / process.L(t).values[1, 1]
        objective = kind("likelihood", DiscreteTimes((t,)))
        return slopes(objective, PAPER_CLD, lambda u, t: torch.tanh(u[:, 1]) / ell, x0, lambda u, t: torch.cos(u) / ell)

    hybrid, plain = gradient(HSM, PAPER_CLD), gradient(VelocityDSM, replace(PAPER_CLD, gamma=0.0))
    error = math.sqrt((hybrid.var() + plain.var()) / len(x0))
    assert abs(hybrid.mean() - plain.mean()) < 4 * error
    assert hybrid.var() < 0.98 * plain.var()


# times


@pytest.mark.parametrize("name", WITH_DISCRETE)
def test_importance_sampled_time_has_the_mean_of_uniform_time(name):
    """E[weight f(t)] by Gauss-Legendre in each cell's share of p, against the integral of f; f = cos 3t + 1 and 1."""
    process, times = WITH_DISCRETE[name], ImportanceTimes(1e-3)
    _knots, shares = times.cells(process)
    x, w = gauss_legendre(8)
    ends = torch.cat((torch.zeros(1, dtype=torch.float64), shares.cumsum(0)))
    t, weight = times.quantile(process, ends[:-1, None] + shares[:, None] * (x + 1) / 2)
    assert (t.flatten().diff() > 0).all() and t.min() > 1e-3 and t.max() < process.T

    def mean(f):
        return ((weight * f * w).sum(1) * shares / 2).sum().item()

    T = process.T
    assert mean(torch.ones_like(t)) == pytest.approx(1, rel=1e-12)
    exact = (math.sin(3 * T) - math.sin(3e-3)) / 3 / (T - 1e-3) + 1
    assert mean(torch.cos(3 * t) + 1) == pytest.approx(exact, rel=1e-10)


def test_importance_sampled_time_integrates_the_likelihood_weight():
    """The integral of beta / (1 - exp(-B)) is log(exp(B) - 1): the weight times the density is nearly constant."""
    process, times = VP(), ImportanceTimes()
    t, weight = times.draw(process, 4000, generator())
    values = weight * process.GG(t).values / process.Sigma(t).values * (1 - 1e-5)

    def antiderivative(t):
        b = 0.1 * t + 9.95 * t**2
        return math.log(math.expm1(b))

    assert values.mean().item() == pytest.approx(antiderivative(1.0) - antiderivative(1e-5), rel=2e-3)
    assert values.std() / values.mean() < 0.02


@pytest.mark.parametrize(("name", "gain"), [("vp", 3), ("subvp", 3), ("cld", 2)])
def test_importance_sampled_time_lowers_the_variance_of_the_likelihood_loss(name, gain):
    process, x0 = PROCESSES[name], data(name, 20_000)
    network = exact_network(process, data_shape(name), "L")
    uniform, importance = (
        DSM("likelihood", times, "L")(network, process, x0, generator(6))
        for times in (UniformTimes(1e-3), ImportanceTimes(1e-3))
    )
    error = math.sqrt((uniform.var() + importance.var()) / len(x0))
    assert abs(uniform.mean() - importance.mean()) < 4 * error
    assert uniform.var() > gain * importance.var()


def test_discrete_times_are_as_likely_each():
    t, weight = DiscreteTimes((0.1, 0.2, 0.7)).draw(VP(), 30_000, generator())
    shares = [(t == level).double().mean().item() for level in (0.1, 0.2, 0.7)]
    assert shares == pytest.approx([1 / 3] * 3, abs=0.012)
    assert (weight == 1).all()


# from a network to a score


@each_process
def test_score_of_a_network(name):
    process, t, shape = PROCESSES[name], 0.3, data_shape(name)
    exact = GaussianMixture(process, torch.full((1, *shape), 0.5), math.sqrt(VARIANCE))
    u = exact.sample(4, t, generator())
    for predicts in ("R", "L", "score"):
        score = score_of(exact_network(process, shape, predicts), process, predicts)
        assert torch.allclose(score(u, t), exact(u, t), rtol=1e-9, atol=1e-9)


def test_a_network_of_velocities_drives_a_sampler():
    """G G^T lets through the velocities' score alone."""
    exact = GaussianMixture(PAPER_CLD, torch.full((1, 3), 0.5), math.sqrt(VARIANCE))
    score = score_of(exact_network(PAPER_CLD, (3,), "velocity"), PAPER_CLD, "velocity")
    sampler = euler_maruyama(PAPER_CLD, grids.uniform(PAPER_CLD, 20))
    u = PAPER_CLD.prior_sample((5, 2, 3), generator(), torch.float64)
    assert torch.allclose(sampler(score, u, generator(1)), sampler(exact, u, generator(1)), rtol=1e-9)


# bad input


def test_bad_input_is_one_clear_error():
    def network(u, t):
        return u

    x0 = torch.zeros(2, 3)
    with pytest.raises(RescoreError, match=r"weighting 'simpel'; allowed: simple, sigma\^2, likelihood"):
        DSM("simpel")
    with pytest.raises(RescoreError, match="predicts 'noise'; allowed: R, L, score"):
        DSM(predicts="noise")
    with pytest.raises(RescoreError, match="predicts 'eps'; allowed: R, L, score, velocity"):
        score_of(network, VP(), "eps")
    with pytest.raises(RescoreError, match="HSM does not apply to VP"):
        HSM()(network, VP(), x0, generator())
    with pytest.raises(RescoreError, match="ncsn does not apply to VP"):
        ncsn(VP(), 10)
    with pytest.raises(RescoreError, match="1 levels: needs at least 2"):
        ncsn(VE(), 1)
    with pytest.raises(RescoreError, match="t0 = 0: allowed are values between 0 and 1"):
        DSM("likelihood", ImportanceTimes(0.0))(network, VP(), x0, generator())
