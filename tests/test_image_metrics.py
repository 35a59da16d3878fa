"""FID, inception score, KID, precision and recall against formulas written out."""

import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.linalg
import torch
from failures import failure
from rescore.ledger.protocol import differences, format_protocol, parse_protocol
from rescore.metrics import rmse, sliced_wasserstein
from rescore.metrics.features import Features
from rescore.metrics.images import (
    METRICS,
    ImageSettings,
    Moments,
    evaluate,
    frechet_distance,
    halves,
    image_protocol,
    inception_score,
    kernel_distance,
    moments,
    precision_recall,
)
from rescore.random import make_generator
from torch import Tensor

SMALL = ImageSettings(splits=2, subsets=5, subset_size=40)


def cloud(n: int, d: int = 5, seed: int = 0, scale: float = 1.0, shift: float = 0.0, dtype=torch.float64) -> Features:
    """Gaussian features, and logits of 4 classes."""
    g = make_generator("cloud", n, d, seed)
    values, logits = (torch.randn(n, k, generator=g, dtype=torch.float64) for k in (d, 4))
    return Features("test", f"cloud-{seed}", (scale * values + shift).to(dtype), logits)


# FID


@pytest.mark.parametrize("n", [6, 1000, 1024, 3000])
def test_streamed_moments_are_the_moments(n):
    x = cloud(n, shift=100.0)
    m = moments(x)
    np.testing.assert_allclose(m.mean, x.values.numpy().mean(0), rtol=1e-14)
    np.testing.assert_allclose(m.covariance, np.cov(x.values.numpy(), rowvar=False), rtol=1e-10, atol=1e-11)
    assert m.n == n and m.extractor == "test"


def test_float32_features_are_summed_in_float64():
    """At a mean of 1e4 and a deviation of 1, sums in float32 would leave nothing of the covariance."""
    x = cloud(4000, shift=1e4, dtype=torch.float32)
    np.testing.assert_allclose(moments(x).covariance, np.cov(x.values.double().numpy(), rowvar=False), rtol=1e-9, atol=1e-10)


def gaussian(mean: np.ndarray, covariance: np.ndarray) -> Moments:
    return Moments("test", "gaussian", 10**6, mean, covariance)


def test_frechet_distance_of_commuting_gaussians():
    """|m_a - m_b|^2 + sum (s_a - s_b)^2 for standard deviations along common axes."""
    random = np.random.default_rng(0)
    axes = scipy.linalg.qr(random.standard_normal((6, 6)))[0]
    means, deviations = random.standard_normal((2, 6)), random.uniform(0.1, 3, (2, 6))
    a, b = (gaussian(m, axes * s**2 @ axes.T) for m, s in zip(means, deviations, strict=True))
    exact = np.square(means[0] - means[1]).sum() + np.square(deviations[0] - deviations[1]).sum()
    assert frechet_distance(a, b) == pytest.approx(exact, rel=1e-12)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-12)


def test_frechet_distance_of_any_gaussians_is_that_of_scipys_square_root():
    random = np.random.default_rng(1)
    roots, means = random.standard_normal((2, 20, 20)), random.standard_normal((2, 20))
    a, b = (gaussian(m, r @ r.T) for m, r in zip(means, roots, strict=True))
    root = scipy.linalg.sqrtm(a.covariance @ b.covariance).real
    exact = np.square(means[0] - means[1]).sum() + np.trace(a.covariance + b.covariance - 2 * root)
    assert frechet_distance(a, b) == pytest.approx(exact, rel=1e-9)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-9)


def test_frechet_distance_between_samples_tends_to_that_of_their_laws():
    """N(0, I) and N(1/2, 4 I) in 5 dimensions: 5/4 + 5, up to an error of order n^-1/2."""
    assert frechet_distance(cloud(40000), cloud(40000, seed=1, scale=2.0, shift=0.5)) == pytest.approx(6.25, abs=0.15)


@pytest.mark.parametrize("dead", [0, 3, 60])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_identical_sets_are_at_no_negative_distance(dead, dtype):
    """Features that never fire leave a covariance without full rank: its root is known to sqrt(rounding) only."""
    for seed in range(2):
        values = cloud(300, d=100, seed=seed, scale=30, dtype=dtype).values
        values[:, :dead] = (values[:, -1:] if seed else 0) * torch.ones(dead, dtype=dtype)  # copies, or nothing
        x = Features("test", "x", values)
        scale = moments(x).covariance.trace()
        assert 0 <= frechet_distance(x, x) <= 1e-6 * scale
        moved = Features("test", "moved", values + 2)
        exact = np.square(moments(x).mean - moments(moved).mean).sum()
        assert exact <= frechet_distance(x, moved) <= exact + 1e-6 * scale and exact == pytest.approx(400, rel=1e-4)


def test_too_few_samples_for_a_covariance():
    assert failure(moments, cloud(5)) == (
        "FID of cloud-0: 5 samples are too few for the covariance of 5 features; allowed: more than 5"
    )
    assert moments(cloud(6)).n == 6


# inception score


def logits_of(logits: Tensor) -> Features:
    return Features("test", "logits", torch.zeros(len(logits), 1), logits)


def test_the_inception_score_of_a_constant_prediction_is_1_and_of_balanced_certain_ones_the_number_of_classes():
    assert inception_score(logits_of(torch.zeros(100, 7))) == pytest.approx(1, abs=1e-12)
    assert inception_score(logits_of(torch.tensor([[3.0, -1.0, 0.5]]).repeat(100, 1))) == pytest.approx(1, abs=1e-6)
    certain = 60 * torch.eye(4, dtype=torch.float64).repeat(50, 1)
    assert inception_score(logits_of(certain), ImageSettings(splits=1)) == pytest.approx(4, rel=1e-12)


def test_the_inception_score_is_torch_fidelitys_and_the_formula():
    from torch_fidelity.metric_isc import isc_features_to_metric

    x = cloud(1003)
    assert inception_score(x) == pytest.approx(isc_features_to_metric(x.logits)["inception_score_mean"], rel=1e-13)
    p = torch.softmax(x.logits, 1)
    formula = (p * (p / p.mean(0)).log()).sum(1).mean().exp().item()
    assert inception_score(x, ImageSettings(splits=1)) == pytest.approx(formula, rel=1e-12)


def test_what_an_inception_score_needs():
    assert failure(inception_score, cloud(9)) == "inception score of cloud-0: 9 samples; allowed: 10 (splits) or more"
    assert failure(inception_score, replace(cloud(9), logits=None)) == "inception score of cloud-0: no logits"
    impossible = logits_of(torch.tensor([[0.0, 1e4]]).repeat(20, 1))
    assert "so far apart that a class is impossible" in failure(inception_score, impossible)


# KID


def test_kid_is_the_unbiased_sum_over_the_polynomial_kernel():
    a, b = cloud(60), cloud(60, seed=1, shift=0.3)
    x, y = a.values, b.values

    def kernel(p: Tensor, q: Tensor) -> float:
        return (float(p @ q) / 5 + 1) ** 3

    within = sum(kernel(c[i], c[j]) for c in (x, y) for i in range(60) for j in range(60) if i != j) / (60 * 59)
    across = sum(kernel(p, q) for p in x for q in y) / 60**2
    assert kernel_distance(a, b, ImageSettings(subsets=2, subset_size=60)) == pytest.approx(within - 2 * across, rel=1e-10)


def test_kid_is_torch_fidelitys():
    from torch_fidelity.metric_kid import kid_features_to_metric

    a, b = cloud(200, dtype=torch.float32), cloud(300, seed=1, dtype=torch.float32)
    theirs = kid_features_to_metric(a.values.double(), b.values.double(), kid_subsets=7, kid_subset_size=50, verbose=False)
    ours = kernel_distance(a, b, ImageSettings(subsets=7, subset_size=50))
    assert ours == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-12)


def test_kid_of_one_law_is_zero_on_average():
    """200 independent pairs: their mean lies within 4 standard errors of 0; the biased estimate does not."""
    settings = ImageSettings(subsets=1, subset_size=30)
    values = np.array([kernel_distance(cloud(30, seed=2 * i), cloud(30, seed=2 * i + 1), settings) for i in range(200)])
    error = values.std() / 200**0.5
    assert abs(values.mean()) < 4 * error and (values < 0).any()
    diagonal = np.mean([((cloud(30, seed=i).values.square().sum(1) / 5 + 1) ** 3).mean().item() for i in range(50)])
    assert 2 * (diagonal - 1) / 30 > 8 * error, "the bias that is not there would show"


def test_kid_needs_as_many_samples_as_a_subset():
    assert failure(kernel_distance, cloud(60), cloud(59, seed=1), ImageSettings(subset_size=60)) == (
        "KID of cloud-1: 59 samples and subsets of 60; allowed: subsets of 2 to 59"
    )


# precision and recall


def test_precision_and_recall_of_identical_and_of_disjoint_clouds():
    x = cloud(200)
    assert precision_recall(x, x) == (1.0, 1.0)
    assert precision_recall(x, cloud(200, seed=1, shift=100.0)) == (0.0, 0.0)


def test_generated_samples_in_one_mode_are_precise_and_recall_half():
    modes = torch.tensor([0.0, 100.0], dtype=torch.float64).repeat_interleave(100)[:, None]
    real = replace(cloud(200), values=cloud(200).values + modes)
    precision, recall = precision_recall(cloud(100, seed=1, scale=0.3), real)
    assert precision == 1 and recall <= 0.5
    swapped = precision_recall(real, cloud(100, seed=1, scale=0.3))
    assert swapped == (recall, precision), "the first argument is the generated one"


def test_precision_and_recall_are_the_definition_in_any_block(monkeypatch):
    x, y = cloud(70), cloud(50, seed=1, scale=1.5)

    def share(points: Tensor, centres: Tensor) -> float:
        radii = torch.cdist(centres, centres).sort(1).values[:, 3]
        return (torch.cdist(points, centres) <= radii).any(1).double().mean().item()

    exact = share(x.values, y.values), share(y.values, x.values)
    for block in (2**23, 700):
        monkeypatch.setattr("rescore.metrics.images.BLOCK", block)
        assert precision_recall(x, y) == pytest.approx(exact, abs=1e-6)


def test_what_precision_and_recall_need():
    assert failure(precision_recall, cloud(3), cloud(9)) == (
        "precision and recall of cloud-0: 3 samples, 3 neighbours; allowed: 1 to 2 neighbours"
    )
    assert "allowed: one dtype" in failure(precision_recall, cloud(9), cloud(9, dtype=torch.float32))


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("seed", -1, "from 0 to 4294967295"),
        ("seed", 2**32, "from 0 to 4294967295"),
        ("subsets", 0, "from 1 on"),
        ("splits", 0, "from 1 on"),
        ("splits", 2.0, "from 1 on"),
        ("subset_size", 1, "from 2 on"),
        ("neighbours", 0, "from 1 on"),
    ],
)
def test_settings_check_their_domain(name, value, allowed):
    assert failure(ImageSettings, **{name: value}) == f"image metrics: {name} = {value}; allowed are integers {allowed}"


# all of them, and what they may not compare


def test_evaluate_returns_what_was_asked_for():
    a, b = cloud(80), cloud(90, seed=1)
    values = evaluate(a, b, settings=SMALL)
    assert tuple(values) == METRICS and all(map(math.isfinite, values.values()))
    assert evaluate(a, b, ["recall", "fid"], SMALL) == {"recall": values["recall"], "fid": values["fid"]}
    assert failure(evaluate, a, b, ["fvd"]) == "image metrics: fvd; allowed: fid, is, kid, precision, recall"


@pytest.mark.parametrize("metric", ["fid", "kid", "precision"])
@pytest.mark.parametrize("other", [replace(cloud(80, seed=1), extractor="other"), cloud(80, d=6, seed=1)], ids=["name", "size"])
def test_features_of_two_extractors_are_not_compared(metric, other):
    assert "allowed: the same extractor on both sides" in failure(evaluate, cloud(80), other, [metric], SMALL)


@pytest.mark.parametrize("values", [torch.zeros(3), torch.zeros(3, 2, dtype=torch.int64), torch.full((3, 2), torch.nan)])
def test_features_are_finite_rows(values):
    assert failure(Features, "test", "bad", values).startswith("features of bad: values ")


def test_a_protocol_holds_all_that_its_metric_depends_on():
    a, b = cloud(80), cloud(90, seed=1)
    base = {"features": "test", "n_samples": 80, "quantised": "uint8-truncated"}
    assert image_protocol("fid", a, b, "truncate") == base | {"reference": "cloud-1/90"}
    assert image_protocol("is", a, b, "truncate") == base | {"splits": 10, "metric_seed": 2020}
    assert image_protocol("kid", a, b, "truncate", SMALL) == base | {
        "reference": "cloud-1/90",
        "subsets": "5x40",
        "metric_seed": 2020,
    }
    assert image_protocol("recall", a, b, "nearest") == base | {
        "quantised": "uint8-nearest",
        "reference": "cloud-1/90",
        "neighbours": 3,
    }
    assert image_protocol("fid", a, b, None)["quantised"] == "uint8"


@pytest.mark.parametrize(
    "other",
    [
        (replace(cloud(80), extractor="other"), replace(cloud(90, seed=1), extractor="other"), "truncate"),
        (cloud(79), cloud(90, seed=1), "truncate"),
        (cloud(80), cloud(89, seed=1), "truncate"),
        (cloud(80), cloud(90, seed=2), "truncate"),
        (cloud(80), cloud(90, seed=1), "nearest"),
    ],
    ids=["extractor", "n", "reference size", "reference", "quantisation"],
)
def test_numbers_under_two_protocols_are_not_judged_against_each_other(other):
    declared = image_protocol("fid", cloud(80), cloud(90, seed=1), "truncate")
    assert not differences(declared, parse_protocol(format_protocol(declared)))
    assert len(differences(declared, parse_protocol(format_protocol(image_protocol("fid", *other))))) == 1


def test_halves_are_disjoint_and_give_a_floor():
    x = cloud(401)
    a, b = halves(x)
    assert len(a) == len(b) == 200 and a.reference == "cloud-0/200"
    rows = {tuple(row) for part in (a, b) for row in part.values.tolist()}
    assert len(rows) == 400 and rows < {tuple(row) for row in x.values.tolist()}
    floor = evaluate(a, b, settings=SMALL)
    far = evaluate(cloud(200, seed=5, shift=0.5), b, settings=SMALL)
    assert 0 < floor["fid"] < far["fid"] and floor["kid"] < far["kid"]
    assert torch.equal(halves(x)[0].values, a.values) and not torch.equal(halves(x, 1)[0].values, a.values)


def test_points_are_where_they_were():
    assert rmse(torch.zeros(2), torch.ones(2)) == 1 and sliced_wasserstein(torch.zeros(2, 2), torch.zeros(2, 2)) == 0
