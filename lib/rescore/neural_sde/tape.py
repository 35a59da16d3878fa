"""Pulling vectors back through a field at known states, one time after another: what the stochastic adjoint asks for.

The vector of a time follows from what was pulled back at the next one; the states are known. So an MLP is evaluated at all of
them in one call, only d value / dx is sequential, and the gradients to the parameters wait until all vectors are there.

References:
    thesis, chapter 3: DiffFlow, arXiv:2110.07579.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from rescore.cost.evaluations import note
from rescore.neural_sde.network import FourierMLP


class Replay:
    """The tapes of a field and the sum of the gradients to its trained parameters.

    Args:
        graphs: no tape by hand, which a `FourierMLP` has whose parameters are all trained.

    Attributes:
        gradients: in the order of `field.parameters()`, None where there is none.
    """

    def __init__(self, field: nn.Module, graphs: bool = False):
        every = list(field.parameters())
        self.field, self.parameters = field, [p for p in every if p.requires_grad]
        self.by_hand = isinstance(field, FourierMLP) and len(every) == len(self.parameters) and not graphs
        self.gradients: list[Tensor | None] = [None] * len(self.parameters)

    def tape(self, x: Tensor, t: Tensor, together: bool = False) -> GraphTape | MLPTape:
        """At states x (K, n, *data) and times t (K,); `together`: of one vector for all of them."""
        return MLPTape(self, x, t) if self.by_hand else GraphTape(self, x, t, together)

    def add(self, more: Sequence[Tensor | None]) -> None:
        for i, grad in enumerate(more):
            if grad is not None:
                before = self.gradients[i]
                self.gradients[i] = grad if before is None else before.add_(grad)


class GraphTape:
    """Of any field, by a graph for each time, or `together` by one for all.

    Attributes:
        value: the field at the states, of their shape.
    """

    def __init__(self, replay: Replay, x: Tensor, t: Tensor, together: bool):
        self._replay = replay
        self._x = [part.detach().requires_grad_() for part in ([x] if together else x)]
        with torch.enable_grad():
            self._values = [replay.field(part, time) for part, time in zip(self._x, [t] if together else t, strict=True)]
        self.value = self._values[0].detach() if together else torch.stack([value.detach() for value in self._values])

    def pull(self, k: int | slice, vector: Tensor) -> Tensor:
        """vector^T d value_k / dx_k, of the shape of `vector`; k falls from K - 1 to 0, or is all of them together."""
        value, x = self._values.pop(), self._x.pop()  # its graph ends here
        if not value.requires_grad:
            return torch.zeros_like(x)
        to_x, *to_parameters = torch.autograd.grad(value, [x, *self._replay.parameters], vector, allow_unused=True)
        self._replay.add(to_parameters)
        return torch.zeros_like(x) if to_x is None else to_x

    def finish(self) -> None:
        """Once all is pulled back, the replay has the gradients to the parameters."""


class MLPTape:
    """The same of a `FourierMLP`, by hand and without a graph.

    With h_0 = W_x x + time, a_l = gelu(h_l), h_{l+1} = W_l a_l + b_l: delta_l = (W_l^T delta_{l+1}) gelu'(h_l), and W_l has the
    gradient sum of delta_{l+1} a_l^T. It keeps a_l, gelu'(h_l) and delta_l.
    """

    def __init__(self, replay: Replay, x: Tensor, t: Tensor):
        field = replay.field
        assert isinstance(field, FourierMLP)
        self._replay, self._layers = replay, [field.first, *field.hidden, field.last]
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
        return delta @ self._layers[0].weight

    def finish(self) -> None:
        found: list[Tensor] = []
        with torch.no_grad():
            for value, delta in zip(self._inputs, self._deltas, strict=True):
                flat = delta.flatten(0, 1)
                found += [flat.T @ value.flatten(0, 1), flat.sum(0)]
        of_time = self._replay.parameters[: -len(found)]  # its phases and its layers stand before the others
        self._replay.add([*torch.autograd.grad(self._embedded, of_time, self._deltas[0].sum(1)), *found])


def _gelu(h: Tensor) -> tuple[Tensor, Tensor]:
    """h Phi(h) and its derivative Phi(h) + h phi(h), with the normal law's Phi and phi."""
    below = torch.erf(h * math.sqrt(0.5)).add_(1).mul_(0.5)
    density = h.square().mul_(-0.5).exp_().mul_(1 / math.sqrt(2 * math.pi))
    return h * below, density.mul_(h).add_(below)
