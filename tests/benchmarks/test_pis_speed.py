"""Speed of PIS training; one thread, so that ratios mean something on a busy machine."""

import time
from collections.abc import Callable

import pytest
import torch
import torchsde
from torch import Tensor, nn

from rescore.control import ControlledSDE, PISGrad
from rescore.random import make_generator
from rescore.targets import Funnel

pytestmark = pytest.mark.benchmark_suite

BATCH = 300
FASTER = 20


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class AugmentedSDE(nn.Module):
    """The controlled SDE for torchsde, with the running cost as one more dimension of the state."""

    noise_type, sde_type = "diagonal", "ito"

    def __init__(self, policy: PISGrad, target: Funnel, sigma: float):
        super().__init__()
        self.policy, self.target, self.sigma = policy, target, sigma

    def f(self, t: Tensor, state: Tensor) -> Tensor:
        x = state[:, :-1]
        u = self.policy.on_grid(t.reshape(1))(0, x)
        return torch.cat((self.sigma * u, 0.5 * u.square().sum(-1, keepdim=True)), -1)

    def g(self, t: Tensor, state: Tensor) -> Tensor:
        return torch.cat((torch.full_like(state[:, :-1], self.sigma), torch.zeros_like(state[:, -1:])), -1)


def torchsde_step(sde: ControlledSDE, policy: PISGrad, target: Funnel) -> Callable[[], Tensor]:
    problem = AugmentedSDE(policy, target, sde.sigma)
    optimizer = torch.optim.Adam(policy.parameters(), lr=5e-3, weight_decay=1e-7)

    def step() -> Tensor:
        start = torch.zeros(BATCH, target.dim + 1)
        end = torchsde.sdeint(problem, start, torch.tensor([0.0, sde.horizon]), method="euler", dt=sde.dt)[-1]
        x, energy = end[:, :-1], end[:, -1]
        loss = (energy + sde.prior_log_prob(x) - target.log_prob(x)).mean() / target.dim
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def our_step(sde: ControlledSDE, policy: PISGrad, target: Funnel) -> Callable[[], Tensor]:
    noise = torch.empty(sde.steps, BATCH, target.dim)
    generator = make_generator("benchmark")
    optimizer = torch.optim.Adam(policy.parameters(), lr=5e-3, weight_decay=1e-7)

    def step() -> Tensor:
        loss = sde.cost(policy, target, noise.normal_(generator=generator)) / target.dim
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


@pytest.mark.benchmark(timer=time.process_time)  # with one thread the seconds of a quiet machine
def test_training_step_on_the_funnel_is_20_times_torchsde(benchmark):
    """PIS-Grad, batch 300, 100 steps: network, loss and optimiser are the same, the solver is not."""
    sde, target = ControlledSDE(), Funnel()
    ours, theirs = (make(sde, PISGrad(target, make_generator("policy")), target) for make in (our_step, torchsde_step))
    torch.manual_seed(0)
    assert ours().item() == pytest.approx(theirs().item(), rel=0.3), "the two minimise the same cost"
    seconds = []
    for _ in range(5):
        start = time.process_time()
        theirs()
        seconds.append(time.process_time() - start)
    benchmark.pedantic(ours, rounds=20, warmup_rounds=2)
    ratio = min(seconds) / benchmark.stats.stats.min
    benchmark.extra_info |= {"torchsde_seconds": min(seconds), "ratio": ratio}
    print(f"torchsde {min(seconds):.3f} s, ours {benchmark.stats.stats.min:.4f} s, ratio {ratio:.1f}")
    assert ratio >= FASTER
