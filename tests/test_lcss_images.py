"""LCSS's NCSNv2 on MNIST: which networks are sampled and how, the ladder of noise levels, claims and settings.

No test reads MNIST: the digits of scikit-learn, enlarged to 28x28, stand under its name.
"""

import math

import numpy as np
import pytest
from measuring import as_records, configured, measured
from rescore.config import Step
from rescore.data.images import load_images
from rescore.data.pixels import to_unit
from rescore.experiments.axes import samples_name
from rescore.ledger.claims import evaluate
from rescore.models.build import load_model
from rescore.models.judge import draw
from rescore.papers import load_config, load_paper
from rescore.processes import VE
from rescore.random import make_generator
from rescore.workflow.paths import snapshots
from test_mnist import enlarged as enlarged
from trained_case import trained_models

PAPER = load_paper("lcss")
claims, config, section = (PAPER.module(name) for name in ("claims", "config", "images"))
NAMES = ("ncsnv2_ssm", "ncsnv2_fd_ssm", "ncsnv2_dsm", "ncsnv2_lcss")
SAMPLES, SHAPE = 66, (1, 14, 14)


@pytest.fixture
def run(enlarged, tmp_path):
    """The smoke job: its config, the weights of its models, its result."""
    smoke = load_config(PAPER, "smoke")
    job = smoke.jobs["mnist"]
    evaluation = job.instead["evaluation"] | {"samples": SAMPLES}
    smoke = smoke.model_copy(
        update={"jobs": {"mnist": job.model_copy(update={"instead": job.instead | {"evaluation": evaluation}})}}
    )
    weights = trained_models(smoke, "mnist", tmp_path)
    return smoke, weights, measured(PAPER, smoke, "mnist", tmp_path, weights)


def test_what_is_measured_early_and_late(run):
    """Samples of the snapshot and of the last weights, the same starts and noise for all; a claim finds its records."""
    smoke, weights, result = run
    records = {(one.method, one.variant, one.metric): one for one in as_records(PAPER, result)}
    cells = {(method, f"NCSNv2, {when}") for method in config.OBJECTIVES.values() for when in ("early", "late")}
    floors = {("real images", kind, "fid") for kind in ("held out", "training images")}
    assert records.keys() == {(*cell, metric) for cell in cells for metric in ("fid", "variance_ratio")} | floors
    settings, seen = smoke.under("mnist").images, {}
    data = to_unit(load_images("mnist14", "train").images)
    for name in NAMES:
        spec = smoke.models[name]
        method = config.OBJECTIVES[spec.objective.name]
        sampler = section.annealed(VE(0.1, 16.0), 4, settings)
        path = weights[f"{name}/0"]
        for when, file, steps in (("early", snapshots(path)[2], 2), ("late", path, 4)):
            score = load_model(spec, file, SHAPE, "cpu").score
            x = [draw(sampler, score, SHAPE, SAMPLES, make_generator("samples", "mnist14", seed)).x for seed in (0, 1)]
            kept = result.arrays[samples_name("mnist14", "figs. 2-6", method, f"NCSNv2, {when}", 5)]
            assert np.allclose(kept, x[0][:8].numpy(), rtol=1e-4, atol=1e-4)
            found = {metric: records[method, f"NCSNv2, {when}", metric] for metric in ("fid", "variance_ratio")}
            ratios = [(one.var(0).mean() / data.var(0).mean()).item() for one in x]
            assert found["variance_ratio"].value == pytest.approx(np.mean(ratios), rel=1e-3)
            for one in found.values():
                assert (one.over, one.n_samples, one.nfe, one.dataset) == ("samplings", 2 * SAMPLES, 5, "mnist14")
                assert {f"train_steps={steps}", "relative_step=0.9", f"objective={spec.objective.name}"} <= set(
                    one.protocol.split("; ")
                )
            seen[method, when] = found["fid"].value
    assert seen["LCSS", "late"] == pytest.approx(seen["DSM", "late"], rel=1e-3), "the same network"
    assert len({round(value, 6) for value in seen.values()}) >= 6, "the others differ"
    lines = {line["claim"]: line for line in evaluate("lcss", claims.CLAIMS, list(records.values()))}
    ours = [claim.name for claim in claims.MNIST]
    assert all(lines[name]["status"] in ("holds", "fails", "inconclusive") for name in ours)
    assert lines["mnist-more-realistic-than-dsm"]["status"] == "inconclusive"
    assert {name for name, line in lines.items() if line["status"] != "not-run"} == set(ours)


def ideal(u, t):
    """The score of an image 0 as a network gives it that has one output for all sigma and divides it by sigma."""
    return -u / (u.square().mean().sqrt() * VE(0.1, 16.0).R(t).values)


@pytest.mark.parametrize(("step", "keeps_up"), [(0.9, True), (0.062, False)])
def test_the_ladder_of_scale_laptop_is_followed_with_its_step(step, keeps_up):
    """Of one image, in many dimensions: the noise's rms r becomes sqrt((r - a sigma)^2 + 2 a sigma^2) at each level.

    The step that belongs to NCSNv2's finer ladder would leave the noise far behind.
    """
    own = load_config(PAPER, "laptop").under("mnist")
    levels = {own.models[name].objective.levels for name in NAMES}
    process, (levels,) = VE(**own.models["ncsnv2_lcss"].process.settings), levels
    assert process == VE(0.1, 16.0) and own.images.relative_step == 0.9 and own.images.steps_per_level == 1
    sampler = section.annealed(process, levels, own.images.model_copy(update={"relative_step": step}))
    u = process.prior_sample((1, 1, 200, 200), make_generator("ladder")).double()
    r = u.square().mean().sqrt().item()
    for sigma in np.geomspace(16.0, 0.1, levels):
        r = math.sqrt((r - step * sigma) ** 2 + 2 * step * sigma**2)
    end = sampler(ideal, u, make_generator("steps")).square().mean().sqrt().item()
    assert end == pytest.approx(r - 0.1, rel=0.03)
    assert (end < 0.1) is keeps_up and sampler.nfe == levels + 1


def test_the_defaults_are_the_published_step_of_ncsnv2():
    """6.2e-6 at sigma = 0.01 in x + a s + sqrt(2 a) z, five times at each of 232 levels from 50 on (CIFAR-10)."""
    sampler = section.annealed(VE(0.01, 50.0), 232, config.Images())
    assert sampler.sizes[-1] / 2 == pytest.approx(6.2e-6) and sampler.sizes[0] / 2 == pytest.approx(6.2e-6 * 5000**2)
    assert sampler.nfe == 5 * 232 + 1 and sampler.denoise == "tweedie"


def test_the_models_differ_in_the_objective_alone():
    for scale in ("smoke", "laptop"):
        models = load_config(PAPER, scale).models
        whole = [models[name] for name in NAMES]
        objectives = [of.objective.model_copy(update={"name": "dsm"}) for of in whole]
        assert len({of.model_copy(update={"objective": objectives[0]}).key for of in whole}) == 1
        assert objectives == [objectives[0]] * 4
        assert [of.objective.name for of in whole] == list(config.OBJECTIVES)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"snapshots": 3}, "section images needs levels of the objective, and snapshots after 2 steps"),
        ({"snapshots": None}, "section images needs levels"),
        ({"steps": 2}, "before its last"),
        ({"objective": {"name": "dsm"}}, "section images needs levels"),
        ({"objective": {"name": "lcss", "levels": 4}}, "objectives lcss, lcss; allowed: one each of ssm, fd_ssm, dsm, lcss"),
        ({"objective": {"name": "hsm"}}, "objectives hsm, lcss; allowed: one each"),
    ],
)
def test_jobs_that_cannot_be(changes, message):
    smoke = load_config(PAPER, "smoke").model_dump(mode="json")
    smoke["models"] = {name: smoke["models"][name] for name in ("ncsnv2_dsm", "ncsnv2_lcss")}
    smoke["models"]["ncsnv2_dsm"] |= changes
    smoke["jobs"] = {"mnist": smoke["jobs"]["mnist"] | {"models": ["ncsnv2_dsm", "ncsnv2_lcss"]}}
    with pytest.raises(Exception, match=message):
        configured(PAPER, smoke)


def test_its_settings_are_its_own():
    """Those of the job on MNIST reach no other job, and no other section's settings reach it."""
    laptop = load_config(PAPER, "laptop")
    content = laptop.model_dump(mode="json")
    other = configured(PAPER, content | {"images": {"early": 30, "relative_step": 0.5}})
    for job in laptop.jobs:
        for step in laptop.jobs[job].steps:
            assert laptop.step_dependencies(job, step) == other.step_dependencies(job, step) or job == "mnist"
    changed = configured(PAPER, content | {"sampling": {"steps": 61}})
    assert changed.step_dependencies("mnist", Step("images")) == laptop.step_dependencies("mnist", Step("images"))
