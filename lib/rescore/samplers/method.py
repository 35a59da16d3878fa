"""A sampler before it has a process and times: what it applies to, its order, what a step costs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Generic, TypeVar

from rescore.processes.base import LinearSDE
from rescore.samplers.base import Sampler, Times

Made = TypeVar("Made", bound=Sampler, covariant=True)
Count = int | None | Callable[[Any], int | None]
"""A number, or a function of the options (as attributes) that gives it."""


@dataclass(frozen=True)
class Method(Generic[Made]):
    """`method(process, times, **options)` makes the sampler.

    Args:
        make: does that.
        applies: the classes of processes that it applies to; another one is a RescoreError.
        of_order: global order of convergence to the probability flow; None for a stochastic or adaptive method. Of a multistep
            method that of its later steps: the first ones leave an error of order 2, which is small where eps is flat near T.
        per_step: score evaluations of a step; None for an adaptive method.
        options: given to `make`.
    """

    make: Callable[..., Made]
    applies: type | tuple[type, ...] = LinearSDE
    of_order: Count = None
    per_step: Count = 1
    options: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, process: LinearSDE, times: Times, *arguments: Any, **options: Any) -> Made:
        return self.make(process, times, *arguments, **{**self.options, **options})

    @property
    def name(self) -> str:
        return self.make.__name__

    @property
    def order(self) -> int | None:
        return self._count(self.of_order)

    @property
    def evaluations_per_step(self) -> int | None:
        return self._count(self.per_step)

    def applies_to(self, process: LinearSDE) -> bool:
        return isinstance(process, self.applies)

    def where(self, **options: Any) -> Method[Made]:
        """The method with these options."""
        return Method(self.make, self.applies, self.of_order, self.per_step, {**self.options, **options})

    def _count(self, count: Count) -> int | None:
        if not callable(count):
            return count
        parameters = inspect.signature(self.make).parameters.values()
        defaults = {one.name: one.default for one in parameters if one.default is not one.empty}
        return count(SimpleNamespace(**{**defaults, **self.options}))


def method(
    *, applies: type | tuple[type, ...] = LinearSDE, order: Count = None, evaluations_per_step: Count = 1
) -> Callable[[Callable[..., Made]], Method[Made]]:
    """Decorator that makes a `Method` of a function or class."""

    def decorate(make: Callable[..., Made]) -> Method[Made]:
        made = Method(make, applies, order, evaluations_per_step)
        object.__setattr__(made, "__doc__", make.__doc__)
        object.__setattr__(made, "__wrapped__", make)
        return made

    return decorate
