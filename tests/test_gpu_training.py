"""What a training on a GPU needs, tested without one: memory formats, ranks, waits of the host."""

from pathlib import Path

import pytest
import torch
from torch import nn

from rescore.training import flat_weights, load_checkpoint, save_checkpoint
from rescore.training.checkpoint import State


def convolution() -> nn.Module:
    """With weights that channels last lays out otherwise than rows."""
    with torch.random.fork_rng([]):
        torch.manual_seed(1)
        return nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)


def state_of(network: nn.Module) -> State:
    # fused as on a GPU, where it refuses other strides; on the CPU it takes them for its own
    return State(network, torch.optim.Adam(network.parameters(), lr=0.1, fused=True), torch.zeros(4, dtype=torch.float64))


def step(state: State, seed: int) -> None:
    x = torch.randn(2, 3, 5, 5, generator=torch.Generator().manual_seed(seed))
    state.optimizer.zero_grad()
    state.model(x).square().sum().backward()
    state.optimizer.step()


def test_moments_come_back_in_the_layout_of_their_parameters_and_the_next_step_is_the_same(tmp_path: Path) -> None:
    whole = state_of(convolution())
    for seed in (1, 2):
        step(whole, seed)
    save_checkpoint(tmp_path, 2, whole)
    step(whole, 3)
    resumed = state_of(convolution())
    assert load_checkpoint(tmp_path, resumed) == 2
    for parameter, slots in resumed.optimizer.state.items():
        assert slots["exp_avg"].stride() == slots["exp_avg_sq"].stride() == parameter.stride()
    step(resumed, 3)
    assert not whole.model.weight.is_contiguous()
    assert torch.equal(whole.model.weight, resumed.model.weight) and torch.equal(whole.model.bias, resumed.model.bias)


def test_weights_are_compared_whatever_their_memory_format() -> None:
    """torch's parameters_to_vector takes views, which channels last does not have."""
    network = convolution()
    with pytest.raises(RuntimeError, match="view"):
        nn.utils.parameters_to_vector(network.parameters())
    flat = flat_weights(network)
    assert torch.equal(flat, flat_weights(network.to(memory_format=torch.contiguous_format)))
    assert flat.dtype == torch.float64 and flat.tolist()[:3] == network.weight[0, 0, 0].tolist()
