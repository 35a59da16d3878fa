"""CLD's multi-scale toy and the Jacobians of the digits' networks: measures of points and networks that are known."""

import pytest
import torch
from rescore.papers import load_config, load_paper
from rescore.problems import ExactProblem
from rescore.processes import CLD, VP
from rescore.random import make_generator
from torch import nn

PAPER = load_paper("cld")
multiscale, networks, trained = (PAPER.module(name) for name in ("multiscale", "networks", "trained"))
ROLLS, MEMBERS = multiscale.ROLLS, range(2)


def test_draws_of_the_data_are_on_the_rolls_and_have_equal_masses():
    x = multiscale.draws(ROLLS.sample, MEMBERS, 5000, "test")
    shares = multiscale.masses(x)
    assert shares.shape == (2, 5) and torch.allclose(shares.sum(1), torch.ones(2, dtype=torch.float64))
    assert (shares - 0.2).abs().max() < 0.02
    assert not torch.equal(x[0], x[1])


def test_masses_are_named_by_their_centre():
    """Points of one roll count for it alone; the order is that of the centres, the middle one first."""
    centres = torch.tensor(ROLLS.centres, dtype=torch.float64)
    for k in range(5):
        shares = multiscale.masses((centres[k] + 0.1 * torch.randn(1, 40, 2, generator=make_generator(k))).double())
        assert shares[0].tolist() == [float(i == k) for i in range(5)]
    assert multiscale.masses(centres[None, [0, 0, 0, 4]])[0].tolist() == [0.75, 0, 0, 0, 0.25]


def test_normals_have_the_moments_of_the_rolls_and_not_their_arms():
    n = 40_000
    x, data = (sample(n, make_generator("moments")) for sample in (multiscale.normals, ROLLS.sample))
    for k in range(5):
        a, b = (points[ROLLS.roll(points) == k] for points in (x, data))
        assert len(a) / n == pytest.approx(0.2, abs=0.01)
        assert (a.mean(0) - b.mean(0)).abs().max() < 0.004  # roll's radius is 0.14
        assert torch.allclose(a.T.cov(), b.T.cov(), rtol=0.05, atol=1e-4)
    assert ROLLS.distance(x).median() > 10 * ROLLS.distance(data).median()


def test_the_exact_score_is_of_the_rolls():
    """Its data are the rolls to a part of the noise, and its probability of a roll's angle is even."""
    points = ROLLS.curve(300).flatten(0, 1)
    problem = ExactProblem.of_mixture("rolls", VP(), points, multiscale.STD, ("rolls",), (0,), 20_000)
    x = problem.draws("rolls")[0]
    assert ROLLS.distance(x).median().item() == pytest.approx(0.6745 * 0.002, rel=0.05)
    assert (multiscale.masses(x[None]) - 0.2).abs().max() < 0.015
    radius = (x - torch.tensor(ROLLS.centres)[ROLLS.roll(x)]).norm(dim=1)
    assert radius.median().item() == pytest.approx(0.03 * torch.pi, rel=0.02)


class Linear(nn.Module):
    """F = A (x, v), whatever the level."""

    def __init__(self, A):
        super().__init__()
        self.A = A

    def forward(self, images, level):
        return images @ self.A.T


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("process", [CLD(eps0=0.0), VP()])
def test_probes_see_the_bare_network(process, mixed):
    """Of F = A u with orthogonal rows every sign probe has |A^T v|^2 = |A|^2; what the mixed score adds is no part of F."""
    cld = isinstance(process, CLD)
    A = torch.tensor([[2.0, 0.0, 1.0, 0.0], [0.0, -3.0, 0.0, 0.5]], dtype=torch.float64)[:, : 4 if cld else 2]
    model = networks.model_of(process, mixed, Linear(A))
    u = process.perturb(torch.randn(6, 2, generator=make_generator("x"), dtype=torch.float64), 0.3, make_generator("u"), "L")[0]
    for n in (1, 3):
        found = trained.estimated_jacobian(model, u, 0.3, n, make_generator("probes"))
        assert found == pytest.approx(A.square().sum().item(), rel=1e-12)
    assert networks.network_jacobian(model, u, 0.3) == pytest.approx(A.square().sum().item(), rel=1e-12)


def test_blocks_of_states_meet_their_own_network():
    one, two = (networks.model_of(VP(), False, Linear(k * torch.eye(2))) for k in (1.0, 2.0))
    u = torch.randn(6, 2, generator=make_generator("u"))
    found = networks.each_block([one, two])(u, 0.4)
    assert torch.equal(found, torch.cat((one.score()(u[:3], 0.4), two.score()(u[3:], 0.4))))
    assert torch.allclose(found[3:], 2 * networks.each_block([one, one])(u, 0.4)[3:])


def test_networks_of_the_digits_are_named_by_what_they_predict():
    """Only a network under the mixed score counts as one."""
    models = load_config(PAPER, "laptop").models
    for name, (method, metric) in trained.NETWORKS.items():
        assert models[name].process.name == {"CLD": "CLD", "VPSDE": "VP"}[method]
        assert (metric == "jacobian_mixed") == (method == "CLD" and models[name].network.mixed)


def test_a_cell_holds_the_distance_of_its_points_at_both_scales():
    """Points off one noise-free roll by 0.01: that is their distance, all are off it, and one roll has all the mass."""
    found = {}

    class Cell:
        add = staticmethod(found.__setitem__)

    curve = ROLLS.curve(801)[3]
    along = (curve[2:] - curve[:-2]) / (curve[2:] - curve[:-2]).norm(dim=1, keepdim=True)
    points = curve[1:-1] + 0.01 * torch.stack((-along[:, 1], along[:, 0]), 1)
    multiscale.compare(Cell, torch.stack((points, curve[1:-1])), torch.stack((points, points)))
    assert found["roll_distance"] == pytest.approx([0.01, 0], abs=2e-6)
    assert found["off_roll"] == [1, 0]
    assert [found[f"mass_{k}"] for k in range(5)] == [[float(k == 3)] * 2 for k in range(5)]
    assert found["sw2"][0] == 0 and 0.001 < found["sw2"][1] < 0.01, "half of the offset lies along a projection"
