"""Samplers that are discrete chains: covariances in closed form and reference values."""

import math

import numpy as np
import pytest
import torch
from diffusion_cases import gaussian_score_operator, generator, relative
from rescore.problems.gaussian import GaussianLaw, exact_score, law_after, prior_law
from rescore.processes import CLD, VE, VP, DiscreteVP, SubVP, grids
from rescore.samplers import (
    SSCS,
    AnnealedLangevin,
    PredictorCorrector,
    ancestral,
    euler_maruyama,
    langevin,
    probability_flow,
    reverse_diffusion,
    score_sde_sampler,
)
from rescore.samplers.sscs import analytic_part
from rescore.scores import GaussianMixture
from scipy.linalg import expm
from test_samplers_exact import chain_covariances, marginal, mixture

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


def test_ancestral_sampling_of_vp_is_reverse_diffusion_up_to_beta_squared():
    """(u + beta s) / sqrt(1 - beta) less (2 - sqrt(1 - beta)) u + beta s is beta^2 (u / 4 + s / 2) and higher orders."""
    for beta, within in ((1e-2, 0.02), (1e-3, 0.002)):
        process = DiscreteVP(torch.full((10,), beta, dtype=torch.float64))
        times = grids.uniform(process, 10)
        chains = ancestral(process, times, "forward"), reverse_diffusion(process, times)
        zero, one = torch.zeros(1, 1, dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64)
        for u, s, expected in ((one, zero, 0.25), (zero, one, 0.5)):
            ours, theirs = (chain.step(4, lambda u, t, s=s: s, u, torch.zeros_like).item() for chain in chains)
            assert (ours - theirs) / beta**2 == pytest.approx(expected, rel=within)


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


# --- Langevin and predictor-corrector -----------------------------------------------------------------------------------------


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


def test_langevin_without_its_noise_climbs():
    """With noise 0, u <- (1 - e) u on a standard normal; a factor multiplies the noise."""
    u = torch.tensor([[1.0], [-2.0]], dtype=torch.float64)
    assert torch.allclose(langevin(lambda u: -u, u, 0.1, 3, generator(), noise=0.0), 0.9**3 * u)
    half, whole = (langevin(lambda u: -u, u, 0.1, 1, generator(), noise) - 0.9 * u for noise in (0.5, 1.0))
    assert torch.allclose(2 * half, whole)


def test_a_corrector_has_the_alpha_of_its_own_level():
    """e = 2 a (r |z| / |s|)^2 with batch means of the norms; a is 1 - beta_i at t_i (Score-SDE's `alphas`), 1 at the data."""
    betas = torch.tensor([0.1, 0.2, 0.4], dtype=torch.float64)
    process, times = DiscreteVP(betas), [1.0, 2 / 3, 1 / 3, 0.0]
    u = torch.randn(5, 2, generator=generator(), dtype=torch.float64)

    def corrected(alphas):
        x, draws = u, generator(1)
        for alpha in alphas:
            z = torch.randn(5, 2, generator=draws, dtype=torch.float64)
            s = -3 * x
            e = 2 * alpha * (0.1 * z.norm(dim=1).mean() / s.norm(dim=1).mean()) ** 2
            x = x + e * s + (2 * e).sqrt() * z
        return x

    for first, alphas in ((True, (0.6, 0.8, 0.9)), (False, (0.8, 0.9, 1.0))):
        sampler = PredictorCorrector(process, times, None, snr=0.1, corrector_first=first)
        assert torch.allclose(sampler(lambda u, t: -3 * u, u, generator(1)), corrected(alphas), rtol=1e-12)
    late = PredictorCorrector(process, [1.0, 2 / 3, 1 / 3], None, snr=0.1, corrector_first=False)
    assert torch.allclose(late(lambda u, t: -3 * u, u, generator(1)), corrected((0.8, 0.9)), rtol=1e-12)


@pytest.mark.parametrize("corrector_steps", [0, 1])
def test_score_sde_sampler_leaves_no_noise_on_a_point(corrector_steps):
    """Its last update is at t = eps, and on VE down to sigma 0: nothing of sigma_min = 0.01 is left."""
    process, point = VE(), torch.tensor([[0.3, -0.7]], dtype=torch.float64)
    sampler = score_sde_sampler(process, grids.uniform(process, 100), 0.16, corrector_steps)
    u = process.prior_sample((50, 2), generator(), torch.float64)
    found = sampler.solve(GaussianMixture(process, point, 0.0), u, generator(1))
    assert (found.u - point).abs().max() < 1e-3
    assert found.nfe == sampler.nfe == 101 * (1 + corrector_steps), "each of the 101 times has its updates"


@pytest.mark.parametrize("std", [1e-4, 0.01, 0.1])
@pytest.mark.parametrize("process", [VP(), SubVP()])
def test_score_sde_sampler_is_the_authors_euler_maruyama(process, std):
    """`get_pc_sampler` on N(0, std^2): N = 1000 steps of 1 / N at linspace(T, eps, N), the mean of the last."""
    n, variance = 1000, 1.0
    t = torch.linspace(1, process.eps, n, dtype=torch.float64)
    marginals = (process.mean(t).values ** 2 * std**2 + process.Sigma(t).values).tolist()
    F, GG = process.F(t).values.tolist(), process.GG(t).values.tolist()
    for i in range(n):
        variance *= (1 - (F[i] + GG[i] / marginals[i]) / n) ** 2
        variance += GG[i] / n if i < n - 1 else 0
    assert final_variance(score_sde_sampler(process, grids.uniform(process, n - 1), 0.16), std) == pytest.approx(
        variance, rel=1e-9
    )


@pytest.mark.parametrize("std", [1e-4, 0.01, 0.1])
def test_score_sde_sampler_is_the_authors_on_ve(std):
    """`get_pc_sampler` on N(0, std^2): the corrector, then reverse diffusion with their table of sigmas, in which 0 is below
    the last. Scores are at sigma(t), whose square is off the table's by the share 2 eps log(5000) at most; we remove the noise
    of sigma(t)."""
    process, n, snr, variance = VE(), 1000, 0.16, 2500.0
    sigmas = torch.linspace(math.log(0.01), math.log(50.0), n, dtype=torch.float64).exp().tolist()
    for i, t in enumerate(torch.linspace(1, process.eps, n, dtype=torch.float64).tolist()):
        marginal = std**2 + process.Sigma(t).values.item()
        size = 2 * (snr * marginal) ** 2 / variance
        variance = (1 - size / marginal) ** 2 * variance + 2 * size
        index = n - 1 - i
        removed = sigmas[index] ** 2 - (sigmas[index - 1] ** 2 if index else 0)
        variance = (1 - removed / marginal) ** 2 * variance + (removed if index else 0)
    found = final_variance(score_sde_sampler(process, grids.uniform(process, n - 1), snr), std)
    off = 2 * process.eps * math.log(5000)
    assert math.sqrt(found) == pytest.approx(math.sqrt(variance), rel=10 * off, abs=2 * off * process.sigma_min)


def final_variance(sampler, std):
    """Of what the sampler makes of its prior, for data N(0, std^2)."""
    data = GaussianLaw.independent(torch.zeros(1), torch.full((1,), std**2, dtype=torch.float64))
    return law_after(sampler, exact_score(sampler.process, data), prior_law(sampler.process, (1,))).variances.item()


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


# --- CLD: SSCS ----------------------------------------------------------------------------------------------------------------


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


def test_the_mean_of_sscs_lacks_the_noise_of_the_last_half_step():
    process, u = CLD(), torch.ones(2, 2, 1, dtype=torch.float64)
    score, times = GaussianMixture(process, torch.ones(1, 1), 0.3), grids.quadratic(process, 3)
    plain, mean = (SSCS(process, times, denoise).run(score, u, torch.ones_like) for denoise in ("none", "mean"))
    last = SSCS(process, times).halves[1][1][-1](torch.ones_like(u))
    assert last.abs().min() > 1e-3 and torch.allclose(plain - mean, last, rtol=1e-9)


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
