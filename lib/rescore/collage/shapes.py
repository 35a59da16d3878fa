"""Contents on other graphs than a chain, and contents of which a part is given, by each method; chains are `Maker.chained`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from rescore.collage.compose import averaged_score, composed_score
from rescore.collage.cubemap import cube_squares, cubemap
from rescore.collage.graph import FactorGraph, cycle, grid, side_by_side, tilings
from rescore.collage.inpaint import from_the_middle
from rescore.collage.maker import AUTOREGRESSIVE, Made, Maker
from rescore.config import check_choice


def looped(maker: Maker, graph: FactorGraph, n: int, generator: torch.Generator) -> Made:
    """n contents of a cycle, by DiffCollage."""
    return maker.sample(composed_score(graph, maker.piece, maker.part), graph.size, n, generator)


def tiled(maker: Maker, method: str, size: tuple[int, int], side: int, n: int, generator: torch.Generator) -> Made:
    """n images of whole squares in both directions by a method of `METHODS`.

    DiffCollage is on the two tilings of the paper, whose overlaps are quarters; outpainting goes from the middle in
    half-overlapping squares of a lattice.
    """
    if method in AUTOREGRESSIVE:
        squares, order = grid(size, (side, side), (side // 2,) * 2).factors, from_the_middle(*(2 * k // side - 1 for k in size))
        return maker.outpaint(AUTOREGRESSIVE[method], size, squares, n, generator, order)
    graph = tilings(size, side)
    if method == "DiffCollage":
        score = composed_score(graph, maker.piece, maker.quarter)
    else:  # the first tiling is that of the baseline
        squares = graph.factors[: math.prod(size) // side**2] if method == "Baseline" else graph.factors
        score = averaged_score(size, squares, maker.piece)
    return maker.sample(score, size, n, generator)


def on_a_cube(maker: Maker, method: str, side: int, overlap: int, n: int, generator: torch.Generator) -> Made:
    """n cubemaps (`rescore.collage.cubemap`).

    By DiffCollage three rings, each composed on a cycle, minus the six faces; by outpainting square by square from the front;
    by any other method the faces by themselves.
    """
    graph = cubemap(side)
    if method in AUTOREGRESSIVE:
        squares, order = cube_squares(side)
        return maker.outpaint(AUTOREGRESSIVE[method], graph.size, squares, n, generator, order)
    if method == "DiffCollage":
        ring = composed_score(cycle(side, 4 * side, side, overlap), maker.piece, maker.part)
        score = composed_score(graph, ring, maker.piece)
    else:
        score = averaged_score(graph.size, graph.variables[0], maker.piece)
    return maker.sample(score, graph.size, n, generator)


def connected(
    maker: Maker,
    method: str,
    graph: FactorGraph,
    x: Tensor,
    generator: torch.Generator,
    conditions: Mapping[int, Tensor] | None = None,
    shared: Sequence[Mapping[int, Tensor]] | None = None,
) -> Made:
    """Contents of a chain whose first and last squares are those of x (n, C, *size), by a method of `METHODS` but averaging.

    The baseline's squares meet what is given but share nothing with it.

    Args:
        conditions: of each factor, as of `composed_score`; not for the baseline, whose squares are fewer.
        shared: of each variable, which only DiffCollage has.
    """
    side = graph.factors.shape[-1]
    mask = torch.zeros(graph.size, dtype=torch.bool)
    mask[:, :side] = mask[:, -side:] = True
    if method == "DiffCollage":
        score = composed_score(graph, maker.piece, maker.part, conditions, shared=shared)
        made = maker.sample_given("replacement", score, x, mask, generator)
    else:
        height, length = graph.size
        squares = side_by_side(height, length, side) if method == "Baseline" else graph.factors
        inner = list(range(1, len(squares) - 1))
        order = [inner] if method == "Baseline" else [[j] for j in inner]
        kind = AUTOREGRESSIVE.get(method, "replacement")
        made = maker.outpaint(kind, graph.size, squares, len(x), generator, order, (x, mask), conditions)
    return Made(torch.where(mask, x, made.x), made.passes)


def inpainted(
    maker: Maker, how: str, kind: str, graph: FactorGraph, x: Tensor, mask: Tensor, generator: torch.Generator
) -> Made:
    """Contents of a chain like x (n, C, *size) where the mask (1, 1, *size) knows it.

    Args:
        how: `Split`, squares side by side, which know nothing of each other; `Outpainted`, one after another; or `DiffCollage`.
        kind: of `AUTOREGRESSIVE`: what known pixels do.
    """
    if how == "Outpainted":
        given = x * mask, mask[0, 0]
        made = maker.outpaint(AUTOREGRESSIVE[kind], graph.size, graph.factors, len(x), generator, None, given)
    else:
        squares = None
        if how == "Split":
            height, length = graph.size
            squares = side_by_side(height, length, graph.factors.shape[-1])
            score = averaged_score(graph.size, squares, maker.differentiable)
        else:
            score = composed_score(graph, maker.differentiable, maker.differentiable_part)
        with torch.no_grad():
            made = maker.sample_given(AUTOREGRESSIVE[kind], score, x, mask, generator, squares)
    return Made(torch.where(mask, x, made.x), made.passes)


def from_strokes(maker: Maker, how: str, graph: FactorGraph, x: Tensor, generator: torch.Generator) -> Made:
    """Contents of a chain that begin at strokes x (n, C, *size), as far back as the maker's sampler goes (`Maker.sample_from`).

    Args:
        how: `Split`, squares side by side; or `DiffCollage`.
    """
    check_choice("how", how, ("Split", "DiffCollage"))
    if how == "DiffCollage":
        return maker.sample_from(composed_score(graph, maker.piece, maker.part), x, generator)
    height, length = graph.size
    squares = side_by_side(height, length, graph.factors.shape[-1])
    return maker.sample_from(averaged_score(graph.size, squares, maker.piece), x, generator)
