"""Pictures of 32 pixels height by networks: their data, what is measured, the claims; and that no two jobs write one key."""

import csv
from collections import Counter

import numpy as np
import pytest
import torch
from conftest import ROOT
from ledger_case import record
from measuring import book_of, configured
from pinned import FOLDER, KEY
from rescore.data import textures
from rescore.data.images import image_shape, images_at_hand, load_images
from rescore.errors import RescoreError
from rescore.ledger.claims import evaluate
from rescore.papers import load_config, load_paper
from rescore.processes import VP

PAPER = load_paper("diffcollage", ROOT)
figures, scenery, trained = (PAPER.module(name) for name in ("figures", "scenery", "trained"))
TINY = {"pictures": {"seeds": [0, 1], "contents": 2, "ratio": 4, "stride": [48, 56], "followers": 2}, "steps": 2}


@pytest.mark.parametrize(("name", "count"), [("brick-32x32", 97 * 97), ("brick-32x16", 97 * 113), ("sky-32x16", 33 * 140)])
def test_large_patches_are_all_those_of_a_photograph(name, count):
    found, photograph = load_images(name, "all"), textures.load_photograph(name.split("-")[0])
    width = found.shape[2]
    assert len(found) == count and image_shape(name) == found.shape == (1, 32, width) and images_at_hand(name, "all")
    assert np.array_equal(found.images[0, 0].numpy(), photograph[:32, :width])
    assert np.array_equal(found.images[-1, 0].numpy(), photograph[-32:, -width:])
    with pytest.raises(RescoreError, match=f"{name}: split 'train'; allowed: all"):
        load_images(name)


def test_the_sky_is_flat():
    """About the middle grey, of standard deviation 0.3 in [-1, 1], but for what rounding and the ends of the range take."""
    sky = textures.load_sky() / 127.5 - 1
    assert sky.shape == (64, 155) and abs(sky.mean()) < 2e-3 and sky.std() == pytest.approx(0.3, rel=0.01)
    y, x = np.indices(sky.shape)
    slopes = [np.polyfit(axis.ravel(), sky.ravel(), 1)[0] * np.ptp(axis) for axis in (y, x)]
    assert np.abs(slopes).max() < 0.01
    plane = 3.0 - 0.5 * y + 0.2 * x
    assert np.abs(textures.without_slope(plane)).max() < 1e-10
    assert np.allclose(textures.without_slope(sky + plane), textures.without_slope(sky), atol=1e-10)


def test_distance_of_two_scores():
    """Scores apart by c give noises apart by R_t c; that of N(0, 1), at u of variance v, is off by R_t^2 (v - 1)^2 / v."""
    process, generator = VP(), torch.Generator().manual_seed(0)
    x = 0.3 * torch.randn(64, 1, 32, 32, generator=generator, dtype=torch.float64)
    variance = {t: 0.09 * process.mean(t).values.item() ** 2 + process.Sigma(t).values.item() for t in trained.TIMES}

    def exact(u, t):
        return -u / variance[t]

    noise = {t: process.Sigma(t).values.item() for t in trained.TIMES}
    shifted = trained.noise_distance(lambda u, t: exact(u, t) + 0.7, exact, x, generator, "cpu")
    assert shifted == pytest.approx(0.49 * np.mean(list(noise.values())), rel=1e-12)
    expected = np.mean([noise[t] * (v - 1) ** 2 / v for t, v in variance.items()])
    assert trained.noise_distance(lambda u, t: -u, exact, x, generator, "cpu") == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("name", ["sky", "brick wall"])
def test_with_exact_pieces_for_networks_the_numbers_are_those_of_exact_pieces(name, tmp_path, monkeypatch):
    """The same contents, from the same noise, in the same cells; only the variant says that they are of networks."""
    config = configured(PAPER, load_config(PAPER, "smoke").model_dump(mode="json") | TINY)
    monkeypatch.setattr(trained, "COMPARED", 4)
    monkeypatch.setattr(trained.Networks, "each", property(lambda self: [(seed, self.scenery.maker()) for seed in (0, 1)]))
    networks, exact = book_of(PAPER, config, "trained", tmp_path), book_of(PAPER, config, "pictures", tmp_path)
    trained.trained(networks, name)
    scenery.pictures(exact, name)

    def numbers(book, end=""):
        found = {(m.method, m.variant.removesuffix(end), m.metric): m for m in book.measurements if m.variant.endswith(end)}
        return {key: (m.dataset, m.value, m.stderr) for key, m in found.items()}

    wanted = {key: value for key, value in numbers(exact).items() if key[0] != "exact draws"}
    of_pieces = {("networks", "pieces", metric): (name, 0.0, 0.0) for metric in ("to_exact", "to_exact_overlaps")}
    assert numbers(networks, ", trained") == wanted | of_pieces
    for what in ("wide", "circle", *(["cube"] if name == "sky" else [])):
        shown, made = (networks.arrays[f"trained/{name}/{what}/{method}"] for method in ("exact pieces", "DiffCollage"))
        assert np.allclose(shown[: len(made)], made, atol=1e-5), "of one noise, in whatever batch"
    real = [m for m in networks.measurements if not m.variant.endswith(", trained")]
    x = torch.from_numpy(textures.strips(trained.PHOTOGRAPHS[name], 32)).float() / 127.5 - 1
    assert {m.metric: m.value for m in real} == pytest.approx(scenery.Scenery(exact, name).numbers(x), rel=1e-5)
    assert {(m.method, m.variant, m.over, m.n_samples) for m in real} == {("real images", "wide", "exact", len(x))}
    sizes = {m.variant: m.n_samples for m in networks.measurements if m.method == "DiffCollage"}
    assert sizes == {"wide, trained": 4, "circle, trained": 4} | ({"cube, trained": 2} if name == "sky" else {})


SMOOTH = {  # by scene, what and metric: the baseline, outpainting and DiffCollage, as the paper says
    ("sky", "wide, trained", "seam"): (4.0, 2.0, 1.0),
    ("sky", "wide, trained", "near_lags"): (0.3, 0.3, 0.1),
    ("sky", "cube, trained", "seam"): (8.0, 3.0, 1.0),
    ("brick wall", "wide, trained", "seam"): (2.0, 1.5, 1.0),
    ("sky", "wide, trained", "wrap_seam"): (7.0, 7.0, 7.0),
    ("brick wall", "wide, trained", "wrap_seam"): (2.0, 2.0, 2.0),
    ("sky", "circle, trained", "wrap_seam"): (None, None, 1.0),
    ("brick wall", "circle, trained", "wrap_seam"): (None, None, 1.0),
}


def verdicts(values):
    """Of the claims on networks, where the photograph's seam is 1."""
    names = ("Baseline", "Replacement", "DiffCollage")
    rows = {(*key, method): value for key, each in values.items() for method, value in zip(names, each, strict=True)}
    rows["sky", "wide", "seam", "real images"] = 1.0
    common = {"paper": "diffcollage", "table": "pictures", "nfe": None}
    records = [
        record(**common, dataset=scene, variant=what, metric=metric, method=method, value=value)
        for (scene, what, metric, method), value in rows.items()
        if value is not None
    ]
    found = evaluate("diffcollage", PAPER.module("trained_claims").TRAINED_CLAIMS, records)
    return {row["claim"].removeprefix("trained-"): row["status"] for row in found}


def test_what_the_claims_on_networks_ask_for():
    claims = ("sky-without-seams", "wall-without-seams", "sky-correlations", "circles-close", "cube")
    assert verdicts(SMOOTH) == dict.fromkeys(claims, "holds")
    wrong = {  # what each of these makes fail
        ("sky", "wide, trained", "seam"): ("sky-without-seams", [(4.0, 2.0, 1.3), (0.9, 2.0, 1.0), (4.0, 0.9, 1.0)]),
        ("brick wall", "wide, trained", "seam"): ("wall-without-seams", [(0.9, 1.5, 1.0), (2.0, 0.9, 1.0)]),
        ("sky", "wide, trained", "near_lags"): ("sky-correlations", [(0.3, 0.0, 0.1), (0.0, 0.3, 0.1)]),
        ("sky", "cube, trained", "seam"): ("cube", [(0.5, 3.0, 1.0), (8.0, 0.5, 1.0)]),
        ("sky", "circle, trained", "wrap_seam"): ("circles-close", [(None, None, 1.3), (None, None, 0.7)]),
        ("brick wall", "circle, trained", "wrap_seam"): ("circles-close", [(None, None, 2.5)]),
    }
    for key, (claim, cases) in wrong.items():
        for case in cases:
            assert verdicts(SMOOTH | {key: case}) == dict.fromkeys(claims, "holds") | {claim: "fails"}, (key, case)
    without = {key: value for key, value in SMOOTH.items() if key[1] != "cube, trained"}
    assert verdicts(without) == dict.fromkeys(claims, "holds") | {"cube": "not-run"}


def test_networks_of_another_photograph_are_refused():
    content = load_config(PAPER, "smoke").model_dump(mode="json")
    content["models"]["sky32_half"]["data"] = "brick-32x16"
    with pytest.raises(RescoreError, match="models.sky32_half.data: brick-32x16; allowed: sky-32x16"):
        configured(PAPER, content)
    content = load_config(PAPER, "smoke").model_dump(mode="json")
    content["jobs"]["trained"]["models"].remove("brick32")
    with pytest.raises(
        RescoreError, match="jobs.trained.models: brick32 is missing; needed: brick32, brick32_half, sky32, sky32_half"
    ):
        configured(PAPER, content)


@pytest.mark.parametrize("scale", PAPER.scales)
def test_no_section_measures_a_subject_in_two_jobs(scale):
    config = load_config(PAPER, scale)
    places = Counter(
        (subject, section) for job in config.jobs.values() for subject, of in job.measure.items() for section in of
    )
    assert {place: n for place, n in places.items() if n > 1} == {}


def test_no_two_sections_write_one_key():
    """Every section has a tiny run whose rows are kept, HumanML3D's twice, for two scales. No key is in two of the others."""
    names = ["diffcollage_all", "diffcollage_laws", "diffcollage_lhq", "diffcollage_naive", "diffcollage_pictures"]
    names += ["diffcollage_tower", "diffcollage_trained", "humanml_gpu"]
    keys = Counter()
    for name in names:
        with open(FOLDER / f"{name}.csv", newline="") as stream:
            rows = [row for row in csv.DictReader(stream) if not row["table"].startswith("(")]
        keys.update(tuple(row[column] for column in KEY) for row in rows)
    assert len(keys) > 500 and {key: n for key, n in keys.items() if n > 1} == {}


def test_narrow_pictures_are_white_beside():
    narrow, wide = np.zeros((1, 2, 3)), np.ones((3, 2, 5))
    padded, same = figures._as_wide([narrow, wide])
    assert padded.shape == (1, 2, 5) and not padded[..., :3].any() and np.isnan(padded[..., 3:]).all()
    assert np.array_equal(same, wide)
