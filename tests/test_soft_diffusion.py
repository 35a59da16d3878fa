"""The paper's own code: exact laws of samplers, the networks' joint loss, configs and claims."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from test_soft import MODE, S

from rescore.config import validated
from rescore.corruptions import Masking
from rescore.data.images import load_images
from rescore.data.pixels import to_unit
from rescore.errors import RescoreError
from rescore.ledger.claims import evaluate
from rescore.ledger.records import Record
from rescore.models.judge import RealScore
from rescore.papers import load_config, load_paper
from rescore.samplers import uniform_times

PAPER = load_paper("soft_diffusion", Path(__file__).parents[1])
config, jobs, problems, trained = (PAPER.module(name) for name in ("config", "jobs", "problems", "trained"))
VARIANTS, SAMPLERS, GaussianData = problems.VARIANTS, problems.SAMPLERS, problems.GaussianData


@pytest.fixture(scope="module")
def smoke():
    return load_config(PAPER, "smoke")


@pytest.fixture(scope="module")
def corruptions(smoke, tmp_path_factory):
    digits = load_images("digits", "train")
    return problems.Corruptions(smoke, problems.unit_interval(digits, 300), tmp_path_factory.mktemp("schedules"))


def test_every_scale_has_a_valid_config():
    assert PAPER.scales == ["smoke", "laptop", "gpu", "paper"]
    for scale in PAPER.scales:
        assert set(load_config(PAPER, scale).nfes) <= set(VARIANTS)


@pytest.mark.parametrize(("change", "message"), [
    ({"jobs": {"a": {"train": ["clean"]}}}, "jobs.a.train: clean has no nfes; allowed: main"),
    ({"training": {"steps": 1}}, "set clip: null"),
    ({"jobs": {"a": {"train": ["blur"]}}}, "jobs.a.train.0"),
])  # fmt: skip
def test_a_bad_config_is_named(change, message):
    good = {"training": {"steps": 1, "clip": None}, "nfes": {"main": [5]}, "jobs": {"a": {"train": ["main"]}}}
    assert validated(config.Config, good, "here").jobs["a"].train == ("main",)
    with pytest.raises(RescoreError, match=message):
        validated(config.Config, good | change, "here")


@pytest.mark.parametrize(("name", "expected"), [("Naive Sampler", 0.4041), ("Momentum Sampler", 0.8474)])
def test_law_on_one_pixel_is_the_known_one(name, expected):
    data = GaussianData(torch.zeros(1).double(), torch.full((1, 1), S).double(), (1, 1, 1))
    mean, covariance = data.law_after(SAMPLERS[name](MODE, uniform_times(20)))
    assert mean.item() == 0
    assert covariance.item() / S == pytest.approx(expected, abs=6e-5)


def test_law_on_images_is_that_of_samples(corruptions):
    data, process = GaussianData.of(corruptions.images), corruptions(VARIANTS["main"])
    sampler = SAMPLERS["Naive Sampler"](process, uniform_times(8))
    mean, covariance = data.law_after(sampler)
    start_mean, start, _ = data.marginal(process, 1.0)
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(4000, 64, generator=generator, dtype=torch.float64)
    x = (start_mean + z @ torch.linalg.cholesky(start).T).reshape(-1, 1, 8, 8)
    posterior = {t: data.posterior(process, t) for t in sampler.times[:-1]}
    samples = sampler(lambda x, t: posterior[t](x, t), x, generator).flatten(1)
    assert torch.cov(samples.T).trace().item() == pytest.approx(covariance.trace().item(), rel=0.03)
    assert (samples.mean(0) - mean).square().sum().item() < 5 * covariance.trace().item() / 4000


def test_frechet_distance_of_gaussians(corruptions):
    data = GaussianData.of(corruptions.images)
    assert data.frechet(data.mean, data.covariance) < 1e-6
    assert data.frechet(data.mean + 0.5, data.covariance) == pytest.approx(64 * 0.25, rel=1e-6)
    assert data.frechet(data.mean, 4 * data.covariance) == pytest.approx(data.covariance.trace().item(), rel=1e-6)


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


def test_joint_loss_is_the_sum_over_networks(corruptions, smoke):
    names, data = ("main", "clean", "masking"), load_images("digits", "train")
    processes = {name: corruptions(VARIANTS[name]) for name in names}
    group = [(name, seed) for name in names for seed in smoke.seeds]
    rows = torch.arange(5)
    levels = []

    def network(x, level):
        levels.append(level)
        return torch.zeros_like(x)

    losses = trained.group_losses(corruptions, processes, group, data, "cpu")
    found = losses(network, rows, torch.Generator().manual_seed(0))
    generator, x0, expected = torch.Generator().manual_seed(0), problems.unit_interval(data)[:5].float().repeat(2, 1, 1, 1), 0
    for name in names:
        loss = trained.LOSSES[VARIANTS[name].loss]
        t, x = loss.pairs(processes[name], x0, generator)
        expected = expected + loss.losses(processes[name], torch.zeros_like(x), x0, x, t).reshape(2, 5).sum(0)
    torch.testing.assert_close(found, expected)
    assert levels[0].shape == (30,)
    assert levels[0].max() <= 999


def test_networks_trained_one_by_one_have_their_own_folders_and_clip(corruptions, smoke, tmp_path):
    settings = smoke.training.model_copy(update={"together": False, "clip": 1.0, "steps": 3})
    alone = replace(corruptions, config=smoke.model_copy(update={"training": settings}))
    run = SimpleNamespace(folder=tmp_path, device="cpu")
    networks = trained.train(alone, {"main": corruptions(VARIANTS["main"])}, load_images("digits", "train"), run)["main"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["main-0", "main-1"]
    weights = [network.last.weight for network in networks]
    assert all(weight.abs().max() > 0 for weight in weights)  # zero before the first step
    assert not torch.equal(*weights)


def test_nearest_is_the_median_distance_and_the_neighbour():
    real = torch.tensor([[0.0, 0.0], [1.0, 1.0]])
    distance, rows = trained.nearest(torch.tensor([[0.1, 0.1], [0.7, 0.7], [1.0, 0.8]]), real)
    assert rows.tolist() == [0, 1, 1]
    assert distance == pytest.approx(0.2 / 2**0.5)


def test_a_record_of_one_value_has_no_error_and_an_exact_one_none_to_have():
    book = jobs.Book(protocol={})
    book.record_each(("t", "d", "m", "v"), None, {"fid": [1.0], "nearest": [1.0, 3.0]}, 1, {}, 0.0, "trainings")
    book.exact_each(("t", "d", "m", "v"), None, {"frechet": 2.0}, 1, {}, 0.0)
    assert [(m.metric, m.value, m.stderr) for m in book.measurements] == [
        ("fid", 1.0, None), ("nearest", 2.0, 1.0), ("frechet", 2.0, 0.0)
    ]  # fmt: skip


def test_held_out_losses_count_the_images_of_every_network(corruptions):
    """Networks that predict the image itself have no clean loss; 7 images in three networks are 21."""
    book, process = jobs.Book(protocol={}), corruptions(VARIANTS["main"])
    images = problems.unit_interval(load_images("digits", "test"), 7).float()
    networks = [lambda x, t, s=s: images + s for s in (0.0, 0.0, 0.3)]
    trained.held_out_losses(book, corruptions, VARIANTS["main"], process, networks, images)
    clean = {m.metric: m for m in book.measurements}["clean_loss"]
    assert {(m.over, m.n_seeds, m.df, m.n_samples) for m in book.measurements} == {("trainings", 3, 2, 21)}
    assert clean.value == pytest.approx(clean.stderr, rel=1e-5) and clean.value > 0.01  # values 0, 0 and v: v/3 +- v/3
    assert book.function_evaluations == 20 * 7 * 3


def test_real_images_are_held_out_or_trained_on():
    asked, data = [], load_images("digits", "train")
    held_out = load_images("digits", "test")
    scores = [RealScore("held out", "fid", 9.5, 359, {}), RealScore("training images", "fid", 4.0, 359, {})]
    judge = SimpleNamespace(of_real=lambda *how: asked.append(how) or scores)
    book = jobs.Book(protocol={})
    trained.real_images(book, "digits", judge, held_out, to_unit(data.images).flatten(1), 500)
    assert asked == [(("fid", "is"), 500)]
    found = {(m.variant, m.metric): (m.over, m.n_seeds, m.df, m.n_samples) for m in book.measurements}
    assert found == {
        ("held out", "fid"): ("runs", 1, None, 359), ("training images", "fid"): ("runs", 1, None, 359),
        ("held out", "nearest"): ("runs", 4, 3, 359),
    }  # fmt: skip


def test_claims_select_the_records_of_the_laptop_config():
    """Every claim finds its records in what the laptop config measures, given here with made-up values."""
    laptop = load_config(PAPER, "laptop")
    keys = {("real", "digits", "real images", "held out", "nearest", None)}
    for name, budgets in laptop.nfes.items():
        variant = VARIANTS[name]
        keys.add(("held out", "digits", "Soft Diffusion", variant.label, "soft_loss", None))
        for label in trained.samplers(name, variant):
            for metric in ("fid", "variance_ratio", "nearest"):
                keys |= {(variant.table, "digits", "Soft Diffusion", label, metric, nfe) for nfe in budgets}
    exact = [("Soft Diffusion", f"blur; {name}") for name in SAMPLERS]
    exact += [("Soft Diffusion", VARIANTS["mse"].label), ("VE SDE", "reverse diffusion")]
    for method, variant in exact:
        keys |= {("exact", "digits_gaussian", method, variant, metric, nfe)
                 for metric in ("frechet", "variance_ratio") for nfe in laptop.gaussian_nfes}  # fmt: skip
    for schedule in ("Wasserstein schedule", "MSE-matched blur schedule"):
        keys.add(("fig6", "digits", "Soft Diffusion", f"blur; {schedule}", "largest_hop", None))
    rest = (1.0, 0.1, 2, "trainings", 3, 1, "", "laptop", "cpu", 0.0, "v", "h")
    records = [Record("soft_diffusion", *key, *rest) for key in keys]
    rows = evaluate("soft_diffusion", PAPER.module("claims").CLAIMS, records)
    assert len(rows) >= 10
    assert {row["status"] for row in rows} == {"inconclusive"}
