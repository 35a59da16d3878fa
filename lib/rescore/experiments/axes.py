"""What varies within a table, typed, and how its records spell a choice: nothing reads it back from the text."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Axes:
    """The `variant` of a table's records as a function of what varies.

    `LAM = Axes("lam={lam:g}")`; `LAM(lam=0.5)` is the text `lam=0.5`, and `LAM.by("lam", (0.0, 0.5))` finds a record's value
    again: `{"lam=0": 0.0, "lam=0.5": 0.5}`.

    Args:
        template: a format string over the names of the axes.
    """

    template: str

    def __call__(self, **values: Any) -> str:
        return self.template.format(**values)

    def by(self, axis: str, values: Iterable[Any], **others: Any) -> dict[str, Any]:
        """By variant the value of one axis, the others fixed."""
        return {self(**{axis: value}, **others): value for value in values}


def samples_name(data: str, table: str, method: str, variant: str = "", nfe: int | None = None) -> str:
    """The array of a cell's first samples, for figures: `<data>/<table>/<method>, <variant>/<nfe>`; no nfe if adaptive."""
    name = ", ".join(filter(None, (method, variant)))
    return "/".join((data, table, name, *(() if nfe is None else (str(nfe),))))
