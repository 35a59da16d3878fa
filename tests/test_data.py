"""The pines are found, downloaded or missed with one clear message. No test touches the network."""

import hashlib
import http.client
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from rescore.data import fetch, pines
from rescore.errors import MissingData, RescoreError
from rescore.targets import lgcp

METRES = "x\ty\tdiameter\theight\n-4.5\t1.25\t1\t1.7\n4.75\t-7.5\t1\t1.6\n0.03\t-0.03\t0\t1.1\n5\t2\t2\t3.4\n"
UNIT = '"","data_x","data_y"\n"1",0.05,0.925\n"2",0.975,0.05\n"3",0.503,0.797\n"4",1.0,1.0\n'


@pytest.fixture(autouse=True)
def nothing_at_hand(tmp_path, monkeypatch):
    """No data folder, an empty cache, no network."""
    monkeypatch.delenv("RESCORE_DATA", raising=False)
    monkeypatch.setenv("RESCORE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(fetch.urllib.request, "urlopen", refused)


def refused(*_, **__):
    raise OSError("connection refused")


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.fixture
def small_table(monkeypatch):
    """Four points in place of the 126, in both formats."""
    monkeypatch.setattr(pines, "SHA256_METRES", digest(METRES))
    monkeypatch.setattr(pines, "SHA256_UNIT", digest(UNIT))


def put(folder: Path, name: str, content: str) -> Path:
    path = folder / "finpines" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def failure(kind: type[RescoreError] = RescoreError) -> str:
    with pytest.raises(kind) as error:
        pines.load_pines()
    assert type(error.value) is kind and "\n" not in str(error.value)
    return str(error.value)


# the folder


def test_a_missing_folder_is_one_clear_error(tmp_path, monkeypatch):
    monkeypatch.setenv("RESCORE_DATA", str(tmp_path / "nowhere"))
    assert failure().startswith(f"RESCORE_DATA={tmp_path / 'nowhere'}: no such folder; ")
    monkeypatch.setenv("RESCORE_DATA", str(put(tmp_path, "pines.csv", UNIT)))
    assert "no such folder" in failure(), "a file is no folder"


def test_an_empty_variable_is_an_unset_one(monkeypatch):
    monkeypatch.setenv("RESCORE_DATA", "")
    assert fetch.data_folder() is None


def test_the_cache_is_in_the_home_folder_by_default(monkeypatch):
    monkeypatch.delenv("RESCORE_CACHE")
    assert fetch.cache_folder() == Path.home() / ".cache" / "rescore"


@pytest.fixture
def homeless(monkeypatch):
    """A user without a home: HOME is unset and the user is not in the system's list."""
    def unknown(*_):
        raise KeyError("no such user")

    monkeypatch.delenv("RESCORE_CACHE")
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", unknown)
    fetch._temporary_folder.cache_clear()


def test_without_a_home_the_cache_is_a_temporary_folder(homeless, tmp_path, monkeypatch, small_table, capsys):
    downloads = Downloads(METRES)
    monkeypatch.setattr(fetch.urllib.request, "urlopen", downloads)
    assert len(pines.load_pines()) == len(pines.load_pines()) == 4 and len(downloads.urls) == 1
    assert fetch.cache_folder() == fetch.writable_cache() and pines.pines_at_hand() == "present"
    (warning,) = capsys.readouterr().err.splitlines()
    assert warning.startswith("warning: no home folder (") and warning.endswith("set RESCORE_CACHE to a folder to keep them")
    monkeypatch.setenv("RESCORE_DATA", str(tmp_path))
    path = put(tmp_path, "finpines.txt", METRES)
    assert pines.find_pines() == path, "what is at hand needs no cache"


def test_a_download_needs_no_cache_that_can_be_written(tmp_path, monkeypatch, small_table, capsys):
    (tmp_path / "cache").write_text("a file")
    downloads = Downloads(METRES)
    monkeypatch.setattr(fetch.urllib.request, "urlopen", downloads)
    assert len(pines.load_pines()) == len(pines.load_pines()) == 4 and len(downloads.urls) == 1
    assert capsys.readouterr().err.startswith(f"warning: the cache {tmp_path / 'cache'} cannot be written (File exists): ")


@pytest.mark.parametrize("with_folder", [True, False])
def test_no_file_and_no_download_is_missing_data(tmp_path, monkeypatch, with_folder):
    if with_folder:
        monkeypatch.setenv("RESCORE_DATA", str(tmp_path))
    text = failure(MissingData)
    assert text == f"finpines.txt: not under RESCORE_DATA, and {pines.URL} could not be downloaded (connection refused)"
    assert not list((tmp_path / "cache").glob("*")) and pines.pines_at_hand() == "absent"


# a file of our own


@pytest.mark.parametrize(("name", "content"), [("pines.csv", UNIT), ("finpines.txt", METRES)], ids=["csv", "metres"])
def test_both_formats_are_points_of_the_unit_square(tmp_path, monkeypatch, small_table, name, content):
    monkeypatch.setenv("RESCORE_DATA", str(tmp_path))
    path = put(tmp_path, name, content)
    assert pines.find_pines() == path
    table = pines.load_pines()
    assert list(table.columns) == ["x", "y"] and pines.pines_at_hand() == "present"
    np.testing.assert_allclose(table, [[0.05, 0.925], [0.975, 0.05], [0.503, 0.797], [1.0, 1.0]], rtol=0, atol=1e-15)


@pytest.mark.parametrize("name", ["pines.csv", "finpines.txt"])
@pytest.mark.parametrize(
    "damage", [lambda text: text[:-9], lambda text: text.replace("5", "6"), lambda text: ""], ids=["cut", "changed", "empty"]
)
def test_a_damaged_file_is_one_clear_error_with_both_digests(tmp_path, monkeypatch, small_table, name, damage):
    content = {"pines.csv": UNIT, "finpines.txt": METRES}[name]
    monkeypatch.setenv("RESCORE_DATA", str(tmp_path))
    path = put(tmp_path, name, damage(content))
    text = failure()
    assert text.startswith(f"{path}: wrong checksum (sha256 {digest(damage(content))}, expected {digest(content)})")
    assert path.read_text() == damage(content), "left as it was"


def real_points() -> pd.DataFrame:
    """The 126 points of the data folder that the tests were started with."""
    try:
        return pines.load_pines()
    except MissingData as error:
        pytest.skip(f"set RESCORE_DATA to a folder with finpines/pines.csv: {error}")


@pytest.fixture
def started_with(nothing_at_hand, monkeypatch):
    """The environment's own data folder and cache, still without the network."""
    monkeypatch.undo()
    monkeypatch.setattr(fetch.urllib.request, "urlopen", refused)


def test_the_pines_give_the_same_counts_in_both_formats(started_with, tmp_path, monkeypatch):
    """In metres and back: no point changes its cell."""
    unit = real_points()
    assert len(unit) == 126
    text = (unit * 10 - [5, 8]).to_csv(sep="\t", index=False)
    monkeypatch.setenv("RESCORE_DATA", str(tmp_path))
    monkeypatch.setattr(pines, "SHA256_METRES", digest(text))
    put(tmp_path, "finpines.txt", text)
    metres = pines.load_pines()
    for n in (40, 32):
        counts = [lgcp.bin_counts(torch.tensor(table.to_numpy()), n) for table in (unit, metres)]
        assert torch.equal(*counts) and counts[0].sum() == 126


# downloads


class Downloads:
    """In place of urlopen: the response, and what was asked for."""

    def __init__(self, content: str | Exception):
        self.content, self.urls = content, []

    def __call__(self, url: str, timeout: float) -> io.BytesIO:
        assert 0 < timeout < 60
        self.urls.append(url)
        if isinstance(self.content, Exception):
            raise self.content
        return io.BytesIO(self.content.encode())


def test_a_download_is_made_once_and_kept(tmp_path, monkeypatch, small_table):
    downloads = Downloads(METRES)
    monkeypatch.setattr(fetch.urllib.request, "urlopen", downloads)
    for _ in range(2):
        assert len(pines.load_pines()) == 4
    assert downloads.urls == [pines.URL]
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["finpines.txt"]
    assert pines.pines_at_hand() == "present"


def test_a_download_of_something_else_is_one_clear_error_and_is_not_kept(tmp_path, monkeypatch, small_table):
    page = "<html>please log in</html>"
    monkeypatch.setattr(fetch.urllib.request, "urlopen", Downloads(page))
    text = failure()
    assert text.startswith(f"{pines.URL}: wrong checksum (sha256 {digest(page)}, expected {digest(METRES)})")
    assert not list((tmp_path / "cache").iterdir())


@pytest.mark.parametrize("broken", [TimeoutError("timed out"), http.client.IncompleteRead(b"x", 99)], ids=["slow", "cut short"])
def test_a_broken_download_is_missing_data(tmp_path, monkeypatch, broken):
    monkeypatch.setattr(fetch.urllib.request, "urlopen", Downloads(broken))
    assert f"{pines.URL} could not be downloaded" in failure(MissingData)
    assert not list((tmp_path / "cache").iterdir())


def test_a_damaged_cache_is_one_clear_error(tmp_path, small_table):
    path = tmp_path / "cache" / "finpines.txt"
    path.parent.mkdir()
    path.write_text(METRES[:-4])
    assert failure().startswith(f"{path}: wrong checksum (sha256 {digest(METRES[:-4])}, expected {digest(METRES)})")
