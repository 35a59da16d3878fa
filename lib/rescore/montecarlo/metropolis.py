"""Metropolis Monte Carlo on the geometric path from N(0, I) to a target: no gradient of it is needed."""

import torch
from torch import Tensor

from rescore.cost.evaluations import note
from rescore.montecarlo.hmc import tempered_log_prob
from rescore.random import fill_normal, fill_uniform
from rescore.targets.base import Target


@torch.no_grad()
def random_walk(
    target: Target, x: Tensor, beta: float, steps: int, step_size: float, generators: list[torch.Generator]
) -> tuple[Tensor, Tensor]:
    """`steps` moves that leave gamma_beta invariant; run r draws from generators[r] alone.

    A move to x' = x + step_size xi, xi ~ N(0, I), is accepted with probability min(1, gamma_beta(x') / gamma_beta(x)); one to
    where gamma_beta is NaN is not. It takes one evaluation of the target for each move and one at the start, none for beta 0.

    Args:
        x: where the particles start, (runs, n, d); it stays.

    Returns:
        Where they end, (runs, n, d), and the share of moves that each run accepted, (runs,) float64; 0 without moves.
    """
    share = torch.zeros(len(x), dtype=torch.float64, device=x.device)
    if not steps:
        return x, share
    noise, uniform = torch.empty_like(x), torch.empty(x.shape[:-1], dtype=torch.float64, device=x.device)
    log_gamma = tempered_log_prob(x, beta, target.log_prob)
    for _ in range(steps):
        proposed = x + step_size * fill_normal(noise, generators)
        log_uniform = fill_uniform(uniform, generators).log_()
        its_log_gamma = tempered_log_prob(proposed, beta, target.log_prob)
        accepted = log_uniform < its_log_gamma - log_gamma
        x = torch.where(accepted[..., None], proposed, x)
        log_gamma = torch.where(accepted, its_log_gamma, log_gamma)
        share += accepted.double().mean(-1) / steps
    if beta:
        note(x[..., 0].numel() * (steps + 1))
    return x, share
