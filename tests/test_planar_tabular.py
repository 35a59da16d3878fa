"""The sets of DiffFlow: planar ones by their exact geometry, tabular ones by their preparation."""

import hashlib
import math
import tarfile

import numpy as np
import pandas as pd
import pytest
import torch
from rescore.data import tabular
from rescore.data.planar import PLANAR, planar_set
from rescore.data.standardise import Standardiser
from rescore.errors import MissingData, RescoreError
from rescore.random import make_generator

N = 20_000


@pytest.mark.parametrize("name", PLANAR)
def test_draws_are_seeded_and_on_the_support(name):
    data = planar_set(name)
    x, same, other = (data.sample(N, make_generator(name, seed)) for seed in (0, 0, 1))
    assert x.shape == (N, 2) and x.dtype == torch.float64
    assert torch.equal(x, same) and not torch.equal(x, other)
    assert data.off_support(x) < {"spirals": 0.003, "swiss_rolls": 0.004}.get(name, 1e-9)
    assert data.off_support(x + torch.tensor([30.0, 0.0])) == 1


def test_rings_are_thin_and_equal():
    for name, k in (("rings", 4), ("olympic_rings", 5)):
        data = planar_set(name)
        x = data.sample(N, make_generator("rings"))
        shares = torch.bincount(data.ring(x), minlength=k) / N
        assert len(data.centres) == k and (shares - 1 / k).abs().max() < 0.02  # crossings may count for either ring
        assert data.distance(x).square().mean().sqrt().item() == pytest.approx(0.001, rel=0.02)


def test_checkerboard_is_uniform_on_eight_squares():
    x = planar_set("checkerboard").sample(N, make_generator("board"))
    cells, counts = torch.unique((x / 2).floor(), dim=0, return_counts=True)
    assert len(cells) == 8 and (counts / N - 1 / 8).abs().max() < 0.01
    assert (cells.sum(1) % 2 == 0).all()
    assert planar_set("checkerboard").entropy == math.log(8 * 4)


def test_carpet_keeps_eight_ninths_of_each_level():
    carpet = planar_set("carpet")
    x = torch.rand(N * 5, 2, generator=make_generator("unit square"), dtype=torch.float64)
    assert 1 - carpet.off_support(x) == pytest.approx((8 / 9) ** 4, abs=0.006)
    assert carpet.entropy == pytest.approx(4 * math.log(8 / 9))
    points = torch.tensor([[0.5, 0.5], [0.01, 0.01], [1 / 6, 1 / 6], [0.01, 0.5]], dtype=torch.float64)
    assert carpet.distance(points).tolist() == [1, 0, 1, 0]
    corner = (carpet.sample(N, make_generator("carpet")) < 1 / 3).all(1).double().mean().item()
    assert corner == pytest.approx(1 / 8, abs=0.01)


def test_tree_is_binary():
    tree = planar_set("tree")
    start, vector, width = tree.branches
    assert len(start) == 2**tree.levels - 1
    lengths = torch.cat([torch.full((2**level,), tree.ratio**level, dtype=torch.float64) for level in range(tree.levels)])
    assert torch.allclose(vector.norm(dim=1), lengths)
    assert torch.equal(start[1:3], vector[:1].expand(2, 2)) and width[1] == tree.width * tree.ratio
    on_axis = start + 0.5 * vector
    assert tree.distance(on_axis).max() == 0
    assert tree.distance(torch.tensor([[0.13, 0.2]], dtype=torch.float64)).item() == pytest.approx(0.10, abs=1e-12)


def test_spirals_match_their_arm():
    """Distance to the arm at a known angle; the mirror image is as likely."""
    data = planar_set("spirals")
    r = 2.0
    point = (torch.tensor([[-r * math.cos(r), r * math.sin(r)]]).double() + 0.25) / 3
    assert data.distance(point).item() < 0.01 and data.distance(-point).item() < 0.01
    assert data.sample(N, make_generator("mean")).mean(0).abs().max() < 0.05


def test_swiss_rolls_are_scikit_learns():
    """On a roll the distance is 0; an offset along the normal, and beyond an end along the tangent, is the distance."""
    from sklearn.datasets import make_swiss_roll

    data = planar_set("swiss_rolls")
    roll, a = make_swiss_roll(2000, noise=0.0, random_state=0)
    centre, a = torch.tensor([-0.8, 0.8], dtype=torch.float64), torch.from_numpy(a)
    on = centre + 0.01 * torch.from_numpy(roll[:, [0, 2]])
    assert data.distance(on).max() < 1e-6
    tangent = torch.stack((a.cos() - a * a.sin(), a.sin() + a * a.cos()), 1) / (1 + a**2).sqrt()[:, None]
    normal = torch.stack((-tangent[:, 1], tangent[:, 0]), 1)
    for offset in (0.004, -0.02):
        assert (data.distance(on + offset * normal) - abs(offset)).abs().max() < 1e-6
    last = centre + 0.01 * 4.5 * math.pi * torch.tensor([[0.0, 1.0]], dtype=torch.float64)
    beyond = torch.tensor([[-4.5 * math.pi, 1.0]], dtype=torch.float64) / math.hypot(4.5 * math.pi, 1)
    assert data.distance(last + 0.01 * beyond).item() == pytest.approx(0.01, abs=1e-8)
    assert data.off_support(on + 0.0061 * normal) == 1 and data.off_support(on + 0.0059 * normal) == 0


def test_swiss_rolls_have_equal_masses_and_thin_noise():
    data = planar_set("swiss_rolls")
    x = data.sample(N, make_generator("rolls"))
    shares = torch.bincount(data.roll(x), minlength=5) / N
    assert (shares - 0.2).abs().max() < 0.01
    assert data.distance(x).square().mean().sqrt().item() == pytest.approx(0.002, rel=0.02)
    assert data.distance(x).median().item() == pytest.approx(0.6745 * 0.002, rel=0.03), "the normal part of the noise"
    radius = (x - torch.tensor(data.centres)[data.roll(x)]).norm(dim=1).clamp(0.015 * math.pi, 0.045 * math.pi)
    quarters = torch.histc(radius, 4, 0.015 * math.pi, 0.045 * math.pi) / N
    assert (quarters - 0.25).abs().max() < 0.015, "uniform in the angle, not along the curve"


def test_unknown_planar_set():
    with pytest.raises(RescoreError, match="unknown planar set 'ring'; allowed: rings"):
        planar_set("ring")


def test_standardiser_and_its_constant_column():
    x = torch.randn(50, 3, generator=make_generator("scale")).double() * 3 + 7
    scale = Standardiser.of(x, "x")
    z = scale(x)
    assert z.mean(0).abs().max() < 1e-12 and torch.allclose(z.std(0, correction=0), torch.ones(3).double())
    assert torch.allclose(scale.inverse(z), x) and scale.log_scale == pytest.approx(x.std(0, correction=0).log().sum().item())
    x[:, 1] = 2.5
    with pytest.raises(RescoreError, match=r"mine: column 1 of 3 is constant \(2\.5\)"):
        Standardiser.of(x, "mine")
    x[0, 0] = math.nan
    with pytest.raises(RescoreError, match="mine: column 0 of 3 is not finite"):
        Standardiser.of(x, "mine")


def test_power_is_prepared_as_published():
    """Columns 0, 2, 4, 5, 6, 7 of the raw file stay, in the published order of noise draws."""
    raw = np.random.RandomState(0).rand(200, 8) * 10
    train, validation, test = tabular.dequantised_power(raw.copy(), np.random.RandomState(42))
    assert [len(part) for part in (train, validation, test)] == [162, 18, 20]
    generator = np.random.RandomState(42)
    voltage, gap = 0.01 * generator.rand(200), 0.001 * generator.rand(200)
    columns = raw[:, [0, 2, 4, 5, 6, 7]]
    columns[:, 0] += gap
    columns[:, 1] += voltage
    columns[:, 2:5] += generator.rand(200, 3)
    whole = (columns - columns[:180].mean(0)) / columns[:180].std(0)
    assert np.allclose(np.vstack((train, validation, test)), whole)


def test_filters_of_columns():
    data = np.random.RandomState(1).rand(100, 4)
    data[:6, 1] = -1.0
    data[:5, 2] = -1.0
    assert tabular.drop_repeated(data).tolist() == [True, False, True, True]
    x = np.random.RandomState(2).randn(500, 3)
    twins = np.column_stack((x[:, 0], x[:, 1], x[:, 0] + 1e-3 * x[:, 2], x[:, 1] + 0.25 * x[:, 2]))
    assert 0.95 < np.corrcoef(twins.T)[1, 3] < 0.98
    assert np.array_equal(tabular.drop_correlated(twins), twins[:, 1:])


def test_files_under_rescore_data(tmp_path, monkeypatch):
    """HEPMASS's test file has a column more; a set of the wrong size is refused; an absent one says what belongs where."""
    monkeypatch.setenv("RESCORE_DATA", str(tmp_path))
    monkeypatch.setenv("RESCORE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("requests.get", _no_network)
    assert not tabular.tabular_at_hand("power")
    with pytest.raises(
        MissingData, match="power: .* could not be downloaded.*; set RESCORE_DATA to a folder that holds power/data"
    ):
        tabular.load_tabular("power")
    folder = tmp_path / "hepmass"
    folder.mkdir()
    rows = np.random.RandomState(3).randn(40, 27)
    header = ",".join(["label", *(f"f{i}" for i in range(27))])
    for name, values, extra in (("1000_train.csv", rows, 0), ("1000_test.csv", 2 * rows + 1, 1)):
        lines = [",".join(map(str, [i % 2, *row, *[0.0] * extra])) for i, row in enumerate(values)]
        (folder / name).write_text("\n".join([header, *lines]))
    assert tabular.tabular_at_hand("hepmass")
    train, validation, test = tabular._hepmass(folder / "1000_train.csv", folder / "1000_test.csv")
    assert (train.shape, validation.shape, test.shape) == ((18, 27), (2, 27), (20, 27))
    signal = rows[1::2]
    mean, deviation = signal.mean(0), signal.std(0)  # of class 1, and of the training file alone
    assert np.allclose(np.vstack((train, validation)), (signal - mean) / deviation)
    assert np.allclose(test, (2 * signal + 1 - mean) / deviation)
    with pytest.raises(RescoreError, match=r"hepmass: .* gives dimension and rows \(27, \(18, 2, 20\)\); published are \(21,"):
        tabular.load_tabular("hepmass")
    (tmp_path / "miniboone").mkdir()
    raw = rows[:, :1] + np.random.RandomState(4).randn(40, 43)
    np.save(tmp_path / "miniboone" / "data.npy", raw)
    parts = tabular._miniboone(tmp_path / "miniboone" / "data.npy")
    assert [len(part) for part in parts] == [33, 3, 4]
    assert np.allclose(np.vstack(parts), (raw - raw[:36].mean(0)) / raw[:36].std(0)), "on the scale of all but the test"
    np.save(tmp_path / "miniboone" / "data.npy", np.ones((50, 43)))
    with pytest.raises(RescoreError, match=r"miniboone: column 0 of 43 is constant \(1\)"):
        tabular.load_tabular("miniboone")


def _no_network(*_, **__):
    raise OSError("no network")


def test_the_official_archive_is_checked_and_unpacked(tmp_path, monkeypatch):
    """A small archive of its layout in the cache, GAS as a pickle; a wrong checksum is an error that names both."""
    rng = np.random.RandomState(5)
    table = pd.DataFrame(rng.randn(100, 5), columns=["Time", "Meth", "Eth", "a", "b"])
    (tmp_path / "data" / "gas").mkdir(parents=True)
    table.to_pickle(tmp_path / "data" / "gas" / "ethylene_CO.pickle")
    cache = tmp_path / "cache"
    cache.mkdir()
    with tarfile.open(cache / tabular.ARCHIVE, "w:gz") as archive:
        archive.add(tmp_path / "data", "data")
    monkeypatch.setenv("RESCORE_CACHE", str(cache))
    monkeypatch.delenv("RESCORE_DATA", raising=False)
    assert tabular.tabular_at_hand("gas")
    with pytest.raises(RescoreError, match=r"wrong checksum \(md5 [0-9a-f]{32}, expected 9b9c9b0375315ad270eba4ce80c093ab\)"):
        tabular.load_tabular("gas")
    monkeypatch.setattr(tabular, "MD5", "md5:" + hashlib.md5((cache / tabular.ARCHIVE).read_bytes()).hexdigest())
    monkeypatch.setitem(tabular.SIZES, "gas", (2, (81, 9, 10)))
    found = tabular.load_tabular("gas")
    whole = (table[["a", "b"]] - table[["a", "b"]].mean()) / table[["a", "b"]].std(ddof=0)
    assert np.allclose(torch.cat((found.train, found.validation, found.test)), whole)
    (cache / tabular.ARCHIVE).unlink()
    assert tabular.tabular_at_hand("gas"), "what is unpacked is enough"
    assert torch.equal(tabular.load_tabular("gas").train, found.train)
    (cache / "maf-tabular" / "gas" / "ethylene_CO.pickle").write_bytes(b"of another age")
    with pytest.raises(RescoreError, match="ethylene_CO.pickle: pandas .* cannot read it .*ethylene_CO.csv under RESCORE_DATA"):
        tabular.load_tabular("gas")
    (tmp_path / "data" / "gas" / "ethylene_CO.pickle").write_bytes(b"of another age")
    table.to_csv(tmp_path / "data" / "gas" / "ethylene_CO.csv", index=False)
    monkeypatch.setenv("RESCORE_DATA", str(tmp_path / "data"))
    assert torch.allclose(tabular.load_tabular("gas").train, found.train), "what the error advises helps"


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("wine", ((145, 13), (16, 13), (17, 13))),
        ("breast_cancer", ((462, 24), (51, 24), (56, 24))),
        ("patches", ((18000, 63), (500, 63), (1000, 63))),
    ],
)
def test_embedded_sets(name, shapes):
    first, again = tabular.load_tabular(name), tabular.load_tabular(name)
    assert tuple(tuple(part.shape) for part in (first.train, first.validation, first.test)) == shapes
    assert torch.equal(first.train, again.train) and first.dim == shapes[0][1]
    if name == "patches":
        assert first.train.abs().max() < 1 and (first.train.std(0) > 0.01).all()
    else:
        together = torch.cat((first.train, first.validation))
        assert together.mean(0).abs().max() < 1e-12
        assert torch.allclose(together.std(0, correction=0), torch.ones(first.dim, dtype=torch.float64))


def test_patches_lose_mean_and_last_pixel():
    image = np.full((8, 8), 100, dtype=np.uint8)
    image[-1, -1] = 200
    patch = tabular.patches(image, 1, np.random.RandomState(0))[0]
    assert patch.shape == (63,) and patch.mean() == pytest.approx(-100 / 64 / 256, abs=0.001)
    with pytest.raises(RescoreError, match=r"image of shape \(4, 4\)"):
        tabular.patches(image[:4, :4], 1, np.random.RandomState(0))


def test_standardised_rows_have_the_units_of_the_training_rows():
    """log p(x) = log p(z) - log_scale; as many rows to validate and to test as asked for."""
    data = tabular.load_tabular("wine")
    z, log_scale = data.standardised(7)
    assert z.train.dtype == torch.float32 and z.train.shape == data.train.shape and len(z.validation) == len(z.test) == 7
    std = data.train.std(0, correction=0)
    torch.testing.assert_close(z.test, ((data.test[:7] - data.train.mean(0)) / std).float())
    assert log_scale == pytest.approx(std.log().sum().item())
