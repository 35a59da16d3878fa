"""How far two trainings end apart."""

import pytest
import torch
from rescore.training import weight_distance
from rescore.training.weights import flat_weights
from torch import nn


def network(value: float) -> nn.Module:
    conv = nn.Conv2d(2, 3, 2)
    with torch.no_grad():
        for parameter in conv.parameters():
            parameter.fill_(value)
    return conv


def test_the_distance_is_a_part_of_the_way_from_the_start():
    """27 parameters: sqrt(27) |5 - 3| over sqrt(27) |3 - 2|."""
    assert weight_distance(network(3.0), network(5.0), network(2.0)) == pytest.approx(2.0)
    assert weight_distance(network(3.0), network(3.0), network(-1.0)) == 0.0


def test_weights_of_any_strides():
    """A GPU holds convolutions as channels_last, whose entries lie in another order."""
    plain = nn.Conv2d(2, 3, 2)
    strided = nn.Conv2d(2, 3, 2).to(memory_format=torch.channels_last)
    strided.load_state_dict(plain.state_dict())
    assert strided.weight.stride() != plain.weight.stride() and torch.equal(flat_weights(strided), flat_weights(plain))
    assert weight_distance(strided, plain, network(0.0)) == 0.0


def test_flat_weights_are_a_copy():
    one = network(1.0)
    before = flat_weights(one)
    nn.init.zeros_(one.weight)
    assert before.shape == (27,) and (before == 1).all()
