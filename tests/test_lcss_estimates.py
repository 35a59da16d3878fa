"""LCSS's draws of x' and Hutchinson's probes: closed forms by quadrature, Jacobians, and what a small run measures."""

import math

import pytest
import torch
from measuring import as_records, configured, measured
from rescore.data.images import load_images
from rescore.data.pixels import to_unit
from rescore.errors import RescoreError
from rescore.objectives.pointwise import lcss
from rescore.papers import load_config, load_paper
from rescore.processes.quadrature import gauss_hermite

PAPER = load_paper("lcss")
estimates = PAPER.module("estimates")
SETTINGS = {
    "one_draw": {"points": 500, "steps": 6, "draws": [1, 3], "trained": 2, "sigmas": [1.0]},
    "hutchinson": {"points": 40, "probes": [1, 4], "sigmas": [0.5]},
    "stability": {"members": 2, "width": 8, "batch": 4, "every": 1},
    "seeds": [0, 1],
    "jobs": {"one": {"measure": ["one_draw", "hutchinson"]}},
}


@pytest.fixture(scope="module")
def values(tmp_path_factory):
    result = measured(PAPER, configured(PAPER, SETTINGS), "one", tmp_path_factory.mktemp("estimates"))
    return {(r.dataset, r.method, r.variant, r.metric): r for r in as_records(PAPER, result)}


@pytest.mark.parametrize("sigma", [0.1, 1.0, 3.0])
@pytest.mark.parametrize("draws", [1, 4])
def test_the_variance_of_a_slope_by_quadrature(sigma, draws):
    """Total variance of the loss's own derivative by the score's scale, over x and z in one coordinate of 64."""
    z, w = gauss_hermite(8)
    x, noise = (values.reshape(-1, 1) for values in torch.meshgrid(z, z, indexing="ij"))
    scale = torch.ones(64, 1, dtype=torch.float64, requires_grad=True)
    losses = sigma**2 * lcss(lambda y: -scale * y / (1 + sigma**2), x, noise, sigma)
    slopes = torch.autograd.grad(losses.sum(), scale)[0].reshape(8, 8)  # rows are data
    means = slopes @ w
    within, between = w @ ((slopes - means[:, None]).square() @ w), w @ (means - w @ means).square()
    assert estimates.slope_variance(sigma, draws) == pytest.approx(64 * (between + within / draws).item(), rel=1e-10)


def test_measured_slopes_have_their_closed_form(values):
    for draws in (1, 3):
        found, exact = (values["gaussian", of, f"sigma=1, draws={draws}", "slope_std"] for of in ("LCSS", "closed form"))
        assert found.value == pytest.approx(exact.value, rel=0.1) and (found.n_samples, exact.over) == (1000, "exact")
        ratio = values["gaussian", "closed form", f"sigma=1, draws={draws}", "variance_at_equal_cost"].value
        variance = [estimates.slope_variance(1.0, k) for k in (draws, 1)]
        assert ratio == pytest.approx(draws * variance[0] / variance[1])
    with pytest.raises(RescoreError, match="lacks 1, which the others are compared with"):
        configured(PAPER, {"one_draw": {"draws": [2]}, "jobs": {}})


def test_trainings_with_several_draws(values):
    """The ensemble sees so many rows of each image; all start alike, from a network that is 0: an error of 1."""
    variants = ("draws=1", "draws=2", "draws=2, same cost")
    ends = [values["digits", "LCSS", variant, "final_error"] for variant in variants]
    early = [values["digits", "LCSS", variant, "early_error"] for variant in variants]  # after 1 of 6 steps
    for found in (early, ends):
        assert len({one.value for one in found}) == 3 and all(0.5 < one.value < 1.02 for one in found)
    assert [(end.over, end.n_seeds) for end in ends] == [("trainings", 2)] * 3
    told = [dict(part.split("=") for part in end.protocol.split("; ")) for end in ends]
    assert [(how["draws"], how["train_batch"]) for how in told] == [("1", "4"), ("2", "4"), ("2", "2")]


@pytest.mark.parametrize("section", ["stability", "one_draw"])
def test_an_error_is_taken_at_the_end_of_each_training(section):
    """Else an earlier one, at worst that of the start, would stand there."""
    with pytest.raises(RescoreError, match=rf"{section}\.steps: 40; allowed: multiples of stability.every, 50"):
        configured(PAPER, {section: {"steps": 40}, "jobs": {}})


@pytest.mark.parametrize("scale", ["gpu", "paper"])
def test_the_early_error_is_that_after_a_fifth_of_a_training(scale):
    found = load_config(PAPER, scale)
    for steps in (found.stability.steps, found.one_draw.steps):
        assert PAPER.module("stability").EARLY * steps % found.stability.every == 0


def test_jacobians_of_the_noised_digits():
    """A = (Cov(x0 | u) / sigma^2 - I) / sigma^2, from the posterior over all digits; the probes' exact error from A itself."""
    A, trace, stein = estimates.state(0.5, 3, 0)
    images = to_unit(load_images("digits", "train").images).double().flatten(1)
    draws = torch.Generator().manual_seed(estimates.make_generator("lcss", "hutchinson", 0.5, 0).initial_seed())
    x = images[torch.randint(len(images), (3,), generator=draws)]
    z = torch.randn(3, 64, generator=draws, dtype=torch.float64)
    u = x + 0.5 * z
    weights = torch.softmax(-torch.cdist(u, images).square() / 0.5, 1)
    mean = weights @ images
    second = torch.einsum("nk,ki,kj->nij", weights, images, images) - torch.einsum("ni,nj->nij", mean, mean)
    expected = (second / 0.25 - torch.eye(64, dtype=torch.float64)) / 0.25
    assert torch.allclose(A, expected, atol=1e-8) and torch.allclose(trace, A.diagonal(dim1=1, dim2=2).sum(1))
    assert torch.allclose(stein, ((mean - u) / 0.25 * z).sum(1) / 0.5, atol=1e-8)


def test_errors_over_the_bound():
    """A = -I: with 64 coordinates a Gaussian probe's error is sqrt(2) bounds, 0.52 of them are within; signs make none."""
    A = -torch.eye(64, dtype=torch.float64).expand(2000, 64, 64)
    found = estimates.by_probes("gaussian", 4, A, 2.0, 0)
    assert found["error_over_bound_exact"] == pytest.approx(math.sqrt(2))
    assert found["error_over_bound"] == pytest.approx(math.sqrt(2), rel=0.06)
    assert found["within_bound"] == pytest.approx(math.erf(0.5), abs=0.05)
    assert found["relative_error"] == pytest.approx(math.sqrt(2 * 64 / 4) / 64, rel=0.06)
    assert found["trace_mean"] == pytest.approx(4 * -64, rel=0.01) and found["trace_std"] == pytest.approx(
        4 * math.sqrt(32), rel=0.06
    )
    signs = estimates.by_probes("rademacher", 1, A, 1.0, 0)
    assert (signs["error_over_bound"], signs["within_bound"], signs["error_over_bound_exact"]) == (0, 1, 0)


def test_measured_errors_have_their_closed_form(values):
    for probe in estimates.PROBES:
        for m in (1, 4):
            found, exact = (values["digits", probe, f"sigma=0.5, M={m}", f"error_over_bound{of}"] for of in ("", "_exact"))
            assert found.value == pytest.approx(exact.value, rel=0.35) and exact.value > 0.1 and found.n_samples == 80
    means = [values["digits", method, "sigma=0.5", "trace_mean"] for method in ("trace", "Stein")]
    spread = values["digits", "Stein", "sigma=0.5", "trace_std"].value
    assert abs(means[0].value - means[1].value) < 4 * spread / math.sqrt(80)
    assert values["gaussian", "gaussian", "d=3072", "relative_error"].value == pytest.approx(math.sqrt(2 / 3072))
