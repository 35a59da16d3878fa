"""The paper's own code: exact laws of samplers, the networks' joint loss, configs and claims."""

from pathlib import Path

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
from rescore.papers import load_config, load_paper
from rescore.problems.gaussian import GaussianLaw, clean_prediction, law_after, law_at
from rescore.samplers import uniform_times
from test_soft import MODE, S

PAPER = load_paper("soft_diffusion", Path(__file__).parents[1])
config, networks, problems = (PAPER.module(name) for name in ("config", "networks", "problems"))
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
        ({"train": ["main"]}, {}, "jobs.a: train belongs to the section networks, and that needs it"),
        ({"measure": ["networks"]}, {}, "jobs.a: train belongs to the section networks, and that needs it"),
        ({"train": ["main"], "measure": ["networks"]}, {"clip": 1.0}, "set clip: null"),
    ],
)
def test_a_bad_config_is_named(job, training, message):
    networks = {"training": {"steps": 1, "clip": None}, "nfes": {"main": [5]}}
    good = {"networks": networks, "jobs": {"a": {"train": ["main"], "measure": ["networks"]}}}
    assert validated(config.Config, good, "here").jobs["a"].train == ("main",)
    bad = {"networks": networks | {"training": networks["training"] | training}, "jobs": {"a": job}}
    with pytest.raises(RescoreError, match=message):
        validated(config.Config, bad, "here")


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
    names, data = ("main", "clean", "masking"), load_images("digits", "train")
    group = [(name, seed) for name in names for seed in smoke.seeds]
    rows = torch.arange(5)
    levels = []

    def network(x, level):
        levels.append(level)
        return torch.zeros_like(x)

    studio = networks.Studio(book_of(PAPER, smoke, "all", tmp_path))
    losses = studio.losses(group)
    found = losses(network, rows, torch.Generator().manual_seed(0))
    generator, x0, expected = torch.Generator().manual_seed(0), to_unit_interval(data.images[:5]).float().repeat(2, 1, 1, 1), 0
    for name in names:
        loss, process = networks.LOSSES[VARIANTS[name].loss], studio.processes[name]
        t, x = loss.pairs(process, x0, generator)
        expected = expected + loss.losses(process, torch.zeros_like(x), x0, x, t).reshape(2, 5).sum(0)
    torch.testing.assert_close(found, expected)
    assert levels[0].shape == (30,)
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
    rest = (1.0, 0.1, 2, "trainings", 3, 1, "", "laptop", "cpu", 0.0, "v", "h")
    records = [Record("soft_diffusion", *key, *rest) for key in keys]
    rows = evaluate("soft_diffusion", PAPER.module("claims").CLAIMS, records)
    assert len(rows) >= 10
    assert {row["status"] for row in rows} == {"inconclusive"}
