"""How hard a score is to learn: how far it is from that of a Normal, and how steep what a network has to represent."""

import torch
from torch import Tensor

from rescore.processes import CLD, LinearSDE
from rescore.scores import Score


def noisy(process: LinearSDE, u: Tensor) -> Tensor:
    """The coordinates that the noise acts on: the velocities of CLD, all of another process."""
    return u[:, 1] if isinstance(process, CLD) else u


def distance_to_normal(process: LinearSDE, score: Score, u: Tensor, t: float) -> float:
    """E |grad_v log p(v | x) + v / M|^2 of CLD, E |grad log p(x) + x|^2 of another process, at draws u of u_t."""
    mass = process.M if isinstance(process, CLD) else 1.0
    return (noisy(process, score(u, t)) + noisy(process, u) / mass).square().flatten(1).sum(1).mean().item()


def jacobian_norms(process: LinearSDE, score: Score, u: Tensor, t: float) -> tuple[float, float]:
    """E |d alpha / d u|^2 (Frobenius), u (batch, *state), of the alpha that makes score = -ell_t alpha exact, and of that for the
    mixed score.

    The mixed score is -v / Svv_t - ell_t alpha on CLD, -x - ell_t alpha with ell_t = 1 / sigma_t on an isotropic process.
    """
    u = u.detach().requires_grad_()
    spread = process.Sigma(t).values
    ell, shift = (process.ell(t), 1 / spread[1, 1]) if isinstance(process, CLD) else (1 / spread.sqrt(), 1.0)
    alpha = -noisy(process, score(u, t)) / ell
    return _jacobian_norm(alpha, u), _jacobian_norm(alpha - noisy(process, u) * shift / ell, u)


def _jacobian_norm(y: Tensor, u: Tensor) -> float:
    """E |d y / d u|^2, each row of y a function of the same row of u."""
    rows = [torch.autograd.grad(column.sum(), u, retain_graph=True)[0] for column in y.flatten(1).unbind(1)]
    return sum(row.square().flatten(1).sum(1).mean().item() for row in rows)
