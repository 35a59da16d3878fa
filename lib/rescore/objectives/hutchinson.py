"""Hutchinson's estimate of a trace by random probes, as sliced score matching has it, and its variance (LCSS section 2.3).

| probe v, E v v^T = I | Var v^T A v, for S = (A + A^T) / 2 |
| --- | --- |
| gaussian | 2 abs(S)_F^2 |
| rademacher | 2 (abs(S)_F^2 - sum_i A_ii^2) |
| sphere, of radius sqrt(d) | 2 d / (d + 2) (abs(S)_F^2 - (tr A)^2 / d) |
"""

from typing import get_args

import torch
from torch import Tensor

from rescore.domain import check_one_of
from rescore.objectives.pointwise import Probe


def trace_estimates(A: Tensor, v: Tensor) -> Tensor:
    """The mean over M probes of v^T A v, (n,), for matrices A (n, d, d) and probes v (n, M, d)."""
    return torch.einsum("nmi,nij,nmj->nm", v, A, v).mean(1)


def probe_variance(A: Tensor, probe: Probe) -> Tensor:
    """Of v^T A v with a single probe, (n,), for A (n, d, d); that of the mean of M is M times smaller.

    Raises RescoreError for another kind of probe.
    """
    check_one_of("probe", probe, get_args(Probe))
    diagonal, d = A.diagonal(dim1=-2, dim2=-1), A.shape[-1]
    square = ((A + A.mT) / 2).square().sum((-2, -1))
    if probe == "gaussian":
        return 2 * square
    if probe == "rademacher":
        return 2 * (square - diagonal.square().sum(-1)).clamp_min(0)  # a difference of 0 may round below it
    return 2 * d / (d + 2) * (square - diagonal.sum(-1).square() / d).clamp_min(0)
