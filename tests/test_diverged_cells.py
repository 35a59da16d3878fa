"""A cell that diverges is left out with its reason, and the others of the job are measured."""

from types import SimpleNamespace

import pytest
import torch

from rescore.errors import Diverged, RescoreError
from rescore.experiments.run import Notebook
from rescore.metrics import sliced_wasserstein
from rescore.models.evaluate import Cell, TrainedModels
from rescore.models.spec import Evaluation, ModelSpec
from rescore.processes import VP, grids
from rescore.samplers import AdaptiveFlow, euler_maruyama

SPEC = ModelSpec.model_validate({"data": "digits", "process": {"name": "VP"}, "network": {"name": "mlp"}, "steps": 1})


class Judge:
    """Every metric is the mean of the samples."""

    def __call__(self, x, metrics):
        return {metric: x.mean().item() for metric in metrics}

    def protocol(self, metric, x):
        return {"judge": "mean"}


def trained(diverges_at_seed):
    """Models of two seeds, of which one gives NaN."""
    config = SimpleNamespace(
        jobs={"job": SimpleNamespace(models=("model",))}, models={"model": SPEC}, training_seeds=(3, 4),
        evaluation=Evaluation(samples=2, likelihood_images=2, tolerance=1e-2),
    )  # fmt: skip
    models = TrainedModels(config, SimpleNamespace(paper="p", job="job", device="cpu"), {})

    def load(name, seed):
        def score(u, t):
            return -u * (float("nan") if seed == diverges_at_seed else 1.0)

        return SimpleNamespace(process=VP(), score=score, network=SimpleNamespace(score=lambda: score))

    models.load, models.judge = load, Judge()
    return models


def cells():
    times = grids.uniform(VP(), 5)
    for variant, adapt in (("first", None), ("bad", lambda score: lambda u, t: score(u, t) / 0.0), ("last", None)):
        yield Cell("1", "EM", variant, "model", euler_maruyama(VP(), times), adapt=adapt)


def test_the_other_cells_of_trained_models_are_measured():
    models = trained(None)
    found = list(models.measure(cells(), "cells", ("fid",)))
    assert [(row.variant, row.n_seeds) for row in found] == [("first", 2), ("last", 2)]
    assert models.skipped == [{
        "table": "1", "dataset": "digits", "method": "EM", "variant": "bad", "nfe": 5,
        "reason": "diverged: training seed 3: OneStep: the score at t = 1 is not finite",
    }]  # fmt: skip


def test_a_cell_needs_all_its_seeds():
    models = trained(4)
    flow = Cell("2", "ODE", "", "model", AdaptiveFlow(VP(), [1.0, 0.1], 1e-2, 1e-2))
    assert list(models.measure([*cells(), flow], "cells", ("fid",))) == []
    assert [(row["variant"], row["nfe"]) for row in models.skipped] == [("first", 5), ("bad", 5), ("last", 5), ("", None)]
    assert models.skipped[-1]["reason"] == "diverged: training seed 4: AdaptiveFlow: the score at t = 1 is not finite"


def test_a_likelihood_that_diverges_is_skipped():
    models = trained(4)
    assert list(models.likelihood("3", "ODE", "", "model")) == []
    (row,) = models.skipped
    assert (row["table"], row["nfe"]) == ("3", None)
    assert row["reason"].startswith("diverged: training seed 4: likelihood by the probability flow of VP(")
    assert len(list(trained(None).likelihood("3", "ODE", "", "model"))) == 1


def test_bad_input_is_not_a_divergence():
    def refuse(score):
        raise RescoreError("bad input")

    cell = Cell("1", "EM", "", "model", euler_maruyama(VP(), grids.uniform(VP(), 5)), adapt=refuse)
    with pytest.raises(RescoreError, match="^bad input$"):
        list(trained(None).measure([cell], "cells", ("fid",)))


def test_a_distance_that_is_not_finite_is_a_divergence():
    x = torch.zeros(3, 2, dtype=torch.float64)
    with pytest.raises(Diverged, match="a point is not finite"):
        sliced_wasserstein(x / 0.0, x)
    with pytest.raises(Diverged, match="the distance overflows"):
        sliced_wasserstein(x + 1e300, x)


def test_a_notebook_goes_on_behind_a_divergence_and_not_behind_bad_input():
    book = Notebook()
    for method, error in (("first", Diverged("too large")), ("second", None)):
        with book.skipping(table="1", method=method):
            if error:
                raise error
            book.exact("1", "data", method, "", "count", 1.0, {})
    assert [row.method for row in book.measurements] == ["second"]
    assert book.skipped == [{"table": "1", "method": "first", "reason": "diverged: too large"}]
    with pytest.raises(RescoreError, match="^bad input$"), book.skipping(table="1"):
        raise RescoreError("bad input")
