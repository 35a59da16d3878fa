"""Pictures of a known law: the pieces of the DiffCollage reproduction at 32x32."""

import numpy as np
import pytest
import torch
from conftest import ROOT
from measuring import book_of, configured
from rescore.collage import chain, composed_score
from rescore.errors import RescoreError
from rescore.papers import load_config, load_paper
from rescore.problems.gaussian import GaussianLaw, score_on_axes
from rescore.processes import VP
from rescore.scores import EmpiricalData

PAPER = load_paper("diffcollage", ROOT)
photographs, scenery = (PAPER.module(name) for name in ("photographs", "scenery"))
QUILT = photographs.Quilt("brick", (48, 56), 2)  # nine tiles, each followed by two


def test_every_tile_has_as_many_followers_as_forerunners():
    assert QUILT.tiles.shape == (9, 1, 32, 16) and QUILT.pairs.shape == (18, 1, 32, 32)
    assert (QUILT.follows.sum(0) == 2).all() and (QUILT.follows.sum(1) == 2).all()
    first, second = QUILT.pairs[..., :16], QUILT.pairs[..., 16:]
    for half in (first, second):  # both halves of a piece have the law of a tile
        assert (torch.cdist(half.flatten(1), QUILT.tiles.flatten(1)).argmin(1).bincount() == 2).all()
    steps = (first[..., -1] - second[..., 0]).square().mean()
    every = torch.cdist(QUILT.tiles[..., -1].flatten(1), QUILT.tiles[..., 0].flatten(1)).square().mean() / 32
    assert steps < every, "those that follow fit better than any two"


def test_the_composed_score_of_a_quilt_is_that_of_all_its_rows():
    """The whole law of three tiles are its 36 rows: at small noise the composed score is theirs, at the data's scale not."""
    process, follows = VP(), QUILT.follows.nonzero()
    rows = [(a, b, c) for a, b in follows.tolist() for d, c in follows.tolist() if d == b]
    assert len(rows) == 36
    whole = torch.stack([torch.cat([QUILT.tiles[k] for k in row], -1) for row in rows]).double()
    exact = EmpiricalData(process, whole)
    piece, part = (EmpiricalData(process, points.double()) for points in (QUILT.pairs, QUILT.tiles))
    composed = composed_score(chain(32, 48, 32, 16), piece, part)
    noise = torch.randn(whole.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    errors = {}
    for t in (0.01, 0.7):
        u = process.mean(t)(whole) + process.R(t)(noise)
        errors[t] = ((composed(u, t) - exact(u, t)).norm() / exact(u, t).norm()).item()
    assert errors[0.01] < 1e-9 and errors[0.7] > 1e-3


def test_joins_of_a_quilt():
    generator = torch.Generator().manual_seed(0)
    x = QUILT.draw(20, 160, generator)
    assert x.shape == (20, 1, 32, 160) and QUILT.joins(x) == 1
    shares = torch.cdist(x.unflatten(-1, (10, 16)).movedim(-2, 1).flatten(0, 1).flatten(1), QUILT.tiles.flatten(1)).argmin(1)
    assert len(shares.unique()) == 9
    wrong = torch.nonzero(~QUILT.follows)[0]
    assert QUILT.joins(torch.cat([QUILT.tiles[k] for k in wrong], -1)[None]) == 0


@pytest.mark.parametrize("name", ["sky", "gravel"])
def test_a_field_is_stationary_and_alike_in_both_directions(name):
    field = photographs.Field(name)
    lags = field.lags
    assert lags[0, 0].item() == pytest.approx(0.09) and field.spectrum.min() >= 0
    assert torch.allclose(lags, lags.T, atol=1e-12) and torch.allclose(lags[:, 1:], lags[:, 1:].flip(1), atol=1e-12)
    photograph = field.photograph
    step = (photograph[:, :-1] * photograph[:, 1:]).sum() + (photograph[:-1] * photograph[1:]).sum()
    assert lags[0, 1].item() == pytest.approx(0.09 * step / 2 / np.square(photograph).sum()), "the mean of both directions"
    covariance = field.covariance(16)
    assert covariance.shape == (512, 512) and torch.linalg.eigvalsh(covariance)[0] > 0
    assert covariance[0, 16 * 3 + 2] == lags[3, 2], "three rows below and two columns beside"


def test_lag_errors_of_nothing_are_the_correlations():
    field = photographs.Field("sky")
    found = field.lag_errors(torch.zeros(2, 1, 32, 160))
    for name, lags in (("near_lags", field.lags[0, 1:32]), ("far_lags", field.lags[0, 32:96])):
        assert found[name] == pytest.approx(lags.square().mean().sqrt().item() / 0.09)
    drawn = field.lag_errors(field.draw(40, 160, torch.Generator().manual_seed(0)))
    assert drawn["near_lags"] < 0.1 < found["near_lags"]


def test_roughness_along_a_picture():
    """Halves of steps 0, 0.3 and 0.6, of STD 0.3: the mean square over twice the variance is 0, 0.5 and 2."""
    x = torch.zeros(1, 1, 32, 48)
    x[..., 16:32:2], x[..., 32::2] = 0.3, 0.6
    found = scenery.profile(x, torch.tensor([0.0, 2.0]))
    assert [found[f"roughness_{k}"] for k in range(3)] == pytest.approx([0, 0.5, 2])
    assert found["largest_step"] == pytest.approx(0.75)


def test_a_circles_wrap_is_a_join():
    """Of a row whose last tile may not be followed by its first, closed it has one join more, and that a wrong one."""

    class Law:
        def __init__(self):
            self.n, self.length, self.law = 1, 48, QUILT
            self.numbers = lambda x: {"joins": QUILT.joins(x)}

    a = int(torch.nonzero(~QUILT.follows.diagonal())[0])
    b = int(QUILT.follows[a].nonzero()[0])
    x = torch.cat([QUILT.tiles[a], QUILT.tiles[b]], -1)[None]
    expected = (1 + QUILT.follows[b, a].item()) / 2
    assert scenery.closed(Law())(x)["joins"] == expected


def test_samplers_that_begin_late_begin_there_and_take_the_last_steps():
    images, config = PAPER.module("images"), load_config(PAPER, "laptop")
    whole = images.make_sampler(config, VP())
    assert whole.steps == 30 and whole.times[0] == 1
    for start in (0.3, 0.5, 0.7, whole.times[10]):
        late = images.make_sampler(config, VP(), start)
        assert late.times == [start, *(t for t in whole.times if t < start)]


def test_records_of_strokes_have_the_steps_that_were_taken(tmp_path):
    config = load_config(PAPER, "smoke")
    assert config.strokes.starts == (0.3, 0.5, 0.7)
    book = book_of(PAPER, config, "pictures", tmp_path)
    scenery.strokes(book, "brick wall")
    found = {one.variant: one.protocol["steps"] for one in book.measurements}
    times = PAPER.module("images").make_sampler(config, VP()).times
    assert found == {f"from t={t:g}": sum(time < t for time in times) for t in (0.3, 0.5, 0.7)}


@pytest.mark.parametrize(
    ("starts", "problem"),
    [
        ([0.5, 1.5], "strokes.starts.1: input should be less than or equal to 1"),
        ([0.5, 0.001], "strokes.starts: 0.001; allowed: above t0, 0.001, where sampling ends, up to 1"),
        ([], "strokes.starts: .*at least 1 item"),
    ],
)
def test_strokes_begin_where_there_is_something_to_sample(starts, problem):
    smoke = load_config(PAPER, "smoke").model_dump(mode="json")
    with pytest.raises(RescoreError, match=problem):
        configured(PAPER, smoke | {"strokes": {"starts": starts}})
    assert configured(PAPER, smoke | {"strokes": {"starts": [0.0011, 1.0]}}).strokes.starts == (0.0011, 1.0)


def test_a_piece_under_labels_is_two_fields_side_by_side():
    """Where all pixels have one label it is that field about its mean; two labels do not depend on each other."""
    doodle = PAPER.module("doodle")
    labelled, sky = doodle.Labelled(), torch.zeros(32, 16, dtype=torch.long)
    noise = torch.randn(2, 1, 32, 16, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for k, field in enumerate(labelled.fields):
        whole = score_on_axes(VP(), GaussianLaw.full(torch.full((1, 32, 16), (0.5, -0.5)[k]), field.covariance(16)))
        assert torch.allclose(labelled(noise, 0.4, (sky + k).expand(2, -1, -1)), whole(noise, 0.4), rtol=1e-9)
    both = sky.clone()
    both[20:] = 1
    covariance, upper = torch.zeros(512, 512, dtype=torch.float64), (both == 0).flatten()
    for pixels, field in zip((upper, ~upper), labelled.fields, strict=True):
        covariance[torch.outer(pixels, pixels)] = field.covariance(16)[torch.outer(pixels, pixels)]
    whole = score_on_axes(VP(), GaussianLaw.full(0.5 - both[None].double(), covariance))
    assert torch.allclose(labelled(noise, 0.4, both.expand(2, -1, -1)), whole(noise, 0.4), rtol=1e-8)
    u, y = torch.randn(4, 1, 32, 16, generator=torch.Generator().manual_seed(0)), torch.stack((sky, both, both, sky + 1))
    one_by_one = torch.cat([labelled(u[i : i + 1], 0.4, y[i : i + 1]) for i in range(4)])
    assert torch.allclose(labelled(u, 0.4, y), one_by_one, atol=1e-5)


def test_each_piece_of_a_cube_gets_its_own_crop_of_the_doodle():
    """Scores that are the label itself: two rings less one face leave it, wherever a crop is turned or wraps."""
    doodle = PAPER.module("doodle")
    labels = doodle.painted()
    score = doodle.on_the_cube(lambda u, t, y: y[:, None].to(u), labels)
    assert torch.equal(score(torch.zeros(2, 1, 6, 32, 32), 0.5), labels.float().expand(2, 1, 6, 32, 32))
    assert labels[4].sum() == 0 and labels[5].all() and labels[0].sum() > labels[1].sum() == 512
    assert doodle.right_labels(doodle.MEANS[labels][None, None], labels) == 1
    assert doodle.right_labels(doodle.MEANS[1 - labels][None, None], labels) == 0


@pytest.mark.parametrize(("ratio", "told"), [(2, "greater than or equal to 3"), (16, "less than or equal to 15")])
def test_pictures_hold_the_longest_lag_and_no_lag_of_them_wraps(ratio, told):
    smoke = load_config(PAPER, "smoke").model_dump(mode="json")
    with pytest.raises(RescoreError, match=f"pictures.ratio: input should be {told}"):
        configured(PAPER, smoke | {"pictures": smoke["pictures"] | {"ratio": ratio}})
    widest = max(max(photographs.Field(name).photograph.shape) for name in ("sky", "gravel"))
    assert (photographs.PERIOD - widest) // photographs.SIDE == 15
