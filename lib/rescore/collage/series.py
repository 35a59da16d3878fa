"""Long series from a model of short ones under a condition."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from rescore.collage.graph import FactorGraph, chain
from rescore.collage.maker import Made, Maker


@dataclass(frozen=True)
class LongSeries:
    """Series (n, C, 1, length) of `pieces` pieces, each under a condition (K,).

    Args:
        maker: of their scores, which take the conditions (n, K) as a third argument and are unconditional without one.
        width, overlap: of a piece.
        any_length: whether the pieces' score takes series of any length.
    """

    maker: Maker
    width: int
    overlap: int
    pieces: int
    any_length: bool = False

    def short(self, y: Tensor, generator: torch.Generator) -> Made:
        """Single pieces under y (n, K)."""
        return self.maker.sample(self.maker.piece, (1, self.width), len(y), generator, y)

    def make(self, method: str, y: Tensor, generator: torch.Generator) -> Made:
        """Series of one condition each, y (n, K); the variables are pieces under it as well."""
        graph = self.graph(self.pieces)
        if method == "Baseline" and self.any_length:  # the model of short series on all of the long ones
            return self.maker.sample(self.maker.piece, graph.size, len(y), generator, y)
        return self._chained(method, graph, dict.fromkeys(range(len(graph.factors)), y), len(y), generator, y)

    def compose(self, method: str, y: Mapping[int, Tensor], n: int, generator: torch.Generator) -> Made:
        """Series whose factor j has the condition y[j] and whose variables have none."""
        return self._chained(method, self.graph(len(y)), y, n, generator)

    def graph(self, pieces: int) -> FactorGraph:
        return chain(1, pieces * (self.width - self.overlap) + self.overlap, self.width, self.overlap)

    def _chained(
        self,
        method: str,
        graph: FactorGraph,
        y: Mapping[int, Tensor],
        n: int,
        generator: torch.Generator,
        shared: Tensor | None = None,
    ) -> Made:
        forward = [[j] for j in range(len(graph.factors))]
        return self.maker.chained(method, graph, n, generator, y, shared, forward)
