"""What a sampler is: coefficients computed once in float64, then `sampler(score, u_T, generator) -> u_0`.

References:
    thesis, chapter 6: DEIS, arXiv:2204.13902.
    thesis, chapter 7: gDDIM, arXiv:2206.05564.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from rescore.domain import check_one_of
from rescore.errors import Diverged, RescoreError
from rescore.processes import grids
from rescore.processes.base import LinearSDE
from rescore.processes.operators import Operator
from rescore.random import Noise, normal
from rescore.scores import Score

Denoise = Literal["none", "mean", "euler", "tweedie"]
Draw = Callable[[Tensor], Tensor]
Times = Tensor | Sequence[float]


class Solution(NamedTuple):
    """States u at the end of a sampler, (batch, *state), and the score evaluations `nfe` that each took."""

    u: Tensor
    nfe: int


class Solver(ABC):
    """Takes states at times[0] = T to times[-1] = t0 and counts the evaluations: a `Sampler`, or a choice among several.

    Args:
        process: the forward process.
        times: N + 1 strictly decreasing times (see `rescore.processes.grids`).
        denoise: what follows the last step. "none"; "mean" drops the noise of the last step; "euler" adds one Euler step of the
            reverse SDE from t0 to 0 without its noise, u - t0 (F u - G G^T s); "tweedie" replaces u by m_0 E[e(x) | u_t0], from
            the score. The last two cost one evaluation more.

    Attributes:
        common_step: whether all states of a call take steps whose size follows from all of them: a sample then depends on the
            others that are drawn at once.

    Raises RescoreError for a grid that is not decreasing, a process the method does not apply to, or too few steps.
    """

    evaluations_per_step: int | None = 1
    stochastic = False
    common_step = False

    def __init__(self, process: LinearSDE, times: Times, denoise: Denoise = "none"):
        allowed = ("none", "mean", "euler", "tweedie") if self.stochastic else ("none", "euler", "tweedie")
        check_one_of(f"{type(self).__name__}: denoise", denoise, allowed)
        self.process = process
        self.grid = grids.check(process, times)
        self.times = self.grid.tolist()
        self.denoise = denoise

    @property
    def steps(self) -> int:
        """N."""
        return len(self.times) - 1

    @property
    def nfe(self) -> int | None:
        """Score evaluations of one call; None where they depend on the score (`solve` counts them)."""
        return None if self.evaluations_per_step is None else self.evaluations_per_step * self.steps + self._denoise_nfe

    @property
    def _denoise_nfe(self) -> int:
        return int(self.denoise in ("euler", "tweedie"))

    def __call__(self, score: Score, u: Tensor, generator: Noise | None = None) -> Tensor:
        """States at t0: `solve` without the count."""
        return self.solve(score, u, generator).u

    @abstractmethod
    def solve(self, score: Score, u: Tensor, generator: Noise | None = None) -> Solution:
        """States at t0, and how many evaluations they took.

        Args:
            score: (u, t) -> grad log p_t(u), t a float.
            u: states at T, (batch, *state).
            generator: the source of noise, on the device of u; deterministic samplers need none. With `rescore.random.Streams`
                a sample's noise depends on its seed and index alone, not on the batch.

        Raises RescoreError for an empty batch, Diverged for a score or states that are not finite.
        """


class Sampler(Solver):
    """Runs a reverse process from times[0] = T down to times[-1] = t0, step by step; its arguments are those of `Solver`."""

    predicts = "score"  # what the function that it is given returns

    def solve(self, score: Score, u: Tensor, generator: Noise | None = None) -> Solution:
        name = type(self).__name__
        if not len(u):
            raise RescoreError(f"{name}: a batch of 0 states; allowed are 1 or more")
        if self.stochastic and generator is None:
            raise RescoreError(f"{name} draws noise: it needs a torch.Generator")
        checked = _Checked(score, self.predicts, name, waits=u.device.type == "cpu")

        def draw(like: Tensor) -> Tensor:
            assert generator is not None, "a deterministic sampler draws nothing"
            return normal(like.shape, generator, like.dtype, like.device)

        end = self.last(checked, self.run(checked, u, draw))
        checked.look()
        require_finite(end, name, f"after the last step, to t = {self.times[-1]:g},")
        return Solution(end, checked.calls)

    @abstractmethod
    def run(self, score: Score, u: Tensor, draw: Draw) -> Tensor:
        """All steps; `draw(u)` is standard noise like u."""

    def last(self, score: Score, u: Tensor) -> Tensor:
        """What `denoise` does after the last step."""
        t, process = self.times[-1], self.process
        if self.denoise == "euler":
            return u - t * (process.F(t)(u) - process.GG(t)(score(u, t)))
        if self.denoise == "tweedie":
            return process.Psi(0.0, t)(u + process.Sigma(t)(score(u, t)))
        return u


class Stepwise(Sampler):
    """A sampler whose step looks at nothing before it."""

    @abstractmethod
    def step(self, i: int, score: Score, u: Tensor, draw: Draw) -> Tensor:
        """From times[i] to times[i + 1]."""

    def run(self, score: Score, u: Tensor, draw: Draw) -> Tensor:
        for i in range(self.steps):
            u = self.step(i, score, u, draw)
        return u


class OneStep(Stepwise):
    """u <- A_i u + B_i score(u, t_i) + C_i z: every sampler that looks at one score per step and at nothing before.

    Args:
        A, B: operators with N times; B multiplies the score.
        C: likewise, or None for a deterministic method.
    """

    def __init__(
        self, process: LinearSDE, times: Times, A: Operator, B: Operator, C: Operator | None, denoise: Denoise = "none"
    ):
        self.stochastic = C is not None
        super().__init__(process, times, denoise)
        self.A, self.B = coefficients(A), coefficients(B)
        self.C: list[Operator | None] = [None] * self.steps if C is None else [*coefficients(C)]
        if denoise == "mean":
            self.C[-1] = None

    def step(self, i: int, score: Score, u: Tensor, draw: Draw) -> Tensor:
        mean = self.A[i](u) + self.B[i](score(u, self.times[i]))
        root = self.C[i]
        return mean if root is None else mean + root(draw(u))


class Multistep(Sampler):
    """u <- Psi_i u + sum_j W_ij eps_{i-j}, eps_i = -K_i^T score(u, t_i) (thesis eqs. 6.14 and 7.19a).

    Args:
        transfer: Psi_i with N times.
        weights: per step, the operators W_i0, W_i1, ... (latest evaluation first).
        factor: K_i with N times.
    """

    def __init__(
        self,
        process: LinearSDE,
        times: Times,
        transfer: Operator,
        weights: Iterable[Operator],
        factor: Operator,
        denoise: Denoise = "none",
    ):
        super().__init__(process, times, denoise)
        self.transfer = coefficients(transfer)
        self.weights = [coefficients(w) for w in weights]
        self.to_noise = coefficients(-factor.T)

    def run(self, score: Score, u: Tensor, draw: Draw) -> Tensor:
        history: list[Tensor] = []
        for i in range(self.steps):
            noise = self.to_noise[i](score(u, self.times[i]))
            history = [noise, *history[: len(self.weights[-1]) - 1]]
            u = self.advance(i, u, self.weights[i], history)
        return u

    def advance(self, i: int, u: Tensor, weights: list[Operator], history: list[Tensor]) -> Tensor:
        """Psi_i u + sum_j weights_j history_j."""
        u = self.transfer[i](u)
        for weight, noise in zip(weights, history, strict=False):
            u = u + weight(noise)
        return u


def coefficients(operator: Operator) -> list[Operator]:
    """One operator per step; RescoreError unless they are finite."""
    if not operator.is_finite():
        raise RescoreError("a coefficient of the sampler is not finite: a step loses all signal; allowed are shorter steps")
    return list(operator)


def require_steps(times: Times, least: int, method: str) -> None:
    """RescoreError unless the grid has `least` steps."""
    if len(times) - 1 < least:
        raise RescoreError(f"{method} needs at least {least} steps; this grid has {len(times) - 1}")


def within_budget(
    method: Callable[..., Sampler], process: LinearSDE, grid: Callable[[LinearSDE, int], Tensor], nfe: int, **options
) -> Sampler:
    """`method(process, grid(process, N), **options)` with the largest N whose evaluations do not exceed `nfe`.

    Raises RescoreError when no N does.
    """
    few, more = (method(process, grid(process, n), **options).nfe for n in (8, 9))
    if few is None or more is None:
        raise RescoreError(f"{nfe} evaluations: an adaptive sampler takes as many as its score needs, and keeps to no budget")
    steps = (nfe - few) // (more - few) + 8
    found = method(process, grid(process, max(steps, 1)), **options)
    taken = found.nfe or 0
    if steps < 1 and taken > nfe:
        raise RescoreError(f"{nfe} evaluations are not enough: one step of this sampler takes {taken}")
    while taken + more - few <= nfe:  # first steps that cost more than the others leave room
        longer = method(process, grid(process, found.steps + 1), **options)
        taken = longer.nfe or 0
        if taken > nfe:
            break
        found = longer
    return found


def require_finite(u: Tensor, sampler: str, when: str) -> None:
    """Diverged unless all states are finite."""
    if u.isfinite().all():
        return
    bad = (~u.isfinite()).flatten(1).any(1).sum().item()
    raise Diverged(f"{sampler}: {bad} of {len(u)} states {when} are not finite")


class _Checked:
    """A score that is finite where the states are, and counts its calls.

    Args:
        waits: look at every value at once; else, on a GPU, which would stand idle meanwhile, at all of them in `look`.
    """

    def __init__(self, score: Score, name: str, sampler: str, waits: bool = True):
        self.score, self.name, self.sampler, self.waits, self.calls = score, name, sampler, waits, 0
        self._times: list[float] = []
        self._finite: list[Tensor] = []  # of states and of values, (2,) a call

    def __call__(self, u: Tensor, t: float) -> Tensor:
        self.calls += 1
        value = self.score(u, t)
        if not self.waits:
            self._times.append(t)
            self._finite.append(torch.stack((u.isfinite().all(), value.isfinite().all())))
        elif not value.sum(dtype=torch.float64).isfinite() and not value.isfinite().all():
            require_finite(u, self.sampler, f"at t = {t:g}")  # then the score is not to blame
            raise Diverged(f"{self.sampler}: the {self.name} at t = {t:g} is not finite")
        return value

    def look(self) -> None:
        """Diverged for the first call whose states or values were not finite."""
        if not self._finite:
            return
        for t, (states, values) in zip(self._times, torch.stack(self._finite).tolist(), strict=True):
            if not states:
                raise Diverged(f"{self.sampler}: states at t = {t:g} are not finite")
            if not values:
                raise Diverged(f"{self.sampler}: the {self.name} at t = {t:g} is not finite")
