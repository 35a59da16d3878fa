"""What a job leaves is what its sections found, one after another."""

from types import SimpleNamespace

import numpy as np
from measuring import run_of
from rescore.config import PaperConfig, validated
from rescore.cost.evaluations import note
from rescore.errors import MissingData
from rescore.experiments import book as book_module
from rescore.experiments.run import measure


def section(method, size):
    """One cell of `size` evaluations, with an array of so many numbers, and then no file."""

    def run(book):
        with book.cell("1", "mg", method) as cell:
            if cell.todo:
                note(size)
                cell.arrays[method] = np.zeros(size)
                cell.add("value", [float(size)])
        raise MissingData("no file")

    return run


def test_a_job_is_its_sections_and_says_once_what_stopped_several(monkeypatch, tmp_path):
    """A clock that goes on by a second with each look: what the first process took is the second one's too."""
    ticks = iter(range(99))
    monkeypatch.setattr(book_module, "_clocks", lambda: ((now := float(next(ticks))), now / 2))
    paper = SimpleNamespace(name="toy", value=lambda *_: {"first": section("a", 1), "second": section("b", 2)})
    config = validated(PaperConfig, {"jobs": {"all": {"measure": ["first", "second"]}}}, "toy.yaml")
    found, again = (measure(paper, config, run_of(paper, "all", tmp_path)) for _ in range(2))
    for one in (found, again):
        assert [(number.method, number.value) for number in one.measurements] == [("a", 1.0), ("b", 2.0)]
        assert {name: len(array) for name, array in one.arrays.items()} == {"a": 1, "b": 2}
        assert one.skipped == [{"reason": "no file"}] and one.function_evaluations == 3
    assert (found.earlier_seconds, found.earlier_cpu_seconds) == (0.0, 0.0)
    assert (again.earlier_seconds, again.earlier_cpu_seconds) == (2.0, 1.0)
