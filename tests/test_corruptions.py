"""Families of operators, schedules and the shortest path, against mathematics."""

import itertools
import math

import numpy as np
import pytest
import torch
from rescore.corruptions import (
    Blur,
    Constant,
    Corruption,
    DCTBlur,
    GaussianStart,
    GeometricNoise,
    Identity,
    Interpolated,
    Masking,
    find_path,
    kept_schedule,
    mse_matched,
    pairwise_wasserstein,
    shortest_path,
    wasserstein_schedule,
)
from rescore.data.digits import load_digits
from rescore.errors import RescoreError
from rescore.processes import VE, Blurring

DIGITS = Blur((8, 8), 8, 4.5)
CIFAR = Blur((32, 32), 32, 18.0)
CELEBA = Blur((64, 64), 80, 23.0)


def dense(operator, size):
    """The matrix (pixels, pixels) of an operator on images."""
    basis = torch.eye(math.prod(size), dtype=torch.float64).reshape(-1, 1, *size)
    return operator(basis).reshape(len(basis), -1).T


def images(n=100):
    return (load_digits()[:n] + 1) / 2


def spd(eigenvalues):
    return torch.tensor(eigenvalues, dtype=torch.float64)


@pytest.mark.parametrize("family", [DIGITS, DCTBlur((8, 8), 4.5), Masking((8, 8)), Identity()])
def test_lowest_level_is_exactly_the_identity(family):
    C = dense(family(family.lowest), (8, 8))
    assert (C - torch.eye(64)).abs().max() < (1e-14 if isinstance(family, DCTBlur) else 1e-300)


@pytest.mark.parametrize("std", [0.3, 1.0, 4.5])
def test_blur_is_the_convolution_with_zero_padding(std):
    x = torch.randn(2, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    u = torch.arange(-8, 9, dtype=torch.float64)
    kernel = torch.exp(-(u**2) / (2 * std**2))
    kernel /= kernel.sum()
    expected = torch.nn.functional.conv2d(x, torch.outer(kernel, kernel)[None, None], padding=8)
    torch.testing.assert_close(DIGITS(std)(x), expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("family", [Blur, DCTBlur])
def test_an_oblong_has_a_matrix_for_each_side_and_a_square_one_for_both(family):
    """An oblong's operator is that of its sides, taken from the two squares."""
    oblong, tall, wide = (
        family(size, **({"half_size": 8} if family is Blur else {}), highest=4.5) for size in ((8, 6), (8, 8), (6, 6))
    )
    C, high, low = (one(2.0) for one in (oblong, tall, wide))
    assert torch.equal(C.rows, high.rows) and torch.equal(C.columns, low.columns)
    assert high.columns is high.rows and C.columns.shape == (6, 6)


@pytest.mark.parametrize("std", [0.5, 2.0, 4.5])
def test_blur_is_symmetric_and_contracts(std):
    K = DIGITS.matrix(8, torch.tensor(std, dtype=torch.float64))
    C = dense(DIGITS(std), (8, 8))
    assert torch.equal(K, K.T)
    assert (C - C.T).abs().max() < 1e-15
    assert K.sum(1).max() <= 1 + 1e-15
    assert torch.linalg.eigvalsh(K).max() < 1 - 1e-6
    torch.testing.assert_close(C, torch.kron(K, K), rtol=0, atol=1e-15)


@pytest.mark.parametrize(
    ("family", "largest", "ratio", "centre", "corner"),
    [(CIFAR, 0.6165, 0.214, 0.454, 0.257), (CELEBA, 0.7310, 0.403, 0.699, 0.256), (DIGITS, 0.609, 0.213, None, 0.278)],
)
def test_largest_blur_of_the_paper_darkens_the_border(family, largest, ratio, centre, corner):
    n = family.size[0]
    eigenvalues = torch.linalg.eigvalsh(family.matrix(n, spd(family.highest))).flip(0)
    flat = family(family.highest)(torch.ones(1, 1, n, n, dtype=torch.float64))[0, 0]
    assert eigenvalues[0].item() == pytest.approx(largest, abs=6e-4)
    assert (eigenvalues[1] / eigenvalues[0]).item() == pytest.approx(ratio, abs=6e-4)
    assert flat[0, 0].item() == pytest.approx(corner, abs=6e-4)
    if centre:
        assert flat[n // 2, n // 2].item() == pytest.approx(centre, abs=6e-4)


def test_zero_padded_blurs_compose_inside_and_not_at_the_border():
    wide = Blur((41, 41), 40, 4.0)
    K = [wide.matrix(41, spd(std)) for std in (1.5, 2.0, 2.5)]
    error = (K[0] @ K[1] - K[2]).abs()
    assert error[20].max() < 1e-6  # far from the border 1.5^2 + 2^2 = 2.5^2
    assert error[0].max() > 1e-2
    assert (K[0] @ K[1] - K[1] @ K[0]).abs().max() > 1e-4


def test_dct_blurs_compose_and_keep_constants():
    family = DCTBlur((8, 8), 5.0)
    a, b, both = (dense(family(std), (8, 8)) for std in (1.5, 2.0, 2.5))
    torch.testing.assert_close(a @ b, both, rtol=0, atol=1e-14)
    assert (both.sum(1) - 1).abs().max() < 1e-14


def test_dct_blur_is_that_of_blurring_diffusion():
    process, x, t = Blurring((8, 8), sigma_max=3.0, d_min=0.0), images(5), 0.7
    std = process.sigma_max * math.sin(math.pi * t / 2) ** 2
    scale = torch.cos(process._phase(torch.tensor(t, dtype=torch.float64)))
    expected = process.project(process.mean(t)(process.embed(x)))
    torch.testing.assert_close(scale * DCTBlur((8, 8), 3.0)(std)(x), expected, rtol=0, atol=1e-13)


def test_masks_are_projections_that_shrink_to_the_centre():
    family = Masking((8, 8))
    masks = [torch.diagonal(dense(family(float(level)), (8, 8))) for level in range(65)]
    assert [int(m.sum()) for m in masks] == list(range(64, -1, -1))
    assert all(((a - b) >= 0).all() for a, b in itertools.pairwise(masks))
    assert masks[28].reshape(8, 8)[1:7, 1:7].sum() == 36  # the border ring has 28 pixels
    assert torch.equal(masks[60].reshape(8, 8).nonzero(), torch.tensor([[3, 3], [3, 4], [4, 3], [4, 4]]))


def test_one_level_per_image_is_what_each_level_does_alone():
    x, levels = images(4), spd([0.01, 0.7, 2.0, 4.5])
    for family in (DIGITS, DCTBlur((8, 8), 4.5), Masking((8, 8))):
        together = family(levels)(x)
        alone = torch.stack([family(level)(image) for level, image in zip(levels, x, strict=True)])
        torch.testing.assert_close(together, alone, rtol=0, atol=1e-15)


def test_noise_is_geometric_then_constant_and_zero_at_zero():
    noise = GeometricNoise(0.01, 0.1, 0.2)
    assert noise(spd([0.0, 0.1, 0.2, 0.6, 1.0])).tolist() == pytest.approx([0, 0.01 * 10**0.5, 0.1, 0.1, 0.1], rel=1e-14)
    times = torch.linspace(0.01, 1, 50, dtype=torch.float64)
    whole, ve = GeometricNoise(0.01, 50.0, 1.0), VE()
    torch.testing.assert_close(whole(times), ve.R(times).values, rtol=1e-12, atol=0)


def gaussian_chain(n):
    """W2 between N(0, c_i^2 S + s^2) for c from 1 to 0, in closed form."""
    c, S, s = np.linspace(1, 0, n), np.array([0.9, 0.2, 0.05]), 0.1
    roots = np.sqrt(c[:, None] ** 2 * S + s**2)
    return np.sqrt(((roots[:, None] - roots[None]) ** 2).sum(2))


def test_shortest_path_is_that_of_brute_force():
    random = np.random.default_rng(0)
    points = random.normal(size=(8, 2))
    distances = np.linalg.norm(points[:, None] - points[None], axis=2)
    for epsilon in np.quantile(distances, [0.4, 0.6, 0.8, 1.0]):
        paths = [(0, *middle, 7) for k in range(7) for middle in itertools.permutations(range(1, 7), k)]
        allowed = [p for p in paths if all(distances[a, b] <= epsilon for a, b in itertools.pairwise(p))]
        found = shortest_path(distances, epsilon)
        if not allowed:
            assert found is None
        else:
            assert found.nodes == min(allowed, key=lambda p: sum(distances[a, b] for a, b in itertools.pairwise(p)))


def test_shortest_path_is_direct_without_a_limit_and_absent_below_the_largest_gap():
    distances = gaussian_chain(30)
    gaps = np.diag(distances, 1)
    assert shortest_path(distances, distances.max()).nodes == (0, 29)
    assert shortest_path(distances, gaps.max() * (1 - 1e-9)) is None
    assert shortest_path(distances, gaps.max()) is not None


def test_where_every_path_is_as_long_the_one_of_fewest_hops_is_taken():
    """Points on a line: sums of the same length differ by their rounding."""
    points = np.sort(np.random.default_rng(0).random(40))
    distances = np.abs(points[:, None] - points) * math.sqrt(3)
    for epsilon in (0.3, 0.6, 1.0):
        hops, at = 0, 0
        while at < 39:  # as far as allowed each time
            hops, at = hops + 1, int(np.flatnonzero(distances[at] <= epsilon)[-1])
        assert len(shortest_path(distances, epsilon).nodes) == hops + 1


@pytest.mark.parametrize("nodes", [4, 8])
def test_bisection_finds_the_smallest_epsilon_of_so_many_nodes(nodes):
    distances = gaussian_chain(40)
    found = {value: shortest_path(distances, value) for value in np.unique(distances)[1:]}
    assert find_path(distances, nodes).epsilon == min(
        value for value, path in found.items() if path and len(path.nodes) == nodes
    )


@pytest.mark.parametrize("nodes", [8, 16, 32])
def test_bisection_finds_the_number_of_nodes_with_nearly_equal_hops(nodes):
    distances = gaussian_chain(256)
    path = find_path(distances, nodes)
    hops = np.array([distances[a, b] for a, b in itertools.pairwise(path.nodes)])
    assert len(path.nodes) == nodes
    assert path.nodes == tuple(sorted(path.nodes))
    assert hops.max() <= path.epsilon
    assert hops.max() / hops.mean() < 1.2
    with pytest.raises(RescoreError, match="shortest path of 40 nodes"):
        find_path(gaussian_chain(30), 40)


def test_wasserstein_of_translated_clouds_is_the_translation():
    x = torch.randn(20, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    shifts = spd([0.0, 1.0, 2.5])
    distances = pairwise_wasserstein([x + shift for shift in shifts])
    expected = (shifts[:, None] - shifts).abs().numpy() * math.sqrt(3)
    np.testing.assert_allclose(distances, expected, rtol=0, atol=1e-7)


def test_wasserstein_of_blurs_is_below_the_identity_coupling_and_a_metric():
    x, levels = images(30), (0.01, 0.4, 1.0, 2.0, 4.5)
    clouds = [DIGITS(level)(x) for level in levels]
    distances = pairwise_wasserstein(clouds)
    paired = np.array([[(a - b).square().flatten(1).sum(1).mean().sqrt().item() for a in clouds] for b in clouds])
    assert (distances <= paired + 1e-9).all()
    assert distances[0, 1] == pytest.approx(paired[0, 1], rel=1e-9)  # a small blur moves nobody past a neighbour
    for i, j, k in itertools.permutations(range(5), 3):
        assert distances[i, k] <= distances[i, j] + distances[j, k] + 1e-9


def test_schedule_on_digits_is_monotone_and_has_equal_hops():
    schedule, path, distances = wasserstein_schedule(DIGITS, images(24), 0.1, candidates=48, nodes=10, start=0.2)
    t = torch.linspace(0, 1, 101, dtype=torch.float64)
    levels = schedule(t)
    assert len(path.nodes) == 10
    assert (levels.diff() >= 0).all()
    assert (levels[:21] == DIGITS.lowest).all()
    assert levels[-1] == DIGITS.highest
    assert distances[path.nodes[0], path.nodes[1]] <= path.epsilon


def test_the_distances_of_a_schedule_are_the_rms_changes_of_its_images():
    """Blurs commute, without negative eigenvalues: keeping each image to itself is optimal, and the same noise drops out."""
    x, levels = images(24), np.linspace(DIGITS.lowest, DIGITS.highest, 10)
    _, _, distances = wasserstein_schedule(DIGITS, x, 0.1, candidates=10, nodes=3, start=0.2)
    blurred = [DIGITS(level)(x) for level in levels]
    expected = [[(a - b).square().flatten(1).sum(1).mean().sqrt().item() for a in blurred] for b in blurred]
    np.testing.assert_allclose(distances, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    "change",
    [
        {"name": "other"},
        {"family": Blur((8, 8), 8, 4.0)},
        {"images": images(7)},
        {"sigma": 0.2},
        {"candidates": 9},
        {"nodes": 4},
        {"start": 0.3},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_kept_schedule_is_that_of_its_settings(change, tmp_path):
    of = {"name": "x", "family": DIGITS, "images": images(6), "sigma": 0.1, "candidates": 8, "nodes": 3, "start": 0.2}
    for settings in (of, of | change, of):
        found = kept_schedule(tmp_path, **settings)
        expected = wasserstein_schedule(**{key: value for key, value in settings.items() if key != "name"})
        assert found[:2] == expected[:2] and np.array_equal(found[2], expected[2])
    assert len(list(tmp_path.glob("*.npz"))) == 2


def test_mse_schedule_has_the_mse_of_ve():
    x, noise, ve = images(), GeometricNoise(), VE(sigma_max=6.0)
    schedule = mse_matched(DIGITS, noise, x, ve, candidates=4097)

    def mse(t):
        blurred = (x - DIGITS(schedule(t))(x)).square().flatten(1).sum(1).mean() + 64 * noise(t) ** 2
        return blurred.item()

    for t in (0.9, 0.95, 1.0):
        knot = round(t * 256) / 256
        assert mse(knot) / mse(1.0) == pytest.approx((ve.Sigma(knot).values / ve.Sigma(1.0).values).item(), rel=1e-3)
    assert schedule(0.3) == DIGITS.lowest  # the noise alone is above the ratio there


def test_gaussian_start_has_the_moments_of_its_images():
    x = DIGITS(4.5)(images(500))
    start = GaussianStart.fit(x, 64)
    flat = start.modes.flatten(1)
    torch.testing.assert_close(flat.T @ flat, torch.cov(x.flatten(1).T), rtol=0, atol=1e-14)
    process = Corruption(DIGITS, Interpolated((0.0, 1.0), (0.01, 4.5)), GeometricNoise(), start)
    drawn = process.prior_sample((20000, 1, 8, 8), torch.Generator().manual_seed(0), torch.float64)
    total = (drawn - x.mean(0)).square().flatten(1).sum(1).mean().item()
    expected = flat.square().sum().item() + 64 * 0.01
    assert total == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: DIGITS(5.0), "Blur: level from 5 to 5; allowed: 0.01 to 4.5"),
        (lambda: Blur((8, 8), 0, 4.5), "Blur: half_size = 0; allowed are integers from 1 on"),
        (lambda: Blur((8, 8), 3, 4.5, 5.0), r"Blur: highest = 4.5; allowed are numbers in \[5, inf\)"),
        (lambda: Blur((8, 8), 3, 4.5, 0.0), r"Blur: lowest = 0.0; allowed are numbers in \(0, inf\)"),
        (lambda: DCTBlur((8, 0), 4.5), "DCTBlur: width = 0; allowed are integers from 1 on"),
        (lambda: DCTBlur((8, 8), math.nan), r"DCTBlur: highest = nan; allowed are numbers in \[0, inf\)"),
        (lambda: Masking((8,)), r"Masking: size = \(8,\); allowed is \(height, width\)"),
        (lambda: GeometricNoise(0.1, 0.01), r"GeometricNoise: sigma_max = 0.01; allowed are numbers in \[0.1, inf\)"),
        (lambda: GeometricNoise(0.0), r"GeometricNoise: sigma_min = 0.0; allowed are numbers in \(0, inf\)"),
        (lambda: GeometricNoise(0.01, math.inf), "GeometricNoise: sigma_max = inf"),
        (lambda: GeometricNoise(until=1.5), r"GeometricNoise: until = 1.5; allowed are numbers in \(0, 1\]"),
        (lambda: Constant(-0.1), r"Constant: level = -0.1; allowed are numbers in \[0, inf\)"),
        (lambda: Interpolated((0.0, math.nan), (0.0, 0.5)), r"schedule: times\[1\] = nan"),
        (lambda: Interpolated((0.0, 1.0), (0.0, math.inf)), r"schedule: levels\[1\] = inf"),
        (lambda: Interpolated((0.5, 0.5), (0.0, 0.5)), "times increasing"),
        (lambda: Interpolated((), ()), "schedule of 0 times and 0 levels"),
        (lambda: Interpolated.spread([0.0, 1.0], 1.0), r"schedule: start = 1.0; allowed are numbers in \[0, 1\)"),
        (lambda: Interpolated((0.0, 1.0), (1.0, 0.5)), "levels not decreasing"),
        (lambda: Corruption(DIGITS, GeometricNoise(), GeometricNoise()).prior_sample((1, 1, 8, 8), None), "has no start"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(RescoreError, match=message):
        call()
