"""gDDIM: deterministic multistep, with and without a corrector, and stochastic (thesis section 7.4).

References:
    thesis, chapter 7: gDDIM, arXiv:2206.05564.
"""

import torch
from torch import Tensor

from rescore.errors import RescoreError
from rescore.processes import grids
from rescore.processes.base import Factor, LinearSDE
from rescore.samplers.base import Denoise, Draw, Multistep, OneStep, Times, coefficients, require_steps
from rescore.samplers.deis import exponential_integrator
from rescore.samplers.method import method
from rescore.samplers.weights import past, transfer_weights, warm_started
from rescore.scores import Score


@method(order=lambda its: its.order)
def gddim(process: LinearSDE, times: Times, order: int = 1, factor: Factor = "R", denoise: Denoise = "none") -> Multistep:
    """The `order`-step predictor (thesis eq. 7.19): polynomials of degree order - 1 in t for eps under K_t.

    One evaluation per step; the first steps use the lower orders. order = 1 is thesis eq. 7.18, exact in one step for
    Gaussian data of covariance Sigma_0 (Prop. 7). factor "L" is the comparison of thesis table 7.1.
    """
    if order < 1:
        raise RescoreError(f"gddim order {order}: allowed are 1, 2, 3, ...")
    return exponential_integrator(process, times, order - 1, factor, denoise)


class GDDIMCorrected(Multistep):
    """gDDIM with a corrector: predict with `order` past evaluations, evaluate, correct with that and the order - 1 latest ones.

    The corrected point is evaluated again for the next step, so that a grid of N steps takes 2 N evaluations.
    """

    evaluations_per_step = 2

    def __init__(self, process: LinearSDE, times: Times, order: int = 2, factor: Factor = "R", denoise: Denoise = "none"):
        if order < 1:
            raise RescoreError(f"gddim order {order}: allowed are 1, 2, 3, ...")
        require_steps(times, order, f"gddim of order {order}")
        grid = grids.check(process, times)
        s, t = grid[:-1], grid[1:]

        def predict(steps: slice, count: int):
            return transfer_weights(process, s[steps], t[steps], past(grid, steps, count), factor)

        def correct(steps: slice, count: int):
            nodes = past(grid, steps, count)[:, : order - 1]
            nodes = torch.cat((t[steps, None], nodes), 1)
            return transfer_weights(process, s[steps], t[steps], nodes, factor)

        weights = warm_started(len(s), order - 1, predict)
        super().__init__(process, grid, process.Psi(t, s), weights, process.K(s, factor), denoise)
        self.corrections = [coefficients(w) for w in warm_started(len(s), max(order - 2, 0), correct)]
        self.to_noise_at_end = coefficients(-process.K(t, factor).T)

    def run(self, score: Score, u: Tensor, draw: Draw) -> Tensor:
        history: list[Tensor] = []
        for i in range(self.steps):
            history = [self.to_noise[i](score(u, self.times[i])), *history[: len(self.weights[-1]) - 1]]
            predicted = self.advance(i, u, self.weights[i], history)
            noise = self.to_noise_at_end[i](score(predicted, self.times[i + 1]))
            u = self.advance(i, u, self.corrections[i], [noise, *history])
        return u


gddim_corrected = method(order=lambda its: its.order, evaluations_per_step=2)(GDDIMCorrected)


@method(order=lambda its: None if its.lam else 1)
def gddim_stochastic(process: LinearSDE, times: Times, lam: float = 1.0, denoise: Denoise = "none") -> OneStep:
    """u_t ~ N(Psi u_s + [Psi_hat - Psi] R_s eps, P_st) (thesis Prop. 9), P_st = Sigma_t - Psi_hat Sigma_s Psi_hat^T.

    That P solves dP/dtau = F_hat P + P F_hat^T - lam^2 G G^T from P_ss = 0 (thesis eq. 7.23 prints + lam^2). R_s eps =
    -Sigma_s s, so no factor is involved. lam = 0 is `gddim` of order 1 (Prop. 10), lam = 1 the ancestral sampler with its
    posterior covariance.
    """
    times = grids.check(process, times)
    s, t = times[:-1], times[1:]
    psi, psi_hat, sigma = process.Psi(t, s), process.Psi_hat(t, s, lam), process.Sigma(s)
    covariance = process.Sigma(t) - psi_hat @ sigma @ psi_hat.T
    return OneStep(process, times, psi, (psi - psi_hat) @ sigma, covariance.cholesky() if lam else None, denoise)
