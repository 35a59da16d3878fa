"""Stochastic normalizing flows (Wu, Koehler and Noe 2020, arXiv:2002.06707): learned maps, each followed by Metropolis moves.

From x_0 ~ N(0, I) block k = 1..K maps x_{k-1} to y_k = T_k(x_{k-1}), and moves that by a random walk to x_k, which leaves
gamma_k invariant, log gamma_k = (1 - beta_k) log N(0, I) + beta_k log muhat. The log weight of a path is

    log w = log muhat(x_K) - log N(x_0; 0, I) + sum_k [log |det dT_k / dx_{k-1}| - (log gamma_k(x_k) - log gamma_k(y_k))].

It needs no density of the end x_K. E[w] = Z for any maps and any number of moves, and -E[log w] is KL(forward | backward path
law) - log Z, hence at least KL(law of x_K | mu) - log Z. As beta_K = 1 the last moves drop out: log muhat(y_K) is what they
leave.

Gradients are those of the authors' code: x_k moves with y_k, and which moves are accepted counts as given. That leaves out how
the acceptance depends on the parameters, so that the gradient is not that of E[log w].
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from rescore.cost.evaluations import note
from rescore.domain import check_count
from rescore.montecarlo.metropolis import random_walk
from rescore.random import fill_normal
from rescore.targets.base import Target, differentiable_log_prob, standard_normal_log_prob


@dataclass(frozen=True)
class Moves:
    """What follows the maps: beta_k = (k - 1) / (K - 1), as in the authors' code, so that the first moves are of N(0, I).

    Attributes:
        blocks: K, at least 2.
        steps: Metropolis moves of a block; 0 leaves a normalizing flow.
        step_size: standard deviation of a move in each coordinate.

    Raises:
        RescoreError: fewer blocks than two, or steps than none.
    """

    blocks: int = 5
    steps: int = 20
    step_size: float = 0.1

    def __post_init__(self):
        check_count(self, "blocks", self.blocks, 2)
        check_count(self, "steps", self.steps, 0)

    def beta(self, k: int) -> float:
        return (k - 1) / (self.blocks - 1)

    @property
    def protocol(self) -> dict[str, object]:
        """What records say about it."""
        return {"flow_blocks": self.blocks, "metropolis_steps": self.steps, "metropolis_size": self.step_size}

    def evaluations(self, training: bool) -> int:
        """Of the target, or of it and its score, by one path; a training leaves out the last block's moves."""
        moved = self.blocks - 1 - training
        return 2 * self.blocks - 3 + (moved * (self.steps + 1) if self.steps else 0)


@dataclass(frozen=True)
class StochasticPaths:
    """What `sample` returns.

    Attributes:
        x: the ends x_K, (runs, n, d).
        log_w: log weights of the paths, (runs, n), float64.
        acceptance: of the Metropolis moves, (runs, blocks).
    """

    x: Tensor
    log_w: Tensor
    acceptance: Tensor


@torch.no_grad()
def sample(
    maps: Sequence[nn.Module],
    moves: Moves,
    target: Target,
    n: int,
    generators: list[torch.Generator],
    dtype: torch.dtype = torch.float32,
) -> StochasticPaths:
    """Paths of independent runs, n of each; all randomness of run r comes from generators[r].

    Args:
        maps: T_1..T_K, each x (..., d) -> T(x) (..., d) and log |det dT/dx| (...); see `rescore.flows.transport`.
    """
    return _paths(maps, moves, target, n, generators, target.log_prob, dtype, to_the_end=True)


def path_kl(
    maps: Sequence[nn.Module],
    moves: Moves,
    target: Target,
    n: int,
    generators: list[torch.Generator],
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """-mean log w over paths as `sample` draws them, a scalar to minimise, float64; without moves it is VI-NF's reverse KL.

    The last moves, which it does not depend on, are left out.
    """
    log_prob = partial(differentiable_log_prob, target)
    return -_paths(maps, moves, target, n, generators, log_prob, dtype, to_the_end=False).log_w.mean()


def _paths(
    maps: Sequence[nn.Module],
    moves: Moves,
    target: Target,
    n: int,
    generators: list[torch.Generator],
    log_prob: Callable[[Tensor], Tensor],
    dtype: torch.dtype,
    to_the_end: bool,
) -> StochasticPaths:
    x = fill_normal(torch.empty(len(generators), n, target.dim, dtype=dtype, device=generators[0].device), generators)
    log_w, mapped, moved, shares = -standard_normal_log_prob(x), [], [], []
    for k, transport in enumerate(maps, 1):
        y, log_det = transport(x)
        steps = moves.steps if to_the_end or k < moves.blocks else 0
        end, share = random_walk(target, y.detach(), moves.beta(k), steps, moves.step_size, generators)
        x = end + (y - y.detach())  # the end itself, with the gradient of y
        log_w = log_w + log_det
        mapped.append(y)
        moved.append(x)
        shares.append(share)
    y, end = torch.stack(mapped), torch.stack(moved)
    levels = [moves.beta(k) for k in range(1, moves.blocks + 1)]
    beta = torch.tensor(levels, dtype=torch.float64, device=x.device)[:, None, None]
    log_w = log_w + ((1 - beta) * (standard_normal_log_prob(y) - standard_normal_log_prob(end))).sum(0)
    # of the target itself: not at the first block, where beta is 0, nor after the last moves, which drop out
    asked = torch.cat((y[1:], end[1:-1]))
    note(asked[..., 0].numel())
    before, after = log_prob(asked).double().split((moves.blocks - 1, moves.blocks - 2))
    log_w = log_w + (beta[1:] * before).sum(0) - (beta[1:-1] * after).sum(0)
    return StochasticPaths(x, log_w, torch.stack(shares, -1))
