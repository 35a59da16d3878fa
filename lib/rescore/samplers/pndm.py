"""PNDM: pseudo Runge-Kutta steps, then pseudo linear multistep (Liu et al. 2022, arXiv 2202.09778, section 3.3, F-PNDM)."""

import torch
from torch import Tensor

from rescore.processes.base import LinearSDE
from rescore.samplers.base import Denoise, Draw, Sampler, Times, coefficients
from rescore.samplers.ipndm import ADAMS_BASHFORTH
from rescore.samplers.method import method
from rescore.scores import Score

WARM = 3  # pseudo Runge-Kutta steps, of 4 evaluations each
MIX = ADAMS_BASHFORTH[WARM + 1]


class PNDM(Sampler):
    """u <- phi(u, e, s, t), DDIM's transfer Psi(t, s) u + [R_t - Psi(t, s) R_s] e of a mixture e of noise predictions.

    The first three steps are pseudo Runge-Kutta: e_1 at (u, s), e_2 and e_3 at the middle of the step, e_4 at its end, each
    reached by phi, and e = (e_1 + 2 e_2 + 2 e_3 + e_4) / 6; they cost 4 evaluations. All others mix the last four e_1 by the
    Adams-Bashforth weights of equal steps, whatever the grid, as iPNDM does, and cost one. N steps take N + 9 evaluations
    (4 N where N < 3).
    """

    def __init__(self, process: LinearSDE, times: Times, denoise: Denoise = "none"):
        super().__init__(process, times, denoise)
        s, t = self.grid[:-1], self.grid[1:]
        self.middles = ((s + t) / 2).tolist()
        self.to_end, self.to_middle = self._transfer(s, t), self._transfer(s, (s + t) / 2)

    @property
    def nfe(self) -> int:
        warm = min(self.steps, WARM)
        return 4 * warm + self.steps - warm + self._denoise_nfe

    def _transfer(self, s: Tensor, t: Tensor) -> tuple[list, list]:
        """Psi(t, s) and R_t - Psi(t, s) R_s of each step."""
        psi = self.process.Psi(t, s)
        return coefficients(psi), coefficients(self.process.R(t) - psi @ self.process.R(s))

    def run(self, score: Score, u: Tensor, draw: Draw) -> Tensor:
        def noise(v: Tensor, t: float) -> Tensor:
            return -self.process.R(t).T(score(v, t))

        def move(transfer: tuple[list, list], i: int, e: Tensor) -> Tensor:
            return transfer[0][i](u) + transfer[1][i](e)

        history: list[Tensor] = []
        for i in range(self.steps):
            e = noise(u, self.times[i])
            history = [e, *history[:WARM]]
            if i < WARM:
                e2 = noise(move(self.to_middle, i, e), self.middles[i])
                e3 = noise(move(self.to_middle, i, e2), self.middles[i])
                e4 = noise(move(self.to_end, i, e3), self.times[i + 1])
                e = (e + 2 * e2 + 2 * e3 + e4) / 6
            else:
                e = torch.stack([weight * past for weight, past in zip(MIX, history, strict=True)]).sum(0)
            u = move(self.to_end, i, e)
        return u


@method(order=2)
def pndm(process: LinearSDE, times: Times, denoise: Denoise = "none") -> PNDM:
    """Second order, as the authors prove; one evaluation per step behind the first three."""
    return PNDM(process, times, denoise)
