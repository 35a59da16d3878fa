"""Langevin dynamics with velocities, at any friction, from a Gaussian start to its equilibrium N(0, diag(1, M)): exact laws.

The clock is B, the integral of beta: du = [[0, 1/M], [-1, -Gamma/M]] u dB + (0, sqrt(2 Gamma)) dw. At Gamma = 2 sqrt(M), the
critical damping, this is `rescore.processes.CLD`.
"""

import math

import torch
from torch import Tensor

from rescore.problems.gaussian import GaussianLaw


def langevin_law(b: Tensor, M: float, Gamma: float, mean: Tensor, covariance: Tensor) -> GaussianLaw:
    """The laws of u = (x, v) at B = b, (n,), one after another as the groups of one law: its mean is (2, n).

    Sigma_B = Sigma_inf + Psi (Sigma_0 - Sigma_inf) Psi^T with Psi = exp(B F).

    Args:
        mean, covariance: of u_0, (2,) and (2, 2).
    """
    F = torch.tensor([[0, 1 / M], [-1, -Gamma / M]], dtype=torch.float64)
    psi = torch.linalg.matrix_exp(b[:, None, None] * F)
    equilibrium = torch.diag(torch.tensor([1.0, M], dtype=torch.float64))
    return GaussianLaw((psi @ mean).T, equilibrium + psi @ (covariance - equilibrium) @ psi.mT, (2, len(b)))


def decay_rate(M: float, Gamma: float) -> float:
    """The rate, in B, at which the start is forgotten: the smallest -Re of the eigenvalues of F."""
    return (Gamma - math.sqrt(max(0.0, Gamma**2 - 4 * M))) / (2 * M)


def last_above(clock: Tensor, values: Tensor, tolerance: float) -> float:
    """The time from which on `values` stay below `tolerance`; the last time if they never do."""
    above = (values > tolerance).nonzero()
    return clock[min(int(above.max()) + 1, len(clock) - 1)].item() if len(above) else clock[0].item()
