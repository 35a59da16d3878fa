"""iPNDM: the transfer map of DDIM with Adams-Bashforth weights for equal steps (thesis section 6.5).

References:
    thesis, chapter 6: DEIS, arXiv:2204.13902.
"""

import torch

from rescore.processes import grids
from rescore.processes.base import LinearSDE
from rescore.processes.operators import Operator
from rescore.samplers.base import Denoise, Multistep, Times, require_steps
from rescore.samplers.method import method
from rescore.samplers.weights import transfer_weights, warm_started

ADAMS_BASHFORTH = {1: (1.0,), 2: (3 / 2, -1 / 2), 3: (23 / 12, -16 / 12, 5 / 12), 4: (55 / 24, -59 / 24, 37 / 24, -9 / 24)}


@method(order=2)
def ipndm(process: LinearSDE, times: Times, denoise: Denoise = "none") -> Multistep:
    """u <- Psi u + [R_t - Psi R_s] (weighted eps of the last four steps); lower orders at first, no Runge-Kutta start.

    The weights are those of equal steps whatever the grid, and ignore that the transfer varies within a step, so the method
    is of second order. One evaluation per step.
    """
    require_steps(times, 4, "iPNDM")
    grid = grids.check(process, times)
    s, t = grid[:-1], grid[1:]
    first_order = transfer_weights(process, s, t, s[:, None], "R")

    def weights(steps: slice, count: int) -> Operator:
        mix = torch.tensor(ADAMS_BASHFORTH[count], dtype=torch.float64)
        return first_order[steps] * mix.expand(len(s[steps]), count)

    return Multistep(process, grid, process.Psi(t, s), warm_started(len(s), 3, weights), process.R(s), denoise)
