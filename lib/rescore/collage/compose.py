"""Scores of a content from scores of its pieces (thesis eqs. 4.6 and 4.7), for any sampler of the suite.

References:
    thesis, chapter 4: DiffCollage, arXiv:2303.17076.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from rescore.collage.graph import FactorGraph
from rescore.errors import RescoreError
from rescore.scores import Score

PieceScore = Callable[..., Tensor]
"""A `Score`, or (u, t, y) -> score of u (n, C, *patch) under conditions y (n, *condition)."""


def composed_score(
    graph: FactorGraph,
    factor: PieceScore,
    variables: PieceScore | Sequence[PieceScore] | None = None,
    conditions: Mapping[int, Tensor] | None = None,
    chunk: int | None = None,
    shared: Sequence[Mapping[int, Tensor]] | None = None,
) -> Score:
    """S(u, t) = sum_j s(f_j, t) + sum_i (1 - d_i) s(x_i, t) (eq. 4.7), a score of contents u (batch, C, *graph.size).

    All factors are one batch of the factor model, all variables of one shape one batch of theirs: a call of n pieces is a call
    on batch x n patches (n, C, *patch). Gradients flow through. The sum is exact at t = 0 where the clean content has the
    graph's Markov property and the graph no loops; noise breaks it in between.

    Args:
        graph: the factor graph.
        factor: the factors' score; it is called with a third argument, the conditions, where there are some.
        variables: a score for each group of `graph.variables`, or one for all of them; `factor` if None. Without `shared`
            they are given no conditions: a conditional model comes with its null condition filled in.
        conditions: y[f_j] of every factor j, each (batch, *condition), or (1, *condition) for the whole batch.
        chunk: at most so many patches at a time (but no fewer than a batch), which bounds the memory; None: all.
        shared: conditions y[i] of every variable, a mapping for each group as `conditions` for the factors.

    Raises RescoreError for a number of scores or of `shared` other than that of the groups, a condition of a factor or variable
    that is not there, or one without where others have one; when called, for contents of another size.
    """
    groups = len(graph.variables)
    if variables is None or callable(variables):
        if variables is None and conditions is not None and shared is None and groups:
            raise RescoreError("composed_score: the factors' model is conditional: give the variables a score of their own")
        variables = [variables or factor] * groups
    if len(variables) != groups:
        raise RescoreError(
            f"composed_score: {len(variables)} scores of variables; allowed: {groups}, one a group, or one for all"
        )
    if conditions is not None:
        check_conditions(conditions, len(graph.factors))
    if shared is not None and len(shared) != groups:
        raise RescoreError(f"composed_score: shared conditions of {len(shared)} groups of variables; allowed: {groups}")
    for group, own in zip(graph.variables, shared or (), strict=False):
        check_conditions(own, len(group), "variable")
    ones = torch.ones(len(graph.factors), dtype=torch.float64)
    parts: list[Part] = [(factor, graph.factors, ones, conditions)]
    unconditional: list[Any] = [None] * groups
    parts += list(zip(variables, graph.variables, graph.weights, shared or unconditional, strict=True))

    def score(u: Tensor, t: float) -> Tensor:
        return _collect(graph.size, parts, u, t, chunk)

    return score


def averaged_score(
    size: Sequence[int], patches: Tensor, factor: PieceScore, conditions: Mapping[int, Tensor] | None = None
) -> Score:
    """The mean, at each position, of the scores of the patches that hold it: a baseline. Arguments as of `composed_score`.

    With `side_by_side` patches, which share nothing, it is the score of independent pieces.

    Args:
        size: of the content.
        patches: (n, *patch) flat positions, such as `graph.factors`.

    Raises RescoreError for a position that no patch holds.
    """
    counts = torch.bincount(patches.flatten(), minlength=math.prod(size))
    if not counts.all():
        raise RescoreError(f"averaged_score: no patch holds position {int(counts.argmin())} of the content {tuple(size)}")
    if conditions is not None:
        check_conditions(conditions, len(patches))
    parts = [(factor, patches, torch.ones(len(patches), dtype=torch.float64), conditions)]
    shares = (1 / counts.double()).reshape(tuple(size))

    def score(u: Tensor, t: float) -> Tensor:
        return _collect(tuple(size), parts, u, t) * shares.to(u)

    return score


def check_conditions(conditions: Mapping[int, Tensor], nodes: int, kind: str = "factor") -> None:
    """Raise RescoreError unless there is one condition for each factor (or variable) and none for another."""
    for j in conditions:
        if j not in range(nodes):
            raise RescoreError(f"condition of {kind} {j}: there is no such {kind}; allowed: 0 to {nodes - 1}")
    for j in range(nodes):
        if j not in conditions:
            raise RescoreError(f"{kind} {j} has no condition, others have one; allowed: one a {kind}, or none at all")


Part = tuple[Callable[..., Tensor], Tensor, Tensor, Mapping[int, Tensor] | None]


def _collect(size: tuple[int, ...], parts: Sequence[Part], u: Tensor, t: float, chunk: int | None = None) -> Tensor:
    """The weighted sum of all parts' scores, each added where its patch lies."""
    if tuple(u.shape[2:]) != tuple(size):
        raise RescoreError(f"contents of shape {tuple(u.shape)}; allowed: (batch, channels, {', '.join(map(str, size))})")
    content = u.flatten(2)
    total = torch.zeros_like(content)
    for model, patches, weights, conditions in parts:
        together = len(patches) if chunk is None else max(1, chunk // len(u))
        for start in range(0, len(patches), together):
            which = range(start, min(start + together, len(patches)))
            positions, weight = patches[start : which.stop].to(u.device), weights[start : which.stop].to(u)
            pieces = content[:, :, positions].transpose(1, 2).flatten(0, 1)  # (batch x pieces, C, *patch)
            given = () if conditions is None else (stacked(conditions, which, len(u)),)
            scores = model(pieces, t, *given).unflatten(0, (len(u), len(which)))
            scores = scores * weight.reshape(1, -1, *[1] * (scores.ndim - 2))
            added = scores.transpose(1, 2).flatten(2)  # (batch, C, pieces x patch)
            total = total.scatter_add(2, positions.flatten().expand(added.shape), added)
    return total.reshape(u.shape)


def stacked(conditions: Mapping[int, Tensor], which: Sequence[int], batch: int) -> Tensor:
    """The conditions of some factors for a batch, sample by sample: (batch x pieces, *condition)."""
    expanded = [conditions[j].expand(batch, *conditions[j].shape[1:]) for j in which]
    return torch.stack(expanded, 1).flatten(0, 1)
