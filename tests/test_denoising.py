"""DDS, DIS and the log-variance loss on Gaussians, in float64."""

import math

import pytest
import torch
from rescore.control import DDS, DIS, PISNN, Controlled, ControlledSDE
from rescore.control.sde import StepControl
from rescore.errors import RescoreError
from rescore.random import make_generator
from rescore.targets import Target, gaussian
from torch import Tensor, nn

F64 = torch.float64
MEAN, STD, LOG_Z = 0.7, 0.6, 0.4


def randn(*shape: int, name: str) -> Tensor:
    return torch.randn(*shape, dtype=F64, generator=make_generator(name))


def log_weights(process: Controlled, policy, target: Target, n: int, name: str):
    buffer, generator = torch.empty(n, target.dim, dtype=F64), make_generator(name)
    return process.simulate(policy, target, lambda: buffer.normal_(generator=generator))


class GaussianScore:
    """The optimal control for N(mean, std^2) in continuous time: DIS the noised score, DDS that less the stationary one."""

    def __init__(self, process: DDS | DIS, mean: float = MEAN, std: float = STD):
        self.process, self.mean, self.std = process, mean, std

    def on_grid(self, times: Tensor) -> StepControl:
        its = self.process
        halves = [-math.log(k) for k in its._kept] if isinstance(its, DDS) else [its._beta_h(k) / 2 for k in range(its.steps)]

        def control(k: int, x: Tensor) -> Tensor:
            kept = math.exp(-sum(halves[k:]))
            score = (kept * self.mean - x) / (kept**2 * self.std**2 + its.scale**2 * (1 - kept**2))
            if isinstance(its, DDS):
                return its.scale * (score + x / its.scale**2)
            return its.scale * math.sqrt(its._beta_h(k) * its.steps) * score

        return control


def steering(dim: int, name: str) -> PISNN:
    """A random policy that steers."""
    policy = PISNN(gaussian(torch.zeros(dim), 1.0), make_generator(name)).double()
    torch.nn.init.normal_(policy.state_network.body[-1].weight, 0, 0.1, generator=make_generator(name, "last"))
    return policy


def noisier(steps: int, scale: float) -> DIS:
    """DIS that noises the target to 1e-4 of it: the paper's leaves 8 %, a bias that does not shrink with the step."""
    return DIS(steps, scale, beta_max=36.0)


@pytest.mark.parametrize("make", [DDS, noisier])
def test_weights_of_the_exact_control_shrink_as_the_root_of_the_step(make):
    target, spreads = gaussian(torch.tensor([MEAN]), STD, log_z=LOG_Z), []
    for steps in (100, 400):
        process = make(steps, 1.3)
        paths = log_weights(process, GaussianScore(process), target, 3000, f"exact {steps}")
        assert paths.log_w.mean().item() == pytest.approx(LOG_Z, abs=paths.log_w.std().item())
        spreads.append(paths.log_w.std().item())
    assert spreads[-1] < 0.2 and spreads[0] / spreads[1] == pytest.approx(2, abs=0.3)
    assert abs(paths.x.mean().item() - MEAN) < 0.04 and paths.x.std().item() == pytest.approx(STD, abs=0.03)


@pytest.mark.parametrize("make", [DDS, DIS])
@pytest.mark.parametrize("steps", [1, 3, 20])
def test_weights_are_unbiased_for_any_policy_and_number_of_steps(make, steps):
    target, process = gaussian(torch.tensor([0.3, -0.2]), 0.8, log_z=math.log(3)), make(steps)
    process = DIS(steps, beta_max=1.0) if make is DIS else process  # one step of the default overshoots
    policy = steering(2, "unbiased")
    w = log_weights(
        process, process.with_prior_score(policy) if make is DIS else policy, target, 40_000, f"{steps}"
    ).log_w.exp()
    stderr = w.std().item() / math.sqrt(len(w))
    assert stderr < 0.05 and abs(w.mean().item() - 3) < 4 * stderr


def test_dds_without_control_is_stationary_and_its_weights_are_those_of_the_prior():
    process, target = DDS(20, scale=1.4), gaussian(torch.tensor([0.5]), 0.9)
    paths = log_weights(process, PISNN(target, make_generator("zero")).double(), target, 20_000, "stationary")
    assert paths.x.std().item() == pytest.approx(1.4, abs=0.03)
    assert sum(-math.log(kept) for kept in process._kept) == pytest.approx(process.noise, abs=1e-12)
    expected = (
        target.log_prob(paths.x) - torch.distributions.Normal(*torch.tensor([0.0, 1.4], dtype=F64)).log_prob(paths.x)[:, 0]
    )
    torch.testing.assert_close(paths.log_w, expected, rtol=1e-12, atol=1e-12)


def test_dis_with_the_prior_s_score_stays_near_the_prior():
    process, target = DIS(100, scale=1.4), gaussian(torch.tensor([0.5]), 0.9)
    policy = process.with_prior_score(PISNN(target, make_generator("zero")).double())
    assert log_weights(process, policy, target, 4000, "prior").x.std().item() == pytest.approx(1.4, abs=0.07)


class Shift(nn.Module):
    """u = theta_k, a parameter a step, plus a slope in x."""

    def __init__(self, values: Tensor, slope: float = 0.0):
        super().__init__()
        self.values, self.slope = nn.Parameter(values.double()), nn.Parameter(torch.tensor(slope, dtype=F64))

    def on_grid(self, times: Tensor) -> StepControl:
        return lambda k, x: self.values[k] + self.slope * x


def test_log_variance_is_zero_at_the_optimum():
    """A shifted prior: the optimal control is a function of time, and exact for any number of steps."""
    pis = ControlledSDE(5, horizon=2.0, sigma=0.9)
    target = gaussian(torch.tensor([0.8]), math.sqrt(pis.prior_variance), log_z=LOG_Z)
    best = Shift(torch.full((5,), pis.sigma * 0.8 / pis.prior_variance))
    noise = randn(5, 300, 1, name="optimum")
    assert pis.log_variance(best, target, noise).item() < 1e-14
    assert pis.log_variance(Shift(best.values.detach() + 0.1), target, noise).item() > 1e-3
    dds = DDS(5, scale=0.9, noise=40.0)  # the start is then exact to e^-40
    target = gaussian(torch.tensor([0.8]), 0.9, log_z=LOG_Z)
    ahead = torch.tensor([math.prod(dds._kept[k + 1 :]) * (1 + dds._kept[k]) / 2 for k in range(5)])
    noise = randn(6, 300, 1, name="optimum of DDS")
    assert dds.log_variance(Shift(ahead * 0.8 / 0.9), target, noise).item() < 1e-14
    assert dds.log_variance(Shift(torch.zeros(5)), target, noise).item() > 0.1


@pytest.mark.parametrize(
    "make",
    [lambda: ControlledSDE(3, 2.0, 0.9), lambda: DDS(3, 1.1, noise=1.5), lambda: DIS(3, 1.1, beta_max=1.0)],
    ids=["PIS", "DDS", "DIS"],
)
def test_gradient_of_the_log_variance_is_that_of_the_cost(make):
    """On the policy's own paths the two have one mean (Richter, Berner 2023, proposition 1)."""
    process, target = make(), gaussian(torch.tensor([0.5]), 0.8)
    gradients = {}
    for name in ("cost", "log_variance"):
        policy, found = Shift(torch.tensor([0.3, -0.2, 0.4]), -0.3), []
        for part in range(50):
            noise = randn(3 + process.random_start, 2000, 1, name=f"gradient {part}")
            policy.zero_grad()
            getattr(process, name)(policy, target, noise).backward()
            found.append(torch.cat([policy.values.grad, policy.slope.grad[None]]))
        gradients[name] = torch.stack(found)
    difference = gradients["cost"] - gradients["log_variance"]
    stderr = difference.std(0) / 50**0.5
    assert ((gradients["cost"].mean(0).abs() > 10 * stderr).sum() >= 2) and stderr.max() < 0.1
    assert (difference.mean(0).abs() < 4 * stderr).all()


def test_log_variance_does_not_differentiate_the_target():
    class Opaque(Target):
        name, dim, log_z = "opaque", 1, 0.0

        def log_prob(self, x: Tensor) -> Tensor:
            assert not x.requires_grad
            return -x.square().sum(-1)

        def score(self, x: Tensor) -> Tensor:
            return -2 * x

    policy = Shift(torch.tensor([0.3, -0.2]))
    ControlledSDE(2).log_variance(policy, Opaque(), randn(2, 50, 1, name="opaque")).backward()
    assert policy.values.grad.abs().min() > 0


@pytest.mark.parametrize("bad", [{"steps": 0}, {"scale": 0.0}, {"horizon": -1.0}])
def test_a_bad_process_is_one_clear_error(bad):
    for make in (DDS, DIS):
        with pytest.raises(RescoreError, match=next(iter(bad))):
            make(**bad)
