"""Importance sampling from the prior in one jump.

References:
    thesis, chapter 5: PIS, arXiv:2111.15141.
"""

import torch
from torch import Tensor

from rescore.cost.evaluations import note
from rescore.random import fill_normal
from rescore.targets.base import Target, standard_normal_log_prob


@torch.no_grad()
def prior_log_weights(
    target: Target, n_particles: int, generators: list[torch.Generator], dtype: torch.dtype = torch.float64
) -> Tensor:
    """log w = log muhat(x) - log N(x; 0, I) for x ~ N(0, I): (runs, n_particles), float64, run r drawn by generators[r].

    One temperature jump, with nothing moved before the weights are taken. The printed B and A of HMC and NUTS in
    thesis Table 5.1 agree with this estimate on all three targets, S on LGCP only.
    """
    x = torch.empty(1, n_particles, target.dim, dtype=dtype, device=generators[0].device)
    log_w = []
    for generator in generators:
        fill_normal(x, [generator])
        log_w.append(target.log_prob(x).double() - standard_normal_log_prob(x))
    note(len(generators) * n_particles)
    return torch.cat(log_w)
