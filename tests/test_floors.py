"""Real images in place of samples: which images make which floor, and how many."""

from types import SimpleNamespace

import pytest
import torch
from matplotlib.figure import Figure
from rescore.experiments.book import Book, Run
from rescore.figures import FLOORS, real_images
from rescore.metrics.features import Features
from rescore.metrics.images import evaluate
from rescore.models import judge as judges
from rescore.models.evaluate import TrainedModels, repeats
from rescore.models.judge import Judge, RealScore
from rescore.models.parts import Parts
from rescore.random import make_generator


def features(source: str, n: int, shift: float = 0.0) -> Features:
    values = torch.randn(n, 2, generator=make_generator("test", source)) + shift
    return Features("stub", source, values, values)


REAL, OTHERS = features("digits/train", 40), features("digits/test", 12, 1.0)
JUDGE = Judge(SimpleNamespace(name="stub"), REAL, OTHERS)


@pytest.mark.parametrize(("samples", "n"), [(10, 10), (12, 12), (50, 12)])
def test_each_floor_has_as_many_images_against_the_whole_reference(samples, n, monkeypatch):
    seen = []

    def watched(images, real, *rest):
        seen.append((images, real))
        return evaluate(images, real, *rest)

    monkeypatch.setattr(judges, "evaluate", watched)
    found = list(JUDGE.of_real(["fid"], samples))
    assert [(one.variant, one.metric, one.n) for one in found] == [("held out", "fid", n), ("training images", "fid", n)]
    assert all(real is REAL for _, real in seen)
    rows = [torch.randperm(len(x), generator=make_generator("floor", x.source))[:n] for x in (OTHERS, REAL)]
    rows[0] = rows[0] if n < 12 else torch.arange(12)
    for (images, _), all_of_them, which in zip(seen, (OTHERS, REAL), rows, strict=True):
        assert images.source == all_of_them.source and torch.equal(images.values, all_of_them.values[which])
    assert found[1].value < 0.5 < found[0].value, "the training images are of the reference, the others a unit away"
    common = {"features": "stub", "n_samples": n, "quantised": "uint8-truncated", "reference": "digits/train/40"}
    assert found[0].protocol == common | {"images": "digits/test, not in the reference"}
    assert found[1].protocol == common | {"images": "digits/train, part of the reference"}


def test_all_of_the_reference_is_at_no_distance_and_nothing_may_be_held_out():
    (found,) = Judge(JUDGE.extractor, REAL, None).of_real(["fid"], 50)
    assert (found.variant, found.n) == ("training images", 40) and found.value == pytest.approx(0, abs=1e-5)


class Config:
    jobs: dict = {"job": SimpleNamespace()}


def test_the_floors_of_trained_models_are_records_of_single_runs(tmp_path):
    models = object.__new__(TrainedModels)
    scores = [RealScore("held out", "fid", 9.5, 70, {"a": 1}), RealScore("training images", "fid", 4.0, 70, {"a": 2})]
    asked = []
    book = Book(Config(), Run("p", "smoke", "job", tmp_path, "cpu", 1))
    models.__dict__ |= {
        "book": book,
        "_parts": Parts(),
        "data": "digits",
        "config": SimpleNamespace(evaluation=SimpleNamespace(samples=70)),
        "held_out": SimpleNamespace(images=torch.zeros(9, 1, 8, 8, dtype=torch.uint8)),
        "judge": SimpleNamespace(of_real=lambda *how: asked.append(how) or scores),
    }
    models.floor("6.2", ("fid",))
    found = book.measurements
    assert asked == [(("fid",), 70)] and list(book.arrays) == ["digits/real"]
    assert [(one.variant, one.value, one.protocol) for one in found] == [
        ("held out", 9.5, {"a": 1}),
        ("training images", 4.0, {"a": 2}),
    ]
    for one in found:
        assert (one.table, one.dataset, one.method, one.metric, one.nfe) == ("6.2", "digits", "real images", "fid", None)
        assert (one.stderr, one.df, one.over, one.n_seeds, one.n_samples) == (None, None, "runs", 1, 70)
    for parts, job in ((Parts(2, 3), SimpleNamespace()), (Parts(), SimpleNamespace(floors=False))):
        models._parts, book.config.jobs = parts, {"job": job}
        models.floor("6.2", ("fid",))
    assert len(asked) == 1, "another job, or another part of this one, measures them"


@pytest.mark.parametrize("across", [False, True])
def test_figures_have_a_line_for_each_floor(across):
    """Dashed for held-out images, dotted for training images, whatever stands before; none for a model."""
    kinds = (("real images", "held out", 9.5), ("real images", "MLP (VE), training images", 4.0), ("DDIM", "held out", 7.0))
    rows = [SimpleNamespace(method=method, variant=variant, value=value) for method, variant, value in kinds]
    ax = Figure().subplots()
    real_images(ax, rows, across)
    drawn = [(line.get_linestyle(), (line.get_xdata() if across else line.get_ydata())[0]) for line in ax.lines]
    assert drawn == [("--", 9.5), (":", 4.0)]
    assert list(FLOORS) == [judges.HELD_OUT, judges.TRAINING]


def test_several_trainings_are_sampled_once_and_a_single_one_with_every_seed():
    assert repeats((4, 5, 6), (0, 1)) == ("trainings", [(4, 4), (5, 5), (6, 6)])
    assert repeats((4,), (0, 1)) == ("samplings", [(4, 0), (4, 1)])
