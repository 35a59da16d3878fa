"""How the papers' jobs are wired, with stubs whose answers are known: which estimator, which images, which sign."""

import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from rescore.config import validated
from rescore.data.images import ImageSet
from rescore.data.pixels import dequantise, to_unit
from rescore.data.planar import planar_set
from rescore.experiments.run import Notebook, Run
from rescore.likelihood import FlowLikelihood
from rescore.models.judge import RealScore
from rescore.papers import load_config, load_paper
from rescore.processes import VE, VP, grids
from rescore.random import derive_seed, make_generator
from rescore.samplers import PredictorCorrector
from rescore.samplers.base import OneStep

F64 = torch.float64


def module(paper: str, name: str):
    return load_paper(paper).module(name)


def run_of(paper: str, folder: Path, job: str = "job", models=None) -> Run:
    return Run(paper, "smoke", job, folder / "runs" / job, "0", "cpu", 1, models or {})


# --- DiffFlow ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def diffflow():
    paper = load_paper("diffflow")
    content = load_config(paper, "smoke").model_dump(mode="json") | {
        "samples": 40,
        "likelihoods": 30,
        "train_points": 500,
        "projections": 3,
        "sweep": [2, 4],
        "seeds": [1, 2],
    }
    return validated(paper.module("config").Config, content, "here")


class StubModel:
    """Its log density is the first coordinate less 3; it samples a constant, its number of steps."""

    method, sampling_steps, network = "stub", 9, torch.nn.Linear(2, 1)

    def __init__(self):
        self.asked = []

    def log_prob(self, x, tolerance, generator):
        self.asked.append(("log_prob", x, tolerance, generator.initial_seed()))
        return x[:, 0] - 3

    def sample(self, n, generator, steps=None, **options):
        self.asked.append(("sample", n, generator.initial_seed(), steps, options))
        return torch.zeros(n, 2)

    def trajectory(self, x, parts, generator):
        return torch.stack([x] * (parts + 1))


def test_planar_nll_is_that_of_test_draws(diffflow):
    planar = module("diffflow", "planar")
    problem, model = planar.Problem("checkerboard", diffflow), StubModel()
    values = planar.evaluate(problem, model, 1)
    (kind, x, tolerance, seed), sampled = model.asked
    raw = planar_set("checkerboard").sample(30, make_generator("diffflow", "checkerboard", 1, "test"))
    assert torch.equal(x, problem.scale(raw).float()) and tolerance == diffflow.tolerance
    assert seed == derive_seed("diffflow", "probes", 1)
    assert values["stub", "fig3.5", "", "nll", None] == pytest.approx(3 - x[:, 0].mean().item(), rel=1e-6)
    assert sampled == ("sample", 40, derive_seed("diffflow", "samples", 1), None, {})
    assert set(values) == {
        ("stub", "fig3.5", "", "nll", None),
        ("stub", "fig3.5", "", "sw2", 9),
        ("stub", "fig3.5", "", "off_support", 9),
    }
    zeros = torch.zeros(40, 2)
    assert values["stub", "fig3.5", "", "sw2", 9] == problem.distance(zeros, 1)
    assert values["stub", "fig3.5", "", "off_support", 9] == planar_set("checkerboard").off_support(
        problem.scale.inverse(zeros)
    )


def test_the_entropy_of_standardised_data(diffflow, monkeypatch, tmp_path):
    """h(z) = h(x) - sum log std; of the checkerboard h(x) = log 32."""
    planar = module("diffflow", "planar")
    monkeypatch.setattr(planar, "train", lambda problem, seed, run: iter([StubModel()]))
    book = Notebook()
    planar.measure_set(book, "checkerboard", diffflow, run_of("diffflow", tmp_path))
    raw = planar_set("checkerboard").sample(500, make_generator("diffflow", "checkerboard", "train"))
    expected = math.log(32) - raw.std(0, correction=0).log().sum().item()
    found = {(one.method, one.metric): one for one in book.measurements}
    assert found["entropy of the data", "nll"].value == pytest.approx(expected, rel=1e-12)
    assert expected < math.log(32), "the board is wider than a unit"
    floor = found["exact draws", "sw2"]
    problem = planar.Problem("checkerboard", diffflow)
    values = [problem.distance(problem.draws(seed, "floor", 40), seed) for seed in (1, 2)]
    assert floor.value == pytest.approx(np.mean(values)) and floor.n_samples == 80
    assert found["stub", "nll"].n_samples == 60 and found["stub", "sw2"].n_samples == 80
    assert book.arrays["samples/checkerboard/data"].shape == (40, 2)


def test_a_sweep_is_relative_to_its_largest_number(diffflow, monkeypatch):
    planar = module("diffflow", "planar")
    problem, model = planar.Problem("checkerboard", diffflow), StubModel()
    distances = iter((6.0, 2.0))
    monkeypatch.setattr(problem, "distance", lambda x, seed: next(distances))
    found = planar.sweep(problem, model, 2, "DDIM", "", deterministic=True)
    assert found == {
        ("DDIM", "3.4", "", "sw2", 2): 6.0,
        ("DDIM", "3.4", "", "sw2", 4): 2.0,
        ("DDIM", "3.5", "", "sw2_degeneracy", 2): 3.0,
        ("DDIM", "3.5", "", "sw2_degeneracy", 4): 1.0,
    }
    assert [call[3:] for call in model.asked] == [(2, {"deterministic": True}), (4, {"deterministic": True})]


def test_fids_of_images_are_relative_to_the_largest_number(diffflow):
    quality = module("diffflow", "image_quality")
    job = SimpleNamespace(training=SimpleNamespace(grid="L_beta", sampling_steps=8))
    asked = []

    def images(steps, lam):
        asked.append((steps, lam))
        return steps + 100 * (1 - lam)

    found = quality.diffflow_fids(job, diffflow, lambda x, metrics: {"fid": x}, images)
    assert asked == [(8, 1.0), (8, 0.0), (2, 1.0), (4, 1.0)]
    assert found == {
        ("3.3", "DiffFlow", "L_beta", "fid", 8): 8,
        ("3.3", "DiffFlow", "L_beta, ODE", "fid", 8): 108,
        ("3.4", "DiffFlow", "L_beta", "fid", 2): 2,
        ("3.4", "DiffFlow", "L_beta", "fid", 4): 4,
        ("3.5", "DiffFlow", "L_beta", "fid_degeneracy", 2): 0.5,
        ("3.5", "DiffFlow", "L_beta", "fid_degeneracy", 4): 1.0,
    }


def test_tabular_nll_is_in_the_units_of_the_data(diffflow, monkeypatch, tmp_path):
    """-log p(x) = log_scale - log p(z): of the test rows, with the scale of the train rows."""
    tabular = module("diffflow", "tabular")
    draw = make_generator("table")
    parts = [torch.randn(50, 3, generator=draw, dtype=F64) * scale for scale in (2.0, 3.0, 4.0)]
    data = SimpleNamespace(train=parts[0], validation=parts[1], test=parts[2])
    monkeypatch.setattr(tabular, "load_tabular", lambda name: data)
    seen = []

    def trainer(method, job, config, train, names):
        return None, lambda x: seen.append(x) or torch.full((len(x),), -7.0), None

    monkeypatch.setattr(tabular, "_trainer", trainer)
    validated_on = []
    monkeypatch.setattr(
        tabular, "stopped_at_best", lambda blank, train_to, loss, stops, folder: validated_on.append((loss(), stops))
    )
    job = next(part for part in diffflow.jobs["rest"].parts if part.kind == "tabular")
    book = Notebook()
    tabular.measure(book, job, diffflow, run_of("diffflow", tmp_path))
    std = parts[0].std(0, correction=0)
    for one in book.measurements:
        assert one.value == pytest.approx(7.0 + std.log().sum().item(), rel=1e-6)
    assert all(loss == 7.0 and stops == [2, 4] for loss, stops in validated_on)
    z = {name: ((part - parts[0].mean(0)) / std).float()[:10] for name, part in (("validation", parts[1]), ("test", parts[2]))}
    assert torch.allclose(seen[0], z["validation"]) and torch.allclose(seen[1], z["test"])


# --- LCSS --------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def studio(monkeypatch, tmp_path):
    quality, asked = module("lcss", "quality"), []
    images = {
        split: ImageSet(
            "digits",
            split,
            torch.randint(17, (9, 1, 8, 8), generator=make_generator(split)).mul(255).div(16).round().to(torch.uint8),
        )
        for split in ("train", "test")
    }
    monkeypatch.setattr(quality, "load_images", lambda name, split: images[split])
    monkeypatch.setattr(quality, "make_judge", lambda *arguments: asked.append(arguments) or SimpleNamespace())
    config = load_config(load_paper("lcss"), "smoke")
    return quality.Studio(config.jobs["all"], config, run_of("lcss", tmp_path, "all"), {}, []), images, asked


def test_lcss_judges_against_train_images(studio):
    found, images, asked = studio
    config = found.config
    ((features, reference, held_out, settings, folder, device),) = asked
    assert (features, device, settings.steps) == (config.quality.features, "cpu", config.quality.classifier_steps)
    assert reference is images["train"] and held_out is images["test"] and folder == found.run.folder.parent / "judges"


def test_lcss_bits_are_of_test_images(studio, monkeypatch):
    found, images, _ = studio
    calls = []

    def flow(score, process, x, generator, t0, rtol, atol):
        calls.append((score, process, x, generator.initial_seed(), t0, rtol, atol))
        return FlowLikelihood(torch.full((len(x),), 64.0), x, 1)

    monkeypatch.setattr(module("lcss", "quality"), "flow_log_prob", flow)
    models = [SimpleNamespace(network=SimpleNamespace(score=lambda name=name: f"score {name}"), process=name) for name in "ab"]
    bits = found.bits(models)
    assert bits == [pytest.approx(-1 / math.log(2) + 3)] * 2
    for seed, name, (score, process, x, generator, t0, rtol, atol) in zip(found.config.seeds, "ab", calls, strict=True):
        expected, per_unit = dequantise(images["test"].images[:8], make_generator("lcss", "bits", seed), 17)
        assert torch.equal(x, expected) and per_unit == 8 and generator == derive_seed("lcss", "bits", seed)
        assert (score, process, t0, rtol, atol) == (f"score {name}", name, 1e-5, 0.1, 0.1)


def test_lcss_samplers(studio):
    found = studio[0]
    for corrected in (True, False):
        sampler = found.sampler(VE(), corrected)
        assert (
            isinstance(sampler, PredictorCorrector) and sampler.corrector_steps == int(corrected) and sampler.denoise == "mean"
        )
        assert (sampler.snr, sampler.steps, sampler.corrector_first) == (
            found.config.quality.snr,
            found.config.quality.steps,
            True,
        )
    sampler = found.sampler(VP())
    assert (
        type(sampler) is OneStep
        and sampler.denoise == "mean"
        and torch.equal(sampler.grid, grids.uniform(VP(), found.config.quality.steps))
    )


def test_variance_and_roughness_of_images():
    quality = module("lcss", "quality")
    x = torch.tensor([[[[0.0, 2.0], [0.0, 2.0]]], [[[2.0, 2.0], [4.0, 0.0]]]])
    assert quality.variance(x) == pytest.approx((2 + 0 + 8 + 2) / 4)
    assert quality.roughness(x) == pytest.approx(0.5 * ((4 + 4 + 0 + 16) / 4 + (0 + 0 + 4 + 4) / 4))


# --- Soft Diffusion ----------------------------------------------------------------------------------------------------------


def test_soft_diffusion_is_trained_and_judged_as_its_config_says(monkeypatch, tmp_path):
    paper = load_paper("soft_diffusion")
    trained, jobs, problems = (paper.module(name) for name in ("trained", "jobs", "problems"))
    content = load_config(paper, "smoke").model_dump(mode="json")
    content["training"] |= {"clip": 0.7, "together": False}
    config = validated(paper.module("config").Config, content, "here")
    sets = {
        split: ImageSet("digits", split, torch.arange(n * 64).reshape(n, 1, 8, 8).remainder(256).to(torch.uint8))
        for split, n in (("train", 12), ("test", 9))
    }
    asked, judged = [], []
    monkeypatch.setattr(
        trained, "train_network", lambda *arguments: asked.append(arguments) or SimpleNamespace(network=torch.nn.Identity())
    )
    for name in ("held_out_losses", "sample", "strips"):
        monkeypatch.setattr(trained, name, lambda *_: None)
    monkeypatch.setattr(trained, "cleaner", lambda *_: None)

    class StubJudge:
        def of_real(self, metrics, samples):
            for metric in metrics:
                yield RealScore("held out", metric, 0.5, min(9, samples), {"n_samples": min(9, samples)})

        def protocol(self, metric, x):
            return {"n_samples": len(x)}

    monkeypatch.setattr(trained, "make_judge", lambda *arguments: judged.append(arguments) or StubJudge())
    corruptions = problems.Corruptions(config, problems.unit_interval(sets["train"]), tmp_path / "schedules")
    monkeypatch.setattr(problems.Corruptions, "__call__", lambda self, variant: problems.Corruptions.ve(self))
    book = jobs.Book(protocol={})
    run = run_of("soft_diffusion", tmp_path, "all")
    trained.measure(book, corruptions, ("main",), sets["train"], sets["test"], run)
    ((features, reference, held_out, classifier, folder, device),) = judged
    assert (features, classifier.steps, device) == (config.features, 5, "cpu") and folder == run.folder.parent / "judges"
    assert reference is sets["train"] and held_out is sets["test"]
    assert len(asked) == 2
    for seed, (_, _, plan, folder, device, every, label) in zip((0, 1), asked, strict=True):
        adam, settings = plan.adam, config.training
        assert (adam.steps, adam.lr, adam.warmup, adam.clip) == (settings.steps, settings.lr, settings.warmup, 0.7)
        assert (plan.data, plan.batch, plan.ema) == (12, settings.batch, settings.ema)
        assert (
            plan.seed == derive_seed("soft", f"main {seed}")
            and folder == run.folder / f"main-{seed}"
            and label == f"main {seed}"
        )
    values = {(one.method, one.metric): one for one in book.measurements}
    assert {one.variant for one in book.measurements if one.method == "real images"} == {"held out"}
    assert values["real images", "fid"].value == 0.5 and values["real images", "fid"].n_samples == 9
    assert values["real images", "fid"].protocol["n_samples"] == 9
    real = to_unit(sets["train"].images).flatten(1)
    parts = [trained.nearest(part, real)[0] for part in to_unit(sets["test"].images).chunk(4)]
    assert values["real images", "nearest"].value == pytest.approx(np.mean(parts))
    assert np.array_equal(book.arrays["real"], to_unit(sets["test"].images).numpy())
    assert problems.METHOD == "Soft Diffusion"
