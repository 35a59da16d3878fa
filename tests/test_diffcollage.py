"""The data and the measures of the DiffCollage reproduction."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import ROOT
from matplotlib.figure import Figure
from measuring import book_of, configured, models_of
from rescore.collage import METHODS, Made, Maker, chain
from rescore.data import textures
from rescore.data.crops import Ragged, all_stretches, random_squares, random_stretches
from rescore.data.images import load_images
from rescore.errors import RescoreError
from rescore.figures import image_row, image_stack, ring_picture
from rescore.ledger.protocol import declared_protocol, format_protocol
from rescore.ledger.published import read_published
from rescore.metrics.seams import seam, wrap_seam
from rescore.metrics.series import SeriesJudge
from rescore.models.build import make_model, make_process
from rescore.models.judge import RealScore
from rescore.networks import make_network
from rescore.networks.conditional import ConditionalNoise
from rescore.papers import load_config, load_paper
from rescore.samplers import ddim
from rescore.scores import EmpiricalData
from rescore.specs.model import ModelSpec, Network, Part

PAPER = load_paper("diffcollage", ROOT)
images, motions, panoramas = (PAPER.module(name) for name in ("images", "motion", "panoramas"))
SPEC = ModelSpec(
    data="brick-8x4", process=Part(name="VP"), network=Network(name="mlp", settings={"width": 8, "blocks": 1}), steps=1
)


@pytest.mark.parametrize("name", textures.TEXTURES)
def test_patches_of_train_and_test_share_no_pixel(name):
    columns = {split: {c for band in textures.bands(split) for c in range(*band)} for split in textures.SPLITS["textures-8x8"]}
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
    if name == "ncsnv2":  # its pooling and its sums take odd sides
        assert make_network(name, settings, 3, (8, 3), 0)(torch.randn(2, 3, 8, 3), torch.full((2,), 0.5)).shape == (2, 3, 8, 3)
    else:
        with pytest.raises(RescoreError, match="side"):
            make_network(name, settings, 3, (8, 3), 0)


def test_seams():
    """Steps of 2 at the borders and of 1 elsewhere: four times as rough."""
    steps = torch.ones(23)
    steps[[7, 15]] = 2.0
    image = torch.cat((torch.zeros(1), steps.cumsum(0))).expand(3, 1, 8, 24)
    assert seam(image, (8, 16)) == pytest.approx(4)
    assert wrap_seam(image) == pytest.approx(25.0**2 / ((21 + 2 * 4) / 23))
    assert seam(torch.randn(500, 1, 8, 24), (8, 16)) == pytest.approx(1, abs=0.1)


def test_crops_are_squares_of_their_images():
    x = torch.arange(48.0).expand(200, 1, 8, 48) + 100 * torch.arange(200.0).reshape(-1, 1, 1, 1)
    cut = random_squares(x, 8, torch.Generator().manual_seed(0))
    first = cut[:, 0, 0, 0] - 100 * torch.arange(200.0)
    assert cut.shape == (200, 1, 8, 8) and first.min() == 0 and first.max() == 40
    assert torch.equal(cut - cut[..., :1], torch.arange(8.0).expand_as(cut))


def test_stretches_of_series():
    x = torch.arange(40.0).expand(200, 2, 40)
    cut = random_stretches(x, 8, torch.Generator().manual_seed(0))
    assert cut.shape == (200, 2, 8) and cut[:, 0, 0].min() == 0 and cut[:, 0, 0].max() == 32
    assert torch.equal(cut - cut[..., :1], torch.arange(8.0).expand_as(cut))
    assert torch.equal(random_stretches(x, 50, torch.Generator()), x), "no longer than they are"
    every = all_stretches(x[:3].numpy(), 16)
    assert every.shape == (3, 25, 2, 1, 16) and torch.equal(every[1, 7, 0, 0], torch.arange(7.0, 23.0))


def test_stretches_of_series_of_unequal_lengths():
    """The last number below 1 is the last place."""
    ragged = Ragged([torch.arange(5.0)[:, None], 10 + torch.arange(3.0)[:, None]])
    rows, u = torch.tensor([0, 0, 1]), torch.tensor([0.0, 0.999, 0.999])
    assert ragged.stretches(rows, u, 2)[..., 0].tolist() == [[0, 1], [3, 4], [11, 12]]
    assert ragged.stretches(rows, u)[:, 0, 0].tolist() == [0, 4, 12]


def standard(u, t, y=None):
    """The score of N(0, 1)."""
    return -u


def test_passes_of_every_method():
    """Eleven pieces: one run, or six that follow each other; five of these with a way back."""
    sampler = ddim(make_process(SPEC.process, (1, 8, 8)), [1.0, 0.5, 0.1], denoise="tweedie")
    maker, passes = Maker(sampler, 1, standard, standard, standard), {}
    for method in METHODS:
        x, passes[method] = maker.chained(method, chain(8, 48, 8, 4), 2, torch.Generator().manual_seed(0))
        assert x.shape == (2, 1, 8, 48) and x.abs().max() <= 1
    assert passes == {"Baseline": 3, "Averaging": 3, "DiffCollage": 3, "Replacement": 18, "Reconstruction": 33}
    with pytest.raises(RescoreError, match="unknown method 'baseline'; allowed: Baseline, "):
        maker.chained("baseline", chain(8, 48, 8, 4), 2, torch.Generator())


@pytest.mark.parametrize("method", METHODS)
def test_contents_made_in_batches_have_their_own_conditions(method):
    """Pieces that go to the value of their condition: each content of three batches has its own, variables included."""
    process = make_process(SPEC.process, (1, 1, 4))
    sampler = ddim(process, [1.0, 0.5, 1e-3], denoise="tweedie")

    def at(u, t, y):
        m, variance = process.mean(t).values.item(), process.Sigma(t).values.item()
        return (m * y[:, :, None, None] - u) / variance

    y = torch.linspace(-0.8, 0.8, 5)[:, None]
    maker, graph = Maker(sampler, 1, at, at, at, batch=2), chain(1, 16, 4, 2)
    x, _ = maker.chained(method, graph, 5, torch.Generator().manual_seed(0), dict.fromkeys(range(7), y), y)
    assert torch.allclose(x, y[:, :, None, None].expand_as(x), atol=1e-5)
    short, _ = maker.sample(at, (1, 4), 5, torch.Generator().manual_seed(0), y)
    assert torch.allclose(short, y[:, :, None, None].expand_as(short), atol=1e-5)


def test_a_conditional_network_begins_at_the_noise_of_a_gaussian():
    """Its score is that of N(0, m^2 s^2 + R^2); a withheld condition is zeros."""
    process, seen = make_process(SPEC.process, (1, 1, 4)), []
    network = torch.nn.Identity()
    network.forward = lambda joined, level: seen.append((joined, level)) or torch.zeros_like(joined[:, :2])
    score = ConditionalNoise(network, process, 2, 3, spread=0.5).score()
    u = torch.randn(4, 2, 1, 6, generator=torch.Generator().manual_seed(0))
    variance = process.mean(0.3).values.item() ** 2 / 4 + process.Sigma(0.3).values.item()
    assert torch.allclose(score(u, 0.3), -u / variance, rtol=1e-5)
    assert torch.allclose(score(u, 0.3, torch.ones(4, 3)), -u / variance, rtol=1e-5)
    (without, level), (under, _) = seen
    assert torch.equal(without[:, :2], u) and not without[:, 2:].any() and under[:, 2:].eq(1).all()
    assert level.tolist() == pytest.approx([999 * 0.3] * 4)


def test_exact_pieces_are_the_empirical_score():
    process = make_process(SPEC.process, (1, 8, 8))
    points = torch.randn(50, 1, 8, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    u = torch.randn(6, 1, 8, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    exact = EmpiricalData(process, points)
    for t in (0.01, 0.3, 1.0):
        assert torch.allclose(exact.with_gradients()(u, t), exact(u, t), rtol=1e-10)
    assert torch.autograd.gradcheck(lambda u: exact.with_gradients()(u, 0.3), u[:1].requires_grad_())


class JudgeOfMeans:
    """FID is the mean of |x|; real images get 7."""

    def __call__(self, x, metrics):
        return {"fid": x.abs().mean().item()}

    def protocol(self, metric, x):
        return {"n_samples": len(x)}

    def of_real(self, metrics, samples):
        return [RealScore(variant, "fid", 7.0, samples, {}) for variant in ("held out", "training images")]


class Constant(Maker):
    """Contents of one value, which stands in place of the squares' score."""

    def sample(self, score, size, n, generator, y=None):
        return Made(torch.full((n, 1, *size), self.piece), 5)

    def chained(self, method, graph, n, generator):
        return Made(torch.full((n, 1, *graph.size), self.piece), 5)


@pytest.mark.parametrize(
    ("over", "n_seeds", "variant"), [("trainings", 3, ""), ("samplings", 1, ""), ("runs", 3, "exact pieces")]
)
def test_panoramas_are_of_the_pieces_of_each_repeat(over, n_seeds, variant, tmp_path, monkeypatch):
    """Squares and panoramas of the value 0.1, 0.2 and 0.6 by the three pieces: FID is their mean, with its error."""
    made = {seed: Constant(None, 1, value, None, None) for seed, value in ((0, 0.1), (1, 0.2), (2, 0.6))}
    kind = images.ExactImages if variant else images.Images
    monkeypatch.setattr(kind, "judge", JudgeOfMeans())
    monkeypatch.setattr(kind, "each", made.items())
    monkeypatch.setattr(panoramas, "seam", lambda x, borders: x.mean().item())
    monkeypatch.setattr(panoramas, "wrap_seam", lambda x: x.mean().item())
    content = load_config(PAPER, "smoke").model_dump(mode="json") | {"crops": 2, "samples": 4, "exact": {"samples": 4}}
    content["training_seeds"] = [0] if over == "samplings" else [0, 1, 2]
    book = book_of(PAPER, configured(PAPER, content), "all", tmp_path)
    (panoramas.exact if variant else panoramas.panoramas)(book, "brick")
    found = {(m.method, m.metric, m.variant): m for m in book.measurements}
    for method in METHODS:
        sizes = {"fid_plus": 12, "fid_middle": 12, "fid_ends": 12, "drift": 12, "seam": 12, "wrap_seam": 12}
        for metric, size in (sizes | ({"fid": 24} if method in panoramas.TABULATED else {})).items():
            record = found[method, metric, variant]
            assert (record.over, record.n_seeds, record.df, record.n_samples) == (over, n_seeds, 2, size)
            assert record.value == pytest.approx(0 if metric == "drift" else 0.3, abs=1e-6)
        assert found[method, "fid_plus", variant].stderr == pytest.approx((0.07 / 3) ** 0.5)
        passes = found[method, "sequential passes", variant]
        assert (passes.value, passes.over, passes.n_samples) == (5, "exact", 1)
    real = {(m.variant, m.metric): (m.value, m.over, m.n_samples) for m in book.measurements if m.method == "real images"}
    floors = {("held out", "fid"): (7.0, "runs", 8), ("training images", "fid"): (7.0, "runs", 8)}
    assert {key: value for key, value in real.items() if key[1] == "fid"} == ({} if variant else floors)


def test_pieces_are_those_of_each_training_seed(tmp_path, monkeypatch):
    loaded = []
    process = make_process(SPEC.process, (1, 8, 8))

    def load_model(spec, path, shape, device, made):
        assert made == path.parent.parent, "the folder of the model's node"
        loaded.append((spec.data, spec.seed, path))
        return SimpleNamespace(process=process, score=None, network=SimpleNamespace(score=lambda: None))

    monkeypatch.setattr(images, "load_model", load_model)
    for seeds, over, n, repeated in (((3, 5), "trainings", 2, [3, 5]), ((3,), "samplings", 1, [0, 1, 2])):
        loaded.clear()
        content = load_config(PAPER, "smoke").model_dump(mode="json")
        config = configured(PAPER, content | {"seeds": [0, 1, 2], "training_seeds": list(seeds)})
        models = {name: Path(name) for name in models_of(config, "all")}
        found = images.Images(book_of(PAPER, config, "all", tmp_path, models), "brick")
        each = list(found.each)
        assert (found.over, [seed for seed, _ in each], len({id(x) for _, x in each})) == (over, repeated, n)
        assert loaded == [
            (f"brick-{size}", seed, Path(f"brick{part}/{seed}"))
            for seed in seeds
            for part, size in (("", "8x8"), ("_half", "8x4"), ("_quarter", "4x4"))
        ]


@pytest.mark.parametrize(("split", "held_out"), [("train", "brick-8x8/test"), ("all", None)])
def test_a_scene_that_is_all_reference_holds_nothing_out(split, held_out, tmp_path, monkeypatch):
    found = images.Images(book_of(PAPER, load_config(PAPER, "smoke"), "all", tmp_path), "brick")
    found.name = "lhq"
    found.train, found.test = replace(load_images("brick-8x8"), split=split), load_images("brick-8x8", "test")
    monkeypatch.setattr(images, "make_judge", lambda features, reference, held, *_: (reference.split, held and held.source))
    assert found.judge == (split, held_out)


def test_exact_pieces_are_repeated_in_runs(tmp_path):
    found = images.ExactImages(book_of(PAPER, load_config(PAPER, "smoke"), "all", tmp_path), "brick")
    (first, pieces), (second, same) = found.each
    assert (found.over, first, second, found.variant) == ("runs", 0, 1, "exact pieces")
    assert pieces is same and found.overlap == 4


def test_finished_cells_load_no_models(tmp_path, monkeypatch):
    """A killed job that goes on behind a finished section."""
    config = load_config(PAPER, "smoke")
    network = SimpleNamespace(score=lambda: standard)
    model = SimpleNamespace(process=make_process(SPEC.process, (1, 8, 8)), score=standard, network=network)
    monkeypatch.setattr(images, "load_model", lambda *_: model)
    models = dict.fromkeys(models_of(config, "all"), tmp_path)
    first = book_of(PAPER, config, "all", tmp_path, models)
    panoramas.lengths(first, "brick")
    monkeypatch.setattr(images, "load_model", None)
    second = book_of(PAPER, config, "all", tmp_path)
    panoramas.lengths(second, "brick")
    assert second.measurements == [replace(one, protocol=format_protocol(one.protocol)) for one in first.measurements]
    assert [m.value for m in second.measurements if m.table == "text"] == [6.0, 11.0]
    assert second.arrays.keys() == first.arrays.keys()


def test_one_transformer_sees_pieces_overlaps_and_long_series(tmp_path, monkeypatch):
    """A network a seed. Pieces of 16, overlaps of 8; of the baseline two evaluations of series of 32, all conditioned."""
    config = configured(PAPER, load_config(PAPER, "smoke").model_dump(mode="json") | {"steps": 1})
    seen, trained, labels = [], [], np.arange(8) % 4
    sets = {split: (np.random.default_rng(i).normal(size=(8, 6, 40)), labels) for i, split in enumerate(("train", "test"))}

    def train(settings, frames, conditions, names, folder, device, label, spread):
        trained.append((names, frames.values.shape, frames.values.abs().max().item(), conditions.values.argmax(1).tolist()))
        network = torch.nn.Identity()
        network.forward = lambda joined, level: seen.append(joined.detach()) or joined[:, :6]
        return ConditionalNoise(network, motions.PROCESS, 6, 4, spread)

    monkeypatch.setattr(motions, "load_motions", sets.get)
    monkeypatch.setattr(motions, "train_transformer", train)
    book = book_of(PAPER, config, "naive", tmp_path)
    motions.naive(book, "BasicMotions")
    assert trained == [(("motion transformer", seed), (320, 6), 1.0, labels.tolist()) for seed in (0, 1)]
    widths = [one.shape[-1] for one in seen]
    assert widths[:8] == [16] * 4 + [32] * 4 and widths[-4:] == [16, 8, 16, 8], "the model itself, Baseline; DiffCollage"
    assert all((one[:, 6:].sum(1) == 1).all() for one in seen), "nothing is unconditional"
    records = book.measurements
    assert {(m.method, m.variant) for m in records} == {(m, "one transformer") for m in ("MDM", *motions.TABULATED)}
    found = {m.method: m for m in records if m.metric == "fid"}
    assert {(m.over, m.n_seeds, m.n_samples) for m in found.values()} == {("trainings", 2, 48)}
    assert found["Baseline"].protocol["length"] == 32 and found["MDM"].protocol["length"] == 16
    assert set(book.arrays) == {f"naive/{m}" for m in (*motions.TABULATED, "activities")}


def test_each_seed_trains_the_networks_of_motions(tmp_path, monkeypatch):
    """Two seeds: two networks each, one judge. Real series are those held out and those trained on, of equal number."""
    config = configured(PAPER, load_config(PAPER, "smoke").model_dump(mode="json") | {"steps": 2})
    trained, asked, labels = [], [], np.arange(8) % 4
    sets = {split: (np.random.default_rng(i).normal(size=(8, 6, 40)), labels) for i, split in enumerate(("train", "test"))}

    def train(settings, data, labels, width, seed, folder, device):
        trained.append((width, seed))
        network = torch.nn.Identity()
        network.forward = lambda joined, level: joined[:, :6] * (1 + seed)
        return ConditionalNoise(network, motions.PROCESS, 6, 4)

    of_real = SeriesJudge.of_real
    monkeypatch.setattr(motions, "load_motions", sets.get)
    monkeypatch.setattr(motions, "train", train)
    monkeypatch.setattr(SeriesJudge, "of_real", lambda self, n, x, *rest: asked.append(x) or of_real(self, n, x, *rest))
    book = book_of(PAPER, config, "all", tmp_path)
    motions.motion(book, "BasicMotions")
    assert trained == [(16, 0), (8, 0), (16, 1), (8, 1)]
    records = book.measurements
    made = [m for m in records if m.method != "Real data" and m.over != "exact"]
    assert {(m.over, m.n_seeds, m.df, m.n_samples) for m in made} == {("trainings", 2, 1, 48)}
    assert {m.table for m in made} == {"4.3", "fig4.8"}
    real = {m.variant: (m.over, m.n_seeds, m.n_samples) for m in records if m.method == "Real data" and m.metric == "fid"}
    assert real == {"": ("runs", 2, 48), "training series": ("runs", 2, 48)}
    loudest = np.percentile(np.abs(sets["train"][0]), 99.5, axis=(0, 2), keepdims=True)
    scaled = {split: x / loudest for split, (x, _) in sets.items()}
    for series, split in zip(asked, ("train", "train", "test", "test"), strict=True):
        assert torch.equal(series, all_stretches(scaled[split].clip(-1, 1), 16))
    found = {(m.method, m.metric): m.value for m in records if m.variant == ""}
    shift = abs(found["MDM", "diversity"] - found["Real data", "diversity"])
    assert found["MDM", "diversity_gap"] >= shift - 1e-9, "a mean over seeds of distances to the held-out series"


def test_a_job_without_its_models_is_refused():
    config = load_config(PAPER, "smoke").model_dump(mode="json")
    config["jobs"]["all"]["models"] = ["brick"]
    with pytest.raises(RescoreError, match="jobs.all.models: brick_half is missing; needed: brick, brick_half, brick_quarter"):
        configured(PAPER, config)


def test_every_printed_row_is_there():
    rows = read_published(PAPER.folder / "published.csv", "diffcollage")
    assert len(rows) == 59
    assert {row.number for row in rows if row.table == "4.1" and row.metric == "fid_plus"} == {24.15, 10.25, 8.97, 4.54}


def test_images_above_and_beside_each_other():
    """Gaps of a quarter of the side, or of 15 % of the height, are white."""
    figure = Figure()
    above, beside = figure.subplots(2)
    grey = [np.zeros((1, 20, 8)), np.full((1, 20, 8), -1.0)]
    image_stack(above, grey, ["first", ""])
    image_row(beside, grey, ["left", "right"])
    stack, row = (ax.images[0].get_array() for ax in (above, beside))
    assert stack.shape == (43, 8, 3) and row.shape == (20, 18, 3)
    assert (stack[:20] == 0.5).all() and (stack[20:23] == 1).all() and (stack[23:] == 0).all()
    assert (row[:, 8:10] == 1).all() and (row[:, 10:] == 0).all()
    assert [tick.get_text() for tick in above.get_yticklabels()] == ["first"] and above.get_yticks().tolist() == [9.5]
    assert beside.get_xticks().tolist() == [3.5, 13.5]


def test_a_ring_seen_from_above():
    """Columns go with the clock from the top, rows from the outside in; beside the ring there is nothing."""
    image = np.arange(4 * 40.0).reshape(1, 4, 40)
    ring = ring_picture(image, pixels=8)[0]
    middle = len(ring) // 2
    assert ring.shape == (176, 176) and np.isnan(ring[0, 0]) and np.isnan(ring[middle, middle])
    assert ring[:, middle][~np.isnan(ring[:, middle])][0] == 0 and ring[middle, 168] == 10, "the top, and a quarter on"
    assert ring[168, middle] == 19, "the bottom, just before it"
    assert set(np.unique(ring[~np.isnan(ring)])) == set(image.ravel()), "every pixel is there"


def test_what_the_text_does_not_say_of_motions_is_assumed():
    """Of the evaluation of Table 4.3 chapter 4 gives the 24 s, and no number of frames, of captions in a pool or of pairs."""
    rows = [row for row in read_published(PAPER.folder / "published.csv", "diffcollage") if row.table == "4.3"]
    (entry,) = {row.method: row for row in rows if row.method == "DiffCollage" and row.metric == "fid"}.values()
    stated, assumed = declared_protocol(PAPER.meta.protocols, entry)
    assert set(stated) == {"score"} and assumed == {"length": 480, "pool": 32, "pairs": 300, "crop": 160}


def test_protocols_name_the_graph_of_each_method(tmp_path, monkeypatch):
    """The baseline has no overlaps: neither two tilings nor rings."""
    seen = {}

    def measure(self, table, method, *_, graph, **others):
        seen[table, method] = graph

    monkeypatch.setattr(images.Images, "measure", measure)
    book, shapes = book_of(PAPER, load_config(PAPER, "smoke"), "all", tmp_path), PAPER.module("shapes")
    shapes.grid(book, "brick")
    shapes.cube(book, "brick")
    outpainting = "Replacement", "Reconstruction"
    assert seen == {
        ("grid", "Baseline"): "squares side by side",
        ("grid", "Averaging"): "two tilings",
        ("grid", "DiffCollage"): "two tilings",
        ("cubemap", "Baseline"): "six faces",
        ("cubemap", "DiffCollage"): "cubemap of three cycles",
        **{("grid", method): "lattice" for method in outpainting},
        **{("cubemap", method): "squares over edges" for method in outpainting},
    }
