"""The networks of PIS."""

import numpy as np
import pytest
import torch
from rescore.control import PISNN, ControlledSDE, PISGrad
from rescore.control.policies import StateNetwork, TimeNetwork
from rescore.random import make_generator
from rescore.targets import Funnel, nine_modes
from test_control import randn, randomised
from torch import Tensor

F64 = torch.float64


def number_of_parameters(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_parameter_counts_of_the_paper_s_networks():
    assert number_of_parameters(StateNetwork(2, make_generator(0))) == 21_122
    assert number_of_parameters(TimeNetwork(make_generator(0))) == 16_705
    assert number_of_parameters(PISNN(nine_modes(), make_generator(0))) == 21_122
    assert number_of_parameters(PISGrad(nine_modes(), make_generator(0))) == 21_122 + 16_705


@pytest.mark.parametrize("network", [PISNN, PISGrad])
def test_weights_come_from_the_generator_alone(network):
    def weights(seed: int) -> Tensor:
        torch.manual_seed(seed + 17)
        policy = network(Funnel(), make_generator("weights", seed))
        return torch.nn.utils.parameters_to_vector(policy.parameters())

    one = weights(0)
    torch.rand(3)
    assert torch.equal(one, torch.nn.utils.parameters_to_vector(network(Funnel(), make_generator("weights", 0)).parameters()))
    assert not torch.equal(one, weights(1))


def test_fourier_features_by_hand():
    network = StateNetwork(2, make_generator("features")).double()
    features = network.time[0]
    t = torch.tensor([0.0, 0.35, 4.95], dtype=F64)
    angle = np.outer(t, np.linspace(0.1, 100, 64)) + features.phase.detach().numpy()
    expected = np.concatenate((np.sin(angle), np.cos(angle)), 1)
    np.testing.assert_allclose(features(t).detach(), expected, atol=1e-3)  # frequencies are float32, times t up to 5
    assert features.frequency[0].item() == pytest.approx(0.1) and features.frequency[-1].item() == 100


@pytest.mark.parametrize("network", [PISNN, PISGrad])
def test_the_time_grid_at_once_is_each_time_alone(network):
    target, times = nine_modes(), ControlledSDE(20).times()
    policy = randomised(network(target, make_generator("grid")))
    if network is PISGrad:
        torch.nn.init.normal_(policy.time_network.body[-1].weight, generator=make_generator("gain"))
    x = randn(4, 3, 2)
    control = policy.on_grid(times)
    for k in (0, 7, 19):
        alone = policy.on_grid(times[k : k + 1])(0, x)
        torch.testing.assert_close(control(k, x), alone, rtol=1e-12, atol=1e-12)
        first = policy.state_network
        by_hand = first.body(first.state(x) + first.time(times[k : k + 1]))
        if network is PISGrad:
            by_hand = by_hand + policy.time_network(times[k : k + 1]) * target.score(x)
        torch.testing.assert_close(alone, by_hand, rtol=1e-12, atol=1e-12)
    assert not torch.allclose(control(0, x), control(19, x))


def test_network_and_score_are_clipped_element_by_element():
    target, clip = Funnel(), 0.5
    policy = PISGrad(target, make_generator("clip"), clip=clip).double()
    with torch.no_grad():
        policy.state_network.body[-1].weight.normal_(0, 3, generator=make_generator("large"))
        policy.time_network.body[-1].bias.fill_(2.0)
    x, times = 2 * randn(200, 10), ControlledSDE(5).times()
    network = policy.state_network.on_grid(times)(2, x)
    score = target.score(x)
    assert (network.abs() > clip).any() and (network.abs() < clip).any()
    assert (score.abs() > clip).any() and (score.abs() < clip).any()
    expected = network.clamp(-clip, clip) + 2 * score.clamp(-clip, clip)
    torch.testing.assert_close(policy.on_grid(times)(2, x), expected, rtol=1e-12, atol=1e-12)
    assert PISGrad(target, make_generator("clip")).clip == 1e4
