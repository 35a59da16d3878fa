"""The probability-flow ODE du/dt = F u - G G^T s / 2 (thesis eq. 6.5): Runge-Kutta on a grid and adaptive.

References:
    thesis, chapter 6: DEIS, arXiv:2204.13902.
"""

from typing import Literal

import torch
from torch import Tensor

from rescore.domain import check_one_of
from rescore.ode import dormand_prince
from rescore.processes import Isotropic
from rescore.processes.base import LinearSDE, require
from rescore.processes.operators import Operator
from rescore.samplers.base import Denoise, Draw, Sampler, Times, coefficients
from rescore.samplers.method import method
from rescore.scores import Score

# Butcher tableaus (c, a, b) of explicit methods; the name ends in the order.
TABLEAUS = {
    "heun2": ((0, 1), ((), (1,)), (1 / 2, 1 / 2)),
    "midpoint2": ((0, 1 / 2), ((), (1 / 2,)), (0, 1)),
    "ralston2": ((0, 2 / 3), ((), (2 / 3,)), (1 / 4, 3 / 4)),
    "kutta3": ((0, 1 / 2, 1), ((), (1 / 2,), (-1, 2)), (1 / 6, 4 / 6, 1 / 6)),
    "rk4": ((0, 1 / 2, 1 / 2, 1), ((), (1 / 2,), (0, 1 / 2), (0, 0, 1)), (1 / 6, 1 / 3, 1 / 3, 1 / 6)),
}


class RungeKutta(Sampler):
    """A classical Runge-Kutta method on the probability flow, in t or in the transformed variables of DEIS.

    Args:
        tableau: "heun2", "midpoint2", "ralston2", "kutta3" or "rk4"; 2, 2, 2, 3 and 4 evaluations per step.
        clock: "t" integrates du/dt; "rho" integrates dy/drho = eps for y = u / m_t (thesis eq. 6.17: rhoRK-DEIS),
        isotropic only.
    """

    def __init__(
        self,
        process: LinearSDE,
        times: Times,
        tableau: Literal["heun2", "midpoint2", "ralston2", "kutta3", "rk4"] = "heun2",
        clock: Literal["t", "rho"] = "t",
        denoise: Denoise = "none",
    ):
        check_one_of("tableau", tableau, TABLEAUS)
        super().__init__(process, times, denoise)
        c, self.a, self.b = TABLEAUS[tableau]
        self.evaluations_per_step = len(c)
        self.clock = clock
        ticks = self.grid
        if clock == "rho":
            isotropic = require(process, Isotropic, "rhoRK-DEIS")
            ticks = isotropic.rho(self.grid)
        self.h = ticks.diff().tolist()
        stages = ticks[:-1, None] + ticks.diff()[:, None] * torch.tensor(c, dtype=torch.float64)
        if clock == "rho":
            # dy/drho = -sqrt(Sigma) s(m y, t)
            stages = isotropic.time_of_rho(stages).clamp(self.times[-1], self.times[0])
            self.from_score = _by_stage(-process.R(stages))
            self.to_state = _by_stage(process.mean(stages))
            self.ends = coefficients(process.mean(self.grid))
        else:
            self.linear, self.from_score = _by_stage(process.F(stages)), _by_stage(process.GG(stages) * -0.5)
        self.stages = stages.tolist()

    def rate(self, i: int, k: int, y: Tensor, score: Score) -> Tensor:
        """dy/dclock at stage k of step i."""
        if self.clock == "rho":
            return self.from_score[i][k](score(self.to_state[i][k](y), self.stages[i][k]))
        return self.linear[i][k](y) + self.from_score[i][k](score(y, self.stages[i][k]))

    def run(self, score: Score, u: Tensor, draw: Draw) -> Tensor:
        y = self.ends[0].inv()(u) if self.clock == "rho" else u
        for i, h in enumerate(self.h):
            rates: list[Tensor] = []
            for k, row in enumerate(self.a):
                stage = y + sum(h * a * rate for a, rate in zip(row, rates, strict=True) if a) if row else y
                rates.append(self.rate(i, k, stage, score))
            y = y + sum(h * b * rate for b, rate in zip(self.b, rates, strict=True))
        return self.ends[-1](y) if self.clock == "rho" else y


class AdaptiveFlow(Sampler):
    """The probability flow by an adaptive Dormand-Prince 4(5) method (`rescore.ode`); only the ends of the grid matter.

    The error is controlled over the whole batch at once. `nfe` is None: `solve` counts the evaluations. The rates of a discrete
    chain jump at its levels, where the error estimate fails: its flow is that of y = u / m by log rho,
    dy = -(Sigma / m) s dlog rho, which is smooth, but for one that ends at rho = 0, which is solved by t.

    Args:
        tolerance: relative and absolute; Score-SDE and CLD use 1e-5.
        denoise: Score-SDE's configs denoise ODE samples at the end (`noise_removal`).
    """

    nfe = evaluations_per_step = None
    common_step = True

    def __init__(self, process: LinearSDE, times: Times, tolerance: float = 1e-5, denoise: Denoise = "none"):
        super().__init__(process, times, denoise)
        self.tolerance = tolerance

    def run(self, score: Score, u: Tensor, draw: Draw) -> Tensor:
        def rate(t: Tensor, u: Tensor) -> Tensor:
            time = t.item()
            return self.process.F(time)(u) - 0.5 * self.process.GG(time)(score(u, time))

        what, start, end = f"probability flow of {self.process}", self.times[0], self.times[-1]
        if isinstance(self.process, Isotropic) and not self.process.smooth and self.process.rho(end) > 0:
            chain = self.process
            first, last = (chain.rho(t).log().item() for t in (start, end))

            def rate_of_y(log_rho: Tensor, y: Tensor) -> Tensor:
                time = chain.time_of_log_rho(log_rho, start, end)
                mean = chain.mean(time)
                return -chain.Sigma(time)(mean.inv()(score(mean(y), time)))

            y = dormand_prince(rate_of_y, chain.mean(start).inv()(u), first, last, self.tolerance, what)
            return chain.mean(end)(y)
        return dormand_prince(rate, u, start, end, self.tolerance, what)


runge_kutta = method(order=lambda its: int(its.tableau[-1]), evaluations_per_step=lambda its: len(TABLEAUS[its.tableau][0]))(
    RungeKutta
)
adaptive_flow = method(evaluations_per_step=None)(AdaptiveFlow)


def _by_stage(operator: Operator) -> list[list[Operator]]:
    return [list(step) for step in coefficients(operator)]
