"""Hamiltonian Monte Carlo on the geometric path from N(0, I) to a target."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from rescore.targets.base import Target, standard_normal_log_prob


def tempered_log_prob(x: Tensor, beta: float, log_prob: Callable[[Tensor], Tensor]) -> Tensor:
    """log gamma_beta(x) = (1 - beta) log N(x; 0, I) + beta log muhat(x), (..., d) -> (...), float64.

    `log_prob`, that of the target, is not called for beta 0.
    """
    if beta == 0:
        return standard_normal_log_prob(x)
    if beta == 1:
        return log_prob(x).double()
    return (1 - beta) * standard_normal_log_prob(x) + beta * log_prob(x).double()


@dataclass
class Particles:
    """Positions with what is known of the target there; it serves every temperature, so tempering costs no evaluation.

    Attributes:
        x: (..., d).
        log_prob: log muhat(x), (...), float64.
        score: grad log muhat(x), (..., d), of x's dtype.
    """

    x: Tensor
    log_prob: Tensor
    score: Tensor

    @classmethod
    def at(cls, x: Tensor, target: Target) -> "Particles":
        """One evaluation of the target."""
        log_prob, score = target.log_prob_and_score(x)
        return cls(x, log_prob.double(), score)

    def tempered_log_prob(self, beta: float) -> Tensor:
        """log gamma_beta(x), (...), float64."""
        return tempered_log_prob(self.x, beta, lambda x: self.log_prob)


def leapfrog(target: Target, start: Particles, momentum: Tensor, beta: float, step_size: float, n_leapfrog: int) -> Particles:
    """`n_leapfrog` steps under gamma_beta and a unit mass; `start` stays, `momentum` is moved in place.

    The score at the start is known, so this costs `n_leapfrog` evaluations of the target. On wide targets the loop is
    bound by memory: it makes three passes over (..., d) a step, in place, beside the target's own.
    """
    x, score = start.x.clone(), start.score
    _kick(momentum, x, score, beta, step_size / 2)
    for _ in range(n_leapfrog - 1):
        x.add_(momentum, alpha=step_size)
        score = target.score(x)
        _kick(momentum, x, score, beta, step_size)
    x.add_(momentum, alpha=step_size)
    end = Particles.at(x, target)
    _kick(momentum, x, end.score, beta, step_size / 2)
    return end


def _kick(momentum: Tensor, x: Tensor, score: Tensor, beta: float, duration: float) -> None:
    """momentum += duration * grad log gamma_beta(x), where grad log gamma_beta = beta score - (1 - beta) x."""
    momentum.add_(score, alpha=duration * beta)
    if beta != 1:
        momentum.sub_(x, alpha=duration * (1 - beta))


def hmc_step(
    target: Target,
    particles: Particles,
    momentum: Tensor,
    log_uniform: Tensor,
    beta: float = 1.0,
    step_size: float = 0.1,
    n_leapfrog: int = 10,
) -> Tensor:
    """One Metropolis-corrected move that leaves gamma_beta invariant; `particles` are moved in place.

    Args:
        momentum: standard normals, (..., d); overwritten.
        log_uniform: log of uniforms on [0, 1), (...), for the accept test. Energies are in float64.

    Returns:
        Which moves were accepted, (...). A trajectory that ends in NaN is rejected.
    """
    kinetic = standard_normal_log_prob(momentum)
    proposal = leapfrog(target, particles, momentum, beta, step_size, n_leapfrog)
    log_ratio = proposal.tempered_log_prob(beta) - particles.tempered_log_prob(beta)
    log_ratio += standard_normal_log_prob(momentum) - kinetic
    accepted = log_uniform < log_ratio
    for name, mask in (("x", accepted[..., None]), ("log_prob", accepted), ("score", accepted[..., None])):
        current = getattr(particles, name)
        torch.where(mask, getattr(proposal, name), current, out=current)
    return accepted
