"""The controlled SDE against closed forms."""

import math

import numpy as np
import pytest
import torch
from rescore.control import PISNN, ControlledSDE, MixtureControl, Paths, PISGrad
from rescore.control.sde import Policy, StepControl
from rescore.montecarlo.logz import elbo, log_mean_exp
from rescore.random import make_generator
from rescore.targets import Funnel, GaussianMixture, Target, gaussian, lgcp, nine_modes
from scipy import integrate, stats
from torch import Tensor

F64 = torch.float64
MEAN, STD = 1.5, 0.6


class NoControl:
    """u = 0."""

    def on_grid(self, times: Tensor) -> StepControl:
        return lambda k, x: torch.zeros_like(x)


def randn(*shape: int, name: str = "noise", dtype: torch.dtype = F64) -> Tensor:
    return torch.randn(*shape, dtype=dtype, generator=make_generator(name))


def randomised(policy: torch.nn.Module, scale: float = 5.0, name: str = "random policy") -> torch.nn.Module:
    """The policy in float64 with a last layer of size `scale`, so that it steers."""
    last = policy.state_network.body[-1]
    with torch.no_grad():
        for parameter in last.parameters():
            parameter.normal_(0, scale / 8, generator=make_generator(name))
    return policy.double()


def simulate(sde: ControlledSDE, policy: Policy, target: Target, noise: Tensor) -> Paths:
    steps = iter(noise)
    return sde.simulate(policy, target, lambda: next(steps))


def assert_mean(values: Tensor, truth: float, precision: float) -> None:
    """Within 4 standard errors, and those small enough to mean something."""
    stderr = values.std().item() / math.sqrt(values.numel())
    assert stderr < precision
    assert abs(values.mean().item() - truth) < 4 * stderr


# 1. the optimal control of a Gaussian


def gaussian_control(sde: ControlledSDE, mean: float, std: float, t: float, x: Tensor) -> Tensor:
    a, b = 1 / std**2 - 1 / sde.prior_variance, mean / std**2
    return sde.sigma * (b - a * x) / (1 + a * sde.sigma**2 * (sde.horizon - t))


def euler_std(sde: ControlledSDE, std: float) -> float:
    """Of the end point: the chain's factors 1 - a sigma^2 dt / (1 + a v_k) are (1 + a v_{k+1}) / (1 + a v_k) and telescope."""
    a, variance = 1 / std**2 - 1 / sde.prior_variance, sde.sigma**2 * sde.dt
    return math.sqrt(sum(variance / (1 + a * variance * j) ** 2 for j in range(sde.steps)))


@pytest.mark.parametrize(("steps", "end_std"), [(20, 0.6184), (100, 0.6036), (400, 0.6009)])
def test_end_law_of_the_gaussian_control(steps, end_std):
    """The control is affine, so mean and variance of the Euler chain follow a recursion."""
    sde = ControlledSDE(steps)
    control = MixtureControl(sde, gaussian(torch.tensor([MEAN]), STD)).on_grid(sde.times())
    mean, variance = 0.0, 0.0
    for k in range(steps):
        at_0, at_1 = (control(k, torch.tensor([x], dtype=F64)).item() for x in (0.0, 1.0))
        slope = at_1 - at_0
        mean += sde.sigma * sde.dt * (at_0 + slope * mean)
        variance = (1 + sde.sigma * sde.dt * slope) ** 2 * variance + sde.sigma**2 * sde.dt
    assert mean == pytest.approx(1.5, abs=1e-12)
    assert math.sqrt(variance) == pytest.approx(euler_std(sde, STD), abs=1e-12)
    assert math.sqrt(variance) == pytest.approx(end_std, abs=5e-5)


@pytest.mark.parametrize(("steps", "weight_std"), [(20, 0.174), (100, 0.076), (400, 0.038)])
def test_paths_and_weights_of_the_gaussian_control(steps, weight_std):
    sde, n = ControlledSDE(steps), 40_000
    target = gaussian(torch.tensor([MEAN]), STD)
    generator = make_generator("paths", steps)
    buffer = torch.empty(n, 1, dtype=F64)
    paths = sde.simulate(MixtureControl(sde, target), target, lambda: buffer.normal_(generator=generator))
    assert_mean(paths.x, 1.5, 0.004)
    assert_mean((paths.x - 1.5).square(), euler_std(sde, STD) ** 2, 0.003)
    assert_mean(paths.log_w.exp(), 1.0, 0.001)
    spread = (paths.log_w - paths.log_w.mean()).square()
    stderr = spread.std().item() / math.sqrt(n) / (2 * weight_std)
    assert stderr < 0.02 * weight_std
    assert abs(paths.log_w.std().item() - weight_std) < 4 * stderr + 5e-4  # half a unit of the last digit


def test_no_control_is_needed_where_the_target_is_the_prior():
    sde = ControlledSDE(horizon=2.0, sigma=0.7)
    target = gaussian(torch.zeros(3), math.sqrt(sde.prior_variance))
    control = MixtureControl(sde, target).on_grid(sde.times())
    assert control(17, randn(5, 3)).abs().max() < 1e-12


# 2. the optimal control of a mixture


@pytest.mark.parametrize("sde", [ControlledSDE(), ControlledSDE(30, horizon=1.0, sigma=2.0)], ids=["default", "wide"])
def test_one_component_is_the_gaussian_formula(sde):
    x = randn(6, 1)
    control = MixtureControl(sde, gaussian(torch.tensor([MEAN]), STD)).on_grid(sde.times())
    for k in (0, sde.steps // 2, sde.steps - 1):
        expected = gaussian_control(sde, MEAN, STD, k * sde.dt, x)
        torch.testing.assert_close(control(k, x), expected, rtol=1e-12, atol=1e-12)


def mixtures() -> list[GaussianMixture]:
    skewed = GaussianMixture(torch.tensor([[0.5, -1.0, 0.2], [-0.7, 0.4, 1.1]]), 0.8, weights=torch.tensor([3.0, 1.0]))
    return [nine_modes(), skewed]


@pytest.mark.parametrize("target", mixtures(), ids=["mg", "skewed"])
@pytest.mark.parametrize("sigma", [math.sqrt(0.2), 1.3])
def test_mixture_control_is_sigma_times_the_gradient_of_log_phi(target, sigma):
    sde = ControlledSDE(sigma=sigma)
    exact = MixtureControl(sde, target)
    x = (2 * randn(8, target.dim)).requires_grad_()
    for k in (0, 60, 99):
        (gradient,) = torch.autograd.grad(torch.logsumexp(exact.log_phi(k * sde.dt, x), -1).sum(), x)
        control = exact.on_grid(sde.times())(k, x.detach())
        torch.testing.assert_close(control, sigma * gradient, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("t", [0.0, 2.0, 4.9])
def test_log_phi_is_the_expectation_that_defines_it(t):
    """phi(t, x) = E[mu(x_T) / mu0(x_T) | x_t = x] of the uncontrolled process, by quadrature in one dimension."""
    sde = ControlledSDE()
    target = GaussianMixture(torch.tensor([[-1.0], [2.0]]), 0.5, weights=torch.tensor([1.0, 2.0]))
    std = sde.sigma * math.sqrt(sde.horizon - t)

    def integrand(y: float, x: float) -> float:
        end = torch.tensor([y], dtype=F64)
        ratio = target.log_prob(end) - sde.prior_log_prob(end)
        return math.exp(ratio.item() - 0.5 * ((y - x) / std) ** 2) / (std * math.sqrt(2 * math.pi))

    for x in (-0.8, 0.3, 1.7):
        phi, _ = integrate.quad(integrand, -6, 7, args=(x,), points=[-1, x, 2], epsabs=1e-13, epsrel=1e-11, limit=200)
        log_phi = torch.logsumexp(MixtureControl(sde, target).log_phi(t, torch.tensor([x], dtype=F64)), -1)
        assert log_phi.item() == pytest.approx(math.log(phi), abs=1e-9)


def test_exact_control_of_the_nine_modes_is_near_exact():
    sde, target, n = ControlledSDE(), nine_modes(), 4000
    paths = simulate(sde, MixtureControl(sde, target), target, randn(sde.steps, n, 2, name="mg"))
    assert_mean(paths.log_w.exp(), 1.0, 0.015)
    assert -0.2 < elbo(paths.log_w).item() < 0  # the time step's share
    nearest = torch.cdist(paths.x, target.means).argmin(1)
    assert stats.chisquare(np.bincount(nearest.numpy(), minlength=9)).pvalue > 1e-3


# 3. the weights are unbiased


POLICIES = {
    "zero": lambda target: NoControl(),
    "nn": lambda target: randomised(PISNN(target, make_generator("nn"))),
    "grad": lambda target: randomised(PISGrad(target, make_generator("grad"))),
}
each_policy = pytest.mark.parametrize("policy", POLICIES)


@each_policy
@pytest.mark.parametrize("steps", [1, 5, 20])
def test_weights_are_unbiased_for_any_policy_and_any_number_of_steps(policy, steps):
    sde = ControlledSDE(steps)
    target = gaussian(torch.tensor([0.5, -0.3]), 0.7, log_z=math.log(3))
    paths = simulate(sde, POLICIES[policy](target), target, randn(steps, 20_000, 2, name=f"{policy} {steps}"))
    assert_mean(paths.log_w.exp(), 3.0, 0.1)


def test_random_policies_do_steer():
    target = gaussian(torch.tensor([0.5, -0.3]), 0.7)
    times = ControlledSDE(20).times()
    for name in ("nn", "grad"):
        assert POLICIES[name](target).on_grid(times)(7, randn(100, 2)).abs().mean() > 0.05


# 4. the evidence lower bound


@pytest.mark.parametrize("sde", [ControlledSDE(), ControlledSDE(3, horizon=1.5, sigma=0.8)], ids=["default", "three-steps"])
def test_bound_without_control_is_minus_the_divergence_of_the_prior(sde):
    mean, std, v, n = torch.tensor([0.4, -0.2], dtype=F64), 0.8, sde.prior_variance, 40_000
    target = gaussian(mean, std, log_z=0.6)
    noise = randn(sde.steps, n, 2, name="bound")
    divergence = v / std**2 + mean.square().sum().item() / (2 * std**2) - 1 + 2 * math.log(std) - math.log(v)  # d = 2
    paths = simulate(sde, NoControl(), target, noise)
    assert_mean(paths.log_w, 0.6 - divergence, 0.01)
    assert -sde.cost(NoControl(), target, noise).item() == pytest.approx(elbo(paths.log_w).item(), abs=1e-10)


@each_policy
def test_bound_is_below_log_z(policy):
    sde, target = ControlledSDE(20), gaussian(torch.tensor([0.5, -0.3]), 0.7, log_z=-2.0)
    log_w = simulate(sde, POLICIES[policy](target), target, randn(20, 5000, 2, name="below")).log_w
    assert log_w.mean() + 4 * log_w.std() / math.sqrt(5000) < -2.0


# 5. a scaled density


class Scaled(Target):
    """muhat times exp(shift)."""

    def __init__(self, target: Target, shift: float):
        self.target, self.shift, self.dim = target, shift, target.dim

    def log_prob(self, x: Tensor) -> Tensor:
        return self.target.log_prob(x) + self.shift

    def score(self, x: Tensor) -> Tensor:
        return self.target.score(x)


@pytest.mark.parametrize("target", [nine_modes(), Funnel()], ids=["mg", "funnel"])
@pytest.mark.parametrize("policy", ["nn", "grad"])
def test_scaling_the_density_shifts_the_estimates_by_log_c(target, policy):
    sde, scaled = ControlledSDE(20), Scaled(target, math.log(7))
    noise = randn(20, 3, 50, target.dim)
    log_w = [simulate(sde, POLICIES[policy](t), t, noise).log_w for t in (target, scaled)]
    for estimate in (log_mean_exp, elbo):
        shift = estimate(log_w[1]) - estimate(log_w[0])
        torch.testing.assert_close(shift, torch.full((3,), math.log(7), dtype=F64), rtol=0, atol=1e-10)


# 6. the untrained policy


@pytest.mark.parametrize("sde", [ControlledSDE(), ControlledSDE(7, horizon=2.0, sigma=1.1)], ids=["default", "seven-steps"])
def test_untrained_nn_is_no_control_and_ends_in_the_prior(sde):
    target, n = Funnel(), 2000
    policy = PISNN(target, make_generator("untrained")).double()
    noise = randn(sde.steps, n, target.dim, name="untrained")
    x = simulate(sde, policy, target, noise).x
    for k in range(sde.steps):
        assert not policy.on_grid(sde.times())(k, noise[0]).any()
    torch.testing.assert_close(x, sde.sigma * math.sqrt(sde.dt) * noise.sum(0), rtol=1e-12, atol=1e-12)
    scale = math.sqrt(sde.sigma**2 * sde.horizon)
    assert stats.kstest(x.ravel().numpy(), stats.norm(scale=scale).cdf).pvalue > 1e-3
    assert sde.prior_log_prob(x[0]).item() == pytest.approx(stats.norm(scale=scale).logpdf(x[0]).sum(), abs=1e-10)


def test_untrained_grad_is_a_hundredth_of_the_score():
    target = Funnel()
    x = randn(5, 10)
    control = PISGrad(target, make_generator("untrained")).double().on_grid(ControlledSDE().times())
    torch.testing.assert_close(control(30, x), 0.01 * target.score(x), rtol=1e-7, atol=1e-9)  # 0.01 was a float32


# 7. the sign of the score


@pytest.mark.parametrize("target", [nine_modes(), Funnel(), lgcp.synthetic(4)], ids=lambda target: target.name)
def test_unit_gain_and_no_network_is_the_score_and_points_uphill(target):
    policy = PISGrad(target, make_generator("uphill")).double()
    torch.nn.init.constant_(policy.time_network.body[-1].bias, 1.0)
    x = randn(50, target.dim)
    u = policy.on_grid(ControlledSDE().times())(50, x)
    torch.testing.assert_close(u, target.score(x), rtol=1e-12, atol=1e-12)
    step = 1e-5 * u / u.norm(dim=-1, keepdim=True)
    assert (target.log_prob(x + step) > target.log_prob(x)).all()


# 8. float64 log weights


def test_log_weights_of_the_cox_process_need_and_have_float64():
    target, sde = lgcp.synthetic(20), ControlledSDE(10)
    noise = randn(10, 200, target.dim, name="cox", dtype=torch.float32)
    paths = simulate(sde, NoControl(), target, noise)
    assert paths.x.dtype == torch.float32 and paths.log_w.dtype == F64
    exact = target.log_prob(paths.x.double()) - sde.prior_log_prob(paths.x.double())
    assert exact.abs().min() > 500
    assert (paths.log_w - exact).abs().max() < 1e-9
    single = target.log_prob(paths.x) - sde.prior_log_prob(paths.x)
    assert single.dtype == torch.float32 and (single.double() - exact).abs().max() > 1e-5
    with_policy = simulate(sde, PISGrad(target, make_generator("cox")), target, noise).log_w
    reference = simulate(sde, PISGrad(target, make_generator("cox")).double(), target, noise.double()).log_w
    assert (with_policy - reference).abs().max() < 0.01  # what is left are float32 states, not float32 sums


@pytest.mark.parametrize("network", [PISNN, PISGrad])
def test_all_of_a_cost_is_where_its_noise_is(network):
    """On the device that holds no numbers, where an operand from the CPU is an error, as it is on a GPU."""
    with torch.device("meta"):
        policy = network(Funnel(), None)
    sde, noise = ControlledSDE(3), torch.empty(3, 4, 10, device="meta")
    for cost in (sde.cost, sde.log_variance):
        assert cost(policy, Funnel(), noise).device.type == "meta"
    assert sde.simulate(policy, Funnel(), lambda: noise[0]).log_w.device.type == "meta"
