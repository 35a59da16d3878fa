"""Integrals and linear ODEs to nearly machine precision on Gauss-Legendre nodes, for many intervals at once."""

from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from numpy.polynomial import legendre
from torch import Tensor


@cache
def gauss_legendre(n: int) -> tuple[Tensor, Tensor]:
    """Nodes and weights on [-1, 1], each (n,)."""
    nodes, weights = legendre.leggauss(n)
    return torch.from_numpy(nodes), torch.from_numpy(weights)


@cache
def gauss_hermite(n: int) -> tuple[Tensor, Tensor]:
    """n nodes and weights of means under N(0, 1), float64: exact for polynomials of degree 2 n - 1."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(n)
    return torch.from_numpy(nodes), torch.from_numpy(weights / weights.sum())


@cache
def _integration_matrix(n: int) -> Tensor:
    """S with S[p, q] = integral from -1 to node p of the Lagrange polynomial of node q, (n, n)."""
    nodes, weights = (a.numpy() for a in gauss_legendre(n))
    # Expand in Legendre polynomials: (2k + 1) int_{-1}^x P_k = P_{k+1}(x) - P_{k-1}(x).
    p = legendre.legvander(nodes, n)
    integral = np.empty((n, n))
    integral[:, 0] = nodes + 1
    integral[:, 1:] = (p[:, 2:] - p[:, : n - 1]) / (2 * np.arange(1, n) + 1)
    to_coefficients = p[:, :n].T * weights * (np.arange(n) + 0.5)[:, None]
    return torch.from_numpy(integral @ to_coefficients)


def antiderivative(integrand: Callable[[Tensor], Tensor], end: float, nodes: int = 160) -> Callable[[Tensor], Tensor]:
    """z -> integral of the integrand from 0 to z, for z in [0, end]: a Legendre series of a smooth integrand."""
    x, w = (a.numpy() for a in gauss_legendre(nodes))
    values = integrand(torch.from_numpy((x + 1) * end / 2)).numpy()
    coefficients = (legendre.legvander(x, nodes - 1).T @ (w * values)) * (np.arange(nodes) + 0.5)
    series = legendre.legint(coefficients, lbnd=-1) * end / 2
    return lambda z: torch.from_numpy(np.asarray(legendre.legval((2 * z / end - 1).numpy(), series)))


LONGEST = 20.0
"""Of half an interval times the norm of the matrix: of CLD's, 32 nodes then miss less than 1e-10."""


def collocation(matrix: Callable[[Tensor], Tensor], start: Tensor, end: Tensor, nodes: int = 32) -> Tensor:
    """The transition matrices W(end) of dW/dz = matrix(z) W, W(start) = I.

    Args:
        matrix: maps z (m, nodes) to (m, nodes, k, k); smooth on each interval.
        start, end: (m,).

    Returns:
        (m, k, k), from one linear solve per interval on Gauss-Legendre nodes; all are halved while one is too long for these.
    """
    x, w = gauss_legendre(nodes)
    half = (end - start) / 2
    rate = matrix(start[:, None] + half[:, None] * (x + 1)) * half[:, None, None, None]
    norms = torch.linalg.matrix_norm(rate)
    if ((norms > LONGEST) & norms.isfinite()).any():
        middle = (start + end) / 2
        return collocation(matrix, middle, end, nodes) @ collocation(matrix, start, middle, nodes)
    m, _, k, _ = rate.shape
    eye = torch.eye(k, dtype=torch.float64)
    integrated = torch.einsum("pq,mqij->mpiqj", _integration_matrix(nodes), rate).reshape(m, nodes * k, nodes * k)
    system = torch.eye(nodes * k, dtype=torch.float64) - integrated
    inner = torch.linalg.solve(system, eye.repeat(nodes, 1).expand(m, -1, -1)).reshape(m, nodes, k, k)
    return eye + torch.einsum("q,mqij,mqjl->mil", w, rate, inner)
