"""The reverse SDE with steps of adaptive size, and adaptive methods held to a number of evaluations."""

from collections.abc import Sequence

import torch
from torch import Tensor

from rescore.errors import Diverged
from rescore.processes.base import LinearSDE
from rescore.random import make_generator
from rescore.samplers.base import Denoise, Draw, Sampler, Times
from rescore.samplers.method import Method, method
from rescore.scores import Score

FIRST, SHRINK, POWER = 0.01, 0.9, 0.9  # the first step, theta and r of their algorithm 1
SMALLEST = 1e-9  # no step is smaller
TOLERANCES = tuple(10 ** (1 - k / 4) for k in range(32))  # from 10 to about 2e-7


class AdaptiveSDE(Sampler):
    """Stochastic improved Euler with an error estimate (Jolicoeur-Martineau et al. 2021, arXiv 2105.14080, algorithm 1).

    x' = x - h [F x - GG s](x, t) + sqrt(h) G_t z, then x~ the same from x with drift and G at (x', t - h), x'' = (x' + x~) / 2. With
    delta = max(atol, rtol max(|x'|, |x'_prev|)) the step is accepted, and x'' is its end, where E = RMS((x' - x'') / delta) <= 1;
    then h <- theta h E^-r, and never beyond t0. Two evaluations a trial; new noise each time, as in the algorithm.

    E is over the whole batch (theirs of each image), since a score has one time: one step size for all states.

    Args:
        rtol: relative tolerance.
        atol: absolute one; a level of 8 bits on [-1, 1].

    `run` raises Diverged where steps become too small.
    """

    stochastic = True
    nfe = evaluations_per_step = None

    def __init__(self, process: LinearSDE, times: Times, rtol: float = 0.02, atol: float = 1 / 128, denoise: Denoise = "none"):
        super().__init__(process, times, denoise)
        self.rtol, self.atol = rtol, atol

    def run(self, score: Score, u: Tensor, draw: Draw) -> Tensor:
        t, end, before = self.times[0], self.times[-1], u
        h = min(FIRST, t - end)
        while t > end:
            z, later = draw(u), end if h == t - end else t - h
            first = self._euler(u, u, t, h, z, score)
            proposed = (first + self._euler(u, first, later, h, z, score)) / 2
            scale = (self.rtol * torch.maximum(first.abs(), before.abs())).clamp_min(self.atol)
            error = ((first - proposed) / scale).double().square().mean().sqrt().item()
            if error <= 1:
                u, t, before = proposed, later, first
            h = min(t - end, SHRINK * h * max(error, 1e-12) ** -POWER)
            if not error < float("inf") or h < min(SMALLEST, t - end):
                raise Diverged(
                    f"AdaptiveSDE: stopped at t = {t:g} with rtol = {self.rtol:g}: error {error:.3g}, next step {h:.3g}"
                )
        return u

    def _euler(self, u: Tensor, at: Tensor, t: float, h: float, z: Tensor, score: Score) -> Tensor:
        """Euler-Maruyama from u with the coefficients and the drift at (at, t)."""
        process = self.process
        return u - h * (process.F(t)(at) - process.GG(t)(score(at, t))) + h**0.5 * process.G(t)(z)


adaptive_sde = method(evaluations_per_step=None)(AdaptiveSDE)


def within_evaluations(
    method: Method, process: LinearSDE, times: Times, score: Score, nfe: int, shape: Sequence[int], n: int = 64,
    dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu",
) -> Sampler:  # fmt: skip
    """An adaptive method at the tightest of `TOLERANCES` (as rtol, and as atol where the method has no other) that takes at most
    `nfe` evaluations with this score: what "RK45 with 20 evaluations" can mean.

    Tried on n draws of the prior for data of this shape, from loose to tight until one takes more; a method that takes more
    already at the loosest is given with that. The trials' own evaluations are no part of the sampler's. Another batch may take
    some more: the sampler's `solve` counts.
    """
    state = (n, *process.state_shape(tuple(shape)))
    start = process.prior_sample(state, make_generator("within", *state, device=device), dtype, device=device)
    found = None
    for tolerance in TOLERANCES:
        options = {"rtol": tolerance} | ({} if method.make is AdaptiveSDE else {"atol": tolerance})
        sampler = method(process, times, **options)
        if found and sampler.solve(score, start, make_generator("within", "noise", device=device)).nfe > nfe:
            break
        found = sampler
    return found
