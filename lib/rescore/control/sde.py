"""The controlled SDE dx = sigma u dt + sigma dw, x_0 = 0, its cost and its path weights (thesis sections 5.2 and 5.3)."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from rescore.cost.evaluations import note
from rescore.domain import check_count, check_number
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


@dataclass(frozen=True)
class ControlledSDE:
    """Euler-Maruyama on `steps` equal steps of [0, horizon].

    The thesis writes sigma = 1; sigma scales the control and the noise alike, so the cost is 0.5 |u|^2 for any sigma.

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
        """What records say about it."""
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
        return -0.5 * (x.square().sum(-1) / self.prior_variance + x.shape[-1] * math.log(2 * math.pi * self.prior_variance))

    def cost(self, policy: Policy, target: Target, noise: Tensor) -> Tensor:
        """E[ int 0.5 |u|^2 dt + log mu0(x_T) - log muhat(x_T) ], one path per sample (thesis eq. 5.14), differentiable.

        The stochastic integral of u has mean zero and is left out, as in the authors' code.

        Args:
            noise: standard normals, (N, ..., n, d).

        Returns:
            The mean cost, a scalar in nats. Minus it is the evidence lower bound on log Z.
        """
        control = policy.on_grid(self.times(noise.dtype))
        x = torch.zeros_like(noise[0])
        note(x[..., 0].numel() * (self.steps + 1))  # the policy at each step, the target at the end
        energy = x.new_zeros(())
        for k, xi in enumerate(noise):
            u = control(k, x)
            energy = energy + u.square().sum()
            x = torch.add(x, u, alpha=self.sigma * self.dt).add_(xi, alpha=self.sigma * math.sqrt(self.dt))
        n = x[..., 0].numel()
        return 0.5 * self.dt * energy / n + (self.prior_log_prob(x) - target.log_prob(x)).mean()

    @torch.no_grad()
    def simulate(self, policy: Policy, target: Target, draw: Callable[[], Tensor]) -> Paths:
        """Paths with weights log w = -( sum 0.5 |u|^2 dt + u . dw + log mu0(x_N) - log muhat(x_N) ).

        dw is the noise of the step itself, so E[w] = Z for any policy and any N (thesis eq. 5.20 without time-step error).

        Args:
            draw: returns fresh standard normals of shape (..., n, d); called once per step, may reuse its buffer.
        """
        xi = draw()
        control = policy.on_grid(self.times(xi.dtype))
        x = torch.zeros_like(xi)
        cost = torch.zeros(x.shape[:-1], dtype=torch.float64, device=x.device)
        note(cost.numel() * (self.steps + 1))
        for k in range(self.steps):
            if k:
                xi = draw()
            u = control(k, x)
            # 0.5 |u|^2 dt + u . dw = u . (0.5 u dt + xi sqrt(dt))
            cost += (u * torch.add(xi * math.sqrt(self.dt), u, alpha=0.5 * self.dt)).sum(-1)
            x = x.add_(u, alpha=self.sigma * self.dt).add_(xi, alpha=self.sigma * math.sqrt(self.dt))
        end = x.double()
        return Paths(x, -cost - self.prior_log_prob(end) + target.log_prob(end))
