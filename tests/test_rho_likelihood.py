"""Likelihoods by fixed steps in rho: against exact densities, with the orders of their methods."""

import math

import pytest
import torch
from diffusion_cases import generator
from rescore.errors import RescoreError
from rescore.likelihood import exact_divergence, hutchinson_divergence, rho_log_prob
from rescore.processes import CLD, VE, VP, DiscreteVE, DiscreteVP, grids
from rescore.scores import GaussianMixture

MEANS = torch.tensor([[-0.5, 0.1], [0.7, 0.3]], dtype=torch.float64)


def problem(process, t0, n=20):
    score = GaussianMixture(process, MEANS, 0.5)
    u = score.sample(n, t0, generator())
    return score, u, score.log_prob(u, t0)


@pytest.mark.parametrize(("process", "bound"), [(VP(), 0.02), (VE(sigma_max=100.0), 0.1)], ids=["vp", "ve"])
def test_it_is_the_density(process, bound):
    """But for p_T, which is not the prior: their log densities at u_T differ by about m_T mean u_T / variance."""
    score, u, exact = problem(process, 0.02)
    found = rho_log_prob(score, process, u, grids.log_rho(process, 100, t0=0.02), exact_divergence, "rk4")
    assert found.nfe == 400 and (found.log_prob - exact).abs().max() < bound


@pytest.fixture(scope="module")
def of_order_four():
    """VP, a score, its draws and their log densities by 300 steps of order 4."""
    process = VP()
    score, u, _ = problem(process, 0.02)
    times = grids.log_rho(process, 300, t0=0.02)
    return process, score, u, rho_log_prob(score, process, u, times, exact_divergence, "rk4").log_prob


@pytest.mark.parametrize(
    ("method", "order"), [("heun2", 2), ("midpoint2", 2), ("ralston2", 2), ("kutta3", 3), ("rk4", 4), (0, 1), (1, 2), (2, 3)]
)
def test_orders(of_order_four, method, order):
    """log2 of the ratio of errors at n and 2 n steps from the value of 300 steps of order 4."""
    process, score, u, exact = of_order_four
    n = 40 if isinstance(method, str) else 100

    def error(steps):
        times = grids.log_rho(process, steps, t0=0.02)
        return (rho_log_prob(score, process, u, times, exact_divergence, method).log_prob - exact).abs().mean().item()

    assert math.log2(error(n) / error(2 * n)) == pytest.approx(order, abs=0.35)


def test_one_step_of_standard_normal_data_is_exact_but_for_curvature():
    """Data N(0, 1) under VP: eps = R u is linear; the prior's part is all there is, so that the divergence needs no method."""
    process = VP()
    score = GaussianMixture(process, torch.zeros(1, 2, dtype=torch.float64), 1.0)
    u = torch.randn(6, 2, generator=generator(), dtype=torch.float64)
    times = grids.log_rho(process, 200, t0=0.02)
    exact = score.log_prob(u, 0.02)
    assert (rho_log_prob(score, process, u, times, exact_divergence, "rk4").log_prob - exact).abs().max() < 1e-5


@pytest.mark.parametrize("kind", ["VE", "VP"])
def test_a_chain_is_integrated_over_all_of_its_pieces(kind):
    """Ten levels, between which G G^T jumps; against the exact density of N(0, 0.5^2)."""
    if kind == "VE":
        process, t0 = DiscreteVE(torch.linspace(math.log(0.01), math.log(50.0), 10, dtype=torch.float64).exp()), 0.1
    else:
        process, t0 = DiscreteVP(torch.linspace(0.02, 0.9, 10, dtype=torch.float64)), 0.1
    score = GaussianMixture(process, torch.zeros(1, 2, dtype=torch.float64), 0.5)
    u = score.sample(5, t0, generator())
    times = grids.log_rho(process, 400, t0=t0)
    found = rho_log_prob(score, process, u, times, exact_divergence, "rk4")
    first, last = ((0.25 * process.mean(t).values ** 2 + process.Sigma(t).values).sqrt() for t in (t0, 1.0))
    end = u * (last / first)  # where the flow takes u
    off = process.prior_log_prob(end) - score.log_prob(end, 1.0)  # the prior is not quite p_T
    bits = (found.log_prob - off - score.log_prob(u, t0)).abs() / (2 * math.log(2))
    assert bits.max() < 1e-4 and (found.latent / end - 1).abs().max() < 1e-4


def test_probes_see_the_divergence():
    """Signs on 2 coordinates: the mean over all four probes is the exact divergence's value."""
    process = VP()
    score, u, _ = problem(process, 0.02, 5)
    times = grids.log_rho(process, 20, t0=0.02)
    signs = [torch.tensor(pair, dtype=torch.float64).expand(5, 2) for pair in ((1, 1), (1, -1), (-1, 1), (-1, -1))]
    found = [rho_log_prob(score, process, u, times, hutchinson_divergence(sign), 3).log_prob for sign in signs]
    exact = rho_log_prob(score, process, u, times, exact_divergence, 3)
    assert torch.allclose(torch.stack(found).mean(0), exact.log_prob, atol=1e-10) and exact.nfe == 20
    assert (found[0] - found[1]).abs().max() > 1e-4


def test_bad_input():
    score, u, _ = problem(VP(), 0.02, 2)
    times = grids.uniform(VP(), 3)
    for method, message in (("rk5", "allowed are heun2, .*, rk4 and 0 to 3"), (3, "needs at least 4 steps")):
        with pytest.raises(RescoreError, match=message):
            rho_log_prob(score, VP(), u, times, exact_divergence, method)
    with pytest.raises(RescoreError, match="does not apply to CLD"):
        rho_log_prob(score, CLD(), u, times, exact_divergence)
