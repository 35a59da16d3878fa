"""The Brownian motion of unknown scales: its density, its evidence and its log Z against formulas of other makers."""

import math

import numpy as np
import pytest
import torch
from rescore.errors import RescoreError
from rescore.random import make_generator
from rescore.targets import BrownianMotion
from rescore.targets.named import make_target
from torch.distributions import LogNormal, MultivariateNormal, Normal, SoftplusTransform, TransformedDistribution

F64 = torch.float64
SHORT = torch.tensor([0.3, math.nan, math.nan, -0.2, 0.5], dtype=F64)


def covariance(target: BrownianMotion, scales: torch.Tensor) -> torch.Tensor:
    """Of the observed y given scales (a, b), (..., 2): a^2 min(s, t) + b^2 where s = t, (..., n, n)."""
    times = torch.arange(1, target.steps + 1, dtype=F64)[target.seen]
    innovation, noise = scales.square()[..., None, None].unbind(-3)
    return innovation * torch.minimum(times, times[:, None]) + noise * torch.eye(len(times), dtype=F64)


def dense_log_evidence(target: BrownianMotion, log_scales: torch.Tensor) -> torch.Tensor:
    """log p(y | a, b), (...), of (log a, log b), (..., 2)."""
    y = target.observed[target.seen]
    return MultivariateNormal(torch.zeros_like(y), covariance(target, log_scales.exp())).log_prob(y)


@pytest.mark.parametrize("target", [BrownianMotion(), BrownianMotion(SHORT)], ids=["gym", "short"])
def test_density_is_that_of_torchs_distributions(target):
    """With the Jacobian of x = softplus^-1(scale), and a path whose covariance is written out."""
    x = 1.5 * torch.randn(7, target.dim, dtype=F64, generator=make_generator("brownian"))
    zero = torch.zeros((), dtype=F64)
    prior = TransformedDistribution(LogNormal(zero, 2.0), SoftplusTransform().inv)
    times = torch.arange(1, target.steps + 1, dtype=F64)
    least = torch.minimum(times, times[:, None])

    def independent(one: torch.Tensor) -> torch.Tensor:
        a, b = torch.log1p(one[:2].exp())
        path = MultivariateNormal(torch.zeros(target.steps, dtype=F64), a**2 * least).log_prob(one[2:])
        likelihood = Normal(one[2:][target.seen], b).log_prob(target.observed[target.seen]).sum()
        return prior.log_prob(one[:2]).sum() + path + likelihood

    expected = torch.stack([independent(one) for one in x])
    torch.testing.assert_close(target.log_prob(x), expected, rtol=1e-11, atol=1e-9)
    gradients = torch.stack([torch.autograd.functional.jacobian(independent, one) for one in x])
    torch.testing.assert_close(target.score(x), gradients, rtol=1e-9, atol=1e-8)


def test_the_kalman_filter_is_the_dense_normal():
    target = BrownianMotion()
    log_scales = torch.tensor([[-2.3, -1.9], [0.7, -4.0], [-6.0, 1.0], [0.0, 0.0]], dtype=F64)
    expected = dense_log_evidence(target, log_scales)
    torch.testing.assert_close(target.log_evidence(log_scales), expected, rtol=1e-10, atol=1e-9)
    assert target.log_evidence(log_scales.reshape(2, 2, 2)).shape == (2, 2)


def test_with_the_scales_fixed_the_density_integrates_to_the_evidence():
    """The path is Gaussian then: the integral over it follows from the value and the Hessian at its mode."""
    target = BrownianMotion()
    free = torch.tensor([-2.2, -1.7], dtype=F64)
    prior = TransformedDistribution(LogNormal(torch.zeros((), dtype=F64), 2.0), SoftplusTransform().inv).log_prob(free).sum()

    def of_path(path: torch.Tensor) -> torch.Tensor:
        return target.log_prob(torch.cat((free, path)))

    start = torch.zeros(30, dtype=F64)
    precision = -torch.autograd.functional.hessian(of_path, start)
    mode = start + torch.linalg.solve(precision, target.score(torch.cat((free, start)))[2:])
    assert target.score(torch.cat((free, mode)))[2:].abs().max() < 1e-9
    integral = of_path(mode) + 15 * math.log(2 * math.pi) - 0.5 * torch.linalg.slogdet(precision).logabsdet
    evidence = target.log_evidence(torch.log1p(free.exp()).log())
    assert (integral - prior).item() == pytest.approx(evidence.item(), abs=1e-9)


def test_log_z_is_the_evidence_averaged_over_the_scales():
    """Gauss and Legendre's quadrature of the dense evidence; and a grid of other points."""
    target = BrownianMotion(SHORT)
    nodes, weights = (torch.tensor(7 * values) for values in np.polynomial.legendre.leggauss(160))
    normals = torch.cartesian_prod(nodes, nodes)
    density = (-normals.square().sum(-1) / 2).exp() / (2 * math.pi) * dense_log_evidence(target, 2 * normals).exp()
    z = torch.outer(weights, weights).flatten() @ density
    assert target.log_z == pytest.approx(z.log().item(), abs=1e-6)
    gym = make_target("brownian")
    assert (gym.name, gym.dim, int(gym.seen.sum())) == ("brownian", 32, 20)
    assert gym.log_z == pytest.approx(gym.quadrature(601), abs=1e-10)
    assert gym.seen.tolist() == [True] * 10 + [False] * 10 + [True] * 10


def test_tiny_scales_have_a_finite_score_of_their_own():
    """exp(-150) is 0 in float32: with all else at 0 the score of the scale is -(log a) / 4 - 1 - T, or as many as are seen."""
    target = BrownianMotion(torch.zeros(3))
    x = torch.zeros(2, 5)
    x[0, 0], x[1, 1] = -150.0, -150.0
    log_prob, score = target.log_prob_and_score(x)
    assert log_prob.isfinite().all() and log_prob.dtype == score.dtype == torch.float32
    assert score[0, 0].item() == score[1, 1].item() == pytest.approx(150 / 4 - 1 - 3 + 1, rel=1e-6)


def test_nothing_observed_is_one_clear_error():
    with pytest.raises(RescoreError, match=r"brownian: observations of shape \(3,\); \(T,\), not all NaN, are needed"):
        BrownianMotion(torch.full((3,), math.nan))
