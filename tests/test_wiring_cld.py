"""How CLD's sections are wired: which samplers on which models, what samples are compared with, what one section reads."""

import pytest
import torch
from measuring import book_of, configured, measured
from recorded_models import RecordedModels
from rescore.config import step_hash
from rescore.errors import RescoreError
from rescore.metrics import sliced_wasserstein
from rescore.papers import load_config, load_paper
from rescore.processes import CLD, VP
from rescore.random import Streams
from rescore.samplers import AdaptiveFlow

PAPER = load_paper("cld")
trained, problems = PAPER.module("trained"), PAPER.module("problems")


def test_samplings_of_trained_models(monkeypatch, tmp_path):
    models = RecordedModels({"cld": CLD(), "vp": VP(), "cld-m1": CLD(M=1.0)})
    monkeypatch.setattr(trained, "TrainedModels", lambda book: models)
    trained.trained(book_of(PAPER, load_config(PAPER, "smoke"), "all", tmp_path))
    assert models.likelihoods == [(("1", "CLD", "ODE-RK45", "cld"), {}), (("1", "VPSDE", "ODE-RK45", "vp"), {})]
    assert models.floors == ["9"] and models.trainings == 1
    for one in models.samplings:
        sampler, process = one.sampler, models.process(one.model)
        assert sampler.process is process and (sampler.times[0], sampler.times[-1]) == (1.0, process.eps)
        assert sampler.denoise == ("none" if one.variant == "DDIM" else "euler")
        if isinstance(sampler, AdaptiveFlow):
            assert sampler.tolerance == one.protocol["tolerance"]
            assert (one.variant, one.protocol["grid"]) == ("ODE-RK45-1e-1", "adaptive")
        elif one.method == "CLD":
            assert one.protocol == {"grid": {"EM-US": "US", "EM-QS": "QS", "SSCS-US": "US", "SSCS-QS": "QS"}[one.variant]}
        elif one.method == "VPSDE":
            assert one.protocol == {"grid": {"EM-US": "US", "DDIM": "quadratic"}[one.variant]}
    ablated = [one for one in models.samplings if one.method == "CLD-ablation"]
    assert {(one.model, one.table, one.variant) for one in ablated} == {
        ("cld", "4", "M^-1=4"),
        ("cld", "5", "gamma=0.04"),
        ("cld", "sec5.3", "mixed-score"),
        ("cld-m1", "4", "M^-1=1"),
    }
    assert {one.sampler.nfe for one in ablated} == {10} and {one.protocol["sampler"] for one in ablated} == {"EM-QS"}


def test_budgets_name_the_samplers_of_the_tables():
    settings = load_config(PAPER, "laptop")
    for section in (settings.frechet, settings.digits, settings.trained):
        assert {(process, variant) for process, variant, _ in section.cells} <= set(problems.RECIPES)
    assert ("VPSDE", "DDIM", 150) in settings.digits.cells and ("CLD", "EM-QS", 250) in settings.digits.cells


def test_all_samplers_of_a_seed_start_alike_and_the_floor_is_of_fresh_draws(tmp_path):
    """Batches hold the seeds one after another; sw2 of method `exact` is that of two independent sets of exact draws."""
    content = {"mixture": {"nfe": [10], "samples": 5}, "seeds": [3, 4], "jobs": {"one": {"measure": ["mixture"]}}}
    config = configured(PAPER, content)
    result = measured(PAPER, config, "one", tmp_path)
    toy = problems.mixture(config, problems.PROCESSES["VPSDE"], 5)
    for part, seed in zip(toy.start().split(5), (3, 4), strict=True):
        assert torch.equal(
            part, VP().prior_sample((5, 2), Streams.named("cld", "mixture9", "VP", "prior", seed, n=5), torch.float64)
        )
    draws = {name: toy.draws("cld", "mixture9", name) for name in ("data", "exact")}
    expected = [sliced_wasserstein(*pair, projections=50) for pair in zip(draws["exact"], draws["data"], strict=True)]
    (floor,) = [one for one in result.measurements if (one.method, one.metric) == ("exact", "sw2")]
    assert floor.value == pytest.approx(sum(expected) / 2) and (floor.n_seeds, floor.n_samples) == (2, 10)
    assert {(one.method, one.variant) for one in result.measurements} - {("exact", "")} == set(problems.RECIPES) - {
        ("VPSDE", "DDIM")
    }


def test_a_section_depends_on_its_own_settings():
    base = load_config(PAPER, "laptop")
    other = configured(PAPER, base.model_dump(mode="json") | {"digits": {"samples": 7}})
    changed = {
        step.section
        for job in base.jobs
        for step in base.jobs[job].steps
        if step_hash(base, "cld", job, step) != step_hash(other, "cld", job, step)
    }
    assert changed == {"digits"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"digits": {"cld": {"EM-XS": [10]}}}, r"digits\.cld\.EM-XS.*'EM-US', 'EM-QS', 'SSCS-US' or 'SSCS-QS'"),
        ({"splitting": {"nfe": [10]}}, r"splitting\.nfe: .*at least 2"),
        ({"damping": {"points": 1}}, r"damping\.points: .*2"),
        ({"densities": {"cells": 1}}, r"densities\.cells: .*2"),
        ({"scores": {"times": [0.1, 2.0]}}, r"scores\.times.*1"),
        ({"paths": {"times": [0.5, 0.1]}}, r"paths: times: 0\.5 comes first; allowed: 1,"),
        ({"jobs": {"one": {"measure": ["toy"]}}}, r"jobs\.one\.measure.*'scores', 'damping'"),
    ],
)
def test_a_wrong_setting_is_named(content, message):
    with pytest.raises(RescoreError, match=message):
        configured(PAPER, {"jobs": {}} | content)


def test_trained_tables_need_models(tmp_path):
    config = configured(PAPER, {"jobs": {"one": {"measure": ["trained"]}}})
    with pytest.raises(RescoreError, match="cld one: no trained models; allowed"):
        measured(PAPER, config, "one", tmp_path)


def test_numbers_of_cifar10_that_two_tables_print_are_recorded_in_both(monkeypatch, tmp_path):
    config = load_config(PAPER, "paper")
    for data, expected in (
        ("cifar10", {("EM-QS", 2000): (("3", "EM-QS"), ("1", "SDE")), ("SSCS-QS", 150): (("3", "SSCS-QS"),)}),
        ("digits", {}),
    ):
        models = RecordedModels({"cld": CLD(), "vp": VP()}, data)
        monkeypatch.setattr(trained, "TrainedModels", lambda book, models=models: models)
        trained.trained(book_of(PAPER, config, "cld-1", tmp_path))
        assert {(one.variant, one.sampler.nfe): one.also for one in models.samplings if one.also} == expected
