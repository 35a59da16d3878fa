"""Seconds of a step: which steps run, in which order, and what a step is."""

import torch
from torch import nn

from rescore.cost import timing
from rescore.cost.timing import interleaved, training_step


def test_steps_take_turns_after_a_round_that_does_not_count(monkeypatch):
    ran, clock = [], iter(range(100))
    monkeypatch.setattr(timing, "_now", lambda device: next(clock) ** 2)
    found = interleaved({name: lambda name=name: ran.append(name) for name in "abc"}, 3)
    assert "".join(ran) == "cab" + "abc" + "bca" + "cab"
    assert {name: len(seconds) for name, seconds in found.items()} == {"a": 3, "b": 3, "c": 3}
    # readings 0, 1, 2, ... squared: the k-th step lasts (2k + 1)^2 - (2k)^2 = 4k + 1; the first three do not count
    assert [found[name][i] for i, name in enumerate("abc")] == [4 * k + 1 for k in (3, 6, 9)]


def test_a_training_step_moves_the_weights_down_the_mean_loss():
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 1.0)
    step = training_step(model, lambda: model(torch.tensor([[1.0], [3.0]])), lr=0.1)
    for expected in (0.9, 0.8):  # Adam's step is lr times the sign of a gradient that stays the same: not summed over calls
        step()
        torch.testing.assert_close(model.weight, torch.tensor([[expected]]))
        assert model.weight.grad.item() == 2.0
