"""Landscapes and towers: squares, their parts and splits, from files and from a database."""

import contextlib
import io
import os
import sys
import types

import numpy as np
import pytest
import torch
from PIL import Image
from rescore.data import scenes
from rescore.data.images import images_at_hand, load_images
from rescore.errors import MissingData, RescoreError


@pytest.fixture
def data(tmp_path, monkeypatch):
    """An empty data folder and an empty cache."""
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("RESCORE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("RESCORE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "data"


def picture(value: int, size=(64, 64)) -> Image.Image:
    """Each quarter of its central square of one colour: red is `value`, green the row, blue the column."""
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    pixels[..., 0] = value
    pixels[size[1] // 2 :, :, 1] = 100
    pixels[:, size[0] // 2 :, 2] = 200
    return Image.fromarray(pixels)


def write_landscapes(data, n: int, size=(64, 64)) -> None:
    (data / "lhq_256").mkdir()
    for i in range(n):
        picture(i, size).save(data / "lhq_256" / f"{i:07}.png")


def test_squares_and_splits(data):
    write_landscapes(data, 41)
    assert images_at_hand("lhq64") and not images_at_hand("tower32")
    everything = load_images("lhq64", "all")
    assert everything.shape == (3, 64, 64) and everything.images[:, 0, 0, 0].tolist() == list(range(41))
    assert torch.equal(everything.images[7], torch.from_numpy(np.array(picture(7)).transpose(2, 0, 1)))
    assert load_images("lhq64", "test").images[:, 0, 0, 0].tolist() == [19, 39]
    assert load_images("lhq64", "train").images[:, 0, 0, 0].tolist() == [i for i in range(41) if i not in (19, 39)]
    assert len(load_images("lhq64", "train", limit=3)) == 3


def test_halves_and_quarters_tile_their_square(data):
    write_landscapes(data, 2)
    square = load_images("lhq64", "all").images
    halves = load_images("lhq64-half", "all").images.unflatten(0, (2, 2))
    quarters = load_images("lhq64-quarter", "all").images.unflatten(0, (2, 2, 2))  # picture, column, row
    assert torch.equal(torch.cat(list(halves.unbind(1)), -1), square)
    assert torch.equal(torch.cat(list(quarters.unbind(2)), -2), halves)


def test_wide_pictures_lose_their_sides(data):
    write_landscapes(data, 1, (200, 64))
    (image,) = load_images("lhq32", "all").images
    assert image.shape == (3, 32, 32)
    assert image[1, :, 0].tolist()[:12] == [0] * 12 and image[1, :, 0].tolist()[-12:] == [100] * 12
    assert image[2, 0].tolist()[:12] == [0] * 12 and image[2, 0].tolist()[-12:] == [200] * 12, "the centre stays the centre"


def test_the_cache_follows_the_files(data, tmp_path):
    write_landscapes(data, 2)
    load_images("lhq64", "all")
    load_images("lhq64-half", "all")
    assert len(list((tmp_path / "cache").glob("lhq64-*.npy"))) == 1
    picture(77).save(data / "lhq_256" / "0000002.png")
    assert load_images("lhq64", "all").images[:, 0, 0, 0].tolist() == [0, 1, 77]


def reds(name: str = "lhq64") -> list[int]:
    return load_images(name, "all").images[:, 0, 0, 0].tolist()


def test_a_picture_of_the_same_size_in_bytes_is_seen(data):
    (data / "lhq_256").mkdir()
    for i in range(2):
        picture(i).save(data / "lhq_256" / f"{i}.bmp")
    assert reds() == [0, 1]
    path = data / "lhq_256" / "1.bmp"
    size, before = path.stat().st_size, path.stat().st_mtime_ns
    picture(9).save(path)
    assert path.stat().st_size == size
    os.utime(path, ns=(before + 1, before + 1))  # whatever the clock's resolution
    assert reds() == [0, 9]


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-1],
        lambda content: content[:50],
        lambda content: b"",
        lambda content: content.replace(b"|u1", b"|i1"),
        lambda content: b"<html>" + content,
    ],
)
def test_a_damaged_cache_is_made_again(data, tmp_path, damage, capsys):
    write_landscapes(data, 2)
    load_images("lhq64", "all")
    (path,) = (tmp_path / "cache").glob("lhq64-*.npy")
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    assert reds() == [0, 1] and path.read_bytes() == whole
    (warning,) = capsys.readouterr().err.splitlines()
    assert warning.startswith(f"warning: {path}: not squares that are whole (") and warning.endswith("): they are made again")


def test_a_cache_that_cannot_be_written_stops_nothing(data, monkeypatch, capsys):
    """Not even by root: below a file there is no folder."""
    write_landscapes(data, 2)
    cache = data / "lhq_256" / "0000000.png" / "cache"
    monkeypatch.setenv("RESCORE_CACHE", str(cache))
    assert reds() == [0, 1] == reds()
    (warning,) = capsys.readouterr().err.splitlines()
    assert warning.startswith(f"warning: the cache {cache} cannot be written (Not a directory): ")
    assert warning.endswith("set RESCORE_CACHE to a folder to keep them")


def test_squares_at_hand_in_a_cache_that_cannot_be_written_are_read(data, monkeypatch, capsys):
    write_landscapes(data, 2)
    assert reds() == [0, 1]
    monkeypatch.setattr("rescore.data.fetch.tempfile.TemporaryFile", lambda **_: 1 / 0)
    monkeypatch.setattr(scenes, "_square", lambda *_: 1 / 0)
    assert reds() == [0, 1] and not capsys.readouterr().err


def test_what_is_missing_or_damaged_is_named(data, monkeypatch):
    with pytest.raises(MissingData, match=r"lhq32/train: not under RESCORE_DATA.*a folder that holds lhq_256/\*.png"):
        load_images("lhq32")
    (data / "lhq_256").mkdir()
    with pytest.raises(RescoreError, match="lhq_256: no image file"):
        load_images("lhq32")
    (data / "lhq_256" / "0.png").write_bytes(b"no picture")
    with pytest.raises(RescoreError, match=r"0.png: not a picture \(of no format that is known\); replace it"):
        load_images("lhq32")
    picture(1, (40, 40)).save(data / "lhq_256" / "0.png")
    with pytest.raises(RescoreError, match="0.png: 40x40 pixels; allowed: 64 or more"):
        load_images("lhq64")
    (data / "tower_train_lmdb").mkdir()
    (data / "tower_train_lmdb" / "data.mdb").write_bytes(b"no database")
    monkeypatch.setitem(sys.modules, "lmdb", None)
    with pytest.raises(RescoreError, match=r"data.mdb: to read it takes the package lmdb: pip install -e '.\[lsun\]'"):
        load_images("tower32")


def encoded(value: int) -> bytes:
    stream = io.BytesIO()
    picture(value).save(stream, "webp", lossless=True)
    return stream.getvalue()


def test_a_database_through_the_package(data):
    lmdb = pytest.importorskip("lmdb")
    with lmdb.open(str(data / "tower_train_lmdb"), map_size=2**20) as environment, environment.begin(write=True) as writing:
        for i in range(3):
            writing.put(f"key{i}".encode(), encoded(i))
    assert load_images("tower64", "all").images[:, 0, 0, 0].tolist() == [0, 1, 2]
    (data / "tower_train_lmdb" / "data.mdb").write_bytes(b"no database")
    with pytest.raises(RescoreError, match="not an LMDB database"):
        load_images("tower32", "all")


def test_a_database_as_the_package_gives_it(data, monkeypatch):
    class Environment(contextlib.nullcontext):
        def __enter__(self):
            return self

        def stat(self):
            return {"entries": 2}

        def begin(self):
            return contextlib.nullcontext(self)

        def cursor(self):
            return iter([(b"a", encoded(5)), (b"b", encoded(6))])

    package = types.ModuleType("lmdb")
    package.open, package.Error = lambda *_, **__: Environment(), OSError
    monkeypatch.setitem(sys.modules, "lmdb", package)
    (data / "tower_train_lmdb").mkdir()
    (data / "tower_train_lmdb" / "data.mdb").touch()
    found = load_images("tower64", "all")
    assert found.images[:, 0, 0, 0].tolist() == [5, 6] and found.source == "tower64/all"
    assert torch.equal(found.images[0], torch.from_numpy(np.array(picture(5)).transpose(2, 0, 1)))
    assert set(scenes.NAMES) >= {"lhq32", "tower64-quarter"}
