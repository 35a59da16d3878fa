"""How the shared rooms are wired: which images, weights, seeds, settings and scales a number of a trained model comes from.

Networks, data, judges and densities are stubs whose answers are known; the arithmetic itself is tested elsewhere.
"""

import json
import math
from collections import namedtuple
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from rescore.data.pixels import dequantise, to_uint8, to_unit
from rescore.experiments.book import Book, Run
from rescore.experiments.journal import Measurement
from rescore.likelihood import FlowLikelihood
from rescore.metrics.features import ClassifierSettings, Extractor, extract
from rescore.metrics.images import evaluate as image_metrics
from rescore.models import bits, evaluate, judge
from rescore.models.bits import ImageBits
from rescore.models.evaluate import BOUND_DRAWS, Sampling, TrainedModels
from rescore.models.judge import Drawn, Judge, RealScore, draw, make_judge
from rescore.models.judged_cells import SHOWN
from rescore.objectives import DSM, ImportanceTimes
from rescore.processes import CLD, VP, grids
from rescore.random import Streams, derive_seed, make_generator
from rescore.samplers import AdaptiveFlow, ddim, euler_maruyama
from rescore.specs.config import Evaluation
from rescore.specs.model import Weights
from wiring_case import SEEDS, SPEC, TEST, TRAIN

Call = namedtuple("Call", "score process x seed trace t0 tolerance")


PUBLISHED = Weights(source="score_sde", name="vp.pth")


class Loaded:
    """A model that knows what it was loaded from."""

    def __init__(self, spec, weights, shape, device, made):
        self.spec, self.weights, self.shape, self.device, self.made = spec, weights, shape, device, made
        self.process = VP()
        self.score = ("score", spec.seed)
        self.network = SimpleNamespace(score=lambda: ("differentiable", spec.seed))


class Config:
    models, jobs, training_seeds = {"a": SPEC}, {"job": SimpleNamespace(models=("a",))}, SEEDS
    evaluation = Evaluation(samples=11, features="classifier", classifier_steps=77, likelihood_images=4, tolerance=1e-3)


@pytest.fixture
def models(monkeypatch, tmp_path) -> TrainedModels:
    monkeypatch.setattr(
        evaluate, "load_images", lambda name, split: {("digits", "train"): TRAIN, ("digits", "test"): TEST}[name, split]
    )
    monkeypatch.setattr(evaluate, "load_model", Loaded)
    weights = {f"a/{seed}": tmp_path / str(seed) / "weights.safetensors" for seed in SEEDS}
    return TrainedModels(Book(Config(), Run("p", "smoke", "job", tmp_path / "runs" / "job", "cpu", 1, weights)))


def after(models: TrainedModels, call: Callable[[], None]) -> list[Measurement]:
    """What a call has entered into the book."""
    models.book.measurements.clear()
    call()
    return models.book.measurements


# --- evaluate -----------------------------------------------------------------------------------------------------------------


def test_each_seed_has_its_own_weights(models):
    for seed in SEEDS:
        loaded = models.load("a", seed)
        assert loaded.spec == SPEC.model_copy(update={"seed": seed})
        assert (loaded.weights, loaded.shape, loaded.device) == (models.run.models[f"a/{seed}"], (1, 2, 2), "cpu")
        assert loaded.made == models.run.models[f"a/{seed}"].parent.parent, "the folder of the model's node"
    assert models.process("a") == VP() and models.load("a", 3) is models.load("a", 3)


@pytest.mark.parametrize(("weights", "repeated"), [(None, [(3, 3)]), (PUBLISHED, [(3, 0), (3, 1)])])
def test_runs_are_of_published_weights_alone(models, weights, repeated):
    """A single training of ours that is sampled twice is no two trainings."""
    config = Config()
    config.models = {"a": SPEC.model_copy(update={"weights": weights})}
    config.training_seeds, config.evaluation = (3,), Evaluation(runs=2)
    assert TrainedModels(Book(config, models.run)).repeats_of("a") == repeated


@pytest.mark.parametrize(("part", "mine"), [("1/2", ["second"]), ("2/2", ["first", "third"])])
def test_each_likelihood_is_of_one_part(models, monkeypatch, part, mine):
    monkeypatch.setattr(evaluate, "image_bits", lambda *_: ImageBits(torch.ones(4), None, 10))
    config = Config()
    config.jobs = {"job": SimpleNamespace(models=("a",), part=part)}
    found = TrainedModels(Book(config, models.run))
    for table in ("first", "second", "third"):
        found.likelihood(table, "m", "", "a")
    assert [one.table for one in found.book.measurements] == mine


def test_the_likelihood_is_of_held_out_images_with_the_noise_of_its_seed(models, monkeypatch):
    calls, bounds = [], []

    def flow(score, process, x, generator, trace, t0, tolerance):
        calls.append(Call(score, process, x, *generator.seeds, trace, t0, tolerance))
        return FlowLikelihood(torch.tensor([1.0, 2.0, 3.0, 10.0]) * len(calls), x, 100 * len(calls))

    def bound(network, process, objective, x, generator, t0):
        bounds.append((network, process, objective, x, *generator.seeds, t0))
        return torch.tensor([1.0, 2.0, 3.0, 6.0]) - len(bounds)

    monkeypatch.setattr(bits, "flow_log_prob", flow)
    monkeypatch.setattr(bits, "elbo", bound)
    bpd, bpd_bound = after(models, lambda: models.likelihood("1", "method", "variant", "a", bound=True))
    for seed, call in zip(SEEDS, calls, strict=True):
        x, per_unit = dequantise(TEST.images[:4], Streams.named("likelihood", "digits", seed, n=4), 17)
        assert per_unit == 8.0 and torch.equal(call.x, x)
        assert call.seed == derive_seed("likelihood", "digits", seed)
        assert call[:2] == (("differentiable", seed), VP()) and call[4:] == ("rademacher", 2e-4, 1e-3)
    # means of 4 and 8 nats over 4 dimensions; bins an eighth wide
    of_flow = [-nats / (4 * math.log(2)) + 3 for nats in (4.0, 8.0)]
    assert bpd.value == pytest.approx(sum(of_flow) / 2, rel=1e-6)
    assert bpd.stderr == pytest.approx(abs(of_flow[0] - of_flow[1]) / 2, rel=1e-6)
    assert len(bounds) == 2 * BOUND_DRAWS == 32
    for i, (network, process, objective, x, seed, t0) in enumerate(bounds):
        of = SEEDS[i // BOUND_DRAWS]
        assert network is models.load("a", of).network and process == VP() and torch.equal(x, calls[i // BOUND_DRAWS].x)
        assert seed == derive_seed("likelihood", "digits", of) and t0 == 2e-4
        assert objective == DSM("likelihood", ImportanceTimes(2e-4), predicts="R")
    of_bound = [-(3 - mean) / (4 * math.log(2)) + 3 for mean in (8.5, 24.5)]  # draws 1 to 16, and 17 to 32
    assert bpd_bound.value == pytest.approx(sum(of_bound) / 2, rel=1e-6)
    common = {"images": "digits/test-4", "grey_levels": 17, "t0": 2e-4, "dequantisation": "uniform"} | SPEC.protocol
    assert bpd.protocol == common | {"solver": "dopri5", "tolerance": 1e-3, "trace": "rademacher", "evaluations": 150}
    assert bpd_bound.protocol == common | {"bound": "elbo", "draws": 16}
    for one, metric in ((bpd, "bpd"), (bpd_bound, "bpd_bound")):
        assert (one.table, one.dataset, one.method, one.variant, one.metric, one.nfe) == (
            "1",
            "digits",
            "method",
            "variant",
            metric,
            None,
        )
        assert (one.n_seeds, one.n_samples, one.matched) == (2, 8, "digits/a") and one.seconds > 0


def test_on_a_gpu_every_image_has_its_own_noise_and_the_memory_decides_the_batch(models, monkeypatch):
    calls = []

    def found(model, images, grey_levels, noise, tolerance, draws, batch):
        calls.append((noise(2, 3), draws, batch))
        return ImageBits(torch.ones(4), None, 10)

    monkeypatch.setattr(evaluate, "image_bits", found)
    object.__setattr__(models.run, "device", "cuda")
    models.likelihood("1", "m", "", "a")
    for seed, (noise, draws, batch) in zip(SEEDS, calls, strict=True):
        assert (noise.seeds, noise.first, noise.n) == ((derive_seed("likelihood", "digits", seed),), 2, 3)
        assert (noise.device, draws, batch) == (torch.device("cuda"), 0, None)


def test_bits_are_those_of_the_images_in_batches(monkeypatch):
    """Of nearly equal sizes; each is dequantised with its images' noise and solved by itself; the evaluations are the most."""
    from rescore.models import bits

    calls, images = [], TEST.images[:7]

    def flow(score, process, x, generator, trace, t0, tolerance):
        calls.append(x)
        assert (score, process, trace, t0, tolerance) == ("score", "process", "rademacher", 1e-5, 0.1)
        return FlowLikelihood(64.0 * torch.arange(1.0, len(x) + 1), x, 100 - 10 * len(x))

    monkeypatch.setattr(bits, "flow_log_prob", flow)
    model = SimpleNamespace(network=SimpleNamespace(score=lambda: "score"), process="process", device="cpu")
    found = bits.image_bits(model, images, 17, lambda first, n: Streams.named("x", n=n, first=first), 0.1, batch=5, t0=1e-5)
    whole, per_unit = dequantise(images, Streams.named("x", n=7), 17)
    assert torch.equal(torch.cat(calls), whole) and per_unit == 8 and [len(x) for x in calls] == [4, 3]
    expected = [-64 * k / (4 * math.log(2)) + 3 for k in (1, 2, 3, 4, 1, 2, 3)]
    assert found.flow.tolist() == pytest.approx(expected) and found.nfe == 70


def test_without_a_bound_there_is_none(models, monkeypatch):
    monkeypatch.setattr(bits, "flow_log_prob", lambda score, process, x, *_: FlowLikelihood(torch.zeros(4), x, 10))
    monkeypatch.setattr(bits, "elbo", None)
    (only,) = after(models, lambda: models.likelihood("1", "m", "", "a"))
    assert only.metric == "bpd" and only.value == 3.0


class StubJudge:
    """Answers are the largest sample and the number of metrics."""

    def __init__(self):
        self.seen = []

    def __call__(self, x, metrics):
        self.seen.append(x)
        return {"fid": x.max().item(), "is": 2 * x.max().item()}

    def of_real(self, metrics, samples):
        for variant, value in (("held out", 0.25), ("training images", 0.125)):
            for metric in metrics:
                yield RealScore(variant, metric, value, samples, self.protocol(metric, torch.empty(samples)))

    def protocol(self, metric, x):
        return {"judged": metric, "n_samples": len(x)}


@pytest.mark.parametrize("adapted", [False, True])
def test_samples_come_from_each_seed_and_the_judge_sees_them(models, monkeypatch, adapted):
    drawn = []

    def stub(sampler, score, shape, n, generator):
        drawn.append((sampler, score, shape, n, generator.initial_seed()))
        return Drawn(torch.arange(n * 4.0).reshape(n, 1, 2, 2) + len(drawn), 5)

    monkeypatch.setattr(evaluate, "draw", stub)
    models.judge = stub_judge = StubJudge()
    sampler = euler_maruyama(VP(), grids.uniform(VP(), 4, 0.01), denoise="euler")
    cell = Sampling(
        "T", "method", "v", "a", sampler, {"grid": "uniform"}, (lambda score: ("adapted", *score)) if adapted else None
    )
    fid, score = after(models, lambda: models.measure([cell], "label"))
    for seed, (which, used, shape, n, generator) in zip(SEEDS, drawn, strict=True):
        assert which is sampler and shape == (1, 2, 2) and n == 11 and generator == derive_seed("samples", "digits", seed)
        assert used == (("adapted",) if adapted else ()) + ("score", seed)
    assert len(stub_judge.seen) == 2
    assert "drawn_at_once" not in fid.protocol
    assert (fid.metric, fid.value, fid.stderr) == ("fid", 44.5, 0.5) and (score.metric, score.value, score.stderr) == (
        "is",
        89.0,
        1.0,
    )
    for one in (fid, score):
        assert (one.table, one.dataset, one.method, one.variant, one.nfe) == ("T", "digits", "method", "v", 5)
        assert (one.n_seeds, one.n_samples) == (2, 22)
        assert (one.matched, one.values) == ("digits/a", "44 45" if one is fid else "88 90"), "all samplers of the network"
        assert (
            one.protocol
            == {
                "process": "VP",
                "score": "trained",
                "t0": 0.01,
                "denoise": "euler",
                "steps": 4,
                "grid": "uniform",
                "n_samples": 11,
                "judged": one.metric,
            }
            | SPEC.protocol
        )
    ((name, kept),) = models.book.arrays.items()
    assert name == "digits/T/method, v/5" and kept.shape == (SHOWN, 1, 2, 2) and kept[0, 0, 0, 0] == 1, "of the first seed"


def test_an_adaptive_solver_has_no_number_of_evaluations_in_its_key(models, monkeypatch):
    flow = AdaptiveFlow(VP(), [1.0, 1e-3], 1e-2)
    counts, sizes = iter((30, 41)), iter((8, 3))
    monkeypatch.setattr(
        evaluate, "draw", lambda sampler, score, shape, n, generator: Drawn(torch.zeros(n, *shape), next(counts), next(sizes))
    )
    models.judge = StubJudge()
    (fid,) = after(models, lambda: models.measure([Sampling("T", "m", "", "a", flow)], "label", ["fid"]))
    assert fid.nfe is None and fid.protocol["evaluations"] == 36 and "steps" not in fid.protocol
    assert fid.protocol["drawn_at_once"] == 8, "of several sets the most"
    assert list(models.book.arrays) == ["digits/T/m"]


def test_the_floors_are_those_of_the_judge(models):
    models.judge = StubJudge()
    found = after(models, lambda: models.floor("9"))
    names = [(one.table, one.method, one.variant, one.metric, one.value, one.nfe) for one in found]
    assert names == [
        ("9", "real images", variant, metric, value, None)
        for variant, value in (("held out", 0.25), ("training images", 0.125))
        for metric in ("fid", "is")
    ]
    for one in found:
        assert (one.stderr, one.over, one.n_seeds, one.n_samples) == (None, "runs", 1, 11)
        assert one.protocol == {"judged": one.metric, "n_samples": 11}
    assert torch.equal(torch.from_numpy(models.book.arrays["digits/real"]), to_unit(TEST.images[:SHOWN]))


def test_the_judge_is_made_of_train_and_held_out_in_this_order(models, monkeypatch):
    asked = []
    monkeypatch.setattr(evaluate, "make_judge", lambda *arguments: asked.append(arguments) or "judge")
    assert models.judge == "judge"
    folder = models.run.folder.parent / "judges"
    assert asked == [("classifier", TRAIN, TEST, ClassifierSettings(77), folder, "cpu")]


def test_what_training_took_is_read_beside_the_weights(models):
    for seed, speed in zip(SEEDS, (10.0, 20.0), strict=True):
        about = {"device": "a machine", "images_per_second": speed, "peak_memory_mb": 5.0, "peak_gpu_memory_mb": None}
        path = models.run.models[f"a/{seed}"].with_name("about.json")
        path.parent.mkdir()
        path.write_text(json.dumps(about))
    found = {one.metric: one for one in after(models, models.training)}
    assert {metric: one.value for metric, one in found.items()} == {"train_images_per_second": 15.0, "train_memory_mb": 5.0}
    speed = found["train_images_per_second"]
    assert (speed.table, speed.method, speed.variant, speed.n_samples) == ("training", "a", "VP", 14)
    assert speed.protocol == {"network": "mlp", "train_batch": 6, "trained_on": "a machine"}


# --- judge --------------------------------------------------------------------------------------------------------------------


class Means(Extractor):
    """Two features of an image and two logits."""

    name, dim, classes = "means", 2, 2

    def forward(self, images):
        x = images.float().mean(1) / 255
        values = torch.stack((x[:, 0].mean(1), x[:, 1].mean(1)), 1)
        return values, 3 * values


def test_a_judge_compares_with_the_reference_and_its_floors_are_real_images(tmp_path, monkeypatch):
    trained = []
    monkeypatch.setattr(judge, "train_classifier", lambda *arguments: trained.append(arguments) or Means())
    found = make_judge("classifier", TRAIN, TEST, ClassifierSettings(3), tmp_path / "judges")
    assert trained == [(TRAIN, ClassifierSettings(3), tmp_path / "judges", "cpu")]
    for features, data in ((found.real, TRAIN), (found.held_out, TEST)):
        assert features.source == data.source and torch.equal(features.values, extract(Means(), data.images, "x").values)
    metrics = ("fid", "is", "precision", "recall")
    rows = torch.randperm(len(TRAIN), generator=make_generator("floor", TRAIN.source))[: len(TEST)]
    expected = {"held out": found.held_out, "training images": found.real[rows]}
    floors = [(one.variant, one.metric, one.value, one.n) for one in found.of_real(metrics, 1000)]
    assert floors == [
        (variant, metric, value, len(TEST))
        for variant, features in expected.items()
        for metric, value in image_metrics(features, found.real, metrics, found.settings).items()
    ]
    x = torch.rand(20, 1, 2, 2, generator=torch.Generator().manual_seed(4)) * 2.4 - 1.2
    for rounding in ("truncate", "nearest"):
        rounded = extract(Means(), to_uint8(x, rounding), "samples")
        one = replace(found, rounding=rounding)
        assert one(x, metrics) == image_metrics(rounded, found.real, metrics, found.settings)
    assert found(x, ["precision"]) != found(x, ["recall"])
    assert found.protocol("fid", x)["reference"] == found.real.reference and found.protocol("fid", x)["n_samples"] == 20
    assert found.protocol("fid", x)["quantised"] == "uint8-truncated"


def test_a_judge_looks_where_it_is_told_to(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(judge, "train_classifier", lambda *_: Means())
    monkeypatch.setattr(judge, "reference_features", lambda _, data, folder, device: asked.append((data, folder, device)))
    found = make_judge("classifier", TRAIN, TEST, ClassifierSettings(3), tmp_path, "meta")
    assert asked == [(TRAIN, tmp_path, "meta"), (TEST, tmp_path, "meta")] and found.device == "meta"
    monkeypatch.setattr(judge, "extract", lambda extractor, images, source, device: (images.dtype, source, device))
    assert found._features(torch.zeros(2, 1, 2, 2)) == (torch.uint8, "samples", "meta")


def test_inception_is_asked_for_by_name(tmp_path, monkeypatch):
    monkeypatch.setattr(judge, "InceptionFeatures", Means)
    assert isinstance(make_judge("inception", TRAIN, TEST, ClassifierSettings(3), tmp_path).extractor, Means)


def test_images_are_drawn_in_batches_each_with_its_own_noise():
    """CLD: starts of (x, v), and what comes back is x alone."""
    process = CLD()
    sampler = euler_maruyama(process, grids.uniform(process, 2, 0.1))
    starts = []

    def score(u, t):
        if t == process.T:
            starts.append(u)
        return -process.prior_covariance.inv()(u)

    x, nfe, at_once = draw(sampler, score, (1, 2, 2), 5, make_generator("draw"), batch=2)
    assert [len(start) for start in starts] == [2, 2, 1] and x.shape == (5, 1, 2, 2) and (nfe, at_once) == (2, 0)
    streams = Streams.named("draw", n=5)
    u = process.prior_sample((5, 2, 1, 2, 2), streams)
    assert torch.equal(x, process.project(sampler(score, u, streams)))


def test_of_several_batches_the_most_evaluations_are_told():
    counts = iter((5, 9, 7))

    def solve(score, u, streams):
        return SimpleNamespace(u=u, nfe=next(counts))

    sampler = SimpleNamespace(process=VP(), common_step=True, solve=solve)
    assert draw(sampler, None, (1, 2, 2), 5, make_generator("draw"), batch=2)[1:] == (9, 2)


def test_a_sampler_of_one_seed_starts_where_another_does():
    """`ddim` and `euler_maruyama` get the same prior draw from the same generator."""
    starts = []
    for make in (ddim, euler_maruyama):
        sampler = make(VP(), grids.uniform(VP(), 1, 0.5))
        draw(sampler, lambda u, t: starts.append(u) or -u, (1, 2, 2), 3, make_generator("samples", "digits", 0))
    assert torch.equal(starts[0], starts[1])
    assert torch.equal(starts[0], VP().prior_sample((3, 1, 2, 2), Streams.named("samples", "digits", 0, n=3)))


def test_judges_are_dataclasses_of_features():
    assert [Judge.__dataclass_fields__[name].default for name in ("rounding", "device")] == ["truncate", "cpu"]
