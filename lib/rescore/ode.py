"""Adaptive solution of an ODE between two times that it is never asked to leave."""

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor

from rescore.errors import Diverged, RescoreError
from rescore.machine.precision import full_precision

State = TypeVar("State", Tensor, tuple[Tensor, ...])
STOPPED = {  # how torchdiffeq's assertions begin, and what they mean
    "underflow in dt": "its step became too small",
    "non-finite values in state": "the state is not finite",
    "max_num_steps exceeded": "it takes too many steps",
}


def dormand_prince(
    rate: Callable[[Tensor, State], State], state: State, start: float, end: float, tolerance: float, what: str
) -> State:
    """The state at `end` of dstate/dt = rate(t, state) from `state` at `start`, by an adaptive Dormand-Prince 4(5) method.

    The last step ends at `end`: without being told, torchdiffeq steps over it and interpolates back, to lower order and from
    times at which a process may not exist. The error is controlled over the whole batch at once.

    Args:
        rate: takes t as a float64 tensor of no dimension.
        state: one tensor (n, ...), or several.
        end: before or after `start`.
        tolerance: relative and absolute, of the error of a step.
        what: is solved, for messages.

    Raises RescoreError for an empty batch; Diverged, with the time, where the solver gives up or the state is not finite.
    """
    from torchdiffeq import odeint  # slow to import, for scipy.integrate, and most processes solve no ODE

    first = state if isinstance(state, Tensor) else state[0]
    if not len(first):
        raise RescoreError(f"{what}: a batch of 0 states; allowed are 1 or more")
    low, high = min(start, end), max(start, end)
    latest: float | Tensor = start
    slope: State = state

    def within(t: Tensor, values: State) -> State:
        nonlocal latest, slope
        # A time has the state's precision, and the trial step that chooses the first step size may look beyond the end.
        t = t.double().clamp(low, high)
        latest, slope = t, rate(t, values)
        return slope

    ends = torch.tensor([start, end], dtype=torch.float64, device=first.device)
    try:
        with full_precision():
            path = odeint(within, state, ends, rtol=tolerance, atol=tolerance, method="dopri5", options={"step_t": ends})
    except AssertionError as error:
        reason = next((words for begin, words in STOPPED.items() if str(error).startswith(begin)), None)
        if reason is None:
            raise
        if not _is_finite(slope):
            reason = "the rate of change is not finite"
        raise Diverged(
            f"{what}: the adaptive solver stopped at t = {float(latest):g} with tolerance {tolerance:g}: {reason}"
        ) from None
    last: Any = path[-1] if isinstance(path, Tensor) else tuple(values[-1] for values in path)
    if not _is_finite(last):
        raise Diverged(f"{what}: the state at t = {end:g} is not finite with tolerance {tolerance:g}")
    return last


def _is_finite(state: State) -> bool:
    return all(bool(values.isfinite().all()) for values in ([state] if isinstance(state, Tensor) else state))
