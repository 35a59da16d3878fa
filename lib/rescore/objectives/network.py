"""What a network is to an objective and to a sampler.

References:
    thesis, chapter 7: gDDIM, arXiv:2206.05564.
"""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from rescore.domain import check_one_of
from rescore.processes.base import LinearSDE
from rescore.scores import Score, to_score

Network = Callable[[Tensor, Tensor], Tensor]
"""network(u, t) for u (n, *state) and t (n,), both of the dtype and device of u; what it returns is its `Predicts`.

One whose `times_on_host` is True computes coefficients from its times, and gets them on the CPU (`times_for`).
"""

Predicts = Literal["R", "L", "score", "velocity"]
"""The noise under K = R_t or L_t or the score, all of state shape; or the velocities' noise alone (CLD), (n, *data)."""

PREDICTS = ("R", "L", "score", "velocity")


def times_for(network: Network, t: Tensor, u: Tensor) -> Tensor:
    """The times t (n,), drawn on the CPU, of states u as the network takes them, in the dtype of u.

    Moved to a GPU and back they would make the host wait for all that is queued there.
    """
    return t.to(u.dtype) if getattr(network, "times_on_host", False) else t.to(u)


def one_time(t: float, u: Tensor) -> Tensor:
    """The time t of all states u (n, *state), (n,): one number, expanded: see `rescore.networks.base.once`."""
    return torch.full((1,), t, dtype=u.dtype, device=u.device).expand(len(u))


def score_of(network: Network, process: LinearSDE, predicts: Predicts = "R") -> Score:
    """The score (u, t) -> (n, *state), t a float, of a trained network: score = -K_t^{-T} eps (thesis eq. 7.4).

    Of a network of velocities only the velocity part of the score means anything, which is all that G G^T lets through:
    methods in R_t and the Tweedie step need a network of the whole state. One trained by `VelocityDSM` belongs to the
    process with gamma = 0.

    Raises RescoreError for an unknown `predicts`.
    """
    check_one_of("predicts", predicts, PREDICTS)

    def output(u: Tensor, t: float) -> Tensor:
        return network(u, one_time(t, u))

    if predicts == "score":
        return output
    if predicts == "velocity":
        return to_score(process, lambda u, t: velocities_only(velocity_part(output(u, t), u)), "L")
    return to_score(process, output, predicts)


def velocity_part(output: Tensor, u: Tensor) -> Tensor:
    """The prediction for the velocities, (n, *data): the output itself, or that part of an output of state shape."""
    return output[:, 1] if output.shape == u.shape else output


def velocities_only(noise: Tensor) -> Tensor:
    """(n, *data) as the velocity part of a state that is 0 elsewhere, (n, 2, *data)."""
    return torch.stack((torch.zeros_like(noise), noise), 1)
