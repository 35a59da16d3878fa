"""Two samplers that reverse a noising process: DDS and DIS. Both are `Controlled` chains from N(0, scale^2 I) to the target.

The noising process is Ornstein-Uhlenbeck, dy = -beta y / 2 dt + scale sqrt(beta) dw, whose stationary law is N(0, scale^2 I).
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from rescore.control.sde import Controlled, StepControl, normal_log_prob
from rescore.domain import check_count, check_number

COSINE_SHIFT = 0.008  # of the cos^2 schedule, as in the authors' code (and Nichol, Dhariwal 2021)


@dataclass(frozen=True)
class _Denoising(Controlled):
    """What both have in common: the start, and a policy's clock, which runs over the `horizon` of the Path Integral Sampler."""

    steps: int = 100
    scale: float = 1.0
    horizon: float = 5.0

    random_start = True

    def __post_init__(self):
        check_count(self, "steps", self.steps)
        for name in ("scale", "horizon"):
            check_number(self, name, getattr(self, name), 0, brackets="()")

    def times(self, dtype: torch.dtype = torch.float64) -> Tensor:
        return torch.arange(self.steps, dtype=dtype) * (self.horizon / self.steps)

    def start(self, xi: Tensor) -> Tensor:
        return self.scale * xi


@dataclass(frozen=True)
class DDS(_Denoising):
    """Denoising Diffusion Sampler (Vargas, Grathwohl, Doucet 2023): the reference is the stationary process itself.

    With alpha_k = 1 - exp(-2 b_k) and lambda_k = 1 - sqrt(1 - alpha_k), exact in the linear part:

        x_{k+1} = sqrt(1 - alpha_k) x_k + 2 lambda_k scale u_k + scale sqrt(alpha_k) xi_k,     log w = log muhat(x_N) / N(x_N;
        0, scale^2 I) - ...

    u = scale grad log phi at the optimum, phi the ratio of the noised target's density to the stationary one. The paper's
    network is u / scale. b_k is proportional to cos^4, as in the authors' code, largest at the start, and sums to `noise`.

    Args:
        noise: the sum of b_k, half of the integral of beta: the target is noised by exp(-noise).
    """

    noise: float = 5.0

    def __post_init__(self):
        super().__post_init__()
        check_number(self, "noise", self.noise, 0, brackets="()")

    @property
    def protocol(self) -> dict[str, object]:
        return {"steps": self.steps, "scale": self.scale, "horizon": self.horizon, "noise": self.noise, "schedule": "cos4"}

    @cached_property
    def _kept(self) -> list[float]:
        """sqrt(1 - alpha_k) = exp(-b_k)."""
        phase = (torch.linspace(0, 1, self.steps, dtype=torch.float64) + COSINE_SHIFT) / (1 + COSINE_SHIFT) * (math.pi / 2)
        shares = phase.cos().pow(4).clamp_min(1e-6)  # it ends at 0: a last step of no noise would have no density
        return torch.exp(-self.noise * shares / shares.sum()).tolist()

    def _spread(self, k: int) -> float:
        return math.sqrt(1 - self._kept[k] ** 2)

    def gain(self, k: int) -> float:
        return 2 * (1 - self._kept[k]) / self._spread(k)

    def moved(self, k: int, x: Tensor, u: Tensor, xi: Tensor) -> Tensor:
        kept = self._kept[k]
        return torch.add(kept * x, u, alpha=2 * self.scale * (1 - kept)).add(xi, alpha=self.scale * self._spread(k))

    def reference_log_prob(self, start: Tensor, end: Tensor) -> Tensor:
        return normal_log_prob(end, self.scale**2)


@dataclass(frozen=True)
class DIS(_Denoising):
    """Time-Reversed Diffusion Sampler (Berner, Richter, Ullrich 2022): the reference is the noising process from the target.

    Euler-Maruyama on both, h = 1 / N, beta linear from `beta_max` at the start to `beta_min`:

        x_{k+1} = (1 + beta_k h / 2) x_k + scale sqrt(beta_k) (h u_k + sqrt(h) xi_k)
        q(x_k | x_{k+1}) = N((1 - beta_k h / 2) x_{k+1}, scale^2 beta_k h I),   w = muhat(x_N) prod q / (N(x_0; 0, scale^2 I)
        prod p)

    u = scale sqrt(beta) grad log p_t at the optimum, p_t the noised target. The paper has the continuous-time weight with div f
    in place of q / p; with q / p E[w] = Z for any N. Without control the chain grows by exp(int beta / 2):
    `with_prior_score`.
    """

    beta_min: float = 0.1
    beta_max: float = 10.0

    def __post_init__(self):
        super().__post_init__()
        check_number(self, "beta_min", self.beta_min, 0, brackets="()")
        check_number(self, "beta_max", self.beta_max, 0, brackets="()")

    @property
    def protocol(self) -> dict[str, object]:
        return {
            "steps": self.steps,
            "scale": self.scale,
            "horizon": self.horizon,
            "beta": f"{self.beta_max:g}..{self.beta_min:g}",
        }

    def _beta_h(self, k: int) -> float:
        """beta h, at the middle of the step."""
        share = (k + 0.5) / self.steps
        return (self.beta_max + share * (self.beta_min - self.beta_max)) / self.steps

    def gain(self, k: int) -> float:
        return self.steps**-0.5

    def moved(self, k: int, x: Tensor, u: Tensor, xi: Tensor) -> Tensor:
        beta_h = self._beta_h(k)
        spread = self.scale * math.sqrt(beta_h)
        return torch.add((1 + 0.5 * beta_h) * x, u, alpha=spread * self.gain(k)).add(xi, alpha=spread)

    def with_prior_score(self, policy: nn.Module) -> "PriorScore":
        """The policy beside the stationary process's control, -sqrt(beta) x / scale: a zero policy stays at N(0, scale^2 I)."""
        return PriorScore(policy, self)

    def running(self, k: int, x: Tensor, y: Tensor, u: Tensor, xi: Tensor) -> Tensor:
        """log p(y | x, u) - log q(x | y); both have the same variance."""
        beta_h = self._beta_h(k)
        back = (x - (1 - 0.5 * beta_h) * y).square().sum(-1) / (self.scale**2 * beta_h)
        return 0.5 * (back - xi.square().sum(-1))

    def reference_log_prob(self, start: Tensor, end: Tensor) -> Tensor:
        return normal_log_prob(start, self.scale**2)


class PriorScore(nn.Module):
    """u = policy + scale sqrt(beta) grad log N(x; 0, scale^2 I): one end of what the authors' code interpolates between."""

    policy: Any  # PISNN or PISGrad: a module with `on_grid`

    def __init__(self, policy: nn.Module, process: DIS):
        super().__init__()
        self.policy, self.process = policy, process

    def on_grid(self, times: Tensor) -> StepControl:
        control, its = self.policy.on_grid(times), self.process
        pulls = [math.sqrt(its._beta_h(k) * its.steps) / its.scale for k in range(its.steps)]
        return lambda k, x: torch.sub(control(k, x), x, alpha=pulls[k])
