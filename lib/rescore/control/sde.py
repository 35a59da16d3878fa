"""Controlled diffusions from a simple law to a target: their cost, their path weights, and the losses that train them.

`ControlledSDE` is that of the Path Integral Sampler, dx = sigma u dt + sigma dw, x_0 = 0 (thesis sections 5.2 and 5.3);
`rescore.control.denoising` has two more.

References:
    thesis, chapter 5: PIS, arXiv:2111.15141.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from rescore.cost.evaluations import note
from rescore.domain import check_count, check_number
from rescore.random import fill_normal
from rescore.targets.base import Target

StepControl = Callable[[int, Tensor], Tensor]
"""u(k, x): the control at time step k for states x of shape (..., d)."""


class Policy(Protocol):
    """A feedback control. What depends on time alone is computed once for the whole grid."""

    def on_grid(self, times: Tensor) -> StepControl:
        """The control on the time grid, times of shape (N,)."""


@dataclass(frozen=True)
class Paths:
    """End points x_T, (..., n, d), and log path weights log w, (..., n) in float64 (thesis eq. 5.18 with muhat for mu)."""

    x: Tensor
    log_w: Tensor


class Controlled(ABC):
    """A Markov chain x_{k+1} = keep_k x_k + spread_k (r_k u_k + xi_k), xi_k ~ N(0, I), whose control u can make its end law mu.

    Its weight is w = muhat(x_N) / p(x) for the chain's own law p and a reference with the same steps, so E[w] = Z for any
    policy and any N. What a process is, it says by `start`, `moved`, `running` and `reference_log_prob`.

    Attributes:
        steps: N.
        random_start: whether x_0 takes normals of its own; noise then has N + 1 rows.
    """

    steps: int
    random_start = False

    @property
    @abstractmethod
    def protocol(self) -> dict[str, object]:
        """What records say about it."""

    @abstractmethod
    def times(self, dtype: torch.dtype = torch.float64) -> Tensor:
        """Where the policy is told to be, (N,)."""

    @abstractmethod
    def start(self, xi: Tensor) -> Tensor:
        """x_0 from standard normals, or zeros of their shape."""

    @abstractmethod
    def gain(self, k: int) -> float:
        """r_k, what a unit of control moves the mean by, in standard deviations of the step."""

    @abstractmethod
    def moved(self, k: int, x: Tensor, u: Tensor, xi: Tensor) -> Tensor:
        """x_{k+1}."""

    def running(self, k: int, x: Tensor, y: Tensor, u: Tensor, xi: Tensor) -> Tensor:
        """log p(y | x, u) - log p(y | x, 0) = u . (r xi + r^2 u / 2), (...), xi being the noise of y under the control u."""
        r = self.gain(k)
        return (u * torch.add(xi * r, u, alpha=0.5 * r * r)).sum(-1)

    @abstractmethod
    def reference_log_prob(self, start: Tensor, end: Tensor) -> Tensor:
        """The log density that log muhat(x_N) is weighed against, (...)."""

    def cost(self, policy: Policy, target: Target, noise: Tensor) -> Tensor:
        """Minus the mean log weight, KL(Q^u | Q*) - log Z, differentiable along the paths, without r_k u_k . xi_k of mean zero.

        Args:
            noise: standard normals, (N, ..., n, d), or (N + 1, ..., n, d) with those of `start` first.

        Returns:
            A scalar in nats. Minus it is the evidence lower bound on log Z.
        """
        return -self._log_weights(policy, target, noise, on_policy=True).mean()

    def log_variance(self, policy: Policy, target: Target, noise: Tensor) -> Tensor:
        """Var[log w] / 2 over paths of the policy itself, which do not count as functions of it (Richter, Berner 2023, eq. 11).

        It is zero where every path has the same weight. Its gradient has the mean of that of `cost`, without back-propagation
        through paths or the target's score.

        Args:
            noise: as for `cost`; the variance is over all leading dimensions but the first.
        """
        return 0.5 * self._log_weights(policy, target, noise, on_policy=False).var()

    def _log_weights(self, policy: Policy, target: Target, noise: Tensor, on_policy: bool) -> Tensor:
        """Log weights without their stochastic integrals, functions of the paths too; else of the policy alone."""
        control = policy.on_grid(self.times(noise.dtype).to(noise.device))
        first = x = self.start(noise[0])
        note(x[..., 0].numel() * (self.steps + 1))
        total = x.new_zeros(x.shape[:-1])
        for k, xi in enumerate(noise[1:] if self.random_start else noise):
            u = control(k, x)
            v = u if on_policy else u.detach()
            y = self.moved(k, x, v, xi)
            if on_policy:
                total = total + self.running(k, x, y, u, xi) - self.gain(k) * (u * xi).sum(-1)
            else:
                total = total + self.running(k, x, y, u, torch.add(xi, v - u, alpha=self.gain(k)))
            x = y
        return target.log_prob(x) - self.reference_log_prob(first, x) - total

    @torch.no_grad()
    def simulate(self, policy: Policy, target: Target, draw: Callable[[], Tensor]) -> Paths:
        """Paths with their weights.

        The noise is that of the step itself, so E[w] = Z for any policy and any N (thesis eq. 5.20 without time-step error).

        Args:
            draw: returns fresh standard normals of shape (..., n, d); called once per step (and for a random start before
                them), may reuse its buffer.
        """
        xi = draw()
        control = policy.on_grid(self.times(xi.dtype).to(xi.device))
        first = x = self.start(xi)
        cost = torch.zeros(x.shape[:-1], dtype=torch.float64, device=x.device)
        note(cost.numel() * (self.steps + 1))
        for k in range(self.steps):
            if k or self.random_start:
                xi = draw()
            u = control(k, x)
            y = self.moved(k, x, u, xi)
            cost += self.running(k, x, y, u, xi)
            x = y
        end = x.double()
        return Paths(x, -cost - self.reference_log_prob(first.double(), end) + target.log_prob(end))

    def sample(self, policy: Policy, target: Target, n: int, generators: list[torch.Generator]) -> Paths:
        """`simulate` for independent runs, n paths of each; all randomness of run r comes from generators[r]."""
        noise = torch.empty(len(generators), n, target.dim, device=generators[0].device)
        return self.simulate(policy, target, lambda: fill_normal(noise, generators))


@dataclass(frozen=True)
class ControlledSDE(Controlled):
    """Euler-Maruyama on `steps` equal steps of [0, horizon].

    The thesis writes sigma = 1; sigma scales the control and the noise alike, so the cost is 0.5 |u|^2 for any sigma.
    log w = -( sum 0.5 |u|^2 dt + u . dw + log mu0(x_N) - log muhat(x_N) ).

    Args:
        steps: N >= 1.
        horizon: T > 0.
        sigma: noise scale; the uncontrolled end law is mu0 = N(0, sigma^2 T I).
    """

    steps: int = 100
    horizon: float = 5.0
    sigma: float = math.sqrt(0.2)

    def __post_init__(self):
        check_count(self, "steps", self.steps)
        check_number(self, "horizon", self.horizon, 0, brackets="()")
        check_number(self, "sigma", self.sigma, 0, brackets="()")

    @property
    def dt(self) -> float:
        return self.horizon / self.steps

    @property
    def protocol(self) -> dict[str, object]:
        return {"steps": self.steps, "horizon": self.horizon, "sigma2": round(self.sigma**2, 12)}

    @property
    def prior_variance(self) -> float:
        """V = sigma^2 T, the variance of mu0."""
        return self.sigma**2 * self.horizon

    def times(self, dtype: torch.dtype = torch.float64) -> Tensor:
        """The left ends t_0 .. t_{N-1} of the steps, (N,)."""
        return torch.arange(self.steps, dtype=dtype) * self.dt

    def prior_log_prob(self, x: Tensor) -> Tensor:
        """log mu0(x), (...)."""
        return normal_log_prob(x, self.prior_variance)

    def start(self, xi: Tensor) -> Tensor:
        return torch.zeros_like(xi)

    def gain(self, k: int) -> float:
        return math.sqrt(self.dt)

    def moved(self, k: int, x: Tensor, u: Tensor, xi: Tensor) -> Tensor:
        return torch.add(x, u, alpha=self.sigma * self.dt).add_(xi, alpha=self.sigma * math.sqrt(self.dt))

    def running(self, k: int, x: Tensor, y: Tensor, u: Tensor, xi: Tensor) -> Tensor:
        return (u * torch.add(xi * math.sqrt(self.dt), u, alpha=0.5 * self.dt)).sum(-1)  # r^2 = dt, unrounded

    def reference_log_prob(self, start: Tensor, end: Tensor) -> Tensor:
        return self.prior_log_prob(end)

    def cost(self, policy: Policy, target: Target, noise: Tensor) -> Tensor:
        """E[ int 0.5 |u|^2 dt + log mu0(x_T) - log muhat(x_T) ], one path per sample (thesis eq. 5.14), differentiable.

        The stochastic integral of u has mean zero and is left out, as in the authors' code.

        Args:
            noise: standard normals, (N, ..., n, d).

        Returns:
            The mean cost, a scalar in nats. Minus it is the evidence lower bound on log Z.
        """
        control = policy.on_grid(self.times(noise.dtype).to(noise.device))
        x = torch.zeros_like(noise[0])
        note(x[..., 0].numel() * (self.steps + 1))  # the policy at each step, the target at the end
        energy = x.new_zeros(())
        for k, xi in enumerate(noise):
            u = control(k, x)
            energy = energy + u.square().sum()
            x = self.moved(k, x, u, xi)
        n = x[..., 0].numel()
        return 0.5 * self.dt * energy / n + (self.prior_log_prob(x) - target.log_prob(x)).mean()


class PathCost(nn.Module):
    """The cost of a policy as a module, whose parameters are the policy's: what an `Ensemble` of policies consists of.

    Args:
        process: whose cost.
        policy: a module with `on_grid`.
    """

    def __init__(self, process: Controlled, policy: nn.Module, target: Target):
        super().__init__()
        self.process, self.policy, self.target = process, policy, target

    def forward(self, noise: Tensor) -> Tensor:
        """The noise of one draw, (1, N, n, d), to its cost in nats, (1,)."""
        return self.process.cost(cast(Policy, self.policy), self.target, noise.squeeze(0))[None]


def normal_log_prob(x: Tensor, variance: float) -> Tensor:
    """log N(x; 0, variance I), (..., d) -> (...)."""
    return -0.5 * (x.square().sum(-1) / variance + x.shape[-1] * math.log(2 * math.pi * variance))
