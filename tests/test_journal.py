"""What code has kept, other code does not take for its own."""

from types import SimpleNamespace

import numpy as np
import pytest
from rescore.experiments import journal as module
from rescore.experiments.book import Book
from rescore.experiments.journal import Found, Journal


@pytest.fixture
def journal_of(tmp_path, monkeypatch):
    """journal_of(code): the journal that a process of this code opens."""

    def opened(code: str) -> Journal:
        monkeypatch.setattr(module, "code_digest", lambda *_: code)
        return Journal(tmp_path, None, "cpu")

    return opened


def test_each_code_finds_the_arrays_that_it_has_kept(journal_of):
    for code, value in (("old", 1.0), ("new", 2.0)):
        journal_of(code).keep("cell", Found(arrays={"x": np.full(3, value)}))
    assert [journal_of(code).get("cell").arrays["x"][0] for code in ("old", "new")] == [1.0, 2.0]
    assert journal_of("third").get("cell") is None


def test_what_is_kept_piece_by_piece_is_of_one_code(journal_of, tmp_path):
    places = [journal_of(code).place("runs") for code in ("old", "new", "old")]
    assert places[0] == places[2] != places[1] and {place.parent for place in places} == {tmp_path}


def test_repeats_that_are_equal_have_no_error_not_even_rounding():
    """Ten times 0.7: their mean is 0.7 and their spread 0, where sums in float64 leave 1e-16 of each."""
    book = Book(SimpleNamespace())
    with book.cell("1", "mg", "A", over="trainings") as cell:
        cell.add("same", [0.7] * 10)
        cell.add("near", [0.7, 0.7 + 1e-15])
    same, near = book.measurements
    assert (same.value, same.stderr, same.df) == (0.7, 0.0, 9) and near.stderr > 0
