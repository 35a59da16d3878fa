"""Variance and roughness of images."""

import pytest
import torch
from rescore.metrics.pixels import roughness, variance


def test_variance_and_roughness_of_images():
    x = torch.tensor([[[[0.0, 2.0], [0.0, 2.0]]], [[[2.0, 2.0], [4.0, 0.0]]]])
    assert variance(x) == pytest.approx((2 + 0 + 8 + 2) / 4)
    assert roughness(x) == pytest.approx(0.5 * ((4 + 4 + 0 + 16) / 4 + (0 + 0 + 4 + 4) / 4))
