"""The benchmark of log Z: every sampler on every target, at smoke scale."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from measuring import as_records, measured
from pinned import check_pinned
from rescore.config import validated
from rescore.errors import Diverged, MissingData, RescoreError, TrainingDiverged
from rescore.ledger.claims import evaluate
from rescore.ledger.published import read_published
from rescore.ledger.records import Record
from rescore.montecarlo.importance import prior_log_weights
from rescore.montecarlo.logz import log_mean_exp, logz_statistics
from rescore.papers import load_config, load_paper
from rescore.random import make_generator
from rescore.targets import Rescaled
from rescore.targets.named import make_target

PAPER = load_paper("log_z")
METHODS = {"importance", "smc", "aft", "vi_nf", "snf", "pis", "dds", "dis"}
MODES_AND_OTHERS = ("mg", "gmm40", "student2", "funnel", "manywell32")  # of a claim on SNF
CHEAP = frozenset({"importance", "smc", "aft"})
OTHER_METHODS = {"brownian": METHODS - {"snf"} | {"truth"}, "lgcp": CHEAP, "lgcp_synthetic": CHEAP}


TARGETS = ("mg_released", "funnel")


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    """The smoke job, of two targets: the gate compares those of all."""
    config = load_config(PAPER, "smoke")
    job = config.jobs["all"]
    job = job.model_copy(update={"measure": {name: job.measure[name] for name in TARGETS}})
    config = config.model_copy(update={"jobs": {"all": job}})
    return measured(PAPER, config, "all", tmp_path_factory.mktemp("log_z"))


@pytest.fixture(scope="module")
def more(tmp_path_factory, pines):
    return measured(PAPER, load_config(PAPER, "smoke"), "more", tmp_path_factory.mktemp("log_z_more"))


@pytest.fixture(scope="module")
def snf(tmp_path_factory):
    return measured(PAPER, load_config(PAPER, "smoke"), "snf", tmp_path_factory.mktemp("log_z_snf"))


def test_scales_measure_all():
    assert read_published(PAPER.folder / "published.csv", "log_z") == []
    for scale in PAPER.scales:
        config = load_config(PAPER, scale)
        steps = [(step.subject, step.section) for job in config.jobs.values() for step in job.steps]
        wanted = {target: OTHER_METHODS.get(target, METHODS) for target in config.datasets}
        assert sorted(steps) == sorted((target, method) for target in wanted for method in wanted[target])
    assert len(load_config(PAPER, "laptop").seeds) >= 3


def test_every_cell_has_its_numbers(result):
    found = {}
    for row in as_records(PAPER, result):
        found.setdefault((row.dataset, row.method, row.variant), {})[row.metric] = row
    rows = {("importance", ""), ("SMC", ""), ("VI-NF", "")} | {
        (m, v) for m in ("PIS", "DDS", "DIS") for v in ("KL", "log-variance")
    }
    assert set(found) == {(target, *row) for target in TARGETS for row in rows} and not result.skipped
    base = {"logz_bias", "logz_std", "logz_rmse", "training_evaluations", "evaluations"}
    for (_, method, _), metrics in found.items():
        assert set(metrics) == base | (set() if method == "SMC" else {"ess", "elbo_gap"})
        assert all(math.isfinite(row.value) and row.stderr is not None for row in metrics.values())
        assert metrics["evaluations"].value == 40 * metrics["evaluations"].nfe
        assert {row.n_samples for row in metrics.values() if row.over != "exact"} == {40 * 4}, "particles and runs"
        if "ess" in metrics:
            assert 1 / 40 - 1e-9 <= metrics["ess"].value <= 1
    costs = {method: (of["training_evaluations"].value, of["evaluations"].nfe) for (_, method, _), of in found.items()}
    assert costs == {"importance": (0, 1), "SMC": (0, 1 + 2 * 1 * 2), "VI-NF": (30, 1)} | dict.fromkeys(
        ("PIS", "DDS", "DIS"), (3 * 10 * 5, 5)
    )


def test_numbers_are_what_they_were(result):
    check_pinned("log_z", result.measurements, result)


def test_numbers_of_the_later_rows_are_what_they_were(more):
    check_pinned("log_z_more", more.measurements, more)


def test_later_rows_have_their_numbers(more):
    found = {}
    for row in as_records(PAPER, more):
        found.setdefault((row.dataset, row.method, row.variant), {})[row.metric] = row
    aft = {target for target, method, _ in found if method == "AFT"}
    assert aft == set(load_config(PAPER, "smoke").datasets) and not more.skipped
    # two temperatures: three steps and a validation before and after them on 10 particles, and two runs, each a flow and a move
    for target in aft:
        its = found[target, "AFT", ""]
        assert (its["training_evaluations"].value, its["logz_std"].nfe) == (
            10 * (2 + 2 * (2 * (1 + 2) + 3 + 2)),
            1 + 2 * (1 + 2),
        )
        assert (its["logz_std"].n_seeds, its["logz_std"].over) == (2, "trainings")
    exact = found["brownian", "quadrature", ""]["logz"]
    assert (exact.over, exact.value) == ("exact", make_target("brownian").log_z)
    long, short = (found["brownian", "SMC", variant]["logz_rmse"] for variant in ("long", ""))
    assert (long.nfe, short.nfe) == (1 + 3 * 2, 1 + 2 * 2) and "temperatures=3" in long.protocol
    # the grid of 10 cells a side has no log Z that is known: the estimate stands in place of its error
    for target in ("lgcp", "lgcp_synthetic"):
        rows = [found[target, method, ""] for method in ("importance", "SMC", "AFT")]
        assert all("logz" in row and "logz_rmse" not in row and "elbo_gap" not in row for row in rows)
        assert all(row["evaluations"].value == 20 * row["evaluations"].nfe for row in rows)


def test_numbers_of_stochastic_flows_are_what_they_were(snf):
    check_pinned("log_z_snf", snf.measurements, snf)


def test_rows_of_stochastic_flows_have_their_numbers(snf):
    found = {}
    for row in as_records(PAPER, snf):
        found.setdefault((row.dataset, row.method, row.variant), {})[row.metric] = row
    targets = load_config(PAPER, "smoke").jobs["all"].measure
    assert set(found) == {(target, "SNF", variant) for target in targets for variant in ("", "identity")} and not snf.skipped
    names = {"logz_bias", "logz_std", "logz_rmse", "ess", "elbo_gap", "training_evaluations", "evaluations"}
    for (_, _, variant), metrics in found.items():
        # three blocks of two moves: weights take three evaluations, moves of the second and of the last block three each
        assert set(metrics) == names and metrics["training_evaluations"].value == (0 if variant else 3 * 10 * (3 + 3))
        assert (metrics["evaluations"].value, metrics["ess"].nfe) == (40 * (3 + 2 * 3), 3 + 2 * 3)
        assert (metrics["ess"].n_seeds, metrics["ess"].over) == ((1, "runs") if variant else (2, "trainings"))
        assert metrics["elbo_gap"].value > 0 and ("train_steps=3" in metrics["ess"].protocol) == (variant == "")
        assert "flow_blocks=3" in metrics["ess"].protocol and "metropolis_size=0.3" in metrics["ess"].protocol


def test_stochastic_flows_without_a_training_or_maps_are_importance_sampling(tmp_path):
    """One rate of 1e-30 and no moves: the weights of draws of N(0, I), run by run."""
    content = load_config(PAPER, "smoke").model_dump()
    content["snf"] |= {"lr": 1e-30, "moves": 0}
    config = validated(PAPER.module("config").Config, content | {"jobs": {"x": {"measure": {"mg": ["snf"]}}}}, "c.yaml")
    result = measured(PAPER, config, "x", tmp_path)
    rows, alone = ({row.metric: row for row in result.measurements if row.variant == of} for of in ("", "identity"))
    target, found = Rescaled(make_target("mg"), 4), []
    for seed in range(2):
        streams = [make_generator("log_z", "mg", "SNF", "", "run", seed, r) for r in range(2)]
        found.append(log_mean_exp(prior_log_weights(target, 40, streams, torch.float32)).numpy())
    streams = [make_generator("log_z", "mg", "SNF", "identity", "run", 0, r) for r in range(4)]
    same = log_mean_exp(prior_log_weights(target, 40, streams, torch.float32)).numpy()[None]
    for its, log_z in ((rows, np.stack(found)), (alone, same)):
        expected = {name: pytest.approx(value, rel=1e-4) for name, (value, _) in logz_statistics(log_z, 0.0).items()}
        assert {name: its[name].value for name in expected} == expected


def test_without_the_pines_their_rows_say_so(monkeypatch, tmp_path):
    def absent():
        raise MissingData("no pines")

    monkeypatch.setattr("rescore.targets.named.load_pines", absent)
    config = load_config(PAPER, "smoke")
    cheap = {"lgcp": ("importance", "smc", "aft")}
    config = config.model_copy(update={"jobs": {"lgcp": config.jobs["more"].model_copy(update={"measure": cheap})}})
    result = measured(PAPER, config, "lgcp", tmp_path)
    assert not result.measurements and list(result.skipped) == [{"dataset": "lgcp", "reason": "no pines"}]


def test_the_pines_count_for_their_jobs_alone(monkeypatch):
    config = load_config(PAPER, "laptop")
    monkeypatch.setattr(PAPER.module("config"), "pines_at_hand", lambda: True)
    assert {job for job in config.jobs if config.data_fingerprint(job)} == {"lgcp"}


def test_claims_compare_the_table():
    claims = PAPER.module("claims").CLAIMS

    def rows(**values):
        names = ("funnel", "brownian", "lgcp")
        pairs = [((name, method, ""), values[method]) for name in names for method in ("AFT", "SMC")]
        pairs += [((name, m, ""), values[m]) for name in ("mg", "gmm40", "student2") for m in ("SNF", "VI-NF")]
        pairs += [((name, "SNF", ""), values["SNF"]) for name in ("funnel", "manywell32")]
        pairs += [((name, "SNF", "identity"), values["identity"]) for name in MODES_AND_OTHERS]
        cells = dict([*pairs, (("brownian", "SMC", "long"), values["long"])])
        return [
            Record(
                paper="log_z", table="log_z", dataset=dataset, method=method, variant=variant, metric="logz_rmse", nfe=1,
                value=value, stderr=0.01, df=11, over="runs", n_seeds=3, n_samples=1, protocol="", scale="laptop",
                device="cpu", seconds=0.0, version="0", config_hash="0" * 12,
            )
            for (dataset, method, variant), value in cells.items()
        ]  # fmt: skip

    better = {"AFT": 0.2, "SMC": 0.5, "SNF": 0.3, "VI-NF": 0.6, "identity": 0.7, "long": 0.04}
    worse = {"AFT": 0.5, "SMC": 0.2, "SNF": 0.6, "VI-NF": 0.3, "identity": 0.4, "long": 0.2}
    status = {row["claim"]: row["status"] for row in evaluate("log_z", claims, rows(**better))}
    names = [f"aft-better-{name}" for name in ("funnel", "brownian", "lgcp")]
    names += [f"snf-better-{name}" for name in ("mg", "gmm40", "student2")]
    names += [f"maps-help-moves-{name}" for name in MODES_AND_OTHERS]
    assert status == dict.fromkeys((*names, "brownian-log-z"), "holds")
    status = {row["claim"]: row["status"] for row in evaluate("log_z", claims, rows(**worse))}
    assert set(status.values()) == {"fails"}


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


def test_a_candidate_changes_one_setting_of_what_stands_only_as_a_default():
    """The rest of it stays."""
    smoke = load_config(PAPER, "smoke")
    config = type(smoke).model_validate(smoke.model_dump(exclude={"aft"}))
    assert "aft" not in config.model_fields_set
    changed = config._changed({"aft": {"layers": config.aft.layers + 1}}, "candidates.x", "a candidate").aft
    assert changed == config.aft.model_copy(update={"layers": config.aft.layers + 1})


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
