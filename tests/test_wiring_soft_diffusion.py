"""Soft Diffusion's wiring: a tiny run, every number of which is kept; and what its networks are trained on and judged by."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from measuring import book_of, configured, measured
from pinned import check_pinned
from rescore.data.images import ImageSet
from rescore.data.pixels import to_unit
from rescore.models.judge import RealScore
from rescore.papers import load_config, load_paper
from rescore.random import derive_seed
from rescore.training import together

PAPER = load_paper("soft_diffusion")
networks, problems = PAPER.module("networks"), PAPER.module("problems")
TINY = {"schedule": {"candidates": 8, "nodes": 4, "images": 6}, "gaussian": {"nfes": [2, 4], "masking_nfes": [2]}}


def content() -> dict:
    return load_config(PAPER, "smoke").model_dump(mode="json")


def test_numbers_are_what_they_were(tmp_path):
    tiny = content() | TINY
    tiny["networks"] |= {"samples": 70, "nfes": {"main": [3], "masking": [2], "clean": [2]}}
    tiny["jobs"]["all"]["train"] = ["main", "clean", "masking"]
    result = measured(PAPER, configured(PAPER, tiny), "all", tmp_path)
    check_pinned("soft_diffusion_all", result.measurements, result)


def test_numbers_of_the_rivals_are_what_they_were(tmp_path):
    tiny = content() | TINY
    tiny["networks"] |= {"samples": 70}
    tiny["jobs"]["more"] |= {"train": ["main", "image", "score", "ve"]}
    result = measured(PAPER, configured(PAPER, tiny), "more", tmp_path)
    check_pinned("soft_diffusion_more", result.measurements, result)


def test_masks_on_the_way_are_those_of_a_shorter_training(tmp_path):
    """To the bit: samples after 4 of 8 steps, and those of a training of 4. After 8 they are others. Every number is kept."""
    tiny = content()
    tiny["networks"] |= {"samples": 70}
    whole, short = (
        measured(
            PAPER, configured(PAPER, tiny | {"masks": {"lengths": lengths, "nfes": [4]}}), "masks", tmp_path / str(lengths)
        )
        for lengths in ([4, 8], [4])
    )
    check_pinned("soft_diffusion_masks", whole.measurements, whole)
    samples = {name: array for name, array in whole.arrays.items() if name.startswith("samples/")}
    labels = [
        f"samples/{problems.VARIANTS[name].label}; after {{}} steps of training/4" for name in ("masking", "masking-clean")
    ]
    assert set(samples) == {label.format(steps) for label in labels for steps in (4, 8)}
    for label in labels:
        assert np.array_equal(samples[label.format(4)], short.arrays[label.format(4)])
        assert not np.array_equal(samples[label.format(4)], samples[label.format(8)])
    assert {one.protocol["train_steps"] for one in whole.measurements if "after 4 steps" in one.variant} == {4}


class StubJudge:
    """Its floor is 0.5."""

    def of_real(self, metrics, samples):
        for metric in metrics:
            yield RealScore("held out", metric, 0.5, min(9, samples), {"n_samples": min(9, samples)})


@pytest.fixture
def sets(monkeypatch):
    """Twelve images to train on, nine held out."""
    made = {
        split: ImageSet("digits", split, torch.arange(n * 64).reshape(n, 1, 8, 8).remainder(256).to(torch.uint8))
        for split, n in (("train", 12), ("test", 9))
    }
    for module in (networks, problems):
        monkeypatch.setattr(module, "load_images", lambda name, split: made[split])
    monkeypatch.setattr(problems.Corruptions, "__call__", lambda self, variant: problems.Corruptions.ve(self))
    return made


def studio_of(folder, **training):
    settings = content()
    settings["networks"]["training"] |= training
    settings["jobs"]["all"]["train"] = ["main"]
    return networks.Studio(book_of(PAPER, configured(PAPER, settings), "all", folder))


def test_networks_are_trained_as_the_config_says(monkeypatch, tmp_path, sets):
    asked = []
    stub = SimpleNamespace(network=torch.nn.Identity(), snapshots={})
    monkeypatch.setattr(together, "train_network", lambda *arguments: asked.append(arguments) or stub)
    studio = studio_of(tmp_path, clip=0.7, together=False)
    assert list(studio.trained) == ["main"] and len(asked) == 2
    settings = studio.settings.training
    for seed, (_, _, plan, folder, device, every, label, snapshots) in zip((0, 1), asked, strict=True):
        assert snapshots is None
        adam = plan.adam
        assert (adam.steps, adam.lr, adam.warmup, adam.clip) == (settings.steps, settings.lr, settings.warmup, 0.7)
        assert (plan.data, plan.batch, plan.ema) == (12, settings.batch, settings.ema)
        assert plan.seed == derive_seed("soft", f"main {seed}")
        assert (folder, device, every, label) == (
            studio.run.folder / f"main-{seed}",
            "cpu",
            settings.checkpoint_every,
            f"main {seed}",
        )


def test_the_judge_compares_with_the_training_images(monkeypatch, tmp_path, sets):
    judged = []
    monkeypatch.setattr(networks, "make_judge", lambda *arguments: judged.append(arguments) or StubJudge())
    studio = studio_of(tmp_path)
    assert isinstance(studio.judge, StubJudge)
    ((features, reference, held_out, classifier, folder, device),) = judged
    assert (features, classifier.steps, device) == ("classifier", 5, "cpu") and folder == studio.run.folder.parent / "judges"
    assert reference is sets["train"] and held_out is sets["test"]


def test_real_images_have_their_floors_and_held_out_ones_their_distance(monkeypatch, tmp_path, sets):
    monkeypatch.setattr(networks, "make_judge", lambda *_: StubJudge())
    studio = studio_of(tmp_path)
    networks.real_images(studio)
    values = {one.metric: one for one in studio.book.measurements}
    assert {(one.method, one.variant) for one in values.values()} == {("real images", "held out")}
    assert (values["fid"].value, values["fid"].n_samples, values["fid"].protocol["n_samples"]) == (0.5, 9, 9)
    real = to_unit(sets["train"].images).flatten(1)
    parts = [networks.median_distance(part, real) for part in to_unit(sets["test"].images).chunk(4)]
    nearest = values["nearest"]
    assert nearest.value == pytest.approx(np.mean(parts)) and (nearest.n_seeds, nearest.df, nearest.n_samples) == (3, 2, 9)
    assert nearest.over == "runs" and nearest.protocol == {"parts": 4, "sigma_min": 0.01, "pixels": "0 to 1"}


def test_without_the_images_nothing_is_measured_and_the_reason_is_said(monkeypatch, tmp_path):
    from rescore.errors import MissingData

    def missing(name, split):
        raise MissingData("no images")

    for name in ("networks", "problems"):  # those that the job imports: another test may have had them loaded anew
        monkeypatch.setattr(PAPER.module(name), "load_images", missing)
    result = measured(PAPER, configured(PAPER, content()), "all", tmp_path)
    assert result.measurements == [] and result.skipped == [{"dataset": "digits", "reason": "no images"}]
