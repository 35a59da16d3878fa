"""The probability flow of an exact score, to rounding or far below the errors that are measured from it.

| function | applies to | exact to |
| --- | --- | --- |
| `of_one_point` | one data point, any process | rounding |
| `by_quantiles` | a mixture on the line | rounding |
| `by_rho_rk4` | isotropic processes | 4th order in the steps |
| `by_gddim` | any process, gDDIM's included | 3rd order in the steps |
| `by_tolerance` | any process | the tolerance |
| `exact_end` | all states of a problem | as `of_one_point` without denoising, else as `by_gddim` |
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from rescore.problems.exact import ExactProblem
from rescore.processes import Isotropic, LinearSDE
from rescore.processes.grids import quadratic
from rescore.random import Noise
from rescore.samplers import AdaptiveFlow, Sampler, gddim, rhork_deis
from rescore.samplers.base import Denoise
from rescore.scores import GaussianMixture, Score

HIGHEST, BEYOND = 20.0, 10.0  # a state on the line lies below the first, or that many widths beyond its own quantile


def of_one_point(process: LinearSDE, x: Tensor, u: Tensor, t: float) -> Tensor:
    """Data that are the point x: u_t - m_t e(x) = R_t R_T^-1 (u_T - m_T e(x)) (gDDIM, Prop. 7); u is at T."""
    point = process.embed(x[None])
    noise = process.R(process.T).inv()(u - process.mean(process.T)(point))
    return process.mean(t)(point) + process.R(t)(noise)


def by_quantiles(score: GaussianMixture, u: Tensor, start: float, end: float) -> Tensor:
    """On the line the flow is monotone and keeps quantiles: F_end(u_end) = F_start(u), solved by bisection; u (n, 1)."""
    u = u.flatten()
    below, above = (_log_tail(score, u, start, sign * torch.ones_like(u)) for sign in (1, -1))
    side, level = torch.where(below < above, 1.0, -1.0).to(u), torch.minimum(below, above)  # the smaller tail keeps its digits
    (from_means, from_width), (to_means, to_width) = (_components(score, t) for t in (start, end))
    widths = (u.abs().max() + from_means.abs().max()) / from_width.min() + BEYOND
    highest = max(HIGHEST, (to_means.abs().max() + widths * to_width.max()).item())
    left, right = torch.full_like(u, -highest), torch.full_like(u, highest)
    for _ in range(56):
        middle = (left + right) / 2
        too_low = (_log_tail(score, middle, end, side) - level) * side < 0
        left, right = torch.where(too_low, middle, left), torch.where(too_low, right, middle)
    return ((left + right) / 2)[:, None]


def _log_tail(score: GaussianMixture, u: Tensor, t: float, side: Tensor) -> Tensor:
    """log F_t(u) where side is 1, log (1 - F_t(u)) where it is -1; u and side (n,)."""
    means, width = _components(score, t)
    z = side[:, None] * (u[:, None] - means) / width
    return (torch.special.log_ndtr(z) + score.weights.log()).logsumexp(1)


def _components(score: GaussianMixture, t: float) -> tuple[Tensor, Tensor]:
    """The means of a mixture's components at time t, (K,), and their width."""
    mean, process = score.process.mean(t), score.process
    return mean(score.means).flatten(), (mean @ score.covariance @ mean.T + process.Sigma(t)).cholesky().values


def by_rho_rk4(process: Isotropic, score: Score, u: Tensor, times: Sequence[float], steps: int) -> list[Tensor]:
    """From u at T to each of the decreasing `times`, by rho4RK with about `steps` steps in log rho from T to the last one."""
    ends = [process.T, *times]
    log_rho = [process.rho(t).log().item() for t in ends]
    states = []
    for start, end, low, high in zip(ends[:-1], ends[1:], log_rho[:-1], log_rho[1:], strict=True):
        n = math.ceil(steps * (low - high) / (log_rho[0] - log_rho[-1]))
        grid = process.time_of_rho(torch.linspace(low, high, n + 1, dtype=torch.float64).exp())
        grid[0], grid[-1] = start, end
        u = rhork_deis(process, grid, "rk4")(score, u)
        states.append(u)
    return states


def by_gddim(process: LinearSDE, score: Score, u: Tensor, steps: int, denoise: Denoise = "none") -> Tensor:
    """From u at T to the process's last time, by the 3-step predictor of gDDIM on quadratic times."""
    return gddim(process, quadratic(process, steps), 3, denoise=denoise)(score, u)


def by_tolerance(process: LinearSDE, score: Score, u: Tensor, tolerance: float) -> Tensor:
    """From u at T to the process's last time, by the adaptive solver with this relative and absolute tolerance."""
    return AdaptiveFlow(process, [process.T, process.eps], tolerance)(score, u)


def exact_end(problem: ExactProblem, start: Tensor, steps: int, denoise: Denoise = "none") -> Tensor:
    """Where the flow takes all states of a problem, as data (seeds, n, *data): of one data point in closed form, undenoised."""
    process = problem.process
    if denoise == "none" and problem.points is not None and len(problem.points) == 1:
        return problem.by_seed(of_one_point(process, problem.points[0], start, process.eps))
    return problem.by_seed(by_gddim(process, problem.score, start, steps, denoise))


def trace(sampler: Sampler, score: Score, u: Tensor, noise: Noise | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Where a sampler of one evaluation a step looks: times (steps,), states and scores, each (steps, batch, *state)."""
    path: list[tuple[Tensor, Tensor]] = []

    def recorded(u: Tensor, t: float) -> Tensor:
        path.append((u, value := score(u, t)))
        return value

    sampler(recorded, u, noise)
    states, scores = (torch.stack(values) for values in zip(*path, strict=True))
    return sampler.grid[:-1], states, scores
