"""A book that lists what a section on trained models would measure, before there are any models."""

from dataclasses import dataclass
from typing import Any

from rescore.experiments.book import Book, Run
from rescore.experiments.journal import Found


@dataclass(frozen=True)
class Listed:
    """A cell on a trained model that a section would measure: its place, its metrics and the config's name of the model.

    Args:
        again: its numbers are those of another cell, printed in two places.
    """

    table: str
    dataset: str
    method: str
    variant: str
    nfe: int | None
    metrics: tuple[str, ...]
    model: str
    again: bool = False


class Listing(Book):
    """A book in which nothing is to be measured: it lists what a section on trained models would measure, before there are any.

    Attributes:
        listed: the cells, in the order of the section.
    """

    listing = True

    def __init__(self, config: Any, run: Run):
        super().__init__(config, run)
        self.journal = Finished()  # type: ignore[assignment]  # a journal, as far as cells ask it
        self.listed: list[Listed] = []


class Finished:
    """A journal in which every cell is finished, and empty."""

    def get(self, cell: str) -> Found:
        return Found()

    def keep(self, cell: str, found: Found) -> None:
        """There is nothing to keep."""
