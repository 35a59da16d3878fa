"""Weights of exponential integrators: how much each past noise prediction counts (thesis eqs. 6.15, 7.19b).

References:
    thesis, chapter 6: DEIS, arXiv:2204.13902.
    thesis, chapter 7: gDDIM, arXiv:2206.05564.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from rescore.processes.base import Factor, LinearSDE
from rescore.processes.operators import Diagonal, Operator
from rescore.processes.quadrature import gauss_legendre


def quadrature_nodes(intervals: int) -> int:
    """Many short intervals need few nodes each: with these, blurring diffusion at 10 and at 50 steps is exact to 1e-13."""
    return 24 if intervals >= 32 else 96


def lagrange(nodes: Tensor, x: Tensor) -> Tensor:
    """l_j(x) for the nodes (n, d): x (n, q) gives (n, d, q)."""
    return torch.stack([_product(nodes, x, j, skip=(j,)) for j in range(nodes.shape[1])], 1)


def lagrange_derivative(nodes: Tensor, x: Tensor) -> Tensor:
    """dl_j/dx at x (n, q), (n, d, q)."""
    d = nodes.shape[1]
    return torch.stack(
        [
            sum(
                (_product(nodes, x, j, skip=(j, m)) / (nodes[:, j] - nodes[:, m])[:, None] for m in range(d) if m != j),
                start=torch.zeros_like(x),
            )
            for j in range(d)
        ],
        1,
    )


def _product(nodes: Tensor, x: Tensor, j: int, skip: tuple[int, ...]) -> Tensor:
    """prod over k not in `skip` of (x - node_k) / (node_j - node_k)."""
    value = torch.ones_like(x)
    for k in range(nodes.shape[1]):
        if k not in skip:
            value = value * (x - nodes[:, k : k + 1]) / (nodes[:, j] - nodes[:, k])[:, None]
    return value


def transfer_weights(process: LinearSDE, start: Tensor, end: Tensor, nodes: Tensor, factor: Factor) -> Operator:
    """C_j = int_start^end 1/2 Psi(end, tau) G G^T K_tau^{-T} l_j(tau) dtau for the Lagrange polynomials l_j of the nodes.

    With K = R the integrand without l_j is d/dtau [Psi(end, tau) R_tau] (from thesis eq. 7.17), so that C = R_end - Psi R_start
    for one node, and an integration by parts leaves an integrand without G. The integral runs over sqrt(tau), in which the
    square roots of small variances are smooth.

    Args:
        start, end: (n,).
        nodes: (n, d).

    Returns:
        an operator with times (n, d).
    """
    by_parts = factor == "R" or (factor == "L" and isinstance(process.mean(end), Diagonal))
    if by_parts:
        at_end, at_start = (lagrange(nodes, t[:, None])[..., 0] for t in (end, start))
        boundary = process.R(end).unsqueeze(1) * at_end
        boundary = boundary - (process.Psi(end, start) @ process.R(start)).unsqueeze(1) * at_start
        if nodes.shape[1] == 1:
            return boundary
    x, w = gauss_legendre(quadrature_nodes(len(start)))
    low, half = start.sqrt()[:, None], (end.sqrt() - start.sqrt())[:, None] / 2
    root = low + half * (x + 1)
    tau, dtau = root**2, 2 * root * half * w
    psi = process.Psi(end[:, None], tau)
    if by_parts:
        return boundary - (psi @ process.R(tau)).combine(lagrange_derivative(nodes, tau) * dtau[:, None])
    rate = psi @ process.GG(tau) @ process.K(tau, factor).T.inv()
    return rate.combine(lagrange(nodes, tau) * dtau[:, None] / 2)


def rho_weights(start: Tensor, end: Tensor, nodes: Tensor) -> Diagonal:
    """int_start^end l_j(rho) drho, times (n, d); exact up to degree 7."""
    x, w = gauss_legendre(4)
    half = (end - start)[:, None] / 2
    return Diagonal((lagrange(nodes, start[:, None] + half * (x + 1)) * (half * w)[:, None]).sum(-1))


def past(times: Tensor, steps: slice, count: int) -> Tensor:
    """The `count` latest grid times known at each step of `steps`, latest first, (n, count)."""
    index = torch.arange(len(times) - 1)[steps]
    return times[index[:, None] - torch.arange(count)]


def warm_started(n: int, order: int, weights: Callable[[slice, int], Operator]) -> list[Operator]:
    """Weights for N steps: `weights(steps, count)` of 1, 2, ... past evaluations at first and order + 1 from then on."""
    first = [weights(slice(i, i + 1), i + 1)[0] for i in range(min(order, n))]
    return first + (list(weights(slice(order, n), order + 1)) if n > order else [])
