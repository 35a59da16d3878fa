"""What a job leaves is what its sections found, one after another."""

from types import SimpleNamespace

import numpy as np
import pytest
from measuring import run_of
from rescore.config import PaperConfig, validated
from rescore.cost.evaluations import note
from rescore.errors import MissingData
from rescore.experiments import book as book_module
from rescore.experiments.run import measure
from rescore.specs.config import ModelConfig, ModelJob


class Config(ModelConfig):
    jobs: dict[str, ModelJob]


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


@pytest.mark.parametrize(("models", "told"), [((), {}), (("a", "b"), {"dataset": "cifar10"}), (("a", "other"), {})])
def test_what_stops_a_section_is_of_the_data_of_its_models(models, told, tmp_path):
    """Without it the reason would be that of every printed number of the paper."""
    of = {"data": "cifar10", "process": {"name": "VP"}, "network": {"name": "mlp"}, "steps": 1}
    specs = {"a": of, "b": of | {"steps": 2}, "other": of | {"data": "digits"}}
    content = {"models": specs, "jobs": {"all": {"measure": ["first"], "models": models}}}
    paper = SimpleNamespace(name="toy", value=lambda *_: {"first": section("a", 1)})
    found = measure(paper, validated(Config, content, "toy.yaml"), run_of(paper, "all", tmp_path))
    assert found.skipped == [told | {"reason": "no file"}]
