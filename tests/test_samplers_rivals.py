"""The samplers that DEIS is compared with: PNDM, Analytic-DDIM, Ito-Taylor, FastDPM, the adaptive SDE solver, budgets."""

import math

import pytest
import torch
from diffusion_cases import ISOTROPIC, PROCESSES, generator, relative
from rescore.errors import Diverged, RescoreError
from rescore.processes import VE, VP, DiscreteVP, SubVP, grids
from rescore.samplers import (
    AdaptiveSDE,
    HeldToEvaluations,
    adaptive_flow,
    adaptive_sde,
    analytic_ddim,
    ancestral,
    ddim,
    ito_taylor,
    noise_powers,
    solve_within,
    with_noise_powers,
    within_budget,
)
from rescore.samplers.pndm import pndm
from rescore.scores import GaussianMixture, to_noise
from test_samplers_exact import chain_covariances, marginal, mixture


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 9])
def test_pndm_is_the_authors_algorithm(steps):
    """Written out again with alpha_bar as in the paper's eqs. 11 to 14, on a grid of unequal steps."""
    process, score, times = VP(), mixture("vp"), grids.quadratic(VP(), steps, 0.02)
    alpha = lambda t: math.exp(process.log_alpha(t).item())  # noqa: E731
    eps = lambda x, t: -math.sqrt(1 - alpha(t)) * score(x, t)  # noqa: E731

    def phi(x, e, s, t):
        clean = (x - math.sqrt(1 - alpha(s)) * e) / math.sqrt(alpha(s))
        return math.sqrt(alpha(t)) * clean + math.sqrt(1 - alpha(t)) * e

    u = x = torch.randn(30, 3, generator=generator(), dtype=torch.float64)
    past = []
    for s, t in zip(times[:-1].tolist(), times[1:].tolist(), strict=True):
        past.append(eps(x, s))
        if len(past) < 4:
            middle = (s + t) / 2
            e2 = eps(phi(x, past[-1], s, middle), middle)
            e3 = eps(phi(x, e2, s, middle), middle)
            e = (past[-1] + 2 * e2 + 2 * e3 + eps(phi(x, e3, s, t), t)) / 6
        else:
            e = (55 * past[-1] - 59 * past[-2] + 37 * past[-3] - 9 * past[-4]) / 24
        x = phi(x, e, s, t)
    found, nfe = pndm(process, times).solve(score, u)
    assert relative(found, x) < 1e-11
    assert nfe == pndm(process, times).nfe == (4 * steps if steps < 3 else steps + 9)


@pytest.mark.parametrize("name", ["vp", "ve", "cld"])
def test_pndm_recovers_one_point(name):
    """eps under R is constant along the flow of one point, so that any mixture of it is exact (Prop. 4)."""
    process = PROCESSES[name]
    point = torch.tensor([[0.4, -1.3, 0.2]], dtype=torch.float64)
    eps = torch.randn(5, *process.state_shape((3,)), generator=generator(), dtype=torch.float64)
    start, end = (process.mean(t)(process.embed(point)) + process.R(t)(eps) for t in (0.9, 0.1))
    found = pndm(process, torch.linspace(0.9, 0.1, 6, dtype=torch.float64))(GaussianMixture(process, point, 0.0), start)
    assert relative(found, end) < 1e-8


@pytest.mark.parametrize("name", ["vp", "ve"])
@pytest.mark.parametrize("steps", [1, 3, 10])
def test_analytic_ddim_has_exact_marginals_on_gaussian_data(name, steps):
    """From p_T, whatever the number of steps: DDIM alone, or another power, has not."""
    process, variance = PROCESSES[name], 0.3
    times = grids.quadratic(process, steps, 0.01)
    laws = [marginal(process, t, variance).values.item() for t in times.tolist()]
    powers = [(process.Sigma(t).values / law).item() for t, law in zip(times[:-1].tolist(), laws, strict=False)]
    start = marginal(process, process.T, variance)
    found = chain_covariances(analytic_ddim(process, times, powers), variance, start)
    assert [one.values.item() for one in found] == pytest.approx(laws[1:], rel=1e-10)
    for sampler in (ddim(process, times), analytic_ddim(process, times, [0.9 * power for power in powers])):
        chain = ddim(process, times) if sampler.C[0] is None else sampler
        assert chain_covariances(chain, variance, start)[-1].values.item() != pytest.approx(laws[-1], rel=1e-3)


def test_analytic_ddim_of_full_power_or_no_range_is_ddim():
    process, score, u = VP(), mixture("vp"), torch.randn(9, 3, generator=generator(), dtype=torch.float64)
    times = grids.quadratic(process, 5)
    expected = ddim(process, times)(score, u)
    for options in ({"powers": 1.0}, {"powers": 1.7}, {"powers": 0.2, "half_range": 0.0}):
        assert relative(analytic_ddim(process, times, **options)(score, u, generator(1)), expected) < 1e-12
    s, t = 0.5, 0.1
    m, sigma = (lambda t: process.mean(t).values.item()), (lambda t: process.R(t).values.item())
    bounded = analytic_ddim(process, [s, t], 0.0, half_range=1e-3)
    assert bounded.C[0].values.item() == pytest.approx(1e-3 * abs(m(t) - sigma(t) / sigma(s) * m(s)), rel=1e-10)
    with pytest.raises(RescoreError, match="3 powers; allowed are one, or one for each of the 5 steps"):
        analytic_ddim(process, times, [0.1, 0.2, 0.3])


def test_noise_powers_of_a_gaussian():
    """Sigma / (m^2 v + Sigma), from 20,000 draws of 3 coordinates; of one point the power of the noise itself."""
    process, times = VP(), [0.9, 0.4, 0.05]
    x = torch.randn(20000, 3, generator=generator(), dtype=torch.float64) * 0.5
    score = GaussianMixture(process, torch.zeros(1, 3, dtype=torch.float64), 0.5)
    found = noise_powers(process, score, x, times, generator(1))
    expected = [(process.Sigma(t).values / marginal(process, t, 0.25).values).item() for t in times]
    assert found == pytest.approx(expected, rel=0.03)
    point = torch.full((50, 3), 0.7, dtype=torch.float64)
    z = torch.randn(50, 3, generator=generator(2), dtype=torch.float64)
    found = noise_powers(process, GaussianMixture(process, point[:1], 0.0), point, [0.4], generator(2))
    assert found == pytest.approx([z.square().mean().item()], rel=1e-10)


def test_the_first_steps_of_the_adaptive_sde():
    """A step of 0.01 by hand, accepted at a loose tolerance; the next is as long as its error lets it be."""
    process, score, u = VP(), mixture("vp"), torch.randn(6, 3, generator=generator(), dtype=torch.float64)
    drawn = []

    def draw(like):
        drawn.append(torch.randn(like.shape, generator=generator(len(drawn)), dtype=like.dtype))
        return drawn[-1]

    def euler(at, t, h, z):
        beta = -process.dlog_alpha(t).item()
        return u - h * (-beta / 2 * at - beta * score(at, t)) + math.sqrt(h * beta) * z

    end = AdaptiveSDE(process, [1.0, 0.99], tolerance=10.0).run(score, u, draw)
    first = euler(u, 1.0, 1.0 - 0.99, drawn[0])
    second = euler(first, 0.99, 1.0 - 0.99, drawn[0])
    assert len(drawn) == 1 and relative(end, (first + second) / 2) < 1e-12
    error = ((first - end) / (0.005 * torch.maximum(first.abs(), u.abs())).clamp_min(1e-3)).square().mean().sqrt().item()
    times = []
    AdaptiveSDE(process, [1.0, 0.2], tolerance=0.005, atol=1e-3).run(
        lambda v, t: times.append(t) or score(v, t), u, lambda v: drawn[0]
    )
    assert error > 1 and times[:3] == pytest.approx([1.0, 0.99, 1.0]), "rejected: from the same time again"
    assert times[3] == pytest.approx(1 - 0.9 * 0.01 * error**-0.9, abs=1e-9) and times[-1] == pytest.approx(0.2)


def test_later_steps_of_the_adaptive_sde():
    """Four trials by hand, without noise: errors are relative to the last accepted x', not to its end; steps grow freely."""
    process, score, start = VP(), mixture("vp"), torch.randn(6, 3, generator=generator(), dtype=torch.float64)
    t, h, u, before, times, accepted, asked = 1.0, 0.01, start, start, [], [], []

    def euler(v, at, t):
        beta = -process.dlog_alpha(t).item()
        return v - h * (-beta / 2 * at - beta * score(at, t))

    for _ in range(4):
        times += [t, t - h]
        first = euler(u, u, t)
        end = (first + euler(u, first, t - h)) / 2
        scale = (0.3 * torch.maximum(first.abs(), before.abs())).clamp_min(0.02)
        error = ((first - end) / scale).square().mean().sqrt().item()
        accepted.append(error <= 1)
        u, t, before = (end, t - h, first) if accepted[-1] else (u, t, before)
        h *= 0.9 * error**-0.9
    sampler = AdaptiveSDE(process, [1.0, 0.01], tolerance=0.3, atol=0.02)
    sampler.run(lambda v, t: asked.append(t) or score(v, t), start, torch.zeros_like)
    assert accepted == [True, False, True, False] and [*times, t, t - h] == pytest.approx(asked[:10], abs=1e-12)


def test_the_adaptive_sde_has_the_variance_of_gaussian_data():
    """8 % on 1500 states of 4 coordinates are above four standard errors; a looser tolerance takes fewer evaluations."""
    process, score = VP(), GaussianMixture(VP(), torch.zeros(1, 4, dtype=torch.float64), 0.5)
    u = process.prior_sample((1500, 4), generator(), torch.float64)
    tight, loose = (adaptive_sde(process, [1.0, 0.01], tolerance=one).solve(score, u, generator(1)) for one in (0.02, 0.5))
    assert tight.u.var().item() == pytest.approx(marginal(process, 0.01, 0.25).values.item(), rel=0.08)
    assert 10 <= loose.nfe < tight.nfe / 3 and tight.nfe % 2 == loose.nfe % 2 == 0


def test_an_adaptive_sde_that_gives_up():
    noisy = lambda v, t: torch.randn(v.shape, generator=generator(int(t * 1e9)), dtype=v.dtype) * 1e6  # noqa: E731
    with pytest.raises(Diverged, match="AdaptiveSDE: stopped at t = 1 with tolerance 1e-06"):
        AdaptiveSDE(VP(), [1.0, 0.1], tolerance=1e-6, atol=1e-9)(noisy, torch.ones(2, 3, dtype=torch.float64), generator())


@pytest.mark.parametrize(("method", "budgets"), [(adaptive_flow, (14, 20, 50)), (adaptive_sde, (20, 50))])
def test_methods_held_to_evaluations(method, budgets):
    """Never more than allowed; the solution is the method's own at one of the tolerances, and the next one takes more."""
    process, means = VP(), mixture("vp").means
    score, u = GaussianMixture(process, means, 0.3), torch.randn(64, 3, generator=generator(), dtype=torch.float64)
    for most in budgets:
        held = HeldToEvaluations(process, [1.0, 0.01], method, most)
        found = held.solve(score, u, generator(1))
        assert most / 3 <= found.nfe <= most
        if method is adaptive_sde:
            assert {sampler.atol for sampler in held.samplers} == {1 / 128}
        else:
            runs = [sampler.solve(score, u, generator(1)) for sampler in held.samplers[:24]]
            last = next(i for i, run in enumerate(runs) if run.nfe > most) - 1
            assert torch.equal(found.u, runs[last].u)
    loosest = HeldToEvaluations(process, [1.0, 0.01], method, 1).solve(score, u, generator(1))
    assert torch.equal(loosest.u, held.samplers[0].solve(score, u, generator(1)).u) and loosest.nfe > 1


def test_a_budget_of_pndm_is_used_up():
    """Ten evaluations are two pseudo Runge-Kutta steps, not one; behind the warm start a step is one evaluation."""
    found = [within_budget(pndm, VP(), grids.quadratic, nfe) for nfe in (4, 10, 12, 13, 20)]
    assert [(one.steps, one.nfe) for one in found] == [(1, 4), (2, 8), (3, 12), (4, 13), (11, 20)]


def test_pndm_on_ve_takes_the_same_transfer():
    """F = 0: phi is u + (sigma_t - sigma_s) eps."""
    process, score = VE(), mixture("ve")
    u = torch.randn(4, 3, generator=generator(), dtype=torch.float64)
    eps, (s, t) = to_noise(process, score), (0.6, 0.5)
    sigma = lambda t: process.R(t).values.item()  # noqa: E731
    e1 = eps(u, s)
    e2 = eps(u + (sigma(0.55) - sigma(s)) * e1, 0.55)
    e3 = eps(u + (sigma(0.55) - sigma(s)) * e2, 0.55)
    e4 = eps(u + (sigma(t) - sigma(s)) * e3, t)
    assert relative(pndm(process, [s, t])(score, u), u + (sigma(t) - sigma(s)) * (e1 + 2 * e2 + 2 * e3 + e4) / 6) < 1e-10


# --- Ito-Taylor ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lam", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("name", [name for name in ISOTROPIC if name != "discrete"])
def test_ito_taylor_is_the_scheme_with_the_derivatives_of_a_point(name, lam):
    """Every term from b and g themselves, whose derivatives autograd takes at a state and the score of one point."""
    process, s, t = ISOTROPIC[name], 0.52, 0.33
    h, c, point = s - t, (1 + lam**2) / 2, 0.8
    at = lambda f, time: f(time).values  # noqa: E731
    score = lambda u, time: (at(process.mean, time) * point - u) / at(process.Sigma, time)  # noqa: E731
    b = lambda u, time: -at(process.F, time) * u + c * at(process.GG, time) * score(u, time)  # noqa: E731
    g = lambda time: lam * at(process.GG, time).sqrt() + 0 * time  # noqa: E731
    u, time = (torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in (-0.4, s))
    b_u, b_t = torch.autograd.grad(b(u, time), (u, time))
    (g_t,) = torch.autograd.grad(g(time), time)
    drift, noise = b(u, time).item(), g(time).item()
    mean = u.item() + drift * h + (drift * b_u - b_t).item() * h**2 / 2
    of_w, of_z = noise - g_t.item() * h, noise * b_u.item() + g_t.item()
    variance = torch.tensor([of_w, of_z]) @ torch.tensor([[h, h**2 / 2], [h**2 / 2, h**3 / 3]]) @ torch.tensor([of_w, of_z])
    sampler = ito_taylor(process, [s, t], lam)
    found = sampler.A[0].values * u + sampler.B[0].values * score(u, s)
    assert found.item() == pytest.approx(mean, rel=1e-10)
    assert sampler.stochastic == bool(lam)
    if lam:
        assert sampler.C[0].values.item() ** 2 == pytest.approx(variance.item(), rel=1e-5)


def point_error(process, lam, n, variance=0.0, t0=0.1):
    """Of the mean of a point at 1 and of the covariance at t0, behind n steps from p_T."""
    sampler = ito_taylor(process, grids.uniform(process, n, t0), lam)
    start = marginal(process, process.T, variance)
    spread = chain_covariances(sampler, variance, start)[-1].values - marginal(process, t0, variance).values
    u = process.mean(process.T)(torch.ones(1, 1, dtype=torch.float64))
    score = GaussianMixture(process, torch.ones(1, 1, dtype=torch.float64), variance**0.5)
    for i in range(n):  # the mean, an affine map
        u = sampler.A[i](u) + sampler.B[i](score(u, sampler.times[i]))
    return abs(spread.item()), abs(u.item() - process.mean(t0).values.item())


@pytest.mark.parametrize("name", ["vp", "ve", "subvp"])
def test_ito_taylor_is_of_order_two_on_a_point(name):
    """The law of the reverse SDE, and the flow; ideal derivatives are exact there."""
    process = {"vp": VP(), "ve": VE(sigma_min=0.5, sigma_max=3.0), "subvp": SubVP()}[name]
    for lam in (0.0, 1.0):
        coarse, fine = (point_error(process, lam, n)[0] for n in (200, 400))
        assert math.log2(coarse / fine) == pytest.approx(2, abs=0.1)
    coarse, fine = (point_error(process, 1.0, n)[1] for n in (200, 400))  # along the mean the score is 0: Psi is what is left
    assert (coarse, fine) == (0.0, 0.0) if name == "ve" else math.log2(coarse / fine) == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize("lam", [0.0, 1.0])
def test_ito_taylor_is_of_order_one_on_other_data(lam):
    """A Gaussian of variance 0.3: the data's own derivatives are others than a point's."""
    coarse, fine = (point_error(VP(), lam, n, 0.3)[0] for n in (400, 800))
    assert math.log2(coarse / fine) == pytest.approx(1, abs=0.1)


def test_quasi_taylor_is_ddim_to_second_order():
    """A step's coefficients differ by a third-order term: an eighth at half the step."""
    process, gaps = VP(), []
    for h in (2e-4, 1e-4):
        with torch.no_grad():  # the coefficients' derivatives are taken all the same
            taylor, exact = ito_taylor(process, [0.5, 0.5 - h], 0.0), ddim(process, [0.5, 0.5 - h])
        gaps.append([(getattr(taylor, k)[0].values - getattr(exact, k)[0].values).item() for k in "AB"])
    assert [coarse / fine for coarse, fine in zip(*gaps, strict=True)] == pytest.approx([8, 8], rel=0.06)


# --- FastDPM ------------------------------------------------------------------------------------------------------------------

CHAIN = DiscreteVP(torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64))


@pytest.mark.parametrize("kappa", [1.0, 2.0])
def test_fastdpm_variances_rise_by_their_schedule(kappa):
    """From 1 - alpha(t0), the step out of the data; the product of what they leave is alpha(T)."""
    process, t0 = VP(), 1e-3
    times = grids.by_variances(process, 9, kappa, t0)
    assert (len(times), times[0], times[-1]) == (10, 1.0, t0)
    log_alpha = torch.cat((torch.zeros(1), process.log_alpha(times).flip(0)))
    eta = -torch.expm1(log_alpha.diff())
    assert eta[0].item() == pytest.approx(1.0995e-4, rel=1e-4)
    assert (1 - eta).log().sum().item() == pytest.approx(-10.05, rel=1e-12)
    rises = (eta ** (1 / kappa)).diff()
    assert torch.allclose(rises, rises[:1].expand(9), rtol=1e-7)


def test_fastdpm_of_all_steps_is_the_chain_and_its_reverse_are_ddpm_and_ddim():
    """Linear variances of as many steps as the chain has are its own; then VAR is no approximation."""
    times = grids.by_variances(CHAIN, 999, 1.0, 1e-3)
    assert (times - grids.uniform(CHAIN, 999, 1e-3)).abs().max() < 1e-9
    score, u = GaussianMixture(CHAIN, mixture("vp").means, 0.3), torch.randn(4, 3, generator=generator(), dtype=torch.float64)
    whole = grids.uniform(CHAIN, 1000, 0.0)
    ddpm = ancestral(CHAIN, whole, denoise="mean")(score, u, generator(1))
    assert relative(ddim(CHAIN, times, 1.0, denoise="tweedie")(score, u, generator(1)), ddpm) < 1e-6
    assert relative(ddim(CHAIN, times, 0.0, denoise="tweedie")(score, u), ddim(CHAIN, whole)(score, u)) < 1e-6


@pytest.mark.parametrize("kappa", [0.0, 0.3, 1.0])
def test_fastdpm_is_the_authors_reverse_process_on_some_steps(kappa):
    """Their STEP on ten of a chain's 1000 levels, written out again from eq. 12; the last step ends in the data."""
    levels = [i * 111 for i in range(9, -1, -1)]  # of 0 to 999
    times = torch.tensor([(level + 1) / 1000 for level in levels], dtype=torch.float64)
    score, u = GaussianMixture(CHAIN, mixture("vp").means, 0.3), torch.randn(6, 3, generator=generator(), dtype=torch.float64)
    gamma = [*torch.cumprod(1 - CHAIN.betas, 0)[levels].tolist(), 1.0]
    x, noise = u, generator(1)
    for t, here, there in zip(times.tolist(), gamma[:-1], gamma[1:], strict=True):
        eps = -math.sqrt(1 - here) * score(x, t)
        spread = kappa**2 * (1 - there) / (1 - here) * (1 - here / there)
        x = math.sqrt(there) * (x - math.sqrt(1 - here) * eps) / math.sqrt(here) + math.sqrt(1 - there - spread) * eps
        if kappa and there < 1:
            x = x + math.sqrt(spread) * torch.randn(x.shape, generator=noise, dtype=x.dtype)
    assert relative(ddim(CHAIN, times, kappa, denoise="tweedie")(score, u, generator(1)), x) < 1e-9


def test_fastdpm_grids():
    assert grids.step_quadratic(VP(), 2).tolist() == pytest.approx([0.801, 0.201, 0.001])
    assert grids.step_quadratic(VP(), 3, 0.9)[0] == 1.0
    with pytest.raises(RescoreError, match="by_variances does not apply to VE"):
        grids.by_variances(VE(), 5)
    with pytest.raises(RescoreError, match="200 steps of the first variance 0.603667 pass T; allowed are fewer, or a lower t0"):
        grids.by_variances(VP(), 200, 1.0, 0.3)


# --- evaluations --------------------------------------------------------------------------------------------------------------


def test_a_solver_that_may_not_take_more():
    """As many as it needs are enough; with one less it is stopped at that one, not later."""
    process, score, asked = VP(), mixture("vp"), []
    u = torch.randn(8, 3, generator=generator(), dtype=torch.float64)
    sampler = adaptive_sde(process, [1.0, 0.01], tolerance=0.5)
    whole = sampler.solve(score, u, generator(1))
    found = solve_within(sampler, score, u, generator(1), whole.nfe)
    assert torch.equal(found.u, whole.u) and found.nfe == whole.nfe
    counted = lambda v, t: asked.append(t) or score(v, t)  # noqa: E731
    assert solve_within(sampler, counted, u, generator(1), whole.nfe - 1) is None and len(asked) == whole.nfe - 1


def test_powers_are_the_same_whenever_a_score_is_prepared():
    process, score, times = VP(), mixture("vp"), [0.9, 0.5, 0.1]
    x = torch.randn(50, 3, generator=generator(), dtype=torch.float64)
    made = analytic_ddim.where(denoise="mean")
    first, again = (with_noise_powers(made, made(process, times), x, ("a", 1), score) for _ in range(2))
    powers = noise_powers(process, score, x, times[:-1], generator(0))
    other = made(process, times, powers)
    assert [one.C[0].values for one in (first, again)] == [first.C[0].values] * 2 and first.C[-1] is None
    assert first.C[0].values.item() == pytest.approx(other.C[0].values.item(), rel=0.1)
