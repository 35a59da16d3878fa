"""How LCSS's sections are wired: networks and samples of each repeat, bits, samplers, short trainings, what a section reads."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from measuring import book_of, configured, measured
from rescore.config import Step
from rescore.data.images import ImageSet
from rescore.errors import Diverged
from rescore.models import evaluate
from rescore.models.bits import ImageBits
from rescore.models.judge import Drawn, RealScore
from rescore.papers import load_config, load_paper
from rescore.processes import VE, VP, grids
from rescore.random import derive_seed, make_generator
from rescore.samplers import PredictorCorrector
from rescore.samplers.base import OneStep

PAPER = load_paper("lcss")
quality, timing = PAPER.module("quality"), PAPER.module("timing")


def images(split):
    levels = torch.randint(17, (9, 1, 8, 8), generator=make_generator(split))
    return ImageSet("digits", split, levels.mul(255).div(16).round().byte())


IMAGES = {split: images(split) for split in ("train", "test")}


class StubJudge:
    """Gives 1, 2, 6, 1, ... for whatever it sees."""

    def __init__(self):
        self.seen = []

    def protocol(self, metric, x):
        return {"judged": metric}

    def of_real(self, metrics, samples):
        for metric in metrics:
            yield RealScore("held out", metric, 0.5, samples, {})

    def __call__(self, x, metrics):
        self.seen.append(x)
        return dict.fromkeys(metrics, (1.0, 2.0, 6.0)[(len(self.seen) - 1) % 3])


@pytest.fixture
def pair_of(monkeypatch, tmp_path):
    """A pair of the smoke config, with settings of its own, on networks that only know their seed."""

    def load_model(spec, path, shape, device, made=None):
        if path.name != "weights.safetensors":
            assert path.name == f"{spec.objective.name}-{spec.seed}"
            assert made == path.parent.parent, "the folder of the model's node"
        network = SimpleNamespace(score=lambda: ("differentiable", spec.seed))
        return SimpleNamespace(spec=spec, process=VE(), score=lambda u, t: spec.seed * torch.ones(()), network=network)

    def make(training_seeds=(0, 1), **settings):
        content = load_config(PAPER, "smoke").model_dump(mode="json", exclude={"jobs"})
        content |= {
            "training_seeds": training_seeds,
            "jobs": {"all": {"models": ["ve_dsm", "ve_lcss"], "variant": "MLP (VE)", "measure": ["quality", "variants"]}},
        }
        weights = {f"ve_{kind}/{seed}": tmp_path / f"{kind}-{seed}" for kind in ("dsm", "lcss") for seed in training_seeds}
        pair = quality.Pair(book_of(PAPER, configured(PAPER, content | settings), "all", tmp_path, weights))
        pair.judge = StubJudge()
        return pair

    monkeypatch.setattr(evaluate, "load_images", lambda name, split: IMAGES[split])
    monkeypatch.setattr(evaluate, "load_model", load_model)
    return make


@pytest.mark.parametrize(
    ("training_seeds", "expected"),
    [
        ((0, 4, 9), {"over": "trainings", "n_seeds": 3, "df": 2, "networks": [0, 4, 9], "draws": [0, 4, 9]}),
        ((4,), {"over": "samplings", "n_seeds": 1, "df": 2, "networks": [4, 4, 4], "draws": [0, 1, 2]}),
    ],
)
def test_networks_and_samples_of_each_repeat(training_seeds, expected, pair_of, monkeypatch):
    """The network of each value is that of its training seed; one network alone is sampled with every seed."""
    pair, drawn, bits = pair_of(training_seeds, seeds=[0, 1, 2]), [], []

    def draw(sampler, score, shape, n, generator):
        assert (shape, n) == ((1, 8, 8), 80)
        drawn.append((score(None, None).item(), generator.initial_seed()))
        return Drawn(torch.zeros(n, *shape), 10)

    def image_bits(model, images, grey_levels, noise, tolerance, batch, t0):
        assert torch.equal(images, IMAGES["test"].images[:8]) and (grey_levels, t0, tolerance, batch) == (17, 1e-5, 0.1, 8)
        bits.append((model.spec.seed, *noise(0, 8).seeds))
        return ImageBits(torch.full((8,), float(model.spec.seed)), None, 7)

    monkeypatch.setattr(quality, "draw", draw)
    monkeypatch.setattr(quality, "image_bits", image_bits)
    pair.judged("3", pair.spec("ve_dsm"), lambda seed: pair.load("ve_dsm", seed), "MLP")
    found = {one.metric: one for one in pair.book.measurements}
    for seen, stream in ((drawn, "samples"), (bits, "bits")):
        seeds = [derive_seed("lcss", stream, seed) for seed in expected["draws"]]
        assert seen == list(zip(expected["networks"], seeds, strict=True))
    fid, bpd = found["fid"], found["bpd"]
    assert (fid.value, fid.n_samples, bpd.n_samples) == (3.0, 240, 24)
    assert fid.stderr == pytest.approx(math.sqrt(7 / 3)) and bpd.value == pytest.approx(np.mean(expected["networks"]))
    for one in (fid, bpd):
        assert {name: getattr(one, name) for name in ("over", "n_seeds", "df")} == {
            name: expected[name] for name in ("over", "n_seeds", "df")
        }
        assert (one.table, one.dataset, one.method, one.variant, one.nfe) == ("3", "digits", "DSM", "MLP", None)
    assert fid.protocol["train_seeds"] == " ".join(map(str, training_seeds)) and "evaluations" not in fid.protocol
    assert list(pair.book.arrays) == ["samples/MLP/DSM"]


@pytest.mark.parametrize(("training_seeds", "reason"), [((0, 4), "training seed 4"), ((4,), "sampling seed 1")])
def test_a_set_that_diverges_names_its_seed(training_seeds, reason, pair_of, monkeypatch):
    pair, counts = pair_of(training_seeds), iter(range(4))

    def draw(sampler, score, shape, n, generator):
        if next(counts) == 1:
            raise Diverged("far off")
        return Drawn(torch.zeros(n, *shape), 10)

    monkeypatch.setattr(quality, "draw", draw)
    pair.ablated(pair.spec("ve_lcss"), lambda seed: pair.load("ve_lcss", seed), 2.0, "MLP, 2 x score")
    (row,) = pair.book.skipped
    assert row["reason"] == f"diverged: {reason}: far off" and row["variant"] == "MLP, 2 x score"


def test_gamma_times_the_score_and_trainings_with_gamma(pair_of, monkeypatch):
    """A network is trained with gamma; the score of the other one is multiplied by it; the predictor has no corrector."""
    pair, drawn, trained = pair_of(), [], []

    def draw(sampler, score, shape, n, generator):
        assert sampler.corrector_steps == 0
        drawn.append(score(None, None).item())
        return Drawn(to_sample.clone(), 5)

    def train_model(spec, folder, device, label):
        trained.append((spec.objective.gamma, spec.steps, spec.seed))
        folder.with_name("weights.safetensors").touch()
        return SimpleNamespace(network=None)

    to_sample = torch.randn(80, 1, 8, 8, generator=make_generator("sample"))
    monkeypatch.setattr(quality, "draw", draw)
    monkeypatch.setattr(quality, "Pair", lambda book: pair)
    monkeypatch.setattr(evaluate, "train_model", train_model)
    monkeypatch.setattr(evaluate, "save_weights", lambda path, network: None)
    quality.variants(pair.book)
    assert trained == [(0.5, 4, 0), (0.5, 4, 1), (2.0, 4, 0), (2.0, 4, 1)]
    assert drawn == [0, 1, 0, 0.5, 0, 1, 0, 2]
    found = {(one.variant, one.metric): one for one in pair.book.measurements}
    x = 2 * IMAGES["train"].images.double() / 255 - 1
    ratio = (to_sample.double().var(0).mean() / x.var(0).mean()).item()
    made = {"gamma=0.5": (0.5, 1.0), "0.5 x score": (1.0, 0.5), "gamma=2": (2.0, 1.0), "2 x score": (1.0, 2.0)}
    for variant, factors in made.items():
        one = found[f"MLP (VE), {variant}", "variance_ratio"]
        assert one.value == pytest.approx(ratio, rel=1e-5)
        assert (one.protocol["gamma"], one.protocol["score_times"]) == factors
        assert "judged" not in one.protocol and found[f"MLP (VE), {variant}", "fid"].protocol["judged"] == "fid"


def test_a_short_training_is_shared_by_the_sections(pair_of, monkeypatch):
    trained = []
    monkeypatch.setattr(evaluate, "train_model", lambda spec, *_: trained.append(spec.seed) or SimpleNamespace(network=None))
    monkeypatch.setattr(evaluate, "save_weights", lambda path, network: path.touch())
    pair, other = pair_of(), pair_of()
    other.run = SimpleNamespace(**vars(other.run) | {"folder": other.run.folder.with_name("another")})
    spec = pair.spec("ve_lcss").model_copy(update={"steps": 4})
    assert [one.load_trained(spec, seed).spec.seed for seed in (3, 5) for one in (pair, other)] == [3, 3, 5, 5]
    assert trained == [3, 5]


def test_twins_are_compared_in_weights_and_in_samples_of_the_same_noise(pair_of, monkeypatch):
    """By seed 0: weights (5 - 3) over (3 - 1), samples 2 apart; by seed 1: the same again, with 3 for 2."""
    pair, noise, ends = pair_of(), [], {"ve_dsm": (3.0, 4.0), "ve_lcss": (5.0, 10.0)}

    def network(value):
        linear = torch.nn.Linear(2, 1)
        for parameter in linear.parameters():
            torch.nn.init.constant_(parameter, value)
        return linear

    def load(name, seed):
        return SimpleNamespace(network=network(ends[name][seed]), score=lambda u, t: torch.tensor(ends[name][seed]))

    def draw(sampler, score, shape, n, generator):
        noise.append((n, generator.initial_seed()))
        return Drawn(score(None, None).expand(n, *shape), 10)

    monkeypatch.setattr(quality, "draw", draw)
    monkeypatch.setattr(quality, "make_model", lambda spec, process, shape: network(1.0))
    pair.load = load
    pair.twins()
    distance, error = pair.book.measurements
    assert (distance.metric, distance.value, distance.n_samples) == ("weight_distance", pytest.approx((1 + 2) / 2), 2)
    assert (error.metric, error.value, error.n_samples) == ("sample_rmse", pytest.approx((2 + 6) / 2), 160)
    assert noise == [(80, derive_seed("lcss", "twins", seed)) for seed in (0, 0, 1, 1)]
    assert distance.over == error.over == "trainings"


def test_samplers(pair_of):
    pair = pair_of()
    spec = pair.spec("ve_dsm")
    for corrected in (True, False):
        sampler = pair.sampler(spec, corrected)
        assert isinstance(sampler, PredictorCorrector) and sampler.corrector_steps == int(corrected)
        assert (sampler.snr, len(sampler.times), sampler.corrector_first, sampler.denoise) == (0.16, 5, True, "tweedie")
        assert sampler.nfe == (10 if corrected else 5)
        name = "reverse diffusion and Langevin, snr 0.16" if corrected else "reverse diffusion"
        assert pair.sampled(spec, sampler)["sampler"] == name
    spec = spec.model_copy(update={"process": spec.process.model_copy(update={"name": "VP", "settings": {}})})
    sampler = pair.sampler(spec)
    assert type(sampler) is OneStep and sampler.denoise == "euler" and torch.equal(sampler.grid, grids.uniform(VP(), 4))
    assert sampler.nfe == 5
    assert pair.sampled(spec, sampler)["sampler"] == "Euler-Maruyama"


def test_times_are_ratios_within_a_round(monkeypatch, tmp_path):
    """Medians of the ratios, not the ratio of medians; LCSS's own is exact."""
    made = []
    seconds = {"SSM": [2.0, 9.0, 8.0], "FD-SSM": [1.0, 6.0, 6.0], "DSM": [1.0, 2.0, 4.0], "LCSS": [1.0, 3.0, 2.0]}

    def interleaved(steps, rounds, device):
        made.append(list(steps))
        assert rounds == 5
        return {method: np.array(values) for method, values in seconds.items()}

    monkeypatch.setattr(timing, "interleaved", interleaved)
    book = book_of(PAPER, load_config(PAPER, "smoke"), "all", tmp_path)
    timing.timing(book)
    assert made == [["SSM", "FD-SSM", "DSM", "LCSS"]] * 2
    for dataset, network in (("checkerboard", "MLP"), ("random images", "NCSNv2")):
        found = {one.method: one for one in book.measurements if (one.dataset, one.variant) == (dataset, network)}
        assert {method: one.value for method, one in found.items()} == {"SSM": 3.0, "FD-SSM": 2.0, "DSM": 1.0, "LCSS": 1.0}
        assert found["SSM"].stderr == pytest.approx(math.sqrt(math.pi / 2) * np.std([2, 3, 4], ddof=1) / math.sqrt(3))
        assert (found["SSM"].over, found["SSM"].df, found["LCSS"].over) == ("runs", 2, "exact")
        assert book.arrays[f"seconds/{network}/SSM"].tolist() == seconds["SSM"]


@pytest.mark.parametrize("method", ["SSM", "FD-SSM", "DSM", "LCSS"])
def test_timed_steps_train(method):
    small = {"timing": {"batch": 8, "side": 16, "width": 4, "images": 2}, "checkerboard": {"width": 4}, "jobs": {}}
    config = configured(PAPER, small)
    for make in (timing.checkerboard_step, timing.image_step):
        trained = []
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(timing, "training_step", lambda network, losses, kept=trained: kept.append((network, losses())))
            make(method, config, "cpu")
        ((network, losses),) = trained
        assert losses.shape == ((8,) if make is timing.checkerboard_step else (2,)) and losses.isfinite().all()
        losses.mean().backward()
        assert any(parameter.grad.abs().sum() > 0 for parameter in network.parameters() if parameter.grad is not None)


@pytest.mark.parametrize(
    ("setting", "again"),
    [
        ({"quality": {"steps": [5]}}, {"quality"}),
        ({"variants": {"gammas": [3.0]}}, {"variants"}),
        ({"sampling": {"steps": 6}}, {"quality", "variants"}),
        ({"timing": {"rounds": 7}}, {"timing"}),
        ({"checkerboard": {"width": 9}}, {"checkerboard", "timing", "theory"}),
        ({"stability": {"width": 9, "steps": 105, "every": 35}}, {"stability", "theory", "one_draw"}),
        ({"langevin": {"chains": 9}}, {"checkerboard"}),
        ({"one_draw": {"points": 9, "steps": 35}}, {"one_draw"}),
        ({"hutchinson": {"points": 9}}, {"hutchinson"}),
    ],
)
def test_a_section_depends_on_its_own_settings(setting, again):
    smoke = load_config(PAPER, "smoke")
    changed = configured(PAPER, smoke.model_dump(mode="json") | setting)
    sections = smoke.jobs["all"].measure
    before, after = ({one: of.step_dependencies("all", Step(one)) for one in sections} for of in (smoke, changed))
    assert {one for one in sections if before[one] != after[one]} == again


def test_evaluations_of_the_checkerboard_are_counted(tmp_path):
    """A gradient of log density a step and point, two for FD-SSM; the error takes 2000 a member, 21 times and once more.

    Of eq. 31 the law takes one a cell of its grid, the chains one a step.
    """
    board = {"members": 2, "width": 4, "steps": 20, "batch": 4, "cells": 5}
    langevin = {"steps": 3, "chains": 7, "cells": 6}
    config = configured(PAPER, {"checkerboard": board, "langevin": langevin, "jobs": {"one": {"measure": ["checkerboard"]}}})
    result = measured(PAPER, config, "one", tmp_path)
    scores = {"SSM": 1, "FD-SSM": 2, "DSM": 1, "LCSS": 1}
    assert result.function_evaluations == sum(20 * 2 * 4 * each + 22 * 2 * 2000 + 2 * (36 + 3 * 7) for each in scores.values())
