"""Hutchinson's estimate: its variance over all probes there are, and times that several draws share."""

import itertools
import math

import pytest
import torch
from rescore.errors import RescoreError
from rescore.objectives import LCSS, RepeatedTimes, UniformTimes
from rescore.objectives.hutchinson import probe_variance, trace_estimates
from rescore.problems.score_norms import jacobian_norm, probed_jacobian_norm
from rescore.processes import VE
from rescore.processes.quadrature import gauss_hermite
from rescore.random import make_generator

F64 = torch.float64
A = torch.tensor([[1.0, 2.0, -0.5], [0.3, -2.0, 0.7], [1.1, 0.0, 0.4]], dtype=F64)  # not symmetric


def all_signs(d):
    v = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=d)), dtype=F64)
    return v, torch.full((len(v),), 1 / len(v), dtype=F64)


def normals(d):
    z, w = gauss_hermite(4)  # exact for the fourth powers of a variance
    return torch.cartesian_prod(*[z] * d), torch.cartesian_prod(*[w] * d).prod(1)


def sphere(d):
    """Points of latitude and longitude; d = 3, radius sqrt(3): Gauss-Legendre in the height, even angles about it."""
    heights = torch.tensor([-math.sqrt(0.6), 0.0, math.sqrt(0.6)], dtype=F64)
    angles = torch.arange(6, dtype=F64) * (2 * math.pi / 6)
    h, a = (grid.flatten() for grid in torch.meshgrid(heights, angles, indexing="ij"))
    ring = (1 - h * h).sqrt()
    weights = torch.tensor([5 / 18, 8 / 18, 5 / 18], dtype=F64).repeat_interleave(6) / 6
    return math.sqrt(d) * torch.stack((ring * a.cos(), ring * a.sin(), h), 1), weights


@pytest.mark.parametrize(("probe", "every"), [("rademacher", all_signs), ("gaussian", normals), ("sphere", sphere)])
def test_the_variance_is_that_over_all_probes(probe, every):
    v, weights = every(3)
    found = trace_estimates(A.expand(len(v), 3, 3), v[:, None])
    assert (weights @ found).item() == pytest.approx(A.trace().item(), abs=1e-12)
    variance = weights @ (found - A.trace()).square()
    assert probe_variance(A[None], probe).item() == pytest.approx(variance.item(), rel=1e-12)


@pytest.mark.parametrize("matrix", [A, A[:2], A[:, :2]])
def test_the_norm_of_a_linear_function_by_probes(matrix):
    """One-hot probes give |A|^2 itself, all signs too in the mean; one sign probe has the variance of v^T A A^T v."""
    d, n = matrix.shape
    u = torch.randn(4, n, generator=make_generator("u"), dtype=F64).requires_grad_()
    y, norm = u @ matrix.T, matrix.square().sum().item()
    one_hot = math.sqrt(d) * torch.eye(d, dtype=F64)[:, None].expand(d, 4, d)
    assert probed_jacobian_norm(y, u, one_hot) == pytest.approx(norm, rel=1e-14)
    signs, weights = all_signs(d)
    each = torch.tensor([probed_jacobian_norm(y, u, v.expand(1, 4, d)) for v in signs], dtype=F64)
    assert (weights @ each).item() == pytest.approx(norm, rel=1e-14)
    variance = probe_variance((matrix @ matrix.T)[None], "rademacher").item()
    assert (weights @ (each - norm).square()).item() == pytest.approx(variance, rel=1e-12)


def test_the_norm_of_a_curved_function_is_the_mean_over_its_rows():
    u = torch.randn(5, 3, generator=make_generator("u"), dtype=F64).requires_grad_()
    y = (u @ A.T).tanh()
    one_hot = math.sqrt(3) * torch.eye(3, dtype=F64)[:, None].expand(3, 5, 3)
    assert probed_jacobian_norm(y, u, one_hot) == pytest.approx(jacobian_norm(y, u), rel=1e-14)
    slope = 1 - y.detach().square()
    assert jacobian_norm(y, u) == pytest.approx((slope[:, :, None] * A).square().sum((1, 2)).mean().item(), rel=1e-14)


def test_several_probes_are_averaged_for_each_matrix():
    v = torch.tensor([[[1.0, 0, 0], [0, 2, 0]], [[0, 0, 1], [1, 1, 0]]], dtype=F64)
    assert trace_estimates(torch.stack((A, 2 * A)), v).tolist() == pytest.approx([(1 - 8) / 2, (0.8 + 2 * 1.3) / 2])


@pytest.mark.parametrize("probe", ["rademacher", "sphere"])
def test_no_variance_is_negative(probe):
    """Multiples of I have no error; 64 terms of 99.99... make a difference that may round below 0."""
    scales = torch.linspace(50, 150, 400, dtype=F64)[:, None, None]
    found = probe_variance(-scales * torch.eye(64, dtype=F64), probe)
    assert (found >= 0).all() and found.max() < 1e-8


def test_an_unknown_probe():
    with pytest.raises(RescoreError, match="probe 'uniform'; allowed: gaussian, rademacher, sphere"):
        probe_variance(A[None], "uniform")


def test_repeated_times_are_of_one_row_each():
    t, weight = RepeatedTimes(UniformTimes(), 3).draw(VE(), 12, make_generator("t"))
    once, _ = UniformTimes().draw(VE(), 4, make_generator("t"))
    assert torch.equal(t.reshape(4, 3), once[:, None].expand(4, 3)) and torch.equal(weight, torch.ones(12, dtype=F64))
    with pytest.raises(RescoreError, match="repeated 3 times for 10 rows; allowed are multiples of 3"):
        RepeatedTimes(UniformTimes(), 3).draw(VE(), 10, make_generator("t"))


def test_one_repeat_is_the_objective_itself():
    x = torch.randn(6, 1, 2, 2, generator=make_generator("x"))
    losses = [
        LCSS("sigma^2", times)(lambda u, t: u, VE(), x, make_generator("l"))
        for times in (UniformTimes(), RepeatedTimes(UniformTimes(), 1))
    ]
    assert torch.equal(*losses)
