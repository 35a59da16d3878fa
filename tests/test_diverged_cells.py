"""A cell that diverges is left out with its reason, and the others of the job are measured."""

from types import SimpleNamespace

import pytest
import torch
from rescore.errors import Diverged, RescoreError
from rescore.experiments.book import Book, Run
from rescore.experiments.journal import Measurement
from rescore.metrics import sliced_wasserstein
from rescore.models.evaluate import Sampling, TrainedModels
from rescore.processes import VP, grids
from rescore.samplers import AdaptiveFlow, euler_maruyama
from rescore.specs.config import Evaluation
from rescore.specs.model import ModelSpec

SPEC = ModelSpec.model_validate({"data": "digits", "process": {"name": "VP"}, "network": {"name": "mlp"}, "steps": 1})


class Judge:
    """Every metric is the mean of the samples."""

    def __call__(self, x, metrics):
        return {metric: x.mean().item() for metric in metrics}

    def protocol(self, metric, x):
        return {"judge": "mean"}


class Config:
    jobs, models, training_seeds = {"job": SimpleNamespace(models=("model",))}, {"model": SPEC}, (3, 4)
    evaluation = Evaluation(samples=2, likelihood_images=2, tolerance=1e-2)


@pytest.fixture
def trained(tmp_path):
    """Makes models of two seeds, of which one may give NaN."""
    return lambda diverges_at_seed: models_of(tmp_path, diverges_at_seed)


def models_of(folder, diverges_at_seed):
    models = TrainedModels(Book(Config(), Run("p", "smoke", "job", folder, "cpu", 1)))

    def load(name, seed):
        def score(u, t):
            return -u * (float("nan") if seed == diverges_at_seed else 1.0)

        return SimpleNamespace(spec=SPEC, device="cpu", process=VP(), score=score, network=SimpleNamespace(score=lambda: score))

    models.load, models.judge = load, Judge()
    return models


def cells():
    times = grids.uniform(VP(), 5)
    for variant, adapt in (("first", None), ("bad", lambda score: lambda u, t: score(u, t) / 0.0), ("last", None)):
        yield Sampling("1", "EM", variant, "model", euler_maruyama(VP(), times), adapt=adapt)


def measure(models, samplings) -> list[Measurement]:
    models.measure(samplings, "cells", ("fid",))
    return models.book.measurements


def test_the_other_cells_of_trained_models_are_measured(trained):
    models = trained(None)
    assert [(row.variant, row.n_seeds) for row in measure(models, cells())] == [("first", 2), ("last", 2)]
    assert models.book.skipped == [
        {
            "table": "1",
            "dataset": "digits",
            "method": "EM",
            "variant": "bad",
            "nfe": 5,
            "reason": "diverged: training seed 3: OneStep: the score at t = 1 is not finite",
        }
    ]


def test_a_cell_needs_all_its_seeds(trained):
    models = trained(4)
    flow = Sampling("2", "ODE", "", "model", AdaptiveFlow(VP(), [1.0, 0.1], 1e-2))
    assert measure(models, [*cells(), flow]) == []
    assert [(row["variant"], row["nfe"]) for row in models.book.skipped] == [("first", 5), ("bad", 5), ("last", 5), ("", None)]
    assert models.book.skipped[-1]["reason"] == "diverged: training seed 4: AdaptiveFlow: the score at t = 1 is not finite"


def test_a_likelihood_that_diverges_is_skipped(trained):
    models = trained(4)
    models.likelihood("3", "ODE", "", "model")
    assert models.book.measurements == []
    (row,) = models.book.skipped
    assert (row["table"], row["nfe"]) == ("3", None)
    assert row["reason"].startswith("diverged: training seed 4: likelihood by the probability flow of VP(")


def test_a_likelihood_that_does_not_is_measured(trained):
    models = trained(None)
    models.likelihood("3", "ODE", "", "model")
    assert [(row.metric, row.n_seeds) for row in models.book.measurements] == [("bpd", 2)]


def test_bad_input_is_not_a_divergence(trained):
    def refuse(score):
        raise RescoreError("bad input")

    cell = Sampling("1", "EM", "", "model", euler_maruyama(VP(), grids.uniform(VP(), 5)), adapt=refuse)
    with pytest.raises(RescoreError, match="^bad input$"):
        measure(trained(None), [cell])


def test_a_distance_that_is_not_finite_is_a_divergence():
    x = torch.zeros(3, 2, dtype=torch.float64)
    with pytest.raises(Diverged, match="a point is not finite"):
        sliced_wasserstein(x / 0.0, x)
    with pytest.raises(Diverged, match="the distance overflows"):
        sliced_wasserstein(x + 1e300, x)
