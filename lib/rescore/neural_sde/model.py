"""Two neural SDEs with one drift: from the data to the prior and back (thesis eqs. 3.8, 3.9).

References:
    thesis, chapter 3: DiffFlow, arXiv:2110.07579.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from rescore.domain import check_one_of
from rescore.errors import Diverged, RescoreError
from rescore.neural_sde.grids import check_grid
from rescore.random import Noise, normal

Field = Callable[[Tensor, Tensor], Tensor]
"""field(x, t), see `rescore.neural_sde.network`."""

CHUNK = 8  # times evaluated in one call of a network: enough to keep the processor busy, little memory


@dataclass(frozen=True)
class Steps:
    """A time grid t_0 < ... < t_N with what the steps need, in one dtype and on one device.

    Attributes:
        t, g: (N + 1,); g_i = g(t_i).
        dt: (N,); dt_i = t_{i+1} - t_i.
        log_g_ratio: sum over steps of log(g_{i+1} / g_i), 0 for a constant g.
    """

    t: Tensor
    g: Tensor
    dt: Tensor
    log_g_ratio: float

    @property
    def n(self) -> int:
        return len(self.dt)


class NeuralSDE(nn.Module):
    """Forward dx = f dt + g dw, x_0 ~ data; backward dx = [f - g^2 s] dt + g dw, x_T ~ N(0, I).

    Args:
        drift, score: fields f and s; modules, so that both are trained.
        g: the diffusion coefficient, a number > 0 or a function of float64 times (N,) -> (N,).
    """

    def __init__(self, drift: nn.Module, score: nn.Module, g: float | Callable[[Tensor], Tensor]):
        super().__init__()
        self.drift, self.score, self.g = drift, score, g

    def steps(self, times: Tensor, like: Tensor) -> Steps:
        """The grid for states like `like`; RescoreError for a grid that does not increase or a g that is not positive on it."""
        times = check_grid(times)
        g = self.g(times) if callable(self.g) else torch.full_like(times, self.g)
        if not (g.isfinite().all() and (g > 0).all()):
            i = int((~(g.isfinite() & (g > 0))).nonzero()[0])
            raise RescoreError(
                f"g is {g[i].item():g} at t = {times[i].item():g}: the loss divides by it; allowed are finite values > 0"
            )
        ratio = (g[-1] / g[0]).log().item()
        return Steps(times.to(like), g.to(like), times.diff().to(like), ratio)

    @torch.no_grad()
    def trajectory(self, x0: Tensor, times: Tensor, noise: Tensor) -> Tensor:
        """x_{i+1} = x_i + f_i(x_i) dt_i + g_i sqrt(dt_i) noise_i (eq. 3.11): (N + 1, n, *data) with x_0 first.

        Args:
            x0: (n, *data).
            times: (N + 1,).
            noise: standard normals, (N, n, *data).

        Raises RescoreError for a bad grid, Diverged for states that leave the floating range.
        """
        steps = self.steps(times, x0)
        states = x0.new_empty((steps.n + 1, *x0.shape))
        states[0] = x0
        for i in range(steps.n):
            drift = self.drift(states[i], steps.t[i])
            states[i + 1] = states[i] + drift * steps.dt[i] + steps.g[i] * steps.dt[i].sqrt() * noise[i]
        require_finite(states, steps, "forward")
        return states

    @torch.no_grad()
    def sample(
        self, x: Tensor, times: Tensor, generator: Noise | None = None, lam: float = 1.0, last: str = "tweedie"
    ) -> Tensor:
        """States at t_0 from states x at t_N, by the marginal-equivalent SDE of eq. 3.16 on the training grid.

            x_i = x_{i+1} - [f - (1 + lam^2)/2 g^2 s] dt_i + lam g sqrt(dt_i) z, all fields at (x_{i+1}, t_{i+1}).

        Args:
            lam: 1 is the trained backward SDE, 0 Euler's method on the probability-flow ODE.
            last: "tweedie" leaves out the noise of the last step, whose mean is Tweedie's estimate under this kernel; "noise"
                keeps it.

        Raises RescoreError for another `last` or a missing generator, Diverged for states that leave the floating range.
        """
        check_one_of("last step", last, ("tweedie", "noise"))
        if lam and generator is None:
            raise RescoreError("sampling with lam > 0 draws noise: it needs a torch.Generator")
        steps = self.steps(times, x)
        for i in reversed(range(steps.n)):
            t, g, dt = steps.t[i + 1], steps.g[i + 1], steps.dt[i]
            x = x - (self.drift(x, t) - 0.5 * (1 + lam**2) * g.square() * self.score(x, t)) * dt
            if lam and (i or last == "noise"):
                assert generator is not None
                x = x + lam * g * dt.sqrt() * normal(x.shape, generator, x.dtype, x.device)
        require_finite(x[None], steps, "backward")
        return x


def backward_noise(steps: Steps, nodes: slice, before: Tensor, after: Tensor, drift: Tensor, score: Tensor) -> Tensor:
    """dB_i that takes the backward step from x_{i+1} to x_i (eq. 3.14), for consecutive i.

    Args:
        nodes: the places i + 1 on the grid.
        before, after: x_i and x_{i+1}, (K, n, *data).
        drift, score: f and s at (x_{i+1}, t_{i+1}).
    """
    g, dt = (column(v, after) for v in (steps.g[nodes], steps.dt[nodes.start - 1 : nodes.stop - 1]))
    return (before - after + (drift - g.square() * score) * dt) / (g * dt.sqrt())


def column(values: Tensor, like: Tensor) -> Tensor:
    """(K,) as (K, 1, ..., 1), to multiply (K, n, *data)."""
    return values.reshape(-1, *(1,) * (like.ndim - 1))


def prior_log_prob(x: Tensor) -> Tensor:
    """log N(x; 0, I), (n,) for x (n, *data)."""
    return -0.5 * (x.square().flatten(1).sum(1) + x[0].numel() * math.log(2 * math.pi))


def require_finite(states: Tensor, steps: Steps, direction: str) -> None:
    """Diverged that names the first time at which a state is not finite."""
    if states.sum(dtype=torch.float64).isfinite():
        return
    bad = (~states.isfinite()).flatten(2).any(2).sum(1)
    if not bad.any():
        return  # only the sum overflowed
    i = int(bad.nonzero()[0])
    where = f" at t = {steps.t[i].item():g} (step {i} of {steps.n})" if direction == "forward" else ""
    count = f"{int(bad[i])} of {states.shape[1]} states"
    raise Diverged(
        f"the {direction} trajectory leaves the floating range{where}: {count} are not finite; "
        " a smaller learning rate, a gradient clip or more steps keep it"
    )
