"""Steps that are timed in turn."""

import torch
from rescore.cost import timing
from torch import nn


def test_turns_rotate_and_the_first_round_does_not_count(monkeypatch):
    """A clock that each step advances by its own length, and by 100 in the first round."""
    calls, now, lengths = [], [0.0], {"a": 1.0, "b": 2.0, "c": 4.0}

    def step(name):
        calls.append(name)
        now[0] += lengths[name] + 100 * (len(calls) <= 3)

    monkeypatch.setattr(timing, "_now", lambda device: now[0])
    seconds = timing.interleaved({name: lambda name=name: step(name) for name in "abc"}, 3)
    assert "".join(calls) == "cababcbcacab"
    assert {name: values.tolist() for name, values in seconds.items()} == {name: [lengths[name]] * 3 for name in "abc"}


def test_processor_time_is_for_a_cpu_with_one_thread(monkeypatch):
    threads = iter((1, 2))
    monkeypatch.setattr(torch, "get_num_threads", lambda: next(threads))
    assert [timing.clock(device) for device in ("cpu", "cpu", "cuda")] == ["processor", "wall", "wall"]


def test_a_step_of_training_is_adam_on_the_mean():
    network, twin = nn.Linear(2, 1), nn.Linear(2, 1)
    twin.load_state_dict(network.state_dict())
    x, optimizer = torch.randn(5, 2), torch.optim.Adam(twin.parameters(), lr=1e-4)
    step = timing.training_step(network, lambda: network(x).square().sum(1))
    for _ in range(2):
        step()
        optimizer.zero_grad()
        twin(x).square().mean().backward()
        optimizer.step()
    torch.testing.assert_close(network.weight, twin.weight)
