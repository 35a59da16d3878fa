"""Identities of the samplers: closed forms, one-step recovery, agreement between methods."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torchdiffeq
from diffusion_cases import ISOTROPIC, PROCESSES, data_shape, dense, gaussian_score_operator, generator, matrix, relative, size
from rescore.processes import CLD, VP, grids
from rescore.samplers import (
    AdaptiveFlow,
    RungeKutta,
    ancestral,
    ddim,
    euler_maruyama,
    exponential_integrator,
    gddim,
    gddim_stochastic,
    ipndm,
    rhoab_deis,
    tab_deis,
)
from rescore.samplers.weights import transfer_weights
from rescore.scores import GaussianMixture, to_noise
from scipy.integrate import quad_vec

each_process = pytest.mark.parametrize("name", PROCESSES)
each_isotropic = pytest.mark.parametrize("name", ISOTROPIC)


def mixture(name, std=0.3):
    means = torch.randn(3, *data_shape(name), generator=generator(1), dtype=torch.float64)
    return GaussianMixture(PROCESSES.get(name) or ISOTROPIC[name], means, std)


def chain_covariances(sampler, variance, start):
    """Covariances along a one-step sampler with the exact score of N(0, variance) data, from covariance `start`."""
    covariance, covariances = start, []
    scores = gaussian_score_operator(sampler.process, torch.tensor(sampler.times[:-1], dtype=torch.float64), variance)
    for i in range(sampler.steps):
        step = sampler.A[i] + sampler.B[i] @ scores[i]
        covariance = step @ covariance @ step.T
        if sampler.C[i] is not None:
            covariance = covariance + sampler.C[i] @ sampler.C[i].T
        covariances.append(covariance)
    return covariances


def marginal(process, t, variance):
    return -gaussian_score_operator(process, t, variance).inv()


# --- exponential integrators ---------------------------------------------------------------------------------------------


def test_tab0_is_ddim_on_vp():
    """Thesis Prop. 2 and 5: the coefficient sqrt(1 - alpha_t) - sqrt(alpha_t / alpha_s) sqrt(1 - alpha_s)."""
    process, score = VP(), mixture("vp")
    times = grids.quadratic(process, 10)
    u = torch.randn(50, 3, generator=generator(), dtype=torch.float64)
    expected = u
    alpha = torch.exp(process.log_alpha(times))
    for i in range(10):
        ratio = (alpha[i + 1] / alpha[i]).sqrt()
        eps = -(1 - alpha[i]).sqrt() * score(expected, times[i].item())
        expected = ratio * expected + ((1 - alpha[i + 1]).sqrt() - ratio * (1 - alpha[i]).sqrt()) * eps
    for sampler in (tab_deis(process, times, 0), ddim(process, times), rhoab_deis(process, times, 0), gddim(process, times, 1)):
        assert relative(sampler(score, u), expected) < 1e-10


@each_isotropic
def test_all_first_order_noise_integrators_agree(name):
    process, score = ISOTROPIC[name], mixture(name)
    times = grids.uniform(process, 8, 0.01)
    u = torch.randn(20, 3, generator=generator(), dtype=torch.float64) * process.prior_covariance.cholesky().values
    expected = tab_deis(process, times, 0)(score, u)
    for method in (ddim, lambda p, t: rhoab_deis(p, t, 0), gddim, lambda p, t: gddim_stochastic(p, t, 0.0)):
        assert relative(method(process, times)(score, u), expected) < 1e-10


@pytest.mark.parametrize("factor", ["R", "L", "I"])
@each_process
def test_weights_integrate_polynomials_against_the_transfer(name, factor):
    """Thesis eqs. 6.15 and 7.19b against adaptive quadrature of the integrand as printed."""
    process, n = PROCESSES[name], size(name)
    start, end, nodes = 0.3, 0.12, [0.3, 0.45, 0.7]

    def integrand(tau):
        rate = process.Psi(end, tau) @ process.GG(tau) @ process.K(tau, factor).T.inv()
        powers = [math.prod((tau - b) / (a - b) for b in nodes if b != a) for a in nodes]
        return np.stack([matrix(rate, n) * p / 2 for p in powers])

    expected = quad_vec(integrand, start, end, epsabs=1e-13, epsrel=1e-12)[0]
    times = [torch.tensor(x, dtype=torch.float64) for x in ([start], [end], [nodes])]
    weights = transfer_weights(process, *times, factor)[0]
    assert max(relative(matrix(weights[j], n), expected[j]) for j in range(3)) < 1e-9


@each_process
def test_order_zero_weight_is_the_difference_of_factors(name):
    """C = R_t - Psi(t, s) R_s, and the weights of any degree add up to it."""
    process = PROCESSES[name]
    times = grids.quadratic(process, 9)
    s, t = times[:-1], times[1:]
    expected = process.R(t) - process.Psi(t, s) @ process.R(s)
    direct = (process.Psi(t, s).identity() @ expected).values
    for order in (1, 3, 4):
        sampler = gddim(process, times, order)
        for i in range(9):
            total = sum((w.values for w in sampler.weights[i]), start=torch.zeros(()))
            assert (total - direct[i]).abs().max() < 1e-9 * max(w.values.abs().max() for w in sampler.weights[i])


def test_no_such_identity_for_the_cholesky_factor():
    process = CLD()
    times = torch.tensor([1.0, 1e-3], dtype=torch.float64)
    weight = transfer_weights(process, times[:1], times[1:], times[:1, None], "L")[0, 0]
    difference = process.L(1e-3) - process.Psi(1e-3, 1.0) @ process.L(1.0)
    assert (weight.values - difference.values).abs().max() > 1e3


@each_process
def test_one_step_recovery(name):
    """Thesis Props. 4 and 7: for data of covariance Sigma_0, -R_t^T score is constant along the flow and one step is exact."""
    process = PROCESSES[name]
    x = torch.randn(1, *data_shape(name), generator=generator(), dtype=torch.float64)
    score = GaussianMixture(process, x, 0.0)
    u, noise = process.perturb(x.expand(5, *x.shape[1:]), process.T, generator(2))
    t = max(process.eps, 1e-3)
    out = gddim(process, [process.T, t])(score, u)
    exact = process.mean(t)(process.embed(x)) + process.R(t)(noise)
    assert relative(out, exact) < 1e-9
    eps = to_noise(process, score)
    assert torch.allclose(eps(out, t), noise, atol=1e-6 if name == "blurring" else 1e-8)


def test_noise_is_constant_along_the_flow_and_the_score_is_not():
    """Thesis Prop. 4; the constant is -sqrt(1 - alpha_T) grad log p_T(u_T), whose factor the text drops."""
    process = VP()
    score = GaussianMixture(process, torch.tensor([[0.7]]), 0.0)
    u = torch.tensor([[1.3]], dtype=torch.float64)
    t = 0.01
    end = RungeKutta(process, grids.quadratic(process, 60, t), "rk4", "rho")(score, u)
    constant = -process.L(1.0).values * score(u, 1.0)
    assert to_noise(process, score)(end, t).item() == pytest.approx(constant.item(), rel=1e-9)
    assert abs(score(end, t).item() / score(u, 1.0).item()) > 10


@pytest.mark.parametrize("order", [1, 2, 3])
def test_polynomial_noise_is_integrated_exactly(order):
    """Noise that is a polynomial of degree `order` in t (in rho): once warm, tAB (rhoAB) adds its exact integral."""
    process = VP()
    times = grids.quadratic(process, 6, 0.01)
    coefficients = torch.tensor([0.3, -1.1, 0.7, 0.4], dtype=torch.float64)[: order + 1]

    def polynomial(x):
        return sum(c * x**k for k, c in enumerate(coefficients))

    def integrand(tau):
        return (process.Psi(times[-1], tau) @ process.GG(tau) @ process.L(tau).inv()).values * polynomial(tau) / 2

    integral = quad_vec(lambda tau: integrand(tau).numpy(), times[-2].item(), times[-1].item(), epsabs=1e-14)[0]
    weights = tab_deis(process, times, order).weights[-1]
    total = sum(w.values * polynomial(times[-2 - j]) for j, w in enumerate(weights))
    assert total.item() == pytest.approx(integral.item(), rel=1e-10)
    rho = process.rho(times)
    weights = rhoab_deis(process, times, order).weights[-1]
    total = sum(w.values * polynomial(rho[-2 - j]) for j, w in enumerate(weights))
    antiderivative = [sum(c * x ** (k + 1) / (k + 1) for k, c in enumerate(coefficients)) for x in (rho[-1], rho[-2])]
    expected = process.mean(times[-1]).values * (antiderivative[0] - antiderivative[1])
    assert total.item() == pytest.approx(expected.item(), rel=1e-10)


def test_ipndm_mixes_ddim_steps():
    process = VP()
    times = grids.quadratic(process, 6)
    transfer = [w[0].values for w in tab_deis(process, times, 0).weights]
    mixes = [(1,), (3 / 2, -1 / 2), (23 / 12, -16 / 12, 5 / 12)] + 3 * [(55 / 24, -59 / 24, 37 / 24, -9 / 24)]
    for step, c, mix in zip(ipndm(process, times).weights, transfer, mixes, strict=True):
        assert [w.values.item() for w in step] == pytest.approx([c.item() * m for m in mix], rel=1e-12)


# --- stochastic families ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lam", [0.0, 0.3, 1.0, 2.0])
@pytest.mark.parametrize("name", [*PROCESSES, "cld-wide"])
def test_stochastic_gddim_has_exact_marginals(name, lam):
    """Three steps from T to t0, exact score of data of covariance Sigma_0: the chain's mean and covariance are p_t's."""
    process, n = PROCESSES.get(name) or CLD(eps0=0.3), size(name)
    times = grids.quadratic(process, 3, max(process.eps, 1e-3))
    sampler = gddim_stochastic(process, times, lam)
    covariances = chain_covariances(sampler, 0.0, process.Sigma(process.T))
    for t, covariance in zip(times[1:], covariances, strict=True):
        assert np.abs(matrix(covariance, n) - matrix(process.Sigma(t), n)).max() < 1e-9
    x = torch.ones(1, *data_shape(name), dtype=torch.float64)
    u = process.mean(process.T)(process.embed(x))
    u = sampler.run(GaussianMixture(process, x, 0.0), u, torch.zeros_like)
    assert relative(u, process.mean(times[-1])(process.embed(x))) < 1e-9


def test_theorem_6():
    """The variance and the noise coefficient of the lambda family on VP; the thesis prints sigma_t for sigma_t^2."""
    process, lam = VP(), 0.6
    s, t = 0.7, 0.3
    a_s, a_t = (process.mean(x).values.item() ** 2 for x in (s, t))
    v = (1 - a_t) * (1 - ((1 - a_t) / (1 - a_s)) ** lam**2 * (a_s / a_t) ** lam**2)
    sampler = gddim_stochastic(process, [s, t], lam)
    assert sampler.C[0].values.item() ** 2 == pytest.approx(v, rel=1e-12)
    noise_coefficient = math.sqrt(1 - a_t - v) - math.sqrt(a_t / a_s) * math.sqrt(1 - a_s)
    assert -sampler.B[0].values.item() / math.sqrt(1 - a_s) == pytest.approx(noise_coefficient, rel=1e-12)
    eta_family = ddim(process, [s, t], eta=lam).C[0].values.item() ** 2
    assert eta_family == pytest.approx(lam**2 * (1 - a_t) / (1 - a_s) * (1 - a_s / a_t), rel=1e-12)
    assert abs(eta_family / v - 1) > 0.1


@each_process
def test_prop_10_and_the_other_end(name):
    """lam = 0 is deterministic gDDIM of order 1; lam = 1 is the ancestral sampler (posterior covariance) and DDIM's eta = 1."""
    process, score = PROCESSES[name], mixture(name)
    times = grids.quadratic(process, 5, 0.01)
    u = process.prior_sample((10, *process.state_shape(data_shape(name))), generator(), torch.float64)
    assert relative(gddim_stochastic(process, times, 0.0)(score, u), gddim(process, times)(score, u)) < 1e-9
    expected = gddim_stochastic(process, times, 1.0)(score, u, generator(1))
    others = [ancestral] if name.startswith("cld") else [ancestral, lambda p, t: ddim(p, t, eta=1.0)]
    for method in others:
        assert relative(method(process, times)(score, u, generator(1)), expected) < 1e-7


@pytest.mark.parametrize("lam", [0.0, 1.0])
@each_process
def test_the_reverse_family_keeps_the_marginals(name, lam):
    """Anderson's reverse SDE and the flow (thesis Prop. 1): the error of Euler-Maruyama's covariance is of first order."""
    process = PROCESSES[name]
    exact = dense(marginal(process, 0.05, 0.3))
    coarse, fine = (
        dense(chain_covariances(euler_maruyama(process, grid, lam), 0.3, marginal(process, process.T, 0.3))[-1])
        for grid in (grids.quadratic(process, n, 0.05) for n in (300, 600))
    )
    assert 1.7 < relative(coarse, exact) / relative(fine, exact) < 2.6
    assert relative(2 * fine - coarse, exact) < 0.02


# --- flow, denoising ----------------------------------------------------------------------------------------------------------


@each_process
def test_adaptive_flow_on_a_gaussian(name):
    """Centred Gaussian data: x_T goes to x_T sqrt(S_t0 / S_T) where that is a number, and to R_t0 R_T^-1 u_T for the R of the
    process that has the data's variance in Sigma_0 (thesis eq. 7.16)."""
    process = PROCESSES[name]
    score = GaussianMixture(process, torch.zeros(1, *data_shape(name)), 0.5)
    u = score.sample(5, process.T, generator())
    t0 = 0.02
    sampler = AdaptiveFlow(process, [process.T, t0], 1e-8)
    out = sampler(score, u)
    if name.startswith("cld"):
        whole = replace(process, eps0=process.eps0 + 0.25)
        object.__setattr__(whole, "gamma", process.gamma - 0.25 / process.M)  # no process of its own: gamma < 0
        expected = (whole.R(t0) @ whole.R(process.T).inv())(u)
    else:
        expected = (marginal(process, t0, 0.25) @ marginal(process, process.T, 0.25).inv()).cholesky()(u)
    assert relative(out, expected) < 1e-5
    assert sampler.nfe is None and sampler.solve(score, u).nfe > 20


@pytest.mark.parametrize("name", sorted({*ISOTROPIC} - {"discrete"}))  # whose drift jumps between levels
def test_adaptive_flow_ends_its_last_step_at_the_end(name, monkeypatch):
    """x_T sqrt(S_t0 / S_T) to the tolerance, and no time outside [t0, T] (a step over t0 and back is off by 1e-4)."""
    process, times, seen = ISOTROPIC[name], [], []
    solve = torchdiffeq.odeint

    def spied(rate, *arguments, **options):
        return solve(lambda t, u: (times.append(t.item()), rate(t, u))[1], *arguments, **options)

    monkeypatch.setattr(torchdiffeq, "odeint", spied)
    score = GaussianMixture(process, torch.zeros(1, 3), 0.5)
    u = score.sample(5, process.T, generator())
    sampler = AdaptiveFlow(process, [process.T, process.eps], 1e-7)
    out = sampler(lambda u, t: (seen.append(t), score(u, t))[1], u)
    ratio = (marginal(process, process.eps, 0.25) @ marginal(process, process.T, 0.25).inv()).values.sqrt()
    assert (out - ratio * u).abs().max() < 5e-7
    del times[1]  # the trial that chooses the first step size is held within [t0, T] before the score sees it
    assert process.eps <= min(times) and max(times) == process.T
    assert min(times) == pytest.approx(process.eps, rel=1e-9)
    assert process.eps <= min(seen) and max(seen) <= process.T


@each_process
def test_denoising_steps(name):
    process, x = PROCESSES[name], torch.randn(1, *data_shape(name), generator=generator(), dtype=torch.float64)
    score, t0 = GaussianMixture(process, x, 0.0), 0.05
    u = score.sample(4, process.T, generator())
    times = grids.uniform(process, 6, t0)
    plain = gddim(process, times)(score, u)
    tweedie = gddim(process, times, denoise="tweedie")(score, u)
    assert relative(tweedie, process.mean(0.0)(process.embed(x)).expand_as(u)) < 1e-7
    euler = gddim(process, times, denoise="euler")(score, u)
    expected = plain - t0 * (process.F(t0)(plain) - process.GG(t0)(score(plain, t0)))
    assert torch.allclose(euler, expected, rtol=1e-12)
    sampler = gddim_stochastic(process, times, 1.0, denoise="mean")
    assert sampler.C[-1] is None and sampler.nfe == 6


def test_ingredient_1_integrates_a_constant_score_exactly():
    """Thesis eq. 6.8."""
    process = VP()
    times = grids.uniform(process, 1, 0.3)
    out = exponential_integrator(process, times, 0, "I")(lambda u, t: torch.ones_like(u), torch.ones(1, 1, dtype=torch.float64))
    integral = quad_vec(lambda tau: -0.5 * (process.Psi(0.3, tau) @ process.GG(tau)).values.numpy(), 1.0, 0.3, epsabs=1e-13)[0]
    assert out.item() == pytest.approx(process.Psi(0.3, 1.0).values.item() + integral.item(), rel=1e-12)
