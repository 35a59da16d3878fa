"""Identities of the samplers: closed forms, one-step recovery, agreement between methods, reference values of chains."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusion_cases import ISOTROPIC, PROCESSES, data_shape, dense, gaussian_score_operator, generator, matrix, relative, size
from scipy.integrate import quad_vec
from scipy.linalg import expm

from rescore.processes import CLD, VE, VP, DiscreteVP, grids
from rescore.samplers import (
    SSCS,
    AdaptiveFlow,
    AnnealedLangevin,
    PredictorCorrector,
    RungeKutta,
    ancestral,
    ddim,
    euler_maruyama,
    exponential_integrator,
    gddim,
    gddim_stochastic,
    ipndm,
    langevin,
    probability_flow,
    reverse_diffusion,
    rhoab_deis,
    tab_deis,
)
from rescore.samplers.sscs import analytic_part
from rescore.samplers.weights import transfer_weights
from rescore.scores import GaussianMixture, to_noise

each_process = pytest.mark.parametrize("name", PROCESSES)
each_isotropic = pytest.mark.parametrize("name", ISOTROPIC)


def mixture(name, std=0.3):
    means = torch.randn(3, *data_shape(name), generator=generator(1), dtype=torch.float64)
    return GaussianMixture(PROCESSES.get(name) or ISOTROPIC[name], means, std)


def chain_covariances(sampler, variance, start):
    """Covariances along a one-step sampler with the exact score of N(0, variance) data, from covariance `start`."""
    covariance, covariances = start, []
    for i, t in enumerate(sampler.times[:-1]):
        step = sampler.A[i] + sampler.B[i] @ gaussian_score_operator(sampler.process, t, variance)
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


# --- discrete chains and their published numbers ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "reverse", "ancestor", "flow"),
    [(10, 0.247799, 0.037337, 4.098342), (100, 0.090832, 0.076474, 0.124311), (1000, 0.083948, 0.082529, 0.086704)],
)
def test_ve_chains(n, reverse, ancestor, flow):
    """Final variances for data N(0, 1/12), sigma from 50 to 0.01 in n geometric levels and then 0 without noise."""
    process = VE()
    times = grids.uniform(process, n - 1, 0.0)
    last = gaussian_score_operator(process, 0.0, 1 / 12).values.item() * process.sigma_min**2
    start = process.Sigma(1.0)
    for method, expected, half in ((reverse_diffusion, reverse, 1), (ancestral, ancestor, 1), (probability_flow, flow, 0.5)):
        variance = chain_covariances(method(process, times), 1 / 12, start)[-1].values.item()
        assert variance * (1 + half * last) ** 2 == pytest.approx(expected, abs=6e-7)


@pytest.mark.parametrize(
    ("n", "reverse", "ancestor", "flow"), [(100, 0.264435, 0.257776, 0.387519), (1000, 0.251381, 0.250752, 0.260508)]
)
def test_vp_chains(n, reverse, ancestor, flow):
    """Final variances for data N(0, 1/4), betas linspace(0.1/n, 20/n, n), start N(0, 1), last noise dropped."""
    process = DiscreteVP(torch.linspace(0.1 / n, 20 / n, n, dtype=torch.float64))
    times = grids.uniform(process, n)
    samplers = (
        (reverse_diffusion(process, times, denoise="mean"), reverse),
        (ancestral(process, times, "forward", denoise="mean"), ancestor),
        (probability_flow(process, times), flow),
    )
    for sampler, expected in samplers:
        assert chain_covariances(sampler, 0.25, process.prior_covariance)[-1].values.item() == pytest.approx(expected, abs=6e-7)


def test_ancestral_sampling_of_one_point():
    """VE, a = sigma_{i-1}^2, b = sigma_i^2: the ancestral chain is exact; reverse diffusion has a^2 / b + b - a."""
    process = VE()
    times = grids.uniform(process, 10, 0.0)
    variance = process.Sigma(times).values
    exact = chain_covariances(ancestral(process, times), 0.0, process.Sigma(1.0))
    assert relative(torch.stack([c.values for c in exact]), variance[1:]) < 1e-12
    first = chain_covariances(reverse_diffusion(process, times), 0.0, process.Sigma(1.0))[0].values
    assert first.item() == pytest.approx((variance[1] ** 2 / variance[0] + variance[0] - variance[1]).item(), rel=1e-12)


def test_reverse_diffusion_coefficients_as_printed():
    """Note, fig. 16: (2 - sqrt(1 - beta)) x + beta s + sqrt(beta) z; eq. 39: (x + beta s) / sqrt(1 - beta) + sqrt(beta) z."""
    betas = torch.tensor([0.1, 0.3], dtype=torch.float64)
    process = DiscreteVP(betas)
    times = [1.0, 0.5, 0.0]
    for i, beta in enumerate((0.3, 0.1)):
        for sampler, a, b in (
            (reverse_diffusion(process, times), 2 - math.sqrt(1 - beta), beta),
            (ancestral(process, times, "forward"), 1 / math.sqrt(1 - beta), beta / math.sqrt(1 - beta)),
        ):
            found = [op[i].values.item() for op in (sampler.A, sampler.B, sampler.C)]
            assert found == pytest.approx([a, b, math.sqrt(beta)], rel=1e-12)
        flow = probability_flow(process, times)
        assert flow.B[i].values.item() == pytest.approx(beta / 2, rel=1e-12)


# --- Langevin and predictor-corrector
# -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("predictor", [reverse_diffusion, ancestral, euler_maruyama])
def test_zero_corrector_steps_are_the_predictor(predictor):
    score, times = mixture("ve"), grids.uniform(VE(), 12)
    u = VE().prior_sample((7, 3), generator(), torch.float64)
    for denoise in ("none", "mean"):
        both = PredictorCorrector(VE(), times, predictor, corrector_steps=0, denoise=denoise)
        assert torch.equal(both(score, u, generator(1)), predictor(VE(), times, denoise=denoise)(score, u, generator(1)))


def test_langevin_has_the_stationary_variance_of_its_step():
    """On N(0, S) the chain x + e s + sqrt(2 e) z has variance S / (1 - e / (2 S))."""
    s, e = 1.5, 0.4
    u = langevin(lambda u: -u / s, torch.randn(200_000, 1, generator=generator(), dtype=torch.float64), e, 30, generator(1))
    expected = s / (1 - e / (2 * s))
    assert u.var().item() == pytest.approx(expected, rel=5 * math.sqrt(2 / 200_000))
    assert expected / s > 1.1


def test_corrector_step_size():
    """e = 2 a (r |z| / |s|)^2 with batch means of the norms, a = 1 - beta on VP."""
    process = DiscreteVP(torch.tensor([0.2], dtype=torch.float64))
    sampler = PredictorCorrector(process, [1.0, 0.0], None, snr=0.1)
    u = torch.randn(5, 2, generator=generator(), dtype=torch.float64)
    z = torch.randn(5, 2, generator=generator(1), dtype=torch.float64)
    s = -3 * u
    e = 2 * 0.8 * (0.1 * z.norm(dim=1).mean() / s.norm(dim=1).mean()) ** 2
    assert torch.allclose(sampler(lambda u, t: -3 * u, u, generator(1)), u + e * s + (2 * e).sqrt() * z, rtol=1e-12)


def test_the_note_langevin_example():
    """0.6 N(2, 0.5^2) + 0.4 N(-2, 0.2^2), 10,000 particles from U[-3, 3], 100 steps of size 0.01: Langevin dynamics keeps the
    mass (3 + 0.8207) / 6 of the starting basin, annealing finds 0.6."""
    process = VE(sigma_min=0.05, sigma_max=3.0)
    weights = torch.tensor([0.6, 0.4], dtype=torch.float64)
    # The process's own noise at t = 0 is inside the data's variance.
    stds = (torch.tensor([0.5, 0.2], dtype=torch.float64) ** 2 - 0.05**2).sqrt()
    score = GaussianMixture(process, torch.tensor([[2.0], [-2.0]]), stds, weights)
    start = 6 * torch.rand(10_000, 1, generator=generator(), dtype=torch.float64) - 3
    plain = langevin(lambda u: score(u, 0.0), start, 0.01, 100, generator(1))
    right = plain > 0
    assert right.double().mean().item() == pytest.approx(0.6368, abs=0.02)
    assert plain[right].mean().item() == pytest.approx(1.988, abs=0.04)
    assert plain[right].std().item() == pytest.approx(0.508, abs=0.03)
    assert plain[~right].std().item() == pytest.approx(0.214, abs=0.015)
    annealed = AnnealedLangevin(process, grids.uniform(process, 9, 0.0), 2e-3, 100)
    out = annealed(score, start, generator(2))
    assert (out > 0).double().mean().item() == pytest.approx(0.6, abs=0.02)
    assert annealed.sizes[0] / annealed.sizes[-1] == pytest.approx((3 / 0.05) ** 2)


# --- CLD: SSCS
# ------------------------------------------------------------------------------------------------------------------


def test_analytic_half_step():
    """Against the matrix exponential and Van Loan's integral of dx = -beta v / M, dv = beta x - Gamma beta v / M + noise."""
    process, h = CLD(), 0.04
    a, p = analytic_part(process, *torch.tensor([0.5, 0.5 + h], dtype=torch.float64))
    F = 4 * np.array([[0, -4.0], [1.0, -4.0]])
    GG = np.diag([0, 8.0])
    assert relative(a.values, expm(F * h)) < 1e-10
    van_loan = expm(np.block([[-F, GG], [np.zeros((2, 2)), F.T]]) * h)
    assert relative(p.values, van_loan[2:, 2:].T @ van_loan[:2, 2:]) < 1e-10


@pytest.mark.parametrize("process", [CLD(), CLD(M=0.5, beta_min=1.0, beta_max=9.0)])
def test_analytic_part_keeps_the_prior(process):
    a, p = analytic_part(process, *torch.tensor([0.2, 0.7], dtype=torch.float64))
    prior = process.prior_covariance
    assert (a @ prior @ a.T + p - prior).values.abs().max() < 1e-14


def sscs_covariance(process, times, variance):
    sampler = SSCS(process, times)
    (first, first_root), (second, second_root) = sampler.halves
    covariance = marginal(process, process.T, variance)
    eye = process.prior_covariance.identity()
    for i, t in enumerate(sampler.times[:-1]):
        covariance = first[i] @ covariance @ first[i].T + first_root[i] @ first_root[i].T
        push = gaussian_score_operator(process, t, variance) + process.prior_covariance.inv()
        push = torch.diag(torch.tensor([0.0, 1.0], dtype=torch.float64)) @ push.values
        kick = eye + type(eye)(push) * sampler.kick[i]
        covariance = kick @ covariance @ kick.T
        covariance = second[i] @ covariance @ second[i].T + second_root[i] @ second_root[i].T
    return covariance


@pytest.mark.parametrize(
    ("grid", "n", "em", "sscs"),
    [
        (grids.uniform, 25, 0.337, 0.140),
        (grids.uniform, 50, 0.146, 0.0714),
        (grids.uniform, 100, 0.0667, 0.0313),
        (grids.quadratic_striding, 25, 0.0421, 0.0154),
        (grids.quadratic_striding, 50, 0.0185, 0.0083),
        (grids.quadratic_striding, 100, 0.00874, 0.0043),
    ],
)
def test_cld_covariance_errors(grid, n, em, sscs):
    """Data N(0, 0.3): the largest error of the 2x2 covariance at t0 = 1e-3, Euler-Maruyama against SSCS."""
    process = CLD(eps0=0.0)
    exact, times = marginal(process, 1e-3, 0.3), grid(process, n)
    final = chain_covariances(euler_maruyama(process, times), 0.3, marginal(process, 1.0, 0.3))[-1]
    assert (final - exact).values.abs().max().item() == pytest.approx(em, rel=6e-3)
    assert (sscs_covariance(process, times, 0.3) - exact).values.abs().max().item() == pytest.approx(sscs, rel=6e-3)


@pytest.mark.parametrize("n", [1, 5])
def test_sscs_keeps_the_equilibrium_and_em_does_not(n):
    process = CLD()
    equilibrium = lambda u, t: torch.stack((-u[:, 0], -u[:, 1] / process.M), 1)  # noqa: E731
    u = process.prior_sample((40_000, 2, 1), generator(), torch.float64)
    times = grids.uniform(process, n)
    out = SSCS(process, times)(equilibrium, u, generator(1))
    assert out.var(0).flatten().tolist() == pytest.approx([1, 0.25], rel=0.04)
    out = euler_maruyama(process, times)(equilibrium, u, generator(1))
    assert abs(out[:, 0].var().item() - 1) > 0.2


# --- flow, denoising
# --------------------------------------------------------------------------------------------------------------


@each_process
def test_adaptive_flow_on_a_gaussian(name):
    """Centred Gaussian data: x_T goes to x_T sqrt(S_t0 / S_T) where that is a number, and to R_t0 R_T^-1 u_T for the R of the
    process that has the data's variance in Sigma_0 (thesis eq. 7.16)."""
    process = PROCESSES[name]
    score = GaussianMixture(process, torch.zeros(1, *data_shape(name)), 0.5)
    u = score.sample(5, process.T, generator())
    t0 = 0.02
    sampler = AdaptiveFlow(process, [process.T, t0], 1e-8, 1e-8)
    out = sampler(score, u)
    if name.startswith("cld"):
        whole = replace(process, eps0=process.eps0 + 0.25, gamma=process.gamma - 0.25 / process.M)
        expected = (whole.R(t0) @ whole.R(process.T).inv())(u)
    else:
        expected = (marginal(process, t0, 0.25) @ marginal(process, process.T, 0.25).inv()).cholesky()(u)
    assert relative(out, expected) < 1e-5
    assert sampler.nfe > 20


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
    expected = plain - t0 * (process.drift(plain, t0) - process.GG(t0)(score(plain, t0)))
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
