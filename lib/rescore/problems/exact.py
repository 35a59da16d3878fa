"""Data with the exact score of their diffusion: what a sampler is run on to see its own error."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rescore.processes import LinearSDE
from rescore.random import make_generator
from rescore.samplers import Sampler
from rescore.scores import EmpiricalData, GaussianMixture


@dataclass(frozen=True)
class ExactProblem:
    """Data under a process, in batches of all seeds at once.

    Args:
        dataset: the data's name in the ledger.
        score: of the data under the process.
        shape: of one data point.
        stream: names the starting points of a seed: `make_generator(*stream, seed)`.
        seeds: each with `n` states.
        dtype: of the states.
    """

    dataset: str
    process: LinearSDE
    score: GaussianMixture | EmpiricalData
    shape: tuple[int, ...]
    stream: tuple[object, ...]
    seeds: Sequence[int]
    n: int
    dtype: torch.dtype = torch.float64

    @property
    def size(self) -> int:
        """States in all."""
        return self.n * len(self.seeds)

    def start(self) -> Tensor:
        """Draws of the prior, (size, *state): the same for every sampler."""
        shape = (self.n, *self.process.state_shape(self.shape))
        return torch.cat([self.process.prior_sample(shape, make_generator(*self.stream, s), self.dtype) for s in self.seeds])

    def by_seed(self, u: Tensor) -> Tensor:
        """States as data, (seeds, n, *data)."""
        return self.process.project(u).unflatten(0, (len(self.seeds), -1))

    def run(self, sampler: Sampler, start: Tensor, *names: object) -> Tensor:
        """Where a sampler takes the starting points, as `by_seed`; its noise is named by `names`. May raise Diverged."""
        return self.by_seed(sampler(self.score, start, make_generator(*names)))


def each_seed(metric: Callable[[Tensor, Tensor], float], x: Tensor, others: Tensor | Sequence[Tensor]) -> list[float]:
    """metric(x, others) at each seed; x (seeds, n, *data), others one set for all seeds (m, *data) or a sequence of one a seed."""
    shared = isinstance(others, Tensor) and others.ndim < x.ndim
    return [metric(one, others if shared else others[i]) for i, one in enumerate(x)]
