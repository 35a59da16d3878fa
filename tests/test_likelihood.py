"""Likelihoods against densities that are known: the probability flow exactly, the bound as a bound that is met."""

import math

import pytest
import torch
import torchdiffeq
from diffusion_cases import dense, generator
from rescore.errors import Diverged, RescoreError
from rescore.likelihood import bits_per_dim, elbo, flow_log_prob
from rescore.likelihood.bound import _kl_to_prior
from rescore.objectives import DSM, HSM, VelocityDSM
from rescore.processes import CLD, VE, VP, Blurring, SubVP
from rescore.scores import GaussianMixture
from test_objectives import PAPER_CLD, VARIANCE, data, exact_network

PROCESSES = {"ve": VE(), "vp": VP(T=2.0), "subvp": SubVP(), "cld": PAPER_CLD, "blurring": Blurring((2, 3), sigma_max=2.0)}
each_process = pytest.mark.parametrize("name", PROCESSES)
TIGHT = {"tolerance": 1e-7}


def mixture(process, name):
    means = torch.stack((data(name, 1)[0], -data(name, 1)[0]))
    return GaussianMixture(process, means, torch.tensor([0.4, 0.7]), torch.tensor([0.3, 0.7]))


def data_log_prob(x):
    """Of N(0.5, VARIANCE)."""
    normal = torch.distributions.Normal(torch.tensor(0.5, dtype=torch.float64), math.sqrt(VARIANCE))
    return normal.log_prob(x).flatten(1).sum(1)


# bits per dimension


def test_a_uniform_density_takes_eight_bits_at_every_scaling():
    for low, high, levels_per_unit in ((-1, 1, 128), (0, 1, 256), (-1, 256 / 127.5 - 1, 127.5)):
        log_prob = torch.full((3,), -12 * math.log(high - low), dtype=torch.float64)
        assert bits_per_dim(log_prob, 12, levels_per_unit).tolist() == pytest.approx([8.0] * 3, rel=1e-14)
    assert bits_per_dim(torch.zeros(1), 12, 128).item() == 7
    assert bits_per_dim(torch.zeros(1), 12, 127.5).item() == pytest.approx(6.994353, abs=1e-6)


def test_bits_of_a_known_distribution_of_levels():
    """With x = (k + u) / 128 - 1 and a density constant in each bin, they are -log2 P(k)."""
    p = torch.rand(256, generator=generator(), dtype=torch.float64)
    p /= p.sum()
    k = torch.tensor([0, 17, 255])
    x = (k + torch.rand(3, generator=generator(1), dtype=torch.float64)) / 128 - 1
    density = (p / (1 / 128))[((x + 1) * 128).floor().long()]
    assert torch.allclose(bits_per_dim(density.log(), 1, 128), -p[k].log2(), rtol=1e-12)


# the probability flow


def with_exact_prior(result, process, score):
    """The log density if p_T stood in place of the prior."""
    return result.log_prob - process.prior_log_prob(result.latent) + score.log_prob(result.latent, process.T)


@each_process
def test_bits_of_the_exact_score_of_a_mixture(name):
    """log p_t0 to 1e-4 but for the prior's mismatch; on CLD of data and velocities, less log q(v) of the same draw."""
    process = VE(0.01, 5.0) if name == "ve" else PROCESSES[name]
    score, x = mixture(process, name), data(name, 2)
    result = flow_log_prob(score, process, x, generator(), trace="exact", t0=1e-3, **TIGHT)
    u, log_q = process.embed(x), torch.zeros(2, dtype=torch.float64)
    if name == "cld":
        u[:, 1] = 0.1 * torch.randn(x.shape, generator=generator(), dtype=torch.float64)
        log_q = torch.distributions.Normal(0.0, 0.1).log_prob(u[:, 1]).sum(1)
    expected = score.log_prob(u, 1e-3) - log_q
    assert torch.allclose(with_exact_prior(result, process, score), expected, atol=1e-4, rtol=0)
    assert result.latent.shape == u.shape and 50 < result.nfe < 1000


def test_bits_of_the_exact_score_of_a_gaussian_are_those_of_the_data():
    """With a prior that p_T has reached to 1e-5: nothing is left to correct."""
    process, x = VP(beta_max=45.0), data("vp", 3)
    score = GaussianMixture(process, torch.full((1, 3), 0.5), math.sqrt(VARIANCE))
    bits = bits_per_dim(flow_log_prob(score, process, x, trace="exact", **TIGHT).log_prob, 3, 128)
    assert torch.allclose(bits, bits_per_dim(data_log_prob(x), 3, 128), atol=1e-4, rtol=0)


def test_the_flow_is_solved_to_the_prior_and_not_beyond(monkeypatch):
    """log p_t0 of a Gaussian and its latent x sqrt(S_T / S_t0) to the tolerance, and no time outside [t0, T]."""
    process, x, t0, times = VP(), data("vp", 3) - 0.5, 1e-3, []
    solve = torchdiffeq.odeint

    def spied(rate, *arguments, **options):
        return solve(lambda t, u: (times.append(t.item()), rate(t, u))[1], *arguments, **options)

    monkeypatch.setattr(torchdiffeq, "odeint", spied)
    score = GaussianMixture(process, torch.zeros(1, 3), math.sqrt(VARIANCE))
    result = flow_log_prob(score, process, x, trace="exact", t0=t0, **TIGHT)
    start, end = (process.mean(t).values ** 2 * VARIANCE + process.Sigma(t).values for t in (t0, process.T))
    assert (result.latent - (end / start).sqrt() * x).abs().max() < 5e-7
    assert (with_exact_prior(result, process, score) - score.log_prob(x, t0)).abs().max() < 2e-6
    assert t0 <= min(times) and max(times) == pytest.approx(process.T, abs=1e-12) and max(times) <= process.T


def test_the_bound_of_cld_is_met_for_every_velocity_if_data_and_velocities_are_independent():
    """As they are at t0 -> 0; at 1e-7 the variance of v is off by 1e-4 of itself."""
    x = data("cld", 2)
    score = GaussianMixture(PAPER_CLD, torch.full((1, 3), 0.5), math.sqrt(VARIANCE))
    result = flow_log_prob(score, PAPER_CLD, x, generator(), trace="exact", t0=1e-7, **TIGHT)
    bits = bits_per_dim(with_exact_prior(result, PAPER_CLD, score), 3, 128)
    assert torch.allclose(bits, bits_per_dim(data_log_prob(x), 3, 128), atol=3e-4, rtol=0)


@pytest.mark.parametrize("trace", ["rademacher", "gaussian"])
def test_hutchinson_is_unbiased(trace):
    process, n = PROCESSES["vp"], 400
    score, x = mixture(process, "vp"), data("vp", 1)
    exact = flow_log_prob(score, process, x, trace="exact").log_prob.item()
    estimates = flow_log_prob(score, process, x.expand(n, 3), generator(), trace).log_prob
    error = estimates.std().item() / math.sqrt(n)
    assert 0.01 < error < 0.5
    assert abs(estimates.mean().item() - exact) < 4 * error


def test_rademacher_probes_are_exact_on_a_diagonal_jacobian():
    process, x = PROCESSES["vp"], data("vp", 2)
    score = GaussianMixture(process, torch.full((1, 3), 0.5), math.sqrt(VARIANCE))
    exact = flow_log_prob(score, process, x, trace="exact").log_prob
    assert torch.allclose(flow_log_prob(score, process, x, generator()).log_prob, exact, rtol=1e-9)
    assert not torch.allclose(flow_log_prob(score, process, x, generator(), "gaussian").log_prob, exact, rtol=1e-2)


# the bound


@pytest.mark.parametrize("name", [*PROCESSES, "velocities"])
def test_the_bound_is_met_by_the_exact_score_and_off_by_the_error_of_another(name):
    """The mean gap is 1/2 times the integral of |G^T (s_theta - s)|^2; here s_theta - s is a constant or 0."""
    process, n = PROCESSES["cld" if name == "velocities" else name], 20_000
    predicts = "velocity" if name == "velocities" else "score"
    objective = HSM() if name == "velocities" else DSM(predicts="score")
    x = data(name, n)
    shape = tuple(x.shape[1:])
    exact = exact_network(process, shape, predicts)
    constant = 0.02 if name == "ve" else 0.3

    def off(u, t):
        if predicts == "score":
            return exact(u, t) + constant
        return exact(u, t) - constant * process.L(t).values[:, 1, 1, None]

    bound, worse = (elbo(network, process, objective, x, generator(8), t0=1e-5) for network in (exact, off))
    slack = bound - data_log_prob(x)
    assert abs(slack.mean()) < 4 * slack.std() / math.sqrt(n)
    assert slack.std() / math.sqrt(n) < 0.8
    gap = 0.5 * constant**2 * integral_of_gg(process, shape)
    difference = bound - worse
    error = difference.std() / math.sqrt(n)
    assert abs(difference.mean() - gap) < 4 * error
    assert gap > 5 * error


def integral_of_gg(process, shape):
    """The integral of the sum of all entries of G G^T on a state, by Gauss-Legendre in log t."""
    from rescore.processes.quadrature import gauss_legendre

    x, w = gauss_legendre(200)
    low, high = math.log(1e-5), math.log(process.T)
    t = torch.exp(low + (high - low) * (x + 1) / 2)
    state = torch.ones(len(t), *process.state_shape(shape), dtype=torch.float64)
    return ((state * process.GG(t)(state)).flatten(1).sum(1) * t * w).sum().item() * (high - low) / 2


@each_process
def test_divergence_from_the_prior_against_dense_gaussians(name):
    process = {
        "ve": VE(0.1, 2.0),
        "vp": VP(beta_max=2.0),
        "subvp": SubVP(beta_max=2.0),
        "cld": CLD(beta_min=0.7, beta_max=0.7),
        "blurring": Blurring((2, 3), rho_max=2.0),
    }[name]
    mean = process.mean(process.T)(process.embed(data(name, 3)))
    shape = tuple(mean.shape[1:])
    basis = torch.eye(math.prod(shape), dtype=torch.float64).reshape(-1, *shape)
    covariances = [operator(basis).flatten(1) for operator in (process.Sigma(process.T), process.prior_covariance)]
    ends = torch.distributions.MultivariateNormal(mean.flatten(1), covariances[0])
    prior = torch.distributions.MultivariateNormal(torch.zeros_like(ends.mean), covariances[1])
    expected = torch.distributions.kl_divergence(ends, prior)
    assert (expected > 0.05).all()
    assert torch.allclose(_kl_to_prior(process, mean), expected, rtol=1e-9)


@each_process
def test_trace_of_an_operator_against_its_dense_matrix(name):
    operator = PROCESSES[name].GG(torch.tensor([0.2, 0.5], dtype=torch.float64))
    traces = dense(operator).diagonal(dim1=1, dim2=2).sum(1)
    shape = (4, 2, 3) if name == "blurring" else PROCESSES[name].state_shape((4,))
    assert torch.allclose(operator.trace(shape), 4 * traces, rtol=1e-12)


# bad input


def test_bad_input_is_one_clear_error():
    x = torch.zeros(2, 3, dtype=torch.float64)
    with pytest.raises(RescoreError, match="trace 'hutchinson': allowed are exact, rademacher, gaussian"):
        flow_log_prob(lambda u, t: -u, VP(), x, generator(), "hutchinson")
    for process, trace in ((VP(), "rademacher"), (PAPER_CLD, "exact")):
        with pytest.raises(RescoreError, match=r"needs a torch.Generator"):
            flow_log_prob(lambda u, t: -u, process, x, None, trace)
    with pytest.raises(Diverged, match=r"flow of VP\(.*\): the adaptive solver stopped at t = .* the rate of change is not"):
        flow_log_prob(lambda u, t: u * float("nan"), VP(), x, generator())
    with pytest.raises(RescoreError, match="CLD with gamma = 0 starts at velocities 0, which have no density"):
        flow_log_prob(lambda u, t: -u, CLD(gamma=0.0), x, generator())
    with pytest.raises(RescoreError, match="a batch of 0 states; allowed are 1 or more"):
        flow_log_prob(lambda u, t: -u, VP(), x[:0], generator())
    with pytest.raises(RescoreError, match="stopped at t = "):
        flow_log_prob(lambda u, t: u * float("nan"), VP(), x, generator())
    with pytest.raises(RescoreError, match="a VelocityDSM network gives the score given v_0"):
        elbo(lambda u, t: u, PAPER_CLD, VelocityDSM(), x, generator())
