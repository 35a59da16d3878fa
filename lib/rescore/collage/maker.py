"""Large contents by every method from one set of scores of pieces: DiffCollage, its rivals, and what they cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from rescore.collage.compose import PieceScore, averaged_score, composed_score
from rescore.collage.graph import FactorGraph, side_by_side
from rescore.collage.inpaint import Known, clipped_score, outpaint, reconstructed_score, replaced_score
from rescore.config import check_choice
from rescore.errors import RescoreError
from rescore.machine.batches import in_batches
from rescore.random import Streams
from rescore.samplers import Sampler
from rescore.scores import Score

AUTOREGRESSIVE: dict[str, Known] = {"Replacement": "replacement", "Reconstruction": "reconstruction"}
METHODS = ("Baseline", *AUTOREGRESSIVE, "Averaging", "DiffCollage")


class Made(NamedTuple):
    """Contents x (n, C, *size), on the CPU, and the network passes that follow each other.

    A pass is a batched evaluation, or the way back through one. The two models of a composed score need not wait for each other
    and count as one.
    """

    x: Tensor
    passes: int


@dataclass(frozen=True)
class Maker:
    """Contents of pieces, clipped to [-bound, bound].

    Args:
        sampler: of an isotropic process.
        channels: of a content.
        piece: the score of pieces; with a third argument, the conditions, where a content is made under some.
        part: of the overlaps of two neighbours.
        differentiable: `piece`, letting gradients pass; `differentiable_part`: `part`, where pixels are inpainted.
        batch: contents at a time, or as many as a GPU holds; None: all.
        quarter: the score of the overlaps of four neighbours, where contents grow in both directions.
    """

    sampler: Sampler
    channels: int
    piece: PieceScore
    part: PieceScore
    differentiable: PieceScore
    bound: float = 1.0
    batch: int | None = None
    differentiable_part: Score | None = None
    quarter: Score | None = None

    def sample(
        self, score: Callable[..., Tensor], size: Sequence[int], n: int, generator: torch.Generator, y: Tensor | None = None
    ) -> Made:
        """n contents of a score of all of them at once; y: their conditions (n, *condition), its third argument."""

        def made(rows: range) -> Made:
            return self._sample(_under(score, _own(y, rows, generator)), (len(rows), self.channels, *size), generator, rows)

        return self._joined(n, made)

    def sample_given(
        self, kind: Known, score: Score, x: Tensor, mask: Tensor, generator: torch.Generator, apart: Tensor | None = None
    ) -> Made:
        """Contents like x under its pixels that the mask knows. By reconstruction each evaluation has its way back.

        Args:
            apart: of pieces that the score makes independently of each other (`reconstructed_score`).
        """
        process, device, mask = self.sampler.process, generator.device, mask.to(generator.device)
        back = kind == "reconstruction"
        condition: Callable[..., Score] = partial(reconstructed_score, apart=apart) if back else replaced_score

        def under(rows: range) -> Made:
            part = x[rows.start : rows.stop].to(device)
            return self._sample(condition(process, score, part, mask), part.shape, generator, rows)

        made = self._joined(len(x), under)
        return made._replace(passes=made.passes * (1 + back))

    def sample_from(self, score: Score, x: Tensor, generator: torch.Generator) -> Made:
        """Contents that begin at x (n, C, *size), noised to the sampler's first time, in place of the prior: SDEdit.

        How far the sampler goes back is how free it is of x.
        """
        process, t = self.sampler.process, self.sampler.times[0]

        def begun(rows: range) -> Made:
            noise = Streams.like(generator, len(rows), rows.start)
            start, _ = process.perturb(x[rows.start : rows.stop].to(generator.device), t, noise)
            return self._run(score, start, noise)

        return self._joined(len(x), begun)

    def outpaint(
        self,
        kind: Known,
        size: Sequence[int],
        patches: Tensor,
        n: int,
        generator: torch.Generator,
        order: Sequence[Sequence[int]] | None = None,
        given: tuple[Tensor, Tensor] | None = None,
        conditions: Mapping[int, Tensor] | None = None,
    ) -> Made:
        """n contents piece by piece (`rescore.collage.outpaint`); a run has no way back where nothing is there before."""
        factor = self.differentiable if kind == "reconstruction" else self.piece

        def made(rows: range) -> Made:
            known = None if given is None else (given[0][rows.start : rows.stop], given[1])
            own = None if conditions is None else {j: _rows(y, rows, generator) for j, y in conditions.items()}
            shape = (len(rows), self.channels)
            noise = Streams.like(generator, len(rows), rows.start)
            places = size, patches, self.sampler, factor, shape, noise
            x, runs, conditioned = outpaint(*places, kind, order, known, own, self.bound)
            back = conditioned if kind == "reconstruction" else 0
            return Made(self._bounded(x), self._nfe * (runs + back))

        return self._joined(n, made)

    def chained(
        self,
        method: str,
        graph: FactorGraph,
        n: int,
        generator: torch.Generator,
        conditions: Mapping[int, Tensor] | None = None,
        shared: Tensor | None = None,
        order: Sequence[Sequence[int]] | None = None,
    ) -> Made:
        """n contents of a chain of pieces by a method of `METHODS`.

        Args:
            conditions: of each factor, (n, *condition) or (1, *condition). Independent pieces, which are fewer, each have
                that of the factor they are nearest to.
            shared: the condition of the variables, (n, *condition); None: they are under none.
            order: of outpainting.

        Raises RescoreError for an unknown method.
        """
        check_choice("method", method, METHODS)
        if method in AUTOREGRESSIVE:
            return self.outpaint(AUTOREGRESSIVE[method], graph.size, graph.factors, n, generator, order, None, conditions)

        def made(rows: range) -> Made:
            own = None if conditions is None else {j: _rows(y, rows, generator) for j, y in conditions.items()}
            of_all = None if shared is None else _rows(shared, rows, generator).expand(len(rows), *shared.shape[1:])
            score = self._chain(method, graph, own, of_all)
            return self._sample(score, (len(rows), self.channels, *graph.size), generator, rows)

        return self._joined(n, made)

    def _chain(self, method: str, graph: FactorGraph, y: Mapping[int, Tensor] | None, shared: Tensor | None) -> Score:
        """The score of one batch by a method that makes all of a content at once."""
        if method == "Averaging":
            return averaged_score(graph.size, graph.factors, self.piece, y)
        if method == "DiffCollage":
            count = sum(len(group) for group in graph.variables)
            part = self.part if shared is None else _under(self.part, shared.repeat_interleave(count, 0))
            return composed_score(graph, self.piece, part, y)
        width, last = graph.factors.shape[-1], len(graph.factors) - 1
        height, length = graph.size
        tiles, stride = side_by_side(height, length, width), (graph.size[-1] - width) / last if last else 1.0
        own = None if y is None else {i: y[min(round(i * width / stride), last)] for i in range(len(tiles))}
        return averaged_score(graph.size, tiles, self.piece, own)

    def _sample(self, score: Score, shape: Sequence[int], generator: torch.Generator, rows: range) -> Made:
        """The contents `rows` of those that the generator names."""
        process, noise = self.sampler.process, Streams.like(generator, len(rows), rows.start)
        start = process.prior_sample(tuple(shape), noise, device=generator.device)
        return self._run(score, start, noise)

    def _run(self, score: Score, start: Tensor, noise: Streams) -> Made:
        """From states at the sampler's first time to contents."""
        x = self.sampler(clipped_score(self.sampler.process, score, self.bound), start, noise)
        return Made(self._bounded(x), self._nfe)

    @property
    def _nfe(self) -> int:
        nfe = self.sampler.nfe
        if nfe is None:
            raise RescoreError(f"collage: {type(self.sampler).__name__} has no number of evaluations; allowed: a fixed grid")
        return nfe

    def _bounded(self, x: Tensor) -> Tensor:
        return x.clamp(-self.bound, self.bound).cpu()

    def _joined(self, n: int, make: Callable[[range], Made]) -> Made:
        """n contents, made in batches."""
        xs, passes = zip(*in_batches(n, self.batch or n, make), strict=True)
        return Made(torch.cat(xs), max(passes))


def _own(y: Tensor | None, rows: range, generator: torch.Generator) -> Tensor | None:
    """`_rows` of conditions, where there are some."""
    return None if y is None else _rows(y, rows, generator)


def _rows(y: Tensor, rows: range, generator: torch.Generator) -> Tensor:
    """The conditions of some contents, where they are made; a single one is that of all."""
    return (y if len(y) == 1 else y[rows.start : rows.stop]).to(generator.device)


def _under(score: Callable[..., Tensor], y: Tensor | None) -> Score:
    return score if y is None else lambda u, t: score(u, t, y)
