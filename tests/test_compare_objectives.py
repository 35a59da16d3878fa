"""What objectives are compared by: gradients, and moments of single samples."""

import pytest
import torch
from rescore.objectives.compare import gradient, gradient_difference, loss_moments
from rescore.processes.quadrature import gauss_hermite
from torch import nn


def test_the_gradient_is_of_the_mean_by_every_parameter():
    network = nn.Linear(2, 1)
    nn.init.ones_(network.weight)
    x = torch.tensor([[1.0, 0.0], [3.0, 4.0]])
    assert gradient((x * network.weight).sum(1), network).tolist() == [2.0, 2.0, 0.0]


def test_the_difference_is_relative_to_the_second():
    network = nn.Linear(2, 1)
    pair = ((torch.tensor([x]) * network.weight).sum(1) for x in ([1.0, -6.0], [1.0, -4.0]))
    assert gradient_difference(*pair, network) == pytest.approx(0.5)


def test_moments_of_losses_and_of_their_derivatives():
    """For a s + s^2 at scale 1: values x + x^2, derivatives x + 2 x^2."""
    x = torch.tensor([[0.0], [1.0], [3.0]], dtype=torch.float64)
    found = loss_moments(lambda score: (score(x) + score(x).square()).sum(1), lambda y: y, 3)
    values, slopes = torch.tensor([0.0, 2.0, 12.0]), torch.tensor([0.0, 3.0, 21.0])
    assert found == pytest.approx(
        {"loss_mean": values.mean().item(), "loss_std": values.std().item(), "slope_std": slopes.std().item()}
    )


def test_gauss_hermite_gives_the_moments_of_a_standard_normal():
    z, w = gauss_hermite(4)
    assert [(w * z**k).sum().item() for k in range(8)] == pytest.approx([1, 0, 1, 0, 3, 0, 15, 0], abs=1e-12)
