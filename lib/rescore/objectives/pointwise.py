"""Score matching at one density: pure functions of a score x -> s(x), one loss per sample, (n,).

| function | loss | source |
| --- | --- | --- |
| `explicit` | tr(ds/dx) + 1/2 abs(s)^2 | Hyvarinen 2005; LCSS eq. 4 |
| `lcs` | eq. 4 + 1/2 sigma^2 abs(ds/dx)_F^2 | LCSS eq. 10 |
| `ssm` | v^T (ds/dx) v + 1/2 (v^T s)^2 | Song et al. 2019 (sliced score matching) eq. 7 |
| `ssm_vr` | v^T (ds/dx) v + 1/2 abs(s)^2 | ibid. eq. 8; LCSS eq. 6 times d |
| `fd_ssm` | d / (2 eps^2) w^T (s(x + w) - s(x - w)) + 1/8 abs(s(x + w) + s(x - w))^2 | LCSS eq. 7 times d |
| `dsm` | 1/2 abs(s(x') + z / sigma)^2, x' = x + sigma z | Vincent 2011; LCSS eq. 8 |
| `lcss` | gamma s(x')^T z / sigma + 1/2 abs(s(x'))^2 | LCSS eqs. 18 and 21 |

E v v^T = I; LCSS writes w = eps v / sqrt(d), and divides by d. dsm - lcss = 1/2 abs(z / sigma)^2 for gamma = 1: the two have
the same gradient, draw by draw. The functions are additive over samples, so that one batch may hold those of many networks; a
score may not mix samples. All noise is an argument: `probes` and `torch.randn` draw it.

References:
    LCSS: arXiv:2412.03962.
"""

import math
from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor

from rescore.cost.evaluations import note
from rescore.domain import check_one_of

PointScore = Callable[[Tensor], Tensor]
"""s(x), the shape of x (n, *data)."""

Probe = Literal["gaussian", "rademacher", "sphere"]


def probes(x: Tensor, generator: torch.Generator, kind: Probe = "gaussian") -> Tensor:
    """Directions v of the shape of x with E v v^T = I: Gaussian, of signs, or uniform on the sphere of radius sqrt(d).

    Raises RescoreError for another kind.
    """
    check_one_of("probe", kind, get_args(Probe))
    if kind == "rademacher":
        return torch.randint(2, x.shape, generator=generator, device=x.device).to(x) * 2 - 1
    v = torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)
    if kind == "gaussian":
        return v
    flat = v.flatten(1)
    return (flat * (math.sqrt(flat.shape[1]) / torch.linalg.vector_norm(flat, dim=1, keepdim=True))).reshape(x.shape)


def explicit(score: PointScore, x: Tensor) -> Tensor:
    """LCSS eq. 4, with one backward pass per coordinate."""
    x, s = _at(score, x)
    trace = sum(_row(s, x, i)[:, i] for i in range(x[0].numel()))
    return trace + _half_square(s)


def lcs(score: PointScore, x: Tensor, sigma: float | Tensor) -> Tensor:
    """LCSS eq. 10: `explicit` with local curvature smoothing."""
    x, s = _at(score, x)
    rows = [_row(s, x, i) for i in range(x[0].numel())]
    trace = sum(row[:, i] for i, row in enumerate(rows))
    return trace + _half_square(s) + 0.5 * sigma**2 * sum(row.square().sum(1) for row in rows)


def ssm(score: PointScore, x: Tensor, v: Tensor) -> Tensor:
    """Sliced score matching along v, the shape of x: the square is projected too."""
    x, s = _at(score, x)
    return _curvature(s, x, v) + 0.5 * _dot(v, s).square()


def ssm_vr(score: PointScore, x: Tensor, v: Tensor) -> Tensor:
    """d times LCSS eq. 6: sliced score matching with the square as it is ("variance reduced")."""
    x, s = _at(score, x)
    return _curvature(s, x, v) + _half_square(s)


def fd_ssm(score: PointScore, x: Tensor, v: Tensor, eps: float = 0.1) -> Tensor:
    """d times LCSS eq. 7: `ssm_vr` by central differences over w = eps v / sqrt(d); no derivative of the score.

    It differs from `ssm_vr` by O(eps^2), and not at all for a linear score. eps = 0.1 is the
    released code's.
    """
    d = v[0].numel()
    w = v * (eps / math.sqrt(d))
    above, below = score(x + w), score(x - w)
    return _dot(w, above - below) * (d / (2 * eps**2)) + 0.25 * _half_square(above + below)


def dsm(score: PointScore, x: Tensor, z: Tensor, sigma: float | Tensor) -> Tensor:
    """LCSS eq. 8 at x + sigma z, for standard normal z of the shape of x; sigma is a number or broadcasts with x."""
    return _half_square(score(x + sigma * z) + z / sigma)


def lcss(score: PointScore, x: Tensor, z: Tensor, sigma: float | Tensor, gamma: float = 1.0) -> Tensor:
    """LCSS eq. 18 with one draw x' = x + sigma z, for which (x' - x) / sigma^2 = z / sigma; gamma as in eq. 21."""
    s = score(x + sigma * z)
    return gamma * _dot(s, z / sigma) + _half_square(s)


def gradient_of(log_density: Callable[[Tensor], Tensor]) -> PointScore:
    """The score of a model of the log density (n,), up to its normaliser: s = d f / dx, itself differentiable."""

    def score(x: Tensor) -> Tensor:
        note(len(x))
        with torch.enable_grad():
            x = x if x.requires_grad else x.detach().requires_grad_()
            return torch.autograd.grad(log_density(x).sum(), x, create_graph=True)[0]

    return score


def _at(score: PointScore, x: Tensor) -> tuple[Tensor, Tensor]:
    x = x.detach().requires_grad_()
    return x, score(x)


def _pullback(s: Tensor, x: Tensor, v: Tensor) -> Tensor:
    """v^T ds/dx, or 0 for a score that does not depend on x."""
    if not s.requires_grad:
        return torch.zeros_like(x)
    found = torch.autograd.grad(s, x, v, create_graph=True, allow_unused=True)[0]
    return torch.zeros_like(x) if found is None else found


def _row(s: Tensor, x: Tensor, i: int) -> Tensor:
    """The derivatives of coordinate i, (n, d)."""
    basis = torch.zeros_like(x)
    basis.flatten(1)[:, i] = 1
    return _pullback(s, x, basis).flatten(1)


def _curvature(s: Tensor, x: Tensor, v: Tensor) -> Tensor:
    return _dot(_pullback(s, x, v), v)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).flatten(1).sum(1)


def _half_square(s: Tensor) -> Tensor:
    return 0.5 * s.square().flatten(1).sum(1)
