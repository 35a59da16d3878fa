"""The paper's own code: exact laws of samplers, the networks' joint loss, configs and claims."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from measuring import book_of
from rescore.config import validated
from rescore.corruptions import Masking
from rescore.data.images import load_images
from rescore.data.pixels import to_unit_interval
from rescore.errors import RescoreError
from rescore.ledger.claims import evaluate
from rescore.ledger.records import Record
from rescore.objectives import CleanPrediction
from rescore.papers import load_config, load_paper
from rescore.problems.gaussian import GaussianLaw, clean_prediction, law_after, law_at
from rescore.samplers import uniform_times
from test_soft import MODE, S

PAPER = load_paper("soft_diffusion", Path(__file__).parents[1])
config, networks, problems, rivals, jobs = (PAPER.module(name) for name in ("config", "networks", "problems", "rivals", "jobs"))
VARIANTS, SAMPLERS = problems.VARIANTS, problems.SAMPLERS


@pytest.fixture(scope="module")
def smoke():
    return load_config(PAPER, "smoke")


@pytest.fixture(scope="module")
def corruptions(smoke, tmp_path_factory):
    digits = load_images("digits", "train")
    return problems.Corruptions(smoke, to_unit_interval(digits.images[:300]), tmp_path_factory.mktemp("schedules"))


def test_every_scale_has_a_valid_config():
    assert PAPER.scales == ["smoke", "laptop", "gpu", "paper"]
    for scale in PAPER.scales:
        assert set(load_config(PAPER, scale).networks.nfes) <= set(VARIANTS)


@pytest.mark.parametrize(
    ("job", "training", "message"),
    [
        ({"train": ["clean"], "measure": ["networks"]}, {}, "jobs.a.train: clean has no nfes; allowed: main"),
        ({"train": ["blur"], "measure": ["networks"]}, {}, "jobs.a.train.0"),
        ({"train": ["main"]}, {}, "jobs.a: train belongs to the section networks or rivals, and that needs it"),
        ({"measure": ["networks"]}, {}, "jobs.a: train belongs to the section networks or rivals, and that needs it"),
        ({"measure": ["networks", "rivals"], "train": ["main"]}, {}, "jobs.a: train belongs to the section networks or rivals"),
        ({"measure": ["rivals"], "train": ["main"]}, {}, "jobs.a.train: main has no nfes; allowed: ve"),
        ({"train": ["main"], "measure": ["networks"]}, {"clip": 1.0}, "set clip: null"),
    ],
)
def test_a_bad_config_is_named(job, training, message):
    networks = {"training": {"steps": 1, "clip": None}, "nfes": {"main": [5]}}
    good = {"networks": networks, "rivals": {"nfes": {"ve": [5]}}, "jobs": {"a": {"train": ["main"], "measure": ["networks"]}}}
    assert validated(config.Config, good, "here").jobs["a"].train == ("main",)
    bad = good | {"networks": networks | {"training": networks["training"] | training}, "jobs": {"a": job}}
    with pytest.raises(RescoreError, match=message):
        validated(config.Config, bad, "here")


def test_a_stage_of_noise_alone_that_leaves_no_time_for_blur_is_refused(smoke):
    with pytest.raises(RescoreError, match="until: input should be less than 1"):
        validated(config.Config, smoke.model_dump(mode="json") | {"until": 1.0}, "here")


@pytest.mark.parametrize(("name", "expected"), [("Naive Sampler", 0.4041), ("Momentum Sampler", 0.8474)])
def test_law_on_one_pixel_is_the_known_one(name, expected):
    data = GaussianLaw.full(torch.zeros(1, 1, 1), torch.full((1, 1), S))
    law = law_after(SAMPLERS[name](MODE, uniform_times(20)), clean_prediction(MODE, data), law_at(MODE, data, 1.0))
    assert law.mean.item() == 0
    assert law.covariance.item() / S == pytest.approx(expected, abs=6e-5)


def test_law_on_images_is_that_of_samples(corruptions):
    images, process = corruptions.images, corruptions(VARIANTS["main"])
    data = GaussianLaw.full(images.mean(0), torch.cov(images.flatten(1).T))
    sampler, clean, start = (
        SAMPLERS["Naive Sampler"](process, uniform_times(8)),
        clean_prediction(process, data),
        law_at(process, data, 1.0),
    )
    law, generator = law_after(sampler, clean, start), torch.Generator().manual_seed(0)
    samples = sampler(clean, start.sample(4000, generator), generator).flatten(1)
    spread = law.covariance[0].trace().item()
    assert torch.cov(samples.T).trace().item() == pytest.approx(spread, rel=0.03)
    assert (samples.mean(0) - law.mean[:, 0]).square().sum().item() < 5 * spread / 4000


def test_masked_start_is_noise_alone(corruptions):
    process = corruptions(VARIANTS["masking"])
    assert isinstance(process.family, Masking)
    x = process.prior_sample((2000, 1, 8, 8), torch.Generator().manual_seed(0), torch.float64)
    assert x.std().item() == pytest.approx(0.1, rel=0.01)


def test_schedule_is_kept_and_read_back(corruptions):
    first = corruptions(VARIANTS["main"]).level
    kept = list(corruptions.folder.glob("*.npz"))
    assert len(kept) == 1
    assert corruptions(VARIANTS["clean"]).level == first
    assert list(corruptions.folder.glob("*.npz")) == kept


def test_joint_loss_is_the_sum_over_networks(smoke, tmp_path):
    names, data = ("main", "clean", "masking", "image", "score", "unit", "ve"), load_images("digits", "train")
    group = [(name, seed) for name in names for seed in smoke.seeds]
    rows = torch.arange(5)
    levels = []

    def network(x, level):
        levels.append(level)
        return torch.zeros_like(x)

    studio = networks.Studio(book_of(PAPER, smoke, "all", tmp_path), names)
    losses = studio.losses(group)
    found = losses(network, rows, torch.Generator().manual_seed(0))
    generator, x0, expected = torch.Generator().manual_seed(0), to_unit_interval(data.images[:5]).float().repeat(2, 1, 1, 1), 0
    for name in names:
        loss, process = networks.objective(VARIANTS[name]), studio.processes[name]
        t, x = loss.pairs(process, x0, generator)
        expected = expected + loss.losses(process, torch.zeros_like(x), x0, x, t).reshape(2, 5).sum(0)
    torch.testing.assert_close(found, expected)
    assert levels[0].shape == (70,)
    assert levels[0].max() <= 999


def test_networks_trained_one_by_one_have_their_own_folders_and_clip(smoke, tmp_path):
    settings = smoke.networks.training.model_copy(update={"together": False, "clip": 1.0, "steps": 3})
    alone = smoke.model_copy(
        update={
            "networks": smoke.networks.model_copy(update={"training": settings}),
            "jobs": {"all": smoke.jobs["all"].model_copy(update={"train": ("main",)})},
        }
    )
    book = book_of(PAPER, alone, "all", tmp_path)
    trained = networks.Studio(book).trained["main"]
    assert sorted(path.name for path in book.run.folder.iterdir()) == ["main-0", "main-1"]
    weights = [network.last.weight for network in trained]
    assert all(weight.abs().max() > 0 for weight in weights)  # zero before the first step
    assert not torch.equal(*weights)


def test_the_median_distance_is_a_pixel_s():
    real = torch.tensor([[0.0, 0.0], [1.0, 1.0]])
    assert networks.median_distance(torch.tensor([[0.1, 0.1], [0.7, 0.7], [1.0, 0.8]]), real) == pytest.approx(0.2 / 2**0.5)


def test_held_out_losses_count_the_images_of_every_network(smoke, tmp_path, monkeypatch):
    """Networks that predict the image itself have no clean loss; 7 images in three networks are 21."""
    studio = networks.Studio(book_of(PAPER, smoke.model_copy(update={"seeds": (0, 1, 2)}), "all", tmp_path))
    studio.unseen = images = studio.unseen[:7]
    monkeypatch.setattr(studio, "clean", lambda name, i: lambda x, t: images + (0.0, 0.0, 0.3)[i])
    networks.held_out_losses(studio, "main")
    found = studio.book.measurements
    clean = {m.metric: m for m in found}["clean_loss"]
    assert {(m.over, m.n_seeds, m.df, m.n_samples) for m in found} == {("trainings", 3, 2, 21)}
    assert clean.value == pytest.approx(clean.stderr, rel=1e-5) and clean.value > 0.01  # values 0, 0 and v: v/3 +- v/3


def test_every_variant_is_trained_on_its_own_objective():
    found = {name: networks.objective(variant) for name, variant in VARIANTS.items()}
    assert {name for name, loss in found.items() if isinstance(loss, CleanPrediction)} == {"clean", "masking-clean"}
    assert {name for name, loss in found.items() if loss.weighting == "1"} == {"unit"}
    assert {name: loss.predicts for name, loss in found.items() if loss.predicts != "residual"} == {
        "image": "image",
        "score": "score",
        "ve": "score",
    }


def test_noise_alone_ends_at_the_largest_distance_of_two_images(corruptions):
    process, x = corruptions(VARIANTS["ve"]), corruptions.images
    assert process.sigma(1.0).item() == pytest.approx(torch.cdist(x.flatten(1), x.flatten(1)).max().item())
    assert torch.equal(process.C(1.0)(x), x) and process.sigma(0.5) < process.sigma(1.0)


def test_rivals_have_their_samplers_within_the_evaluations():
    cut = (0.5, 0.25)
    assert list(rivals.runs("ve", cut)) == [
        ("reverse diffusion", SAMPLERS["Momentum Sampler"], 1.0),
        ("probability flow", SAMPLERS["Probability Flow Momentum Sampler"], 1.0),
    ]
    label = "blur; score predicted (eq. 7); cutoff="
    assert [(name, cutoff) for name, _, cutoff in rivals.runs("score", cut)] == [(f"{label}0.5", 0.5), (f"{label}0.25", 0.25)]
    ((name, kind, cutoff),) = rivals.runs("main", cut)
    assert (name, cutoff) == ("blur; Heun's method on the flow", None)
    assert [rivals.within(nfe, kind)(MODE).nfe for nfe in (9, 10, 280)] == [9, 9, 279]
    ((name, kind, cutoff),) = rivals.runs("masking-clean", cut)
    assert rivals.within(10, kind)(MODE).nfe == 10 and cutoff is None and name.startswith("masking; clean")


def test_held_out_losses_of_a_score_are_those_of_its_clean_prediction(smoke, tmp_path, monkeypatch):
    """sigma s = (C_t h - x_t) / sigma_t with h 0.3 too large: the error is C_t 0.3, over sigma_t."""
    job = smoke.jobs["more"].model_copy(update={"train": ("score", "image")})
    studio = networks.Studio(book_of(PAPER, smoke.model_copy(update={"jobs": {"more": job}}), "more", tmp_path))
    studio.unseen = images = studio.unseen[:7]
    process = studio.processes["score"]

    def scaled(x, t):
        assert t.shape == (7,) and len(t.unique()) == 1
        return (process.C(t[0])(images + 0.3) - x) / process.sigma(t[0]).item()

    monkeypatch.setattr(studio, "network", lambda name, i: scaled)
    monkeypatch.setattr(studio, "clean", lambda name, i: lambda x, t: images + 0.3)
    networks.held_out_losses(studio, "score")
    networks.held_out_losses(studio, "image")
    found = {(m.variant, m.metric): m.value for m in studio.book.measurements}
    soft = {variant: value for (variant, metric), value in found.items() if metric == "soft_loss"}
    score, image = VARIANTS["score"].label, VARIANTS["image"].label
    assert soft[score] == pytest.approx(soft[image], rel=1e-3) and soft[image] > 0.1
    assert (image, "clean_loss") in found and (score, "clean_loss") not in found


def test_overhead_is_a_ratio_of_the_same_round(smoke, tmp_path, monkeypatch):
    seconds = {"ve": 1.0, "main": 3.0, "clean": 2.0, "masking": 1.5, "masking-clean": 1.2}
    drift = np.array([1.0, 5.0, 2.0])  # of the machine's speed

    def interleaved(steps, rounds, device):
        for step in steps.values():
            step()
        assert rounds == 2 and device == "cpu"
        return {name: seconds[name] * drift for name in steps}

    monkeypatch.setattr(rivals, "interleaved", interleaved)
    book = book_of(PAPER, smoke, "more", tmp_path)
    rivals.overhead(book)
    found = {(m.variant.removesuffix("; mlp"), m.metric): m.value for m in book.measurements}
    label = {name: VARIANTS[name].label for name in seconds}
    for name, value in seconds.items():
        assert found[label[name], "train_time_ratio"] == pytest.approx(value)
    assert found["blur", "projection_time_ratio"] == pytest.approx(1.5)
    assert found["masking", "projection_time_ratio"] == pytest.approx(1.25)
    assert found["blur", "iqr_train_time_ratio"] == pytest.approx(0, abs=1e-12)
    assert {m.variant for m in book.measurements if m.metric == "projection_time_ratio"} == {"blur; mlp", "masking; mlp"}


def test_schedules_of_fig_6_say_of_how_many_images_they_are(smoke, tmp_path, monkeypatch):
    """Distances are measured on 16 images at this scale, of faces and by the MSE rule too."""
    seen = []

    def kept(folder, name, family, x, *_):
        seen.append((name, len(x)))
        return (lambda t: t), SimpleNamespace(nodes=[0, 1], epsilon=1.0), np.eye(2)

    monkeypatch.setattr(problems, "kept_schedule", kept)
    book = book_of(PAPER, smoke, "all", tmp_path)
    jobs.schedules(book)
    assert set(seen) == {("digits", 16), ("faces", 16)}
    assert {(one.dataset, one.n_samples) for one in book.measurements} == {("digits", 16), ("faces", 16)}
    assert {one.variant for one in book.measurements} == {"blur; Wasserstein schedule", "blur; MSE-matched blur schedule"}


def test_gaps_of_schedules_are_between_other_images(smoke, tmp_path, monkeypatch):
    """A stub's schedule tells its images apart: the level at t = 1 is a share of the strongest blur."""
    seen = []

    def schedule(family, x, sigma, candidates, nodes, until):
        seen.append(x)
        assert (sigma, candidates, nodes, until) == (0.1, 24, 6, 0.2)
        share = (x.shape[-1] == 25) * 0.5 + 0.01 * len(seen)
        return lambda t: t * share * family.highest, None, None

    monkeypatch.setattr(jobs, "wasserstein_schedule", schedule)
    book = book_of(PAPER, smoke, "more", tmp_path)
    jobs.subsets(book)
    found = {(m.dataset, m.variant): m for m in book.measurements}
    values = {key: one.value for key, one in found.items()}
    assert values == pytest.approx(
        {
            ("digits", "blur; other data"): 0.51,  # digits 1, faces 2; digits 3, faces 4
            ("digits", "blur; other images"): 0.035,  # digits 5 against 1, 6 against 3
            ("faces", "blur; other images"): 0.045,  # faces 7 against 2, 8 against 4
        }
    )
    assert {(one.over, one.n_seeds, one.metric) for one in found.values()} == {("runs", 2, "schedule_gap")}
    assert len(seen) == 8 and all(len(x) == 8 for x in seen)
    for side in (8, 25):
        halves = [x.flatten(1) for x in seen if x.shape[-1] == side]
        first, _, other, _ = halves  # of the two seeds, then the other halves of each
        assert torch.cdist(first, other).min() > 0


def test_claims_select_the_records_of_the_laptop_config():
    """Every claim finds its records in what the laptop config measures, given here with made-up values."""
    laptop = load_config(PAPER, "laptop")
    keys = {("real", "digits", "real images", "held out", "nearest", None)}
    for name, budgets in laptop.networks.nfes.items():
        variant = VARIANTS[name]
        keys.add(("held out", "digits", "Soft Diffusion", variant.label, "soft_loss", None))
        for label in networks.samplers(name):
            for metric in ("fid", "variance_ratio", "nearest"):
                keys |= {(variant.table, "digits", "Soft Diffusion", label, metric, nfe) for nfe in budgets}
    exact = [("Soft Diffusion", f"blur; {name}") for name in SAMPLERS]
    exact += [("Soft Diffusion", VARIANTS["mse"].label), ("VE SDE", "reverse diffusion")]
    for method, variant in exact:
        keys |= {
            ("exact", "digits_gaussian", method, variant, metric, nfe)
            for metric in ("frechet", "variance_ratio")
            for nfe in laptop.gaussian.nfes
        }
    for schedule in ("Wasserstein schedule", "MSE-matched blur schedule"):
        keys.add(("fig6", "digits", "Soft Diffusion", f"blur; {schedule}", "largest_hop", None))
    for name, budgets in laptop.rivals.nfes.items():
        variant = VARIANTS[name]
        if name != "main":
            keys.add(("held out", "digits", variant.method, variant.label, "soft_loss", None))
        for label, kind, _ in rivals.runs(name, laptop.rivals.cutoffs):
            keys |= {(variant.table, "digits", variant.method, label, "fid", rivals.within(n, kind)(MODE).nfe) for n in budgets}
    heun = problems.HEUN
    keys |= {("exact", "digits_gaussian", "Soft Diffusion", f"blur; {heun}", "frechet", n - 1) for n in laptop.gaussian.nfes}
    keys |= {("D", "digits", "Soft Diffusion", f"{name}; ncsnpp", "train_time_ratio", None) for name in ("blur", "masking")}
    keys |= {
        ("E", "digits", "Soft Diffusion", rivals.AFTER(label=VARIANTS[name].label, steps=length), "fid", nfe)
        for name in rivals.MASKED
        for length in laptop.masks.lengths
        for nfe in laptop.masks.nfes
    }
    keys.add(("fig6", "digits", "Soft Diffusion", "blur; other data", "schedule_gap", None))
    keys |= {("fig6", name, "Soft Diffusion", "blur; other images", "schedule_gap", None) for name in ("digits", "faces")}
    rest = (1.0, 0.1, 2, "trainings", 3, 1, "", "laptop", "cpu", 0.0, "v", "h")
    records = [Record("soft_diffusion", *key, *rest) for key in keys]
    rows = evaluate("soft_diffusion", PAPER.module("claims").CLAIMS, records)
    assert len(rows) >= 30
    assert {row["status"] for row in rows} == {"inconclusive"}
