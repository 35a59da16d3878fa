"""The benchmark of log Z: every sampler on every target, at smoke scale."""

import math
from types import SimpleNamespace

import pytest
from measuring import as_records, measured
from pinned import check_pinned
from rescore.config import validated
from rescore.errors import Diverged, RescoreError, TrainingDiverged
from rescore.ledger.published import read_published
from rescore.papers import load_config, load_paper
from rescore.targets import Rescaled
from rescore.targets.named import make_target

PAPER = load_paper("log_z")
METHODS = {"importance", "smc", "vi_nf", "pis", "dds", "dis"}


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    return measured(PAPER, load_config(PAPER, "smoke"), "all", tmp_path_factory.mktemp("log_z"))


def test_scales_measure_all():
    assert read_published(PAPER.folder / "published.csv", "log_z") == []
    for scale in PAPER.scales:
        config = load_config(PAPER, scale)
        steps = [(step.subject, step.section) for job in config.jobs.values() for step in job.steps]
        assert sorted(steps) == sorted((target, method) for target in config.datasets for method in METHODS)
    assert len(load_config(PAPER, "laptop").seeds) >= 3


def test_every_cell_has_its_numbers(result):
    config = load_config(PAPER, "smoke")
    found = {}
    for row in as_records(PAPER, result):
        found.setdefault((row.dataset, row.method, row.variant), {})[row.metric] = row
    rows = {("importance", ""), ("SMC", ""), ("VI-NF", "")} | {
        (m, v) for m in ("PIS", "DDS", "DIS") for v in ("KL", "log-variance")
    }
    assert set(found) == {(target, *row) for target in config.datasets for row in rows} and not result.skipped
    base = {"logz_bias", "logz_std", "logz_rmse", "training_evaluations", "evaluations"}
    for (_, method, _), metrics in found.items():
        assert set(metrics) == base | (set() if method == "SMC" else {"ess", "elbo_gap"})
        assert all(math.isfinite(row.value) and row.stderr is not None for row in metrics.values())
        assert metrics["evaluations"].value == 40 * metrics["evaluations"].nfe
        if "ess" in metrics:
            assert 1 / 40 - 1e-9 <= metrics["ess"].value <= 1
    costs = {method: (of["training_evaluations"].value, of["evaluations"].nfe) for (_, method, _), of in found.items()}
    assert costs == {"importance": (0, 1), "SMC": (0, 1 + 2 * 1 * 2), "VI-NF": (30, 1)} | dict.fromkeys(
        ("PIS", "DDS", "DIS"), (3 * 10 * 5, 5)
    )


def test_numbers_are_what_they_were(result):
    check_pinned("log_z", result.measurements, result)


def test_the_unit_of_a_target_moves_nothing_but_the_start():
    jobs = PAPER.module("jobs")

    class Book:
        config = load_config(PAPER, "smoke")

    target = jobs.target_of(Book, "gmm40")
    assert isinstance(target, Rescaled) and target.scale == 20
    assert (target.name, target.log_z) == ("gmm40", make_target("gmm40").log_z)


def test_runs_that_cannot_be_shared_out_are_one_clear_error():
    content = load_config(PAPER, "smoke").model_dump() | {"runs": 5}
    with pytest.raises(RescoreError, match="runs: 5 is not a multiple of the 2 seeds"):
        validated(PAPER.module("config").Config, content, "c.yaml")


@pytest.mark.parametrize(("caught", "raised"), [(TrainingDiverged, Diverged), (RescoreError, RescoreError)])
def test_only_a_training_that_diverges_is_skipped(monkeypatch, tmp_path, caught, raised):
    jobs = PAPER.module("jobs")

    def fit(*arguments, **options):
        raise caught("x: no finite loss")

    class Book:
        config = load_config(PAPER, "smoke")

        run = SimpleNamespace(folder=tmp_path)

    monkeypatch.setattr(jobs, "fit", fit)
    with pytest.raises(RescoreError) as error:
        jobs._fit(Book, jobs.target_of(Book, "mg"), "PIS", "KL", 3, None, Book.config.training, None)
    assert type(error.value) is raised and (raised is RescoreError or "seed 3" in str(error.value))
