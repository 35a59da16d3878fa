"""Densities of the plane: the checkerboard with noise, and maps on a grid."""

import math

import pytest
import torch
from rescore.data.planar import PLANAR
from rescore.metrics.maps import cell_centres, density_map, total_variation
from rescore.random import make_generator

BOARD = PLANAR["checkerboard"]


@pytest.mark.parametrize("sigma", [0.0, 0.1, 0.2])
def test_the_noised_checkerboard_has_mass_1(sigma):
    area = (2 * 4.5 / 180) ** 2
    assert BOARD.density(cell_centres(4.5, 180), sigma).sum().item() * area == pytest.approx(1, abs=2e-3)


def test_the_checkerboard_has_density_where_its_samples_lie():
    x = BOARD.sample(1000, make_generator("board"))
    assert (BOARD.density(x) == 1 / 32).all() and len(BOARD.corners) == 8


def test_the_checkerboard_lies_in_its_squares():
    x = BOARD.sample_float32(4000, make_generator("test"))
    assert (BOARD.density(x) == 1 / 32).all()
    corners = torch.tensor(BOARD.corners)[:, None]
    inside = ((x >= corners) & (x < corners + 2)).all(-1).double().mean(1).tolist()
    assert sum(inside) == pytest.approx(1) and max(abs(p - 1 / 8) for p in inside) < 0.03
    assert x.dtype == torch.float32


def test_the_noised_score_is_that_of_a_single_edge():
    """In the middle of an outer edge: d log Phi(x / sigma) / dx."""
    x, sigma = torch.tensor([[-4.05, -3.0]], dtype=torch.float64), 0.1
    z = -0.05 / sigma
    expected = math.exp(-z * z / 2) / math.sqrt(2 * math.pi) / sigma / (0.5 * math.erfc(-z / math.sqrt(2)))
    found = BOARD.noised_score(x, sigma)[0]
    assert found[0].item() == pytest.approx(expected, rel=1e-9) and abs(found[1].item()) < 1e-9


def test_maps_are_normalised_and_rows_are_the_second_coordinate():
    values = torch.tensor([0.0, 0.0, 0.5, 1.5]).double()
    found = density_map(lambda x: 7 + torch.where(x[:, 0] > 0, x[:, 1].clamp_min(0).log(), -math.inf), 2.0, 4)
    torch.testing.assert_close(found, torch.outer(values, torch.tensor([0, 0, 1.0, 1.0]).double()) / 4, atol=1e-6, rtol=0)


def test_total_variation_of_maps():
    a, b = torch.zeros(2, 2), torch.full((2, 2), 0.25)
    a[0, 0] = 1
    assert total_variation(torch.stack((a, b)), b).tolist() == [0.75, 0]


def test_the_noised_log_density_is_that_of_the_density_and_stays_finite_far_away():
    x = BOARD.sample(200, make_generator("log")) + 0.15 * torch.randn(
        200, 2, generator=make_generator("far"), dtype=torch.float64
    )
    near, density = BOARD.noised_log_density(x, 0.1), BOARD.density(x, 0.1)
    assert torch.allclose(near[density > 1e-9], density[density > 1e-9].log(), rtol=1e-6)
    far = torch.tensor([[-9.0, -3.0]], dtype=torch.float64)  # 5 from an edge, that is 50 sigma: the tail of Phi
    tail = -1250 - math.log(50 * math.sqrt(2 * math.pi)) + math.log1p(-1 / 2500) - math.log(32)
    assert BOARD.noised_log_density(far, 0.1).item() == pytest.approx(tail, rel=1e-6)
    assert BOARD.noised_score(far, 0.1)[0, 0].item() == pytest.approx(50 / 0.1 * (1 + 1 / 2500), rel=1e-5)
