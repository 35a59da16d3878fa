"""Long series by every method, from the noise of short ones under a condition."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from reproductions.diffcollage.config import Config, Pieces
from reproductions.diffcollage.images import make_sampler, sampling
from rescore.collage import METHODS, FactorGraph, Made, Maker, chain
from rescore.networks.conditional import ConditionalNoise
from rescore.processes import VP

PROCESS = VP()
SHORT = "MDM"  # the row of single pieces: the model itself
ROWS = (SHORT, *METHODS)


@dataclass(frozen=True)
class LongSeries:
    """Series (n, C, 1, length) of pieces.

    Args:
        any_length: whether the pieces' network takes series of any length.
    """

    maker: Maker
    settings: Pieces
    any_length: bool = False

    @classmethod
    def of(cls, config: Config, settings: Pieces, piece: ConditionalNoise, part: ConditionalNoise, bound: float = 1.0,
           any_length: bool = False) -> "LongSeries":  # fmt: skip
        """From the networks of pieces and of overlaps, which may be one; clean series are clipped to [-bound, bound]."""
        scores = piece.score(), part.score(), piece.score(gradients=True)
        maker = Maker(make_sampler(config, PROCESS), piece.channels, *scores, bound, config.batch)
        return cls(maker, settings, any_length)

    def make(self, method: str, y: Tensor, generator: torch.Generator) -> Made:
        """Series of one condition each, y (n, K); the variables are pieces under it as well."""
        graph, piece = self.graph(self.settings.pieces), self.maker.piece
        if method == SHORT:
            return self.maker.sample(piece, (1, self.settings.width), len(y), generator, y)
        if method == "Baseline" and self.any_length:  # as in the paper: the short model on all of the series
            return self.maker.sample(piece, graph.size, len(y), generator, y)
        return self._chained(method, graph, dict.fromkeys(range(len(graph.factors)), y), len(y), generator, y)

    def compose(self, method: str, y: Mapping[int, Tensor], n: int, generator: torch.Generator) -> Made:
        """Series whose factor j has the condition y[j] and whose variables have none."""
        return self._chained(method, self.graph(len(y)), y, n, generator)

    def graph(self, pieces: int) -> FactorGraph:
        width, overlap = self.settings.width, self.settings.overlap
        return chain(1, pieces * (width - overlap) + overlap, width, overlap)

    def _chained(self, method: str, graph: FactorGraph, y: Mapping[int, Tensor], n: int, generator: torch.Generator,
                 shared: Tensor | None = None) -> Made:  # fmt: skip
        forward = [[j] for j in range(len(graph.factors))]
        return self.maker.chained(method, graph, n, generator, y, shared, forward)


def protocol(config: Config, settings: Pieces, bound: float = 1.0) -> dict[str, object]:
    about = {"score": "trained", "piece": settings.width, "overlap": settings.overlap, "train_steps": settings.steps}
    return sampling(config, bound) | about
