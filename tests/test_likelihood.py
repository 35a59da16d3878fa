"""Likelihoods against densities that are known: the probability flow exactly, the bound as a bound that is met."""

import math

import pytest
import torch
from diffusion_cases import dense, generator
from test_objectives import PAPER_CLD, VARIANCE, data, exact_network

from rescore.errors import RescoreError
from rescore.likelihood import _kl_to_prior, bits_per_dim, elbo, flow_log_prob
from rescore.objectives import DSM, HSM, VelocityDSM
from rescore.processes import CLD, VE, VP, Blurring, SubVP
from rescore.scores import GaussianMixture

# They end so close to the prior that its mismatch is below 1e-4 nats.
MIXED = {
    "ve": VE(1e-3, 1e6),
    "vp": VP(beta_max=45.0),
    "subvp": SubVP(beta_max=45.0),
    "cld": CLD(beta_min=14.0, beta_max=14.0, eps0=0.0, eps_num=1e-9),
    "blurring": Blurring((2, 3), sigma_max=2.0, rho_max=1e6),
}
each_mixed = pytest.mark.parametrize("name", MIXED)
TIGHT = {"rtol": 1e-7, "atol": 1e-7}


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


@each_mixed
def test_bits_of_the_exact_score_of_a_mixture(name):
    """log p_t0 to 1e-5; on CLD of data and velocities, less log q(v) of the same draw."""
    process = MIXED[name]
    score, x = mixture(process, name), data(name, 3)
    result = flow_log_prob(score, process, x, generator(), trace="exact", **TIGHT)
    u, log_q = process.embed(x), torch.zeros(3, dtype=torch.float64)
    if name == "cld":
        u[:, 1] = 0.1 * torch.randn(x.shape, generator=generator(), dtype=torch.float64)
        log_q = torch.distributions.Normal(0.0, 0.1).log_prob(u[:, 1]).sum(1)
    expected = score.log_prob(u, 1e-5) - log_q
    assert torch.allclose(result.log_prob, expected, atol=1e-4, rtol=0)
    assert torch.allclose(bits_per_dim(result.log_prob, 3, 128), bits_per_dim(expected, 3, 128), atol=1e-4, rtol=0)
    assert result.latent.shape == u.shape and 50 < result.nfe < 2000


@pytest.mark.parametrize("name", ["ve", "vp", "subvp", "cld"])
def test_bits_of_the_exact_score_of_a_gaussian_are_those_of_the_data(name):
    """At t0 = 1e-7; on CLD x and v are then independent, so the bound is met for every v."""
    process, x = MIXED[name], data(name, 3)
    score = GaussianMixture(process, torch.full((1, 3), 0.5), math.sqrt(VARIANCE))
    result = flow_log_prob(score, process, x, generator(), trace="exact", t0=1e-7, **TIGHT)
    assert torch.allclose(result.log_prob, data_log_prob(x), atol=2e-4, rtol=0)


@pytest.mark.parametrize("trace", ["rademacher", "gaussian"])
def test_hutchinson_is_unbiased(trace):
    process, n = MIXED["vp"], 400
    score, x = mixture(process, "vp"), data("vp", 1)
    exact = flow_log_prob(score, process, x, trace="exact").log_prob.item()
    estimates = flow_log_prob(score, process, x.expand(n, 3), generator(), trace).log_prob
    error = estimates.std().item() / math.sqrt(n)
    assert 0.01 < error < 0.2
    assert abs(estimates.mean().item() - exact) < 4 * error


def test_rademacher_probes_are_exact_on_a_diagonal_jacobian():
    process, x = MIXED["vp"], data("vp", 2)
    score = GaussianMixture(process, torch.full((1, 3), 0.5), math.sqrt(VARIANCE))
    exact = flow_log_prob(score, process, x, trace="exact").log_prob
    assert torch.allclose(flow_log_prob(score, process, x, generator()).log_prob, exact, rtol=1e-9)
    assert not torch.allclose(flow_log_prob(score, process, x, generator(), "gaussian").log_prob, exact, rtol=1e-2)


# the bound


@pytest.mark.parametrize("name", [*MIXED, "velocities"])
def test_the_bound_is_met_by_the_exact_score_and_off_by_the_error_of_another(name):
    """The mean gap over data is 1/2 times the integral of |G^T (s_theta - s)|^2; here s_theta - s is a constant, 0 or 0.3."""
    process, n = MIXED["cld" if name == "velocities" else name], 8000
    predicts = "velocity" if name == "velocities" else "score"
    objective = HSM() if name == "velocities" else DSM(predicts="score")
    x = data(name, n)
    shape = tuple(x.shape[1:])
    exact = exact_network(process, shape, predicts)
    constant = 0.0001 if name == "ve" else 0.3

    def off(u, t):
        if predicts == "score":
            return exact(u, t) + constant
        return exact(u, t) - constant * process.L(t).values[:, 1, 1, None]

    bound, worse = (elbo(network, process, objective, x, generator(8), t0=1e-5) for network in (exact, off))
    slack = bound - data_log_prob(x)
    assert abs(slack.mean()) < 4 * slack.std() / math.sqrt(n)
    assert slack.std() / math.sqrt(n) < 0.5
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


@each_mixed
def test_divergence_from_the_prior_against_dense_gaussians(name):
    process = {"ve": VE(0.1, 2.0), "vp": VP(beta_max=2.0), "subvp": SubVP(beta_max=2.0), "cld": CLD(beta_min=0.7, beta_max=0.7),
               "blurring": Blurring((2, 3), rho_max=2.0)}[name]
    mean = process.mean(process.T)(process.embed(data(name, 3)))
    shape = tuple(mean.shape[1:])
    basis = torch.eye(math.prod(shape), dtype=torch.float64).reshape(-1, *shape)
    covariances = [operator(basis).flatten(1) for operator in (process.Sigma(process.T), process.prior_covariance)]
    ends, prior = (torch.distributions.MultivariateNormal(centre, covariance)
                   for centre, covariance in zip((mean.flatten(1), torch.zeros(1, len(basis)).double()), covariances, strict=True))
    expected = torch.distributions.kl_divergence(ends, prior)
    assert (expected > 0.05).all()
    assert torch.allclose(_kl_to_prior(process, mean), expected, rtol=1e-9)


@pytest.mark.parametrize("name", MIXED)
def test_trace_of_an_operator_against_its_dense_matrix(name):
    operator = MIXED[name].GG(torch.tensor([0.2, 0.5], dtype=torch.float64))
    traces = dense(operator).diagonal(dim1=1, dim2=2).sum(1)
    shape = (4, 2, 3) if name == "blurring" else MIXED[name].state_shape((4,))
    assert torch.allclose(operator.trace(shape), 4 * traces, rtol=1e-12)


# bad input


def test_bad_input_is_one_clear_error():
    x = torch.zeros(2, 3, dtype=torch.float64)
    with pytest.raises(RescoreError, match="trace 'hutchinson': allowed are exact, rademacher, gaussian"):
        flow_log_prob(lambda u, t: -u, VP(), x, generator(), "hutchinson")
    for process, trace in ((VP(), "rademacher"), (PAPER_CLD, "exact")):
        with pytest.raises(RescoreError, match=r"needs a torch.Generator"):
            flow_log_prob(lambda u, t: -u, process, x, None, trace)
    with pytest.raises(RescoreError, match="is the score finite"):
        flow_log_prob(lambda u, t: u * float("nan"), VP(), x, generator())
    with pytest.raises(RescoreError, match="a VelocityDSM network gives the score given v_0"):
        elbo(lambda u, t: u, PAPER_CLD, VelocityDSM(), x, generator())
