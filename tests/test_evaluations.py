"""Evaluations are counted whoever calls the network."""

import copy

import torch
from torch import nn

from rescore.evaluations import CountEvaluations
from rescore.neural_sde import FourierMLP, NeuralSDE, adjoint_loss, draw_noise, l_beta
from rescore.random import make_generator


def test_calls_are_counted_by_kind_inside_the_block():
    rows, other = nn.Linear(2, 2), nn.Identity()
    with CountEvaluations({nn.Linear: lambda x: x.shape[:-1].numel()}) as evaluations:
        rows(torch.zeros(3, 2))
        copy.deepcopy(rows)(torch.zeros(4, 5, 2))
        other(torch.zeros(7, 2))
    rows(torch.zeros(100, 2))
    assert evaluations.total == 3 + 20


def test_an_adjoint_step_evaluates_each_field_twice_where_it_is_needed():
    """The drift at all N + 1 states, the score at all but the first; once forward and once on the way back."""
    n, batch = 6, 5
    model, x = NeuralSDE(FourierMLP(2, 8, 1), FourierMLP(2, 8, 1), 0.2), torch.randn(batch, 2, generator=make_generator("x"))
    with CountEvaluations({FourierMLP: lambda x: x.shape[:-1].numel()}) as evaluations:
        loss = adjoint_loss(model, x, l_beta(n), draw_noise(x, n, make_generator("noise")))
        assert evaluations.total == batch * (2 * n + 1)
        loss.sum().backward()
    assert evaluations.total == 2 * batch * (2 * n + 1)
