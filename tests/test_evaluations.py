"""Evaluations are counted whoever calls the network."""

import torch

from rescore.cost.evaluations import CountEvaluations, note
from rescore.flows.density import maf
from rescore.networks import NoisePrediction, make_network
from rescore.neural_sde import FourierMLP, NeuralSDE, adjoint_loss, draw_noise, l_beta
from rescore.processes import VP
from rescore.random import make_generator
from rescore.scores import EmpiricalData, GaussianMixture


def test_what_is_noted_inside_the_block_counts_and_blocks_may_be_nested():
    with CountEvaluations() as outer:
        note(3)
        with CountEvaluations() as inner:
            note(20)
        note(4)
    note(100)
    assert (outer.total, inner.total) == (27, 20)


def test_scores_networks_and_flows_count_their_points():
    u = torch.zeros(5, 1, 8, 8)
    network = NoisePrediction(make_network("mlp", {"width": 8, "blocks": 1}, 1, 8, 0), VP())
    exact = EmpiricalData(VP(), torch.ones(3, 1, 8, 8))
    mixture = GaussianMixture(VP(), torch.ones(1, 2), 0.3)
    calls = (lambda: network(u, 0.5), lambda: network.score()(u, 0.5), lambda: exact(u, 0.5), lambda: exact.log_prob(u, 0.5),
             lambda: mixture(torch.zeros(5, 2), 0.5), lambda: mixture.log_prob(torch.zeros(5, 2), 0.5),
             lambda: maf(2, 1, (4,), 0)().log_prob(torch.zeros(5, 2)))  # fmt: skip
    for call in calls:
        with CountEvaluations() as evaluations:
            call()
        assert evaluations.total == 5


def test_an_adjoint_step_evaluates_each_field_twice_where_it_is_needed():
    """The drift at all N + 1 states, the score at all but the first; once forward and once on the way back."""
    n, batch = 6, 5
    model, x = NeuralSDE(FourierMLP(2, 8, 1), FourierMLP(2, 8, 1), 0.2), torch.randn(batch, 2, generator=make_generator("x"))
    with CountEvaluations() as evaluations:
        loss = adjoint_loss(model, x, l_beta(n), draw_noise(x, n, make_generator("noise")))
        assert evaluations.total == batch * (2 * n + 1)
        loss.sum().backward()
    assert evaluations.total == 2 * batch * (2 * n + 1)
