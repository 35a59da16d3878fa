"""Long series by every method, from scores of short ones."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from reproductions.diffcollage.config import Config, Series
from reproductions.diffcollage.pieces import AUTOREGRESSIVE, Context, make_sampler, sampling
from rescore.collage import averaged_score, chain, clipped_score, composed_score, outpaint, side_by_side
from rescore.processes import VP
from rescore.samplers import Sampler
from rescore.scores import Score

PROCESS = VP()


def conditioned(u: Tensor, y: Tensor) -> Tensor:
    """u (n, C, 1, w) with the condition y (n, K), zeros for none, as K more channels."""
    return torch.cat((u, y[:, :, None, None].expand(-1, -1, *u.shape[2:])), 1)


@dataclass(frozen=True)
class SeriesModels:
    """Scores (u, t, y) of pieces and of overlaps, which may be one network; y None is the null condition.

    Args:
        channels: of a series; conditions: K.
        bound: the predicted clean series is clipped to [-bound, bound].
        any_length: whether the pieces' network takes series of any length.
    """

    piece: nn.Module
    part: nn.Module
    channels: int
    conditions: int
    bound: float = 1.0
    any_length: bool = False

    def score(self, network: nn.Module, u: Tensor, t: float, y: Tensor | None = None, gradients: bool = False) -> Tensor:
        y = u.new_zeros(len(u), self.conditions) if y is None else y
        with torch.set_grad_enabled(gradients):
            noise = network(conditioned(u, y), torch.full((len(u),), t, dtype=u.dtype, device=u.device))
        return noise * (-1 / PROCESS.R(t).values.item())


@dataclass(frozen=True)
class Maker:
    """Long series by every method."""

    context: Context
    settings: Series
    models: SeriesModels

    @property
    def config(self) -> Config:
        return self.context.config

    @property
    def piece(self) -> Callable[..., Tensor]:
        return self.context.counted(partial(self.models.score, self.models.piece))

    @property
    def part(self) -> Callable[..., Tensor]:
        return self.context.counted(partial(self.models.score, self.models.part))

    @property
    def sampler(self) -> Sampler:
        return make_sampler(self.config, PROCESS)

    @property
    def protocol(self) -> dict[str, object]:
        return sampling(self.config) | {
            "score": "trained",
            "x0": f"clipped to [-{self.models.bound:g}, {self.models.bound:g}]",
            "piece": self.settings.width,
            "overlap": self.settings.overlap,
        }

    def make(self, method: str, y: Tensor, generator: torch.Generator) -> tuple[Tensor, int]:
        """Series (n, C, 1, length) of one condition each, y (n, K), and passes; "short" makes single pieces."""
        parts = y.to(self.context.run.device).split(self.config.batch or len(y))
        made = [self._make(method, part, generator) for part in parts]
        return torch.cat([x for x, _ in made]), made[0][1]

    def _make(self, method: str, y: Tensor, generator: torch.Generator) -> tuple[Tensor, int]:
        if method == "short":
            piece = self.piece
            return self._sample(lambda u, t: piece(u, t, y), (len(y), self.models.channels, 1, self.settings.width), generator)
        every = {j: y for j in range(self.settings.pieces)}
        # one condition all along: the variables are pieces under it as well
        part, n_shared = self.part, self.settings.pieces - 1
        return self._long(method, every, len(y), generator, lambda u, t: part(u, t, y.repeat_interleave(n_shared, 0)))

    def compose(self, method: str, y: dict[int, Tensor], n: int, generator: torch.Generator) -> tuple[Tensor, int]:
        """Series whose factor j has the condition y[j] and whose variables have none."""
        return self._long(method, y, n, generator, self.part)

    def _long(self, method: str, y: dict[int, Tensor], n: int, generator: torch.Generator,
              variables: Score) -> tuple[Tensor, int]:  # fmt: skip
        width, overlap, piece = self.settings.width, self.settings.overlap, self.piece
        stride = width - overlap
        graph = chain(1, len(y) * stride + overlap, width, overlap)
        shape = (n, self.models.channels, *graph.size)
        if method == "Baseline" and self.models.any_length:  # as in the paper: the short model on all of the series
            return self._sample(lambda u, t: piece(u, t, y[0]), shape, generator)
        if method == "Baseline":
            tiles = side_by_side(*graph.size, width)
            last = len(y) - 1
            own = {i: y[min(round(i * width / stride), last)] for i in range(len(tiles))}
            return self._sample(averaged_score(graph.size, tiles, piece, own), shape, generator)
        if method == "Averaging":
            return self._sample(averaged_score(graph.size, graph.factors, piece, y), shape, generator)
        if method == "DiffCollage":
            return self._sample(composed_score(graph, piece, variables, y), shape, generator)
        kind = AUTOREGRESSIVE[method]
        factor = partial(piece, gradients=True) if kind == "reconstruction" else piece
        order = [[j] for j in range(len(y))]
        x, runs = outpaint(graph.size, graph.factors, self.sampler, factor, shape[:2], generator, kind, order, conditions=y,
                           clip=self.models.bound)  # fmt: skip
        nfe = self.sampler.nfe
        return self._bounded(x), nfe * runs + (nfe * (runs - 1) if kind == "reconstruction" else 0)

    def _sample(self, score: Score, shape: tuple[int, ...], generator: torch.Generator) -> tuple[Tensor, int]:
        start = PROCESS.prior_sample(shape, generator, device=generator.device)
        return self._bounded(self.sampler(clipped_score(PROCESS, score, self.models.bound), start, generator)), self.sampler.nfe

    def _bounded(self, x: Tensor) -> Tensor:
        return x.clamp(-self.models.bound, self.models.bound).cpu()
