"""The data and the measures of the DiffCollage reproduction."""

import numpy as np
import pytest
import torch
from conftest import ROOT

from rescore.config import load_config, validated
from rescore.data import motion, textures
from rescore.data.images import load_images
from rescore.errors import MissingData, RescoreError
from rescore.ledger.published import read_published
from rescore.models.build import make_model, make_process
from rescore.models.spec import ModelSpec, Network, Part
from rescore.networks import make_network
from rescore.papers import load_paper
from rescore.samplers import ddim
from rescore.scores import EmpiricalData

PAPER = load_paper("diffcollage", ROOT)
pieces = PAPER.module("pieces")
SPEC = ModelSpec(
    data="brick-8x4", process=Part(name="VP"), network=Network(name="mlp", settings={"width": 8, "blocks": 1}), steps=1
)


@pytest.mark.parametrize("name", textures.TEXTURES)
def test_patches_of_train_and_test_share_no_pixel(name):
    columns = {split: {c for band in textures.bands(split) for c in range(*band)} for split in textures.SPLITS}
    assert not columns["train"] & columns["test"] and len(columns["train"] | columns["test"]) == 128
    for split, bands in (("train", (40, 40, 16)), ("test", (16, 16))):
        assert [b - a for a, b in textures.bands(split)] == list(bands)
        patches = load_images(f"{name}-8x4", split)
        assert patches.shape == (1, 8, 4) and len(patches) == 121 * sum(b - 3 for b in bands)
    image = textures.load_texture(name)
    assert image.min() == 0 and image.max() == 255
    assert np.array_equal(load_images(f"{name}-8x8").images[0, 0].numpy(), image[:8, :8])


def test_a_texture_is_the_mean_of_blocks():
    import skimage.data

    blocks = skimage.data.gravel().reshape(128, 4, 128, 4).mean((1, 3))
    low, high = np.percentile(blocks, (0.5, 99.5))
    expected = 255 * ((blocks - low) / (high - low)).clip(0, 1)
    assert np.abs(textures.load_texture("gravel") - expected).max() <= 0.5
    with pytest.raises(RescoreError, match="texture 'sand'; allowed: brick, grass, gravel"):
        textures.load_texture("sand")


def test_labels_of_all_textures():
    data = load_images("textures-8x8", "test")
    assert data.labels.bincount().tolist() == [2178] * 3
    assert torch.equal(data.images[data.labels == 1], load_images("grass-8x8", "test").images)


def write_series(path, value: float = 0.5, label: str = "Walking", length: int = 100) -> str:
    line = ":".join([",".join([str(value)] * length)] * 6 + [label])
    text = f"@problemName BasicMotions\n@data\n{line}\n"
    path.write_text(text)
    return text


def test_a_motion_file_is_read_and_errors_name_the_line(tmp_path):
    series, labels = motion.parse(write_series(tmp_path / "a.ts"), "a.ts")
    assert series.shape == (1, 6, 100) and (series == 0.5).all() and labels.tolist() == [2]
    with pytest.raises(RescoreError, match=r"a.ts, line 3: a series \(6, 99\) labelled 'Walking'; allowed"):
        motion.parse(write_series(tmp_path / "a.ts", length=99), "a.ts")
    with pytest.raises(RescoreError, match="labelled 'Flying'"):
        motion.parse(write_series(tmp_path / "a.ts", label="Flying"), "a.ts")
    with pytest.raises(RescoreError, match="no series after @data"):
        motion.parse("@data\n", "a.ts")


def test_motions_missing_or_damaged(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError("no network")

    monkeypatch.setenv("RESCORE_DATA", str(tmp_path))
    monkeypatch.setenv("RESCORE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr("urllib.request.urlopen", refuse)
    assert motion.motions_at_hand() == "absent"
    with pytest.raises(MissingData, match="RESCORE_DATA/BasicMotions or in an installed aeon"):
        motion.load_motions()
    (tmp_path / "BasicMotions").mkdir()
    for split in ("TRAIN", "TEST"):
        write_series(tmp_path / "BasicMotions" / f"BasicMotions_{split}.ts")
    assert motion.motions_at_hand() == "present"
    with pytest.raises(RescoreError, match="wrong checksum"):
        motion.load_motions()
    with pytest.raises(RescoreError, match="split 'all'; allowed: train, test"):
        motion.load_motions("all")


def test_motions_at_hand_are_whole():
    if motion.find_motions() is None:
        pytest.skip("BasicMotions is not at hand")
    for split in motion.SPLITS:
        series, labels = motion.load_motions(split)
        assert series.shape == (40, 6, 100) and np.bincount(labels).tolist() == [10] * 4


def test_a_model_of_patches_that_are_not_square():
    data = load_images("brick-8x4", "test")
    process = make_process(SPEC.process, data.shape)
    model = make_model(SPEC, process, data.shape)
    assert model(torch.zeros(2, 1, 8, 4), 0.5).shape == (2, 1, 8, 4)


@pytest.mark.parametrize("name", ["ddpm", "ddpmpp", "ncsnpp", "ncsnv2"])
def test_a_network_of_halves_is_that_of_squares(name):
    """The same weights."""
    settings = {"width": 8} if name == "ncsnv2" else {"width": 8, "blocks": 1, "multipliers": (1, 2), "attention": (4,)}
    square, half = (make_network(name, settings, 3, side, 0) for side in (8, (8, 4)))
    assert [(k, v.shape) for k, v in square.state_dict().items()] == [(k, v.shape) for k, v in half.state_dict().items()]
    assert half(torch.randn(2, 3, 8, 4), torch.full((2,), 0.5)).shape == (2, 3, 8, 4)
    with pytest.raises(RescoreError, match=r"\(batch, 3, 8, 4\)"):
        half(torch.randn(2, 3, 8, 8), torch.full((2,), 0.5))
    with pytest.raises(RescoreError, match="side"):
        make_network(name, settings, 3, (8, 3), 0)


def test_seams():
    """Steps of 2 at the borders and of 1 elsewhere: four times as rough."""
    steps = torch.ones(23)
    steps[[7, 15]] = 2.0
    image = torch.cat((torch.zeros(1), steps.cumsum(0))).expand(3, 1, 8, 24)
    assert pieces.seam(image, (8, 16)) == pytest.approx(4)
    assert pieces.wrap_seam(image) == pytest.approx(25.0**2 / ((21 + 2 * 4) / 23))
    assert pieces.seam(torch.randn(500, 1, 8, 24), (8, 16)) == pytest.approx(1, abs=0.1)


def test_crops_are_squares_of_their_images():
    x = torch.arange(48.0).expand(200, 1, 8, 48) + 100 * torch.arange(200.0).reshape(-1, 1, 1, 1)
    cut = pieces.crops(x, 8, torch.Generator().manual_seed(0))
    first = cut[:, 0, 0, 0] - 100 * torch.arange(200.0)
    assert cut.shape == (200, 1, 8, 8) and first.min() == 0 and first.max() == 40
    assert torch.equal(cut - cut[..., :1], torch.arange(8.0).expand_as(cut))


def test_passes_of_every_method():
    """Eleven pieces: one run, or six that follow each other; five of these with a way back."""
    process = make_process(SPEC.process, (1, 8, 8))
    sampler = ddim(process, [1.0, 0.5, 0.1], denoise="tweedie")

    def score(u, t):
        return -u

    data = load_images("brick-8x8", "test")
    one = pieces.Pieces("brick", data, data, process, score, score, score, score, None, sampler, {}, 4)
    passes = {}
    for method in pieces.ALL:
        x, passes[method] = one.wide(method, 2, 6, torch.Generator().manual_seed(0))
        assert x.shape == (2, 1, 8, 48) and x.abs().max() <= 1
    assert passes == {"Baseline": 3, "Averaging": 3, "DiffCollage": 3, "Replacement": 18, "Reconstruction": 33}


def test_exact_pieces_are_the_empirical_score():
    exact, process = PAPER.module("exact"), make_process(SPEC.process, (1, 8, 8))
    points = torch.randn(50, 1, 8, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    u = torch.randn(6, 1, 8, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for t in (0.01, 0.3, 1.0):
        assert torch.allclose(exact.with_gradients(process, points)(u, t), EmpiricalData(process, points)(u, t), rtol=1e-10)
    assert torch.autograd.gradcheck(lambda u: exact.with_gradients(process, points)(u, 0.3), u[:1].requires_grad_())


def test_a_job_without_its_models_is_refused():
    config = load_config(PAPER, "smoke").model_dump(mode="json")
    config["jobs"]["all"]["models"] = ["brick"]
    with pytest.raises(RescoreError, match="jobs.all.models: brick_half is missing; needed: brick, brick_half, brick_quarter"):
        validated(PAPER.module("config").Config, config, "smoke.yaml")


def test_every_printed_row_is_there():
    rows = read_published(PAPER.folder / "published.csv", "diffcollage")
    assert len(rows) == 59
    assert {row.number for row in rows if row.table == "4.1" and row.metric == "fid_plus"} == {24.15, 10.25, 8.97, 4.54}
