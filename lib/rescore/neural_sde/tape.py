"""Pulling vectors back through a field at known states, one time after another: what the stochastic adjoint asks for.

The vector of a time follows from what was pulled back at the next one; the states are known. So an MLP is evaluated at all of
them in one call, only d value / dx is sequential, and the gradients to the parameters wait until all vectors are there.

References:
    thesis, chapter 3: DiffFlow, arXiv:2110.07579.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeGuard

import torch
from torch import Tensor, nn

from rescore.cost.evaluations import note
from rescore.neural_sde.network import FourierMLP


class Gradients:
    """Sums of gradients to the trained parameters of a module, in their order; `values` are None where there is none."""

    def __init__(self, module: nn.Module):
        self.values: list[Tensor | None] = [None for p in module.parameters() if p.requires_grad]

    def add(self, more: Sequence[Tensor | None]) -> None:
        for i, grad in enumerate(more):
            if grad is not None:
                before = self.values[i]
                self.values[i] = grad if before is None else before.add_(grad)


class GraphTape:
    """Of any field, by a graph for each time, or `together` by one for all.

    Attributes:
        value: the field at states x (K, n, *data) and times t (K,), of the shape of x.
    """

    def __init__(self, field: nn.Module, x: Tensor, t: Tensor, together: bool):
        self._parameters = [p for p in field.parameters() if p.requires_grad]
        self._gradients = Gradients(field)
        self._x = [part.detach().requires_grad_() for part in ([x] if together else x)]
        with torch.enable_grad():
            self._values = [field(part, time) for part, time in zip(self._x, [t] if together else t, strict=True)]
        self.value = self._values[0].detach() if together else torch.stack([value.detach() for value in self._values])

    def pull(self, k: int | slice, vector: Tensor) -> Tensor:
        """vector^T d value_k / dx_k, of the shape of `vector`; k falls from K - 1 to 0, or is all of them together."""
        value, x = self._values.pop(), self._x.pop()  # its graph ends here
        if not value.requires_grad:
            return torch.zeros_like(x)
        to_x, *to_parameters = torch.autograd.grad(value, [x, *self._parameters], vector, allow_unused=True)
        self._gradients.add(to_parameters)
        return torch.zeros_like(x) if to_x is None else to_x

    def finish(self) -> Sequence[Tensor | None]:
        """The gradients to the field's trained parameters of all that was pulled back."""
        return self._gradients.values


class MLPTape:
    """The same of a `FourierMLP` all of whose parameters are trained, by hand and without a graph.

    With h_0 = W_x x + time, a_l = gelu(h_l), h_{l+1} = W_l a_l + b_l: delta_l = (W_l^T delta_{l+1}) gelu'(h_l), and W_l has the
    gradient sum of delta_{l+1} a_l^T. It keeps a_l, gelu'(h_l) and delta_l.
    """

    def __init__(self, field: FourierMLP, x: Tensor, t: Tensor):
        self._field, self._layers = field, [field.first, *field.hidden, field.last]
        note(x.shape[:-1].numel())
        with torch.enable_grad():
            self._embedded = field.embed(t)
        self._inputs, self._slopes = [x], []
        with torch.no_grad():
            h = field.first(x) + self._embedded.unsqueeze(-2)
            for layer in self._layers[1:]:
                value, slope = _gelu(h)
                self._inputs.append(value)
                self._slopes.append(slope)
                h = layer(value)
        self.value = h
        self._deltas = [torch.empty_like(value) for value in (*self._slopes, h)]

    @torch.no_grad()
    def pull(self, k: int | slice, vector: Tensor) -> Tensor:
        self._deltas[-1][k] = delta = vector
        for layer, slope, kept in zip(self._layers[:0:-1], self._slopes[::-1], self._deltas[-2::-1], strict=True):
            delta = torch.mul(delta @ layer.weight, slope[k], out=kept[k])
        return delta @ self._field.first.weight

    def finish(self) -> Sequence[Tensor | None]:
        field, found = self._field, {}
        with torch.no_grad():
            for layer, value, delta in zip(self._layers, self._inputs, self._deltas, strict=True):
                flat = delta.flatten(0, 1)
                found |= {layer.weight: flat.T @ value.flatten(0, 1), layer.bias: flat.sum(0)}
        of_time = [field.phase, *field.time.parameters()]
        found |= dict(zip(of_time, torch.autograd.grad(self._embedded, of_time, self._deltas[0].sum(1)), strict=True))
        return [found[p] for p in field.parameters()]


def by_hand(field: nn.Module) -> TypeGuard[FourierMLP]:
    """Whether it has an `MLPTape`: a `FourierMLP` all of whose parameters are trained."""
    return isinstance(field, FourierMLP) and all(p.requires_grad for p in field.parameters())


def tape_of(field: nn.Module, x: Tensor, t: Tensor, graphs: bool = False, together: bool = False) -> GraphTape | MLPTape:
    """By hand where that can be and `graphs` are not asked for, else by graphs."""
    return MLPTape(field, x, t) if by_hand(field) and not graphs else GraphTape(field, x, t, together)


def _gelu(h: Tensor) -> tuple[Tensor, Tensor]:
    """h Phi(h) and its derivative Phi(h) + h phi(h), with the normal law's Phi and phi."""
    below = torch.erf(h * math.sqrt(0.5)).add_(1).mul_(0.5)
    density = h.square().mul_(-0.5).exp_().mul_(1 / math.sqrt(2 * math.pi))
    return h * below, density.mul_(h).add_(below)
