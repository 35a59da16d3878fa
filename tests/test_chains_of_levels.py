"""Discrete chains, whose rates jump at their levels: adaptive solvers keep their tolerance, and no derivative is taken."""

import math

import pytest
import torch
from rescore.errors import RescoreError
from rescore.likelihood import flow_log_prob
from rescore.problems.gaussian import GaussianLaw, exact_score, law_at
from rescore.processes import DiscreteVE, DiscreteVP
from rescore.samplers import AdaptiveFlow, ito_taylor

F64 = torch.float64
CHAINS = {
    "NCSNv2's ladder": (DiscreteVE(torch.linspace(math.log(0.01), math.log(50.0), 232, dtype=F64).exp()), 1 / 232),
    "SMLD": (DiscreteVE(torch.linspace(math.log(0.01), math.log(50.0), 1000, dtype=F64).exp()), 1e-3),
    "DDPM": (DiscreteVP(torch.linspace(1e-3, 0.2, 100, dtype=F64)), 1e-2),
}
VARIANCE = 1 / 12


@pytest.fixture(params=CHAINS)
def case(request):
    """A chain with the score of Gaussian data, its first time, and the standard deviations at both ends."""
    chain, t0 = CHAINS[request.param]
    data = GaussianLaw.independent(torch.zeros(4), torch.full((4,), VARIANCE))
    spread = [law_at(chain, data, t).variances.sqrt()[0].item() for t in (t0, chain.T)]
    return chain, exact_score(chain, data), t0, *spread


def test_the_adaptive_flow_keeps_its_tolerance(case):
    """Of a Gaussian it scales by the ratio of the standard deviations."""
    chain, score, t0, low, high = case
    u = high * torch.randn(3, 4, dtype=F64, generator=torch.Generator().manual_seed(0))
    found = AdaptiveFlow(chain, [chain.T, t0], 1e-6)(score, u)
    assert (found - u * (low / high)).abs().max() < 2e-5 * low


def test_the_likelihood_keeps_its_tolerance(case):
    """The density of the data at t0, but for the prior, whose law is not quite that of the chain's end."""
    chain, score, t0, low, high = case
    x = low * torch.randn(3, 4, dtype=F64, generator=torch.Generator().manual_seed(1))
    found = flow_log_prob(score, chain, x, trace="exact", t0=t0, tolerance=1e-7)
    assert (found.latent - x * (high / low)).abs().max() < 1e-5 * high
    exact = chain.prior_log_prob(x * (high / low)) + 4 * math.log(high / low)
    assert (found.log_prob - exact).abs().max() < 1e-5


def test_ito_taylor_refuses_a_chain():
    chain, t0 = CHAINS["DDPM"]
    with pytest.raises(RescoreError, match="ito_taylor: F and GG of DiscreteVP have no derivatives; allowed: continuous"):
        ito_taylor(chain, [1.0, t0])
