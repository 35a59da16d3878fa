"""How much memory the graphs of automatic differentiation keep, counted in tensors rather than in the process's pages."""

from collections.abc import Callable
from types import TracebackType

import torch
from torch import Tensor, nn


class SavedBytes:
    """Counts, inside a `with` block, the bytes that graphs save for their backward pass, the model's parameters left out.

    Attributes:
        now: bytes held at this moment.
        peak: the most held at any moment.
    """

    def __init__(self, model: nn.Module):
        self._parameters = {p.untyped_storage().data_ptr() for p in model.parameters()}
        self.now = self.peak = 0

    def __enter__(self) -> "SavedBytes":
        hooks = torch.autograd.graph.saved_tensors_hooks
        self._hooks = hooks(lambda tensor: _Packed(tensor, self), lambda packed: packed.tensor)
        self._hooks.__enter__()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._hooks.__exit__(kind, error, trace)


def peak_bytes(model: nn.Module, losses: Callable[[], Tensor]) -> int:
    """The most that graphs hold in a step of training: the losses (n,) of a batch and the gradient of their mean."""
    with SavedBytes(model) as saved:
        losses().mean().backward()
    return saved.peak


def kept_bytes(model: nn.Module) -> int:
    """What a training with Adam keeps beside its graphs: the weights, their gradient, the two moments and the average."""
    return 5 * sum(p.numel() * p.element_size() for p in model.parameters())


class _Packed:
    """A saved tensor; its bytes are given back when the graph drops it."""

    def __init__(self, tensor: Tensor, count: SavedBytes):
        own = tensor.untyped_storage().data_ptr() in count._parameters
        self.tensor, self.count, self.bytes = tensor, count, 0 if own else tensor.numel() * tensor.element_size()
        count.now += self.bytes
        count.peak = max(count.peak, count.now)

    def __del__(self):
        self.count.now -= self.bytes
