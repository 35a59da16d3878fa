"""Data with the exact score of their diffusion: what a sampler is run on to see its own error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rescore.processes import LinearSDE
from rescore.random import Streams, derive_seed, make_generator
from rescore.samplers import Sampler
from rescore.scores import EmpiricalData, GaussianMixture


@dataclass(frozen=True)
class ExactProblem:
    """Data under a process, in batches of all seeds at once.

    Args:
        dataset: the data's name in the ledger.
        score: of the data under the process.
        shape: of one data point.
        stream: names the starting points (`streams`).
        seeds: each with `n` states.
        dtype: of the states.
        points: (m, *data), where the data are finitely many.
        modes: (K, *data), the centres of a mixture.
    """

    dataset: str
    process: LinearSDE
    score: GaussianMixture | EmpiricalData
    shape: tuple[int, ...]
    stream: tuple[object, ...]
    seeds: Sequence[int]
    n: int
    dtype: torch.dtype = torch.float64
    points: Tensor | None = None
    modes: Tensor | None = None

    @classmethod
    def of_points(
        cls,
        dataset: str,
        process: LinearSDE,
        points: Tensor,
        stream: tuple[object, ...],
        seeds: Sequence[int],
        n: int,
        dtype: torch.dtype = torch.float64,
        posterior: torch.dtype | None = None,
    ) -> ExactProblem:
        """Data that are the points (m, *data).

        Args:
            posterior: the dtype in which their posterior is computed, if not the states'.
        """
        score = EmpiricalData(process, points.to(posterior or dtype))
        return cls(dataset, process, score, tuple(points.shape[1:]), stream, seeds, n, dtype, points=points)

    @classmethod
    def of_mixture(
        cls,
        dataset: str,
        process: LinearSDE,
        modes: Tensor,
        std: float,
        stream: tuple[object, ...],
        seeds: Sequence[int],
        n: int,
    ) -> ExactProblem:
        """An equal mixture of N(mode, std^2 I)."""
        score = GaussianMixture(process, modes, std)
        return cls(dataset, process, score, tuple(modes.shape[1:]), stream, seeds, n, modes=modes)

    @property
    def size(self) -> int:
        """States in all."""
        return self.n * len(self.seeds)

    def start(self) -> Tensor:
        """Draws of the prior, (size, *state): the same for every sampler."""
        shape = (self.size, *self.process.state_shape(self.shape))
        return self.process.prior_sample(shape, self.streams(*self.stream), self.dtype)

    def streams(self, *names: object) -> Streams:
        """The noise of all seeds' states: that of a state follows from the names, its seed and its index."""
        return Streams([derive_seed(*names, seed) for seed in self.seeds], self.n)

    def draws(self, *names: object, t: float = 0.0) -> Tensor:
        """Exact draws, (seeds, n, *data), with the generators `make_generator(*names, seed)`: of the data, or of p_t for t > 0.

        The distances of these are what no sampler can beat.
        """
        return torch.stack([self._draws(t, make_generator(*names, seed)) for seed in self.seeds])

    def _draws(self, t: float, generator: torch.Generator) -> Tensor:
        if self.points is not None and not t:
            return self.points[torch.randint(len(self.points), (self.n,), generator=generator)]
        return self.process.project(self.score.sample(self.n, t, generator))

    def reference(self, *names: object) -> Tensor:
        """What samples are compared with: all points (m, *data), or as many fresh draws at each seed (seeds, n, *data)."""
        return self.points if self.points is not None else self.draws(*names)

    def by_seed(self, u: Tensor) -> Tensor:
        """States as data, (seeds, n, *data)."""
        return self.process.project(u).unflatten(0, (len(self.seeds), -1))

    def run(self, sampler: Sampler, start: Tensor, *names: object) -> Tensor:
        """Where a sampler takes the starting points, as `by_seed`; its noise is `streams(*names)`. May raise Diverged."""
        return self.by_seed(sampler(self.score, start, self.streams(*names)))
