"""Structured linear operators: the coefficients of a linear SDE, as cheap as its structure allows.

An operator holds float64 numbers for a batch of times. It acts on a state u of shape (batch, *state): a `Diagonal` multiplies
coordinates (one number for an isotropic process, one per frequency for blurring diffusion), a `Block` is the same 2x2 matrix
for every pair (x, v) of a state of shape (batch, 2, *data). Both know composition `A @ B`, sum, `A.T`, `A.inv()` and Cholesky
factors, so that a sampler written with operators serves every process.

Shapes: `values` is (*times, *event) for `Diagonal` and (*times, *event, 2, 2) for `Block`; `event` are trailing dimensions
of the data that the operator resolves (none, or frequencies). Applied to u, the `times` line up with the leading dimensions
of u.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor


def _spread(values: Tensor, event_ndim: int, ndim: int) -> Tensor:
    """Insert ones between the times and the event dimensions so that `values` has `ndim` dimensions."""
    times = values.ndim - event_ndim
    return values.reshape(values.shape[:times] + (1,) * (ndim - values.ndim) + values.shape[times:])


def _factor(values: Tensor, event_ndim: int, like: Tensor) -> Tensor | float:
    """`values` ready to multiply a tensor like `like`: a Python number where there is only one."""
    if values.ndim == 0:
        return values.item()
    return _spread(values.to(like), event_ndim, like.ndim)


@dataclass(frozen=True, eq=False)
class Operator(ABC):
    """A `Diagonal` or a `Block`; operators that meet in a sum or a product are of one kind."""

    values: Tensor
    event_ndim: int = 0

    matrix_ndim = 0

    def __getitem__(self, index: Any) -> Self:
        """The operator at some of the times."""
        return type(self)(
            self.values[index], self.event_ndim
        )  # not `replace`: samplers take one for each of thousands of steps

    def __iter__(self) -> Iterator[Self]:
        """The operators at each of the first times."""
        return (self[i] for i in range(len(self.values)))

    @abstractmethod
    def __call__(self, u: Tensor) -> Tensor:
        """The operator's product with u, of the shape of u."""

    @abstractmethod
    def __add__(self, other: Self) -> Self: ...

    @abstractmethod
    def __matmul__(self, other: Self) -> Self: ...

    def __neg__(self) -> Self:
        return replace(self, values=-self.values)

    def __sub__(self, other: Self) -> Self:
        return self + (-other)

    def __mul__(self, scale: Tensor | float) -> Self:
        """`scale` is a number, or one number per time."""
        scale = torch.as_tensor(scale, dtype=torch.float64)
        trailing = self.event_ndim + self.matrix_ndim
        return replace(self, values=self.values * scale.reshape(scale.shape + (1,) * trailing))

    __rmul__ = __mul__

    @property
    @abstractmethod
    def T(self) -> Self:
        """The transposed operator."""

    @abstractmethod
    def inv(self) -> Self:
        """The inverse."""

    @abstractmethod
    def identity(self) -> Self:
        """The identity with the same times."""

    @abstractmethod
    def cholesky(self) -> Self:
        """Lower triangular L with L L^T = A, for A positive semi-definite."""

    @abstractmethod
    def corner(self) -> Diagonal:
        """The operator's part from data coordinates to data coordinates."""

    @abstractmethod
    def logdet(self, state: tuple[int, ...]) -> Tensor:
        """log |det A| on states of shape `state`, shape (*times)."""

    @abstractmethod
    def trace(self, state: tuple[int, ...]) -> Tensor:
        """tr A on states of shape `state`, shape (*times)."""

    def unsqueeze(self, dim: int) -> Self:
        """Insert a time dimension of size 1 at `dim` >= 0."""
        return replace(self, values=self.values.unsqueeze(dim))

    def combine(self, weights: Tensor) -> Self:
        """sum_q weights[n, j, q] A[n, q]: an operator with times (n, j), from times (n, q)."""
        n, q = self.values.shape[:2]
        values = weights @ self.values.reshape(n, q, -1)
        return replace(self, values=values.reshape(n, weights.shape[1], *self.values.shape[2:]))

    def is_finite(self) -> bool:
        return bool(self.values.isfinite().all())

    def _operands(self, other: Operator) -> tuple[Tensor, Tensor, int]:
        event = max(self.event_ndim, other.event_ndim)

        def lift(op: Operator) -> Tensor:
            return _spread(op.values, op.event_ndim + op.matrix_ndim, op.values.ndim + event - op.event_ndim)

        return lift(self), lift(other), event


Entry = Tensor | float


class Diagonal(Operator):
    """Multiplication of coordinates."""

    def __call__(self, u: Tensor) -> Tensor:
        return _factor(self.values, self.event_ndim, u) * u

    def __add__(self, other: Diagonal) -> Diagonal:
        a, b, event = self._operands(other)
        return Diagonal(a + b, event)

    def __matmul__(self, other: Diagonal) -> Diagonal:
        a, b, event = self._operands(other)
        return Diagonal(a * b, event)

    @property
    def T(self) -> Diagonal:
        return self

    def inv(self) -> Diagonal:
        return replace(self, values=1 / self.values)

    def identity(self) -> Diagonal:
        return replace(self, values=torch.ones_like(self.values))

    def cholesky(self) -> Diagonal:
        """The root; a variance that rounding left below 0 counts as 0."""
        return replace(self, values=self.values.clamp_min(0).sqrt())

    def power(self, exponent: float) -> Diagonal:
        return replace(self, values=self.values**exponent)

    def corner(self) -> Diagonal:
        """The operator's part from data coordinates to data coordinates (all of it)."""
        return self

    def logdet(self, state: tuple[int, ...]) -> Tensor:
        """log |det A| on states of shape `state`, shape (*times)."""
        times = self.values.ndim - self.event_ndim
        log = self.values.abs().log().flatten(times).sum(-1) if self.event_ndim else self.values.abs().log()
        return log * (_size(state) / _size(self.values.shape[times:]))

    def trace(self, state: tuple[int, ...]) -> Tensor:
        """tr A on states of shape `state`, shape (*times)."""
        times = self.values.ndim - self.event_ndim
        values = self.values.flatten(times).sum(-1) if self.event_ndim else self.values
        return values * (_size(state) / _size(self.values.shape[times:]))


class Block(Operator):
    """The same 2x2 matrix on every pair (x, v); the pair is the first state dimension."""

    matrix_ndim = 2

    def __call__(self, u: Tensor) -> Tensor:
        dim = max(1, self.values.ndim - 2 - self.event_ndim)
        x, v = u.unbind(dim)
        (a, b), (c, d) = ([_factor(self.values[..., i, j], self.event_ndim, x) for j in (0, 1)] for i in (0, 1))
        return torch.stack((a * x + b * v, c * x + d * v), dim)

    def __add__(self, other: Block) -> Block:
        a, b, event = self._operands(other)
        return Block(a + b, event)

    def __matmul__(self, other: Block) -> Block:
        a, b, event = self._operands(other)
        return Block(a @ b, event)

    @property
    def T(self) -> Block:
        return replace(self, values=self.values.mT)

    def inv(self) -> Block:
        a, b, c, d = self._entries()
        det = a * d - b * c
        return self._of(d / det, -b / det, -c / det, a / det)

    def identity(self) -> Block:
        return replace(self, values=torch.eye(2, dtype=torch.float64).expand_as(self.values))

    def cholesky(self) -> Block:
        """Lower triangular L with L L^T = A, for A positive semi-definite (a zero variance gives a zero row)."""
        a, _, c, d = self._entries()
        l11 = a.clamp_min(0).sqrt()
        l21 = torch.where(l11 > 0, c / l11, 0)
        return self._of(l11, torch.zeros_like(a), l21, (d - l21**2).clamp_min(0).sqrt())

    def corner(self) -> Diagonal:
        """The part from x to x."""
        return Diagonal(self.values[..., 0, 0], self.event_ndim)

    def logdet(self, state: tuple[int, ...]) -> Tensor:
        """log |det A| on states of shape `state` = (2, *data), shape (*times)."""
        a, b, c, d = self._entries()
        return Diagonal(a * d - b * c, self.event_ndim).logdet(state[1:])

    def trace(self, state: tuple[int, ...]) -> Tensor:
        """tr A on states of shape `state` = (2, *data), shape (*times)."""
        a, _, _, d = self._entries()
        return Diagonal(a + d, self.event_ndim).trace(state[1:])

    def _entries(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        a, b, c, d = self.values.flatten(-2).unbind(-1)
        return a, b, c, d

    def _of(self, a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Block:
        return block(a, b, c, d, self.event_ndim)


def block(a: Entry, b: Entry, c: Entry, d: Entry, event_ndim: int = 0) -> Block:
    """The operator [[a, b], [c, d]]; the entries broadcast."""
    p, q, r, s = torch.broadcast_tensors(*(torch.as_tensor(entry, dtype=torch.float64) for entry in (a, b, c, d)))
    return Block(torch.stack((torch.stack((p, q), -1), torch.stack((r, s), -1)), -2), event_ndim)


def _size(shape: tuple[int, ...]) -> int:
    return torch.Size(shape).numel()
