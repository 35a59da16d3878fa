"""SSCS, the symmetric splitting sampler of CLD: analytic half step, score step, analytic half step (CLD paper, fig. 8)."""

import torch
from torch import Tensor

from rescore.processes import CLD
from rescore.processes.base import LinearSDE, require
from rescore.processes.operators import Block, block
from rescore.samplers.base import Denoise, Draw, Stepwise, Times, coefficients
from rescore.samplers.method import method
from rescore.scores import Score


def analytic_part(process: CLD, t: Tensor, s: Tensor) -> tuple[Block, Block]:
    """(A, P) of u_t ~ N(A u_s, P), t < s: the reverse SDE whose score is that of the prior, -(x, v / M), solved exactly.

    It is the forward process with the sign of x's coupling turned: A = S Psi S and P = S Q S with S = diag(1, -1), over
    the same B.
    """
    flip = block(1, 0, 0, -1)
    return flip @ process.Psi(s, t) @ flip, flip @ process.Q(s, t) @ flip


class SSCS(Stepwise):
    """Strang splitting of the reverse SDE: analytic half, v <- v + 2 Gamma beta h (s_v(u, t_i) + v / M), analytic half.

    Score and beta of the middle part are those at the start of the step, as in the authors' code; the analytic parts use
    the integral of beta over their own half. One evaluation per step. CLD only.
    """

    stochastic = True

    def __init__(self, process: LinearSDE, times: Times, denoise: Denoise = "none"):
        process = require(process, CLD, "SSCS")
        super().__init__(process, times, denoise)
        self.mass = process.M
        s, t = self.grid[:-1], self.grid[1:]
        middle = (s + t) / 2
        self.halves = [
            (coefficients(a), coefficients(p.cholesky()))
            for a, p in (analytic_part(process, middle, s), analytic_part(process, t, middle))
        ]
        self.kick = (2 * process.Gamma * process.beta(s) * (s - t)).tolist()

    def step(self, i: int, score: Score, u: Tensor, draw: Draw) -> Tensor:
        (first, first_root), (second, second_root) = self.halves
        u = first[i](u) + first_root[i](draw(u))
        x, v = u.unbind(1)
        push = score(u, self.times[i])[:, 1] + v / self.mass
        u = torch.stack((x, v + self.kick[i] * push), 1)
        if self.denoise == "mean" and i == self.steps - 1:
            return second[i](u)
        return second[i](u) + second_root[i](draw(u))


sscs = method(applies=CLD)(SSCS)
