"""Soft Diffusion's jobs: what is trained and judged, with stubs; and a tiny run, every number of which is kept."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from measuring import book_of, configured, measured
from pinned import check_pinned

from rescore.data.images import ImageSet, load_images
from rescore.data.pixels import to_unit
from rescore.models.judge import Drawn, RealScore
from rescore.papers import load_config, load_paper
from rescore.random import derive_seed, make_generator
from rescore.samplers import MomentumSampler, uniform_times

PAPER = load_paper("soft_diffusion")
problems, trained = PAPER.module("problems"), PAPER.module("trained")
TINY = {
    "datasets": {"digits": {"schedule": {"candidates": 8, "nodes": 4, "images": 6}}},
    "gaussian": {"nfes": [2, 4], "masking_nfes": [2]},
}


def smoke(**training):
    content = load_config(PAPER, "smoke").model_dump(mode="json") | TINY
    content["networks"] |= {"samples": 70, "nfes": {"main": [3], "masking": [2], "clean": [2]}}
    content["networks"]["training"] |= training
    content["jobs"]["all"]["train"] = ["main", "clean", "masking"]
    return configured(PAPER, content)


def test_numbers_are_what_they_were(tmp_path):
    result = measured(PAPER, smoke(), "all", tmp_path)
    check_pinned("soft_diffusion_all", result.measurements, result)


@pytest.fixture
def here(tmp_path):
    return trained.Networks(book_of(PAPER, smoke(), "all", tmp_path), "digits")


@pytest.fixture
def tiny_sets(monkeypatch):
    sets = {
        split: ImageSet("digits", split, torch.arange(first, first + n * 64).reshape(n, 1, 8, 8).remainder(256).to(torch.uint8))
        for split, n, first in (("train", 12, 0), ("test", 10, 7))
    }
    for module in (problems, trained):
        monkeypatch.setattr(module, "load_images", lambda name, split: sets[split])
    return sets


class StubJudge:
    asked = ()

    def of_real(self, metrics, samples):
        self.asked = metrics, samples
        for metric in metrics:
            yield RealScore("held out", metric, 0.5, min(9, samples), {"n_samples": min(9, samples)})

    def __call__(self, x, metrics):
        return dict.fromkeys(metrics, x.mean().item())

    def protocol(self, metric, x):
        return {"n_samples": len(x)}


def test_networks_are_trained_as_the_config_says(monkeypatch, tmp_path, tiny_sets):
    asked = []
    monkeypatch.setattr(
        trained, "train_network", lambda *arguments: asked.append(arguments) or SimpleNamespace(network=torch.nn.Identity())
    )
    config = smoke(clip=0.7, together=False)
    book = book_of(PAPER, config, "all", tmp_path)
    here = trained.Networks(book, "digits")
    assert asked == [], "nothing is trained before it is needed"
    for seed in (0, 1, 1):
        here.network("main", seed)
    assert len(asked) == 2
    for seed, (_, _, plan, folder, device, every, label) in zip((0, 1), asked, strict=True):
        adam, settings = plan.adam, config.networks.training
        assert (adam.steps, adam.lr, adam.warmup, adam.clip) == (settings.steps, settings.lr, settings.warmup, 0.7)
        assert (plan.data, plan.batch, plan.ema, every, device) == (12, settings.batch, settings.ema, 1000, "cpu")
        assert plan.seed == derive_seed("soft", f"main {seed}") and label == f"main {seed}"
        assert folder == book.run.folder / f"main-{seed}"


def test_samples_are_judged_against_the_training_images(monkeypatch, tmp_path, tiny_sets):
    made = []
    monkeypatch.setattr(trained, "make_judge", lambda *arguments: made.append(arguments) or StubJudge())
    book = book_of(PAPER, smoke(), "all", tmp_path)
    here = trained.Networks(book, "digits")
    trained.real_images(here)
    ((features, reference, held_out, classifier, folder, device),) = made
    assert (features, classifier.steps, device) == ("classifier", 5, "cpu") and folder == book.run.folder.parent / "judges"
    assert reference is tiny_sets["train"] and held_out is tiny_sets["test"] and here.judge.asked == (("fid", "is"), 70)
    values = {one.metric: one for one in book.measurements}
    assert (values["fid"].value, values["fid"].n_samples, values["fid"].over, values["fid"].df) == (0.5, 9, "runs", None)
    parts = [here.nearest(part) for part in to_unit(tiny_sets["test"].images).chunk(4)]
    near = values["nearest"]
    assert near.value == pytest.approx(np.mean(parts)) and (near.n_samples, near.n_seeds, near.df) == (10, 4, 3)
    assert near.value > 0.01


def test_samples_of_each_seed_fill_a_cell(here, monkeypatch):
    asked = []

    def draw(self, sampler, name, seed):
        asked.append((type(sampler), sampler.steps, name, seed))
        return Drawn(torch.rand(70, 1, 8, 8, generator=make_generator("x", seed)) * (seed + 1) - 1, sampler.steps)

    monkeypatch.setattr(trained.Networks, "draw", draw)
    monkeypatch.setattr(trained.Networks, "judge", StubJudge())
    trained.sample(here, "masking", "masking", MomentumSampler, 16)
    assert asked == [(MomentumSampler, 16, "masking", seed) for seed in (0, 1)]
    found = {one.metric: one for one in here.book.measurements}
    assert set(found) == {"fid", "is", "variance_ratio", "nearest"}
    x = [draw(None, SimpleNamespace(steps=16), "masking", seed).x for seed in (0, 1)]
    assert found["fid"].value == pytest.approx(np.mean([one.mean().item() for one in x]))
    ratios = [(one.var(0).sum() / here.real.var(0).sum()).item() for one in x]
    assert found["variance_ratio"].value == pytest.approx(np.mean(ratios))
    for one in found.values():
        assert (one.table, one.variant, one.nfe, one.over, one.n_samples) == ("section-4", "masking", 16, "trainings", 140)
        assert one.protocol["n_samples"] == 70 and one.protocol["level"] == "linear"
    assert torch.equal(torch.from_numpy(here.book.arrays["samples/masking/16"]), x[0][:16])
    closest = torch.cdist(x[0][:16].flatten(1), here.real).argmin(1)
    assert torch.equal(torch.from_numpy(here.book.arrays["neighbours/masking/16"]).flatten(1), here.real[closest])


def test_samples_are_drawn_from_a_networks_clean_prediction(here, monkeypatch):
    """A network that predicts grey everywhere draws grey, at the pixels' scale of the judge."""
    here.clean = lambda name, seed: lambda x, t: torch.full_like(x, 0.75)
    sampler = MomentumSampler(here.problem.corruption("masking"), uniform_times(2))
    drawn = here.draw(sampler, "masking", 0)
    assert drawn.nfe == 2 and drawn.x.shape == (70, 1, 8, 8) and (drawn.x == 0.5).all()


class Level(torch.nn.Module):
    """A network whose output is its noise level."""

    def forward(self, x, level):
        return level[:, None, None, None] + 0 * x


def test_clean_predictions_of_networks_are_counted_and_residual(here, monkeypatch):
    from rescore.cost.evaluations import CountEvaluations

    monkeypatch.setattr(trained.Networks, "network", lambda self, name, seed: Level())
    x = here.unseen[:5]
    with CountEvaluations() as counted:
        clean = here.clean("main", 0)(x, 0.5)
    torch.testing.assert_close(clean, x + 499.5)
    assert counted.total == 5


def test_held_out_losses_count_the_images_of_every_network(here):
    """Networks that predict the image itself have no clean loss; 359 images in two networks are 718."""
    here.clean = lambda name, seed: lambda x, t: here.unseen + 0.3 * seed
    trained.held_out_losses(here, "main")
    found = {one.metric: one for one in here.book.measurements}
    assert {(m.over, m.n_seeds, m.df, m.n_samples) for m in found.values()} == {("trainings", 2, 1, 718)}
    clean = found["clean_loss"]
    assert clean.value == pytest.approx(clean.stderr, rel=1e-5) and clean.value > 0.01  # values 0 and v: v/2 +- v/2


def test_a_path_is_that_of_the_sampler(here):
    sampler = MomentumSampler(here.problem.corruption("masking"), uniform_times(4))
    start = here.unseen[:3]
    path = trained.momentum_path(sampler, lambda x, t: 0.5 * x, start, make_generator("path"))
    assert len(path) == 5 and torch.equal(path[0], start)
    assert torch.equal(path[-1], sampler(lambda x, t: 0.5 * x, start, make_generator("path")))
    assert torch.equal(path[-1], 0.5 * path[-2])


def test_missing_images_are_skipped(monkeypatch, tmp_path):
    from rescore.errors import MissingData

    def load(name, split):
        raise MissingData("nowhere")

    monkeypatch.setattr(problems, "load_images", load)
    result = measured(PAPER, smoke(), "all", tmp_path)
    assert result.measurements == [] and result.skipped == [{"dataset": "digits", "reason": "nowhere"}]


def test_the_gaussian_is_that_of_the_images(here):
    """Its total variance is theirs: what an exact sampler keeps."""
    images = problems.unit_interval(load_images("digits", "train"))
    assert torch.equal(here.problem.images, images)
    PAPER.module("jobs").gaussian(here.book, "digits")
    rows = {(m.variant, m.nfe): m.value for m in here.book.measurements if m.metric == "variance_ratio" and m.method != "VE SDE"}
    assert rows[problems.MAIN(sampler="Naive Sampler"), 4] < rows[problems.MAIN(sampler="Momentum Sampler"), 4] < 1
