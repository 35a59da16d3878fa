"""Time grids: N + 1 decreasing times from T to t0 (default: the process's eps), float64.

Raise RescoreError unless N >= 1 is an integer, 0 <= t0 < T and kappa > 0.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from rescore.domain import check_count, check_number
from rescore.errors import RescoreError
from rescore.processes.base import LinearSDE, require
from rescore.processes.isotropic import Isotropic, VariancePreserving


def power(process: LinearSDE, n: int, kappa: float = 1.0, t0: float | None = None) -> Tensor:
    """t_i = (T^{1/kappa} + (i/N) (t0^{1/kappa} - T^{1/kappa}))^kappa; kappa 1 is uniform, 2 quadratic (DEIS, gDDIM)."""
    t0 = _end(process, t0)
    _check_kappa(kappa)
    return _with_ends(_span(process.T ** (1 / kappa), t0 ** (1 / kappa), n) ** kappa, process, t0)


def uniform(process: LinearSDE, n: int, t0: float | None = None) -> Tensor:
    """Equal steps in t."""
    return power(process, n, 1.0, t0)


def quadratic(process: LinearSDE, n: int, t0: float | None = None) -> Tensor:
    """Equal steps in sqrt(t)."""
    return power(process, n, 2.0, t0)


def quadratic_striding(process: LinearSDE, n: int, t0: float | None = None) -> Tensor:
    """t_i = t0 + (T - t0) (1 - i/N)^2, the CLD paper's; not quite `quadratic`."""
    t0 = _end(process, t0)
    return _with_ends(t0 + (process.T - t0) * _span(1, 0, n) ** 2, process, t0)


def rho_power(process: Isotropic, n: int, kappa: float = 7.0, t0: float | None = None) -> Tensor:
    """Equal steps in rho^{1/kappa}; kappa 7 is EDM's."""
    t0, top, bottom = _rho_range(process, t0)
    _check_kappa(kappa)
    rho = _span(top ** (1 / kappa), bottom ** (1 / kappa), n) ** kappa
    return _with_ends(process.time_of_rho(rho), process, t0)


def log_rho(process: Isotropic, n: int, t0: float | None = None) -> Tensor:
    """Equal steps in log rho."""
    t0, top, bottom = _rho_range(process, t0)
    if bottom <= 0:
        raise RescoreError("grid log_rho: rho(t0) must be positive; choose t0 > 0")
    return _with_ends(process.time_of_rho(_span(top.log(), bottom.log(), n).exp()), process, t0)


def by_variances(process: VariancePreserving, n: int, kappa: float = 1.0, t0: float | None = None) -> Tensor:
    """FastDPM's VAR (Kong and Ping 2021, arXiv 2106.00132): a chain of N + 1 variances in place of the one of training.

    The squared signals alpha are running products of 1 - eta_i, where eta_i^{1/kappa} rises in equal steps from 1 - alpha(t0),
    the variance of the step from the data to t0; the last is such that the chain ends in alpha(T). kappa 1 is their linear, 2
    their quadratic schedule. Time is what the process gives a level: the bijection that they need for a network of a chain.

    Raises RescoreError for a process that does not preserve variance, and for so many steps that the variances would fall.
    """
    from scipy.optimize import brentq  # most grids need no root

    require(process, VariancePreserving, "grid by_variances")
    t0 = _end(process, t0)
    _check_kappa(kappa)
    first, whole = process.Sigma(t0).values.item(), process.log_alpha(process.T).item()

    def log_alpha(last: float) -> Tensor:
        """From T to t0."""
        eta = _span(last ** (1 / kappa), first ** (1 / kappa), n) ** kappa
        return torch.log1p(-eta).flip(0).cumsum(0).flip(0)

    if log_alpha(first)[0] <= whole:
        raise RescoreError(
            f"grid by_variances: {n} steps of the first variance {first:g} pass T; allowed are fewer, or a lower t0"
        )
    last = brentq(lambda last: log_alpha(last)[0].item() - whole, first, 1 - 1e-15, xtol=1e-16, rtol=1e-15)
    return _with_ends(process.time_of_log_alpha(log_alpha(last)), process, t0)


def step_quadratic(process: LinearSDE, n: int, t0: float | None = None) -> Tensor:
    """FastDPM's STEP with quadratic steps: t_i = t0 + 0.8 T (1 - i/N)^2, without rounding to a chain's; begins below T."""
    t0 = _end(process, t0)
    return t0 + min(0.8 * process.T, process.T - t0) * _span(1, 0, n) ** 2


NAMED: Mapping[str, Callable[..., Tensor]] = {
    "uniform": uniform,
    "quadratic": quadratic,
    "quadratic striding": quadratic_striding,
    "rho7": rho_power,
    "log-rho": log_rho,
}
"""By the names that configs have for them."""


def check(process: LinearSDE, times: Tensor | Sequence[float]) -> Tensor:
    """`times` as a float64 tensor; RescoreError unless it has two or more finite, strictly decreasing times in [0, T]."""
    times = torch.as_tensor(times, dtype=torch.float64, device="cpu")
    if times.ndim != 1 or len(times) < 2:
        raise RescoreError(f"time grid of shape {tuple(times.shape)}: needs at least two times, from T down to t0")
    if not times.isfinite().all() or (times.diff() >= 0).any():
        raise RescoreError("time grid must be finite and strictly decreasing, from T down to t0")
    if times[0] > process.T + 1e-9 or times[-1] < 0:
        raise RescoreError(f"time grid from {times[0]:g} to {times[-1]:g}: allowed are times in [0, {process.T:g}]")
    return times


def _span(top: float | Tensor, bottom: float | Tensor, n: int) -> Tensor:
    check_count("time grid", "steps", n)
    return top + torch.arange(n + 1, dtype=torch.float64) / n * (bottom - top)


def _end(process: LinearSDE, t0: float | None) -> float:
    t0 = process.eps if t0 is None else t0
    check_number(f"time grid of {type(process).__name__}", "t0", t0, 0, process.T, "[)")
    return t0


def _check_kappa(kappa: float) -> None:
    check_number("time grid", "kappa", kappa, 0, brackets="()")


def _rho_range(process: Isotropic, t0: float | None) -> tuple[float, Tensor, Tensor]:
    """t0, rho(T), rho(t0)."""
    if not isinstance(process, Isotropic):
        raise RescoreError(f"a grid in rho needs an isotropic process (VE, VP, sub-VP), not {type(process).__name__}")
    t0 = _end(process, t0)
    return t0, process.rho(process.T), process.rho(t0)


def _with_ends(times: Tensor, process: LinearSDE, t0: float) -> Tensor:
    """The ends without rounding."""
    times[0], times[-1] = process.T, t0
    return times
