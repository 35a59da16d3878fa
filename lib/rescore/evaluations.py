"""How many points networks are evaluated at, counted where the calls happen, whoever makes them."""

from collections.abc import Callable, Mapping
from types import TracebackType

from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook


class CountEvaluations:
    """Counts, inside a `with` block, the points at which modules of some kinds are called.

    Args:
        points: by the kind of a module, how many points its first argument holds. No kind may be a part of another, whose calls
            would count twice.

    Attributes:
        total: evaluations so far.
    """

    def __init__(self, points: Mapping[type[nn.Module], Callable[[Tensor], int]]):
        self.points, self.total = dict(points), 0

    def __enter__(self) -> "CountEvaluations":
        self._handle = register_module_forward_hook(self._add)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._handle.remove()

    def _add(self, module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        if count := self.points.get(type(module)):
            self.total += count(args[0])
