"""The reverse SDE with steps of adaptive size, and adaptive methods held to a number of evaluations."""

import torch
from torch import Tensor

from rescore.errors import Diverged
from rescore.processes.base import LinearSDE
from rescore.random import Noise
from rescore.samplers.base import Denoise, Draw, Sampler, Solution, Solver, Times
from rescore.samplers.method import Method, method
from rescore.scores import Score

FIRST, SHRINK, POWER = 0.01, 0.9, 0.9  # the first step, theta and r of their algorithm 1
SMALLEST = 1e-9  # no step is smaller
TOLERANCES = tuple(10 ** (1 - k / 4) for k in range(32))  # from 10 to about 2e-7


class AdaptiveSDE(Sampler):
    """Stochastic improved Euler with an error estimate (Jolicoeur-Martineau et al. 2021, arXiv 2105.14080, algorithm 1).

    x' = x - h (F x - GG s)(x, t) + sqrt(h) G_t z, then x~ the same from x with drift and G at (x', t - h), x'' = (x' + x~) / 2.
    With delta = max(atol, tolerance max(|x'|, |x'_prev|)) the step is accepted, and x'' is its end, where E = RMS((x' - x'') /
    delta) <= 1; then h <- theta h E^-r, and never beyond t0. Two evaluations a trial; new noise each time, as in the algorithm.

    E is over the whole batch (theirs of each image), since a score has one time: one step size for all states.

    Args:
        tolerance: relative.
        atol: absolute tolerance, by default a level of 8 bits on [-1, 1]; None: the same number.

    `run` raises Diverged where steps become too small.
    """

    stochastic = common_step = True
    nfe = evaluations_per_step = None

    def __init__(
        self, process: LinearSDE, times: Times, tolerance: float = 0.02, atol: float | None = 1 / 128, denoise: Denoise = "none"
    ):
        super().__init__(process, times, denoise)
        self.tolerance, self.atol = tolerance, tolerance if atol is None else atol

    def run(self, score: Score, u: Tensor, draw: Draw) -> Tensor:
        t, end, before = self.times[0], self.times[-1], u
        h = min(FIRST, t - end)
        while t > end:
            z, later = draw(u), end if h == t - end else t - h
            first = self._euler(u, u, t, h, z, score)
            proposed = (first + self._euler(u, first, later, h, z, score)) / 2
            scale = (self.tolerance * torch.maximum(first.abs(), before.abs())).clamp_min(self.atol)
            error = ((first - proposed) / scale).double().square().mean().sqrt().item()
            if error <= 1:
                u, t, before = proposed, later, first
            h = min(t - end, SHRINK * h * max(error, 1e-12) ** -POWER)
            if not error < float("inf") or h < min(SMALLEST, t - end):
                raise Diverged(
                    f"AdaptiveSDE: stopped at t = {t:g} with tolerance {self.tolerance:g}: error {error:.3g}, next step {h:.3g}"
                )
        return u

    def _euler(self, u: Tensor, at: Tensor, t: float, h: float, z: Tensor, score: Score) -> Tensor:
        """Euler-Maruyama from u with the coefficients and the drift at (at, t)."""
        process = self.process
        return u - h * (process.F(t)(at) - process.GG(t)(score(at, t))) + h**0.5 * process.G(t)(z)


adaptive_sde = method(evaluations_per_step=None)(AdaptiveSDE)


class HeldToEvaluations(Solver):
    """An adaptive method at the tightest tolerance that takes at most so many evaluations: what "RK45 with 20" can mean.

    It is run on the states it gets at the `TOLERANCES` from loose to tight, until one takes more; the one before is the
    solution. The others' evaluations are no part of `solve`'s count. A method that takes more already at the loosest gives
    that, counted as it is. Each trial of a stochastic method draws noise of its own.

    Args:
        method: `adaptive_flow` or `adaptive_sde`, with options.
        most: evaluations.
    """

    nfe = evaluations_per_step = None
    common_step = True

    def __init__(self, process: LinearSDE, times: Times, method: Method, most: int):
        self.samplers = [method(process, times, tolerance=one) for one in TOLERANCES]
        self.stochastic, self.most = self.samplers[0].stochastic, most
        super().__init__(process, times, self.samplers[0].denoise)

    def solve(self, score: Score, u: Tensor, generator: Noise | None = None) -> Solution:
        found = self.samplers[0].solve(score, u, generator)
        for sampler in self.samplers[1:]:
            tighter = solve_within(sampler, score, u, generator, self.most)
            if tighter is None:
                break
            found = tighter
        return found


class _TooMany(Exception):
    """A solver asks for more evaluations than it may take."""


def solve_within(sampler: Solver, score: Score, u: Tensor, generator: Noise | None, most: int) -> Solution | None:
    """`sampler.solve`, given up as None at the first evaluation after `most`."""
    taken = 0

    def counted(u: Tensor, t: float) -> Tensor:
        nonlocal taken
        taken += 1
        if taken > most:
            raise _TooMany
        return score(u, t)

    try:
        return sampler.solve(counted, u, generator)
    except _TooMany:
        return None
