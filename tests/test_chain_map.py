"""The law of a Langevin chain on a grid: against a linear score's Gaussian law, its symmetries, and sampled chains."""

import pytest
import torch
from rescore.metrics.maps import cell_centres
from rescore.problems.chain_map import langevin_map
from rescore.random import make_generator
from rescore.samplers.langevin import langevin

F64 = torch.float64
CELLS, HALF, SIZE = 60, 6.0, 0.05
CENTRES = cell_centres(HALF, CELLS, F64)


def gaussian(mean, variance):
    return torch.exp(-((CENTRES - torch.tensor(mean, dtype=F64)).square() / (2 * torch.tensor(variance, dtype=F64))).sum(1))


def moments(law):
    weights = law.flatten() / law.sum()
    mean = weights @ CENTRES
    return mean, torch.einsum("n,ni,nj->ij", weights, CENTRES - mean, CENTRES - mean)


@pytest.mark.parametrize("steps", [0, 1, 7, 300])
def test_a_linear_score_gives_the_gaussian_of_its_recursion(steps):
    """s = -A x with a coupling of the coordinates: m <- (I - h A) m, C <- (I - h A) C (I - h A)^T + 2 h I, to rounding."""
    A = torch.tensor([[1.5, 0.6], [0.2, 3.0]], dtype=F64)
    mean, covariance = torch.tensor([1.0, -0.5], dtype=F64), torch.diag(torch.tensor([0.3, 0.5], dtype=F64))
    start = gaussian([1.0, -0.5], [0.3, 0.5]).reshape(CELLS, CELLS)
    law = langevin_map(lambda x: -x @ A.T, start, HALF, SIZE, steps)
    step = torch.eye(2, dtype=F64) - SIZE * A
    for _ in range(steps):
        mean, covariance = step @ mean, step @ covariance @ step.T + 2 * SIZE * torch.eye(2, dtype=F64)
    found = moments(law)
    assert law.sum().item() == pytest.approx(1, abs=1e-9)
    assert torch.allclose(found[0], mean, atol=1e-9) and torch.allclose(found[1], covariance, atol=1e-9)


def test_what_leaves_the_square_is_lost():
    """No score: after one step from the middle cell the mass is that of N(0, 2 h I) about it; a drift takes all away."""
    start = torch.zeros(CELLS, CELLS)
    start[30, 50] = 2.0
    still = langevin_map(torch.zeros_like, start, HALF, 1.0, 1)
    x, y = CENTRES.reshape(CELLS, CELLS, 2)[30, 50]
    inside = torch.ones((), dtype=F64)
    for middle in (x, y):
        inside = inside * (torch.special.ndtr((6 - middle) / 2**0.5) - torch.special.ndtr((-6 - middle) / 2**0.5))
    assert still.sum().item() == pytest.approx(inside.item(), abs=4e-4) and inside < 0.95
    assert langevin_map(lambda x: 300 * torch.ones_like(x), start, HALF, SIZE, 1).sum() < 1e-12


def test_chains_end_where_the_map_says():
    """A score with two wells, 20,000 chains of 5 steps: shares of four regions, within four standard errors."""
    start = ((CENTRES[:, 0] > 0) & (CENTRES.abs() < 2).all(1)).double().reshape(CELLS, CELLS)

    def score(x):
        return torch.stack((x[:, 0] - x[:, 0] ** 3, -x[:, 1] - 1), 1)

    law = langevin_map(score, start, HALF, SIZE, 5).reshape(-1)
    n, draws = 20_000, make_generator("chain map")
    x = torch.rand(n, 2, generator=draws, dtype=F64) * torch.tensor([2.0, 4.0]) - torch.tensor([0.0, 2.0])
    x = langevin(score, x, SIZE, 5, draws)
    for region in (lambda u: u[:, 0] < 0, lambda u: u[:, 1] < -0.4, lambda u: u[:, 0] > 1, lambda u: u[:, 1] > u[:, 0] + 0.1):
        expected, found = law[region(CENTRES)].sum().item(), region(x).double().mean().item()
        edge = 0.004  # cells that a region's edge cuts
        assert 0.02 < expected < 0.98 and abs(found - expected) < 4 * (expected * (1 - expected) / n) ** 0.5 + edge
