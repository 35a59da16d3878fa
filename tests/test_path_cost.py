"""The path cost: its value, its gradient, its noise."""

import math

import pytest
import torch
from rescore.control import PISNN, ControlledSDE, PISGrad
from rescore.errors import RescoreError
from rescore.random import make_generator
from rescore.targets import Target, gaussian, nine_modes
from test_control import POLICIES, randn, randomised, simulate
from torch import Tensor

F64 = torch.float64


@pytest.mark.parametrize("policy", ["nn", "grad"])
def test_cost_is_minus_the_mean_log_weight_and_the_stochastic_integral(policy):
    sde, target = ControlledSDE(15, horizon=2.0, sigma=0.9), nine_modes()
    policy = POLICIES[policy](target)
    noise = randn(15, 60, 2, name="cost")
    log_w = simulate(sde, policy, target, noise).log_w
    control, x, energy, integral = policy.on_grid(sde.times()), torch.zeros(60, 2, dtype=F64), 0.0, 0.0
    for k in range(15):
        u, dw = control(k, x), math.sqrt(sde.dt) * noise[k]
        energy = energy + 0.5 * u.square().sum(-1) * sde.dt
        integral = integral + (u * dw).sum(-1)
        x = x + sde.sigma * u * sde.dt + sde.sigma * dw
    end = sde.prior_log_prob(x) - target.log_prob(x)
    torch.testing.assert_close(log_w, -(energy + integral + end), rtol=1e-12, atol=1e-10)
    cost = sde.cost(policy, target, noise)
    torch.testing.assert_close(cost, (energy + end).mean(), rtol=1e-12, atol=1e-10)
    torch.testing.assert_close(cost, -(log_w + integral).mean(), rtol=1e-12, atol=1e-10)
    assert integral.mean().abs() > 1e-3


def test_cost_is_the_mean_over_all_leading_dimensions():
    sde, target, policy = ControlledSDE(4), nine_modes(), POLICIES["nn"](nine_modes())
    noise = randn(4, 3, 5, 2)
    torch.testing.assert_close(
        sde.cost(policy, target, noise), sde.cost(policy, target, noise.reshape(4, 15, 2)), rtol=1e-13, atol=1e-13
    )


class RecordedScores(Target):
    """A target whose scores are those of an earlier pass: constants, as the policy sees them in back-propagation."""

    def __init__(self, target: Target):
        self.target, self.dim, self.scores, self.playing = target, target.dim, [], None

    def log_prob(self, x: Tensor) -> Tensor:
        return self.target.log_prob(x)

    def score(self, x: Tensor) -> Tensor:
        if self.playing is None:
            self.scores.append(self.target.score(x))
            return self.scores[-1].clone()
        return next(self.playing).clone()


@pytest.mark.parametrize("network", [PISNN, PISGrad])
def test_gradient_of_the_cost_against_finite_differences(network):
    """For PIS-Grad the score inside the policy is held constant, so the differences are taken with recorded scores."""
    sde = ControlledSDE(6, horizon=2.0, sigma=0.8)
    target = RecordedScores(gaussian(torch.tensor([0.5]), 0.7))
    policy = randomised(network(target, make_generator("tiny")), scale=8.0)
    noise = randn(6, 4, 1, name="tiny")

    def cost() -> Tensor:
        return sde.cost(policy, target, noise)

    cost().backward()
    direction = [randn(*parameter.shape, name=f"direction {i}") for i, parameter in enumerate(policy.parameters())]
    step, costs = 1e-5, []
    for sign in (1, -1):
        with torch.no_grad():
            for parameter, d in zip(policy.parameters(), direction, strict=True):
                parameter.add_(d, alpha=sign * step)
            target.playing = iter(target.scores)
            costs.append(cost().item())
            for parameter, d in zip(policy.parameters(), direction, strict=True):
                parameter.sub_(d, alpha=sign * step)
    slope = sum((p.grad * d).sum() for p, d in zip(policy.parameters(), direction, strict=True)).item()
    assert abs(slope) > 0.01
    assert (costs[0] - costs[1]) / (2 * step) == pytest.approx(slope, rel=1e-5)


def test_a_reused_noise_buffer_is_as_good_as_fresh_noise():
    sde, target = ControlledSDE(8), nine_modes()
    policy, noise, buffer = POLICIES["grad"](target), randn(8, 10, 2), torch.empty(10, 2, dtype=F64)
    steps = iter(noise)
    reused = sde.simulate(policy, target, lambda: buffer.copy_(next(steps)))
    fresh = simulate(sde, policy, target, noise)
    assert torch.equal(reused.x, fresh.x) and torch.equal(reused.log_w, fresh.log_w)


def test_a_run_s_paths_are_driven_by_its_own_generator():
    sde, target = ControlledSDE(8), nine_modes()
    policy = POLICIES["grad"](target).float()
    found = sde.sample(policy, target, 10, [make_generator("a"), make_generator("b")])
    streams = {name: make_generator(name) for name in "ab"}
    steps = [torch.stack([torch.randn(10, 2, generator=one) for one in streams.values()]) for _ in range(8)]
    expected = simulate(sde, policy, target, torch.stack(steps))
    assert torch.equal(found.x, expected.x) and torch.equal(found.log_w, expected.log_w)


def test_times_are_the_left_ends():
    sde = ControlledSDE(4, horizon=2.0, sigma=3.0)
    assert sde.times().tolist() == [0.0, 0.5, 1.0, 1.5] and sde.times().dtype == F64
    assert (sde.dt, sde.prior_variance) == (0.5, 18.0)


@pytest.mark.parametrize("bad", [{"steps": 0}, {"horizon": 0.0}, {"sigma": -1.0}])
def test_a_bad_process_is_one_clear_error(bad):
    with pytest.raises(
        RescoreError,
        match=r"^ControlledSDE: (steps|horizon|sigma) = \S+; allowed are (integers from 1 on|numbers in \(0, inf\))$",
    ):
        ControlledSDE(**bad)
