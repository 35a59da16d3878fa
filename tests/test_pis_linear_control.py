"""The least path cost on a Gaussian, which picks the noise scale of the Cox process."""

import math

import pytest
import torch
from conftest import ROOT
from rescore.control import ControlledSDE
from rescore.papers import load_paper
from rescore.random import make_generator
from rescore.targets import lgcp
from rescore.targets.base import Target
from torch import Tensor

F64 = torch.float64
LINEAR = load_paper("pis", ROOT).module("linear_control")
least_path_kl, path_kl = LINEAR.least_path_kl, LINEAR.path_kl
PRECISION = torch.tensor([0.3, 1.0, 2.0, 5.0], dtype=F64)


class Diagonal(Target):
    """N(0, diag(1 / PRECISION)), normalised: log Z = 0."""

    name, dim, log_z = "diagonal", len(PRECISION), 0.0

    def log_prob(self, x: Tensor) -> Tensor:
        return 0.5 * (PRECISION / (2 * math.pi)).log().sum() - 0.5 * (PRECISION * x.square()).sum(-1)

    def score(self, x: Tensor) -> Tensor:
        return -PRECISION * x


class LinearFeedback:
    """u = -g h x."""

    def __init__(self, gain: Tensor):
        self.gain = gain

    def on_grid(self, times: Tensor):
        return lambda k, x: -self.gain[k] * PRECISION * x


def test_no_gain_leaves_the_divergence_of_two_normals():
    sde = ControlledSDE(sigma=1.0)  # V = 5
    expected = 0.5 * (5 * PRECISION - 1 - torch.log(5 * PRECISION))
    torch.testing.assert_close(path_kl(sde, PRECISION, torch.zeros(100, dtype=F64)), expected)


def test_path_kl_is_what_simulated_paths_cost():
    sde, gain = ControlledSDE(steps=20, sigma=0.7), torch.linspace(0.1, 0.6, 20, dtype=F64)
    generator = make_generator("noise scale")
    paths = sde.simulate(LinearFeedback(gain), Diagonal(), lambda: torch.randn(20_000, 4, dtype=F64, generator=generator))
    error = paths.log_w.std() / math.sqrt(20_000)
    expected = path_kl(sde, PRECISION, gain).sum()
    assert -paths.log_w.mean().item() == pytest.approx(expected.item(), abs=4 * error.item())


@pytest.mark.parametrize("h", [0.5, 4.0])
def test_the_best_gain_on_one_width_is_the_exact_control(h):
    """The exact control -sigma a x / (1 + a v), a = h - 1/V, is a gain of the score: its cost is of the order of the step."""
    costs = [least_path_kl(ControlledSDE(steps), torch.tensor([h], dtype=F64), guided=True, free=0) for steps in (50, 100)]
    assert 0 < costs[1] < 0.02
    assert costs[0] / costs[1] == pytest.approx(2, rel=0.1)


def test_free_directions_are_the_costliest():
    sde = ControlledSDE(steps=20)
    cost = path_kl(sde, PRECISION, torch.zeros(20, dtype=F64)).sort().values
    for free in range(6):
        expected = cost[: max(4 - free, 0)].sum().item()
        assert least_path_kl(sde, PRECISION, guided=False, free=free) == pytest.approx(expected, abs=1e-12)
    guided = [least_path_kl(sde, PRECISION, guided=True, free=free) for free in range(5)]
    assert guided == sorted(guided, reverse=True) and guided[4] == 0


def test_the_gain_is_the_best_for_what_is_not_free():
    """With V = 1 ten directions of precision 1 need no control; fitted to the two free ones as well, a gain would cost them."""
    precision = torch.tensor([1.0] * 10 + [100.0] * 2, dtype=F64)
    assert least_path_kl(ControlledSDE(), precision, guided=True, free=2) == pytest.approx(0, abs=1e-6)


def test_laplace_precision_of_the_pines(pines):
    """log Z of the Laplace approximation is 511.205 with log density -1111.201 at the mode."""
    h = lgcp.pines(pines).laplace_precision()
    log_z = -1111.201 + 0.5 * (1600 * math.log(2 * math.pi) - h.log().sum().item())
    assert log_z == pytest.approx(511.205, abs=2e-3)
