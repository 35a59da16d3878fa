"""The pines are found, downloaded or missed with one clear message. No test touches the network."""

import gzip
import hashlib
import io
import re
import tarfile
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from failures import failure, full_disk, refused
from rescore.data import fetch, pines
from rescore.errors import MissingData, RescoreError
from rescore.targets import lgcp

pytestmark = pytest.mark.usefixtures("nothing_at_hand")

METRES = "x\ty\tdiameter\theight\n-4.5\t1.25\t1\t1.7\n4.75\t-7.5\t1\t1.6\n0.03\t-0.03\t0\t1.1\n5\t2\t2\t3.4\n"
UNIT = '"","data_x","data_y"\n"1",0.05,0.925\n"2",0.975,0.05\n"3",0.503,0.797\n"4",1.0,1.0\n'


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


# the folder


def test_a_missing_folder_is_one_clear_error(tmp_path, monkeypatch):
    monkeypatch.setenv("RESCORE_DATA", str(tmp_path / "nowhere"))
    assert failure(pines.load_pines).startswith(f"RESCORE_DATA={tmp_path / 'nowhere'}: no such folder; ")
    monkeypatch.setenv("RESCORE_DATA", str(put(tmp_path, "pines.csv", UNIT)))
    assert "no such folder" in failure(pines.load_pines), "a file is no folder"


def test_a_folder_that_may_not_be_read_is_one_clear_error(tmp_path, monkeypatch):
    """Of another user, who is not root; those beside it may."""
    closed = tmp_path / "closed"
    (closed / "data").mkdir(parents=True)
    monkeypatch.setattr(fetch.os, "access", lambda path, mode: Path(path) != closed)
    monkeypatch.setenv("RESCORE_DATA", str(closed))
    assert failure(pines.load_pines).startswith(f"RESCORE_DATA={closed}: may not be read; ")
    monkeypatch.setenv("RESCORE_DATA", str(tmp_path))
    assert fetch.data_folder() == tmp_path


@pytest.mark.parametrize("there", [True, False])
def test_a_cache_that_may_not_be_read_is_a_temporary_folder(tmp_path, monkeypatch, capsys, there):
    closed = tmp_path / "closed"
    cache = closed if there else closed / "deep" / "cache"
    closed.mkdir()
    monkeypatch.setenv("RESCORE_CACHE", str(cache))
    assert fetch.cache_folder() == cache
    monkeypatch.setattr(fetch.os, "access", lambda path, mode: Path(path) != closed)
    assert not fetch.cache_folder().is_relative_to(closed)
    assert f"warning: the cache {cache} may not be read: downloads" in capsys.readouterr().err


def test_an_empty_variable_is_an_unset_one(monkeypatch):
    monkeypatch.setenv("RESCORE_DATA", "")
    assert fetch.data_folder() is None


def test_the_cache_is_in_the_home_folder_by_default(monkeypatch):
    monkeypatch.delenv("RESCORE_CACHE")
    assert fetch.cache_folder() == Path.home() / ".cache" / "rescore"


@pytest.mark.parametrize("variable", ["RESCORE_DATA", "RESCORE_CACHE"])
def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch, small_table, variable):
    """As in a job's environment that no shell has read."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv(variable, "~/mine")
    put(tmp_path / "mine", "finpines.txt", METRES)
    put(tmp_path / "mine", "../finpines.txt", METRES)  # as the cache has it
    path = {"RESCORE_DATA": "finpines/finpines.txt", "RESCORE_CACHE": "finpines.txt"}[variable]
    assert pines.find_pines() == tmp_path / "mine" / path


@pytest.fixture
def homeless(monkeypatch):
    """A user without a home: HOME is unset and the user is not in the system's list."""

    def unknown(*_):
        raise KeyError("no such user")

    monkeypatch.delenv("RESCORE_CACHE")
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", unknown)
    fetch._temporary_folder.cache_clear()


@pytest.fixture
def remote(small_table, server, monkeypatch):
    """The small table on a server."""
    server.files["/finpines.txt"] = METRES.encode()
    monkeypatch.setattr(pines, "URL", f"{server.url}/finpines.txt")
    return server


def kept(folder: Path) -> list[str]:
    """What is in the cache, but for locks."""
    return [path.name for path in (folder / "cache").glob("*") if path.name != ".finpines.txt.lock"]


def test_without_a_home_the_cache_is_a_temporary_folder(homeless, tmp_path, monkeypatch, remote, capsys):
    assert len(pines.load_pines()) == len(pines.load_pines()) == 4 and len(remote.asked) == 1
    assert fetch.cache_folder() == fetch.writable_cache() and pines.pines_at_hand()
    (warning,) = capsys.readouterr().err.splitlines()
    assert warning.startswith("warning: no home folder (") and warning.endswith("set RESCORE_CACHE to a folder to keep them")
    monkeypatch.setenv("RESCORE_DATA", str(tmp_path))
    path = put(tmp_path, "finpines.txt", METRES)
    assert pines.find_pines() == path, "what is at hand needs no cache"


def test_a_download_needs_no_cache_that_can_be_written(tmp_path, remote, capsys):
    (tmp_path / "cache").write_text("a file")
    assert len(pines.load_pines()) == len(pines.load_pines()) == 4 and len(remote.asked) == 1
    assert capsys.readouterr().err.startswith(f"warning: the cache {tmp_path / 'cache'} cannot be written (File exists): ")


@pytest.mark.parametrize("with_folder", [True, False])
def test_no_file_and_no_download_is_missing_data(tmp_path, monkeypatch, with_folder):
    if with_folder:
        monkeypatch.setenv("RESCORE_DATA", str(tmp_path))
    text = failure(pines.load_pines, kind=MissingData)
    assert text == (
        f"finpines.txt: not at hand, and {pines.URL} could not be downloaded (connection refused); "
        "set RESCORE_DATA to a folder that holds finpines/finpines.txt"
    )
    assert not kept(tmp_path) and not pines.pines_at_hand()


# a file of our own


@pytest.mark.parametrize(("name", "content"), [("pines.csv", UNIT), ("finpines.txt", METRES)], ids=["csv", "metres"])
def test_both_formats_are_points_of_the_unit_square(tmp_path, monkeypatch, small_table, name, content):
    monkeypatch.setenv("RESCORE_DATA", str(tmp_path))
    path = put(tmp_path, name, content)
    assert pines.find_pines() == path
    table = pines.load_pines()
    assert list(table.columns) == ["x", "y"] and pines.pines_at_hand()
    np.testing.assert_allclose(table, [[0.05, 0.925], [0.975, 0.05], [0.503, 0.797], [1.0, 1.0]], rtol=0, atol=1e-15)


@pytest.mark.parametrize("name", ["pines.csv", "finpines.txt"])
@pytest.mark.parametrize(
    "damage", [lambda text: text[:-9], lambda text: text.replace("5", "6"), lambda text: ""], ids=["cut", "changed", "empty"]
)
def test_a_damaged_file_is_one_clear_error_with_both_digests(tmp_path, monkeypatch, small_table, name, damage):
    content = {"pines.csv": UNIT, "finpines.txt": METRES}[name]
    monkeypatch.setenv("RESCORE_DATA", str(tmp_path))
    path = put(tmp_path, name, damage(content))
    text = failure(pines.load_pines)
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
    monkeypatch.setattr("requests.get", refused)


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


@pytest.fixture
def waits(monkeypatch) -> list[float]:
    """The seconds between trials, which take no time here."""
    seconds = []
    monkeypatch.setattr("pooch.core.time.sleep", seconds.append)
    return seconds


def test_a_download_is_made_once_and_kept(tmp_path, remote, capsys):
    for _ in range(2):
        assert len(pines.load_pines()) == 4
    assert remote.asked == ["/finpines.txt"] and kept(tmp_path) == ["finpines.txt"]
    path = tmp_path / "cache" / "finpines.txt"
    assert path.stat().st_mode & 0o777 == 0o644, "others may read a cache that is theirs too"
    assert pines.pines_at_hand() and not capsys.readouterr().err, "a short download needs no bar"


def of_unknown_length(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.end_headers()
    request.wfile.write(METRES.encode())


@pytest.mark.parametrize(
    ("answer", "bar"),
    [
        (METRES.encode(), rf"finpines.txt: 100%\|#+\| {len(METRES)}\.0/{len(METRES)}\.0 \[.*B/s\]"),
        (of_unknown_length, rf"finpines.txt: {len(METRES)}\.0B \[.*B/s\]"),
    ],
    ids=["known length", "unknown length"],
)
def test_a_long_download_has_a_bar(remote, monkeypatch, capsys, answer, bar):
    monkeypatch.setattr(fetch, "BAR_AFTER_SECONDS", 0)
    monkeypatch.setattr(fetch, "CHUNK_BYTES", len(METRES))
    remote.files["/finpines.txt"] = answer
    pines.load_pines()
    *_, last = capsys.readouterr().err.replace("\r", "\n").splitlines()
    assert re.fullmatch(bar, last.strip())


def test_a_download_of_something_else_is_one_clear_error_and_is_not_kept(tmp_path, remote):
    page = "<html>please log in</html>"
    remote.files["/finpines.txt"] = page.encode()
    text = failure(pines.load_pines)
    assert text.startswith(f"{pines.URL}: wrong checksum (sha256 {digest(page)}, expected {digest(METRES)})")
    assert "the file is an HTML page" in text and not kept(tmp_path)


def cut_short(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.send_header("Content-Length", "99")
    request.end_headers()
    request.wfile.write(b"x")


def silent(request: BaseHTTPRequestHandler) -> None:
    request.rfile.read()  # until the other side has had enough


def busy(request: BaseHTTPRequestHandler) -> None:
    request.send_error(503)


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        (cut_short, "IncompleteRead(1 bytes read, 98 more expected)"),
        (silent, "Read timed out. (read timeout=0.1)"),
        (busy, "503 Server Error: Service Unavailable for url: "),
    ],
    ids=["cut short", "silent", "busy"],
)
def test_a_broken_download_is_tried_again_and_then_missing_data(tmp_path, remote, monkeypatch, waits, broken, why):
    monkeypatch.setattr(fetch, "TIMEOUT_SECONDS", (1, 0.1))
    remote.files["/finpines.txt"] = broken
    text = failure(pines.load_pines, kind=MissingData)
    assert f"{pines.URL} could not be downloaded (" in text and why in text
    assert len(remote.asked) == 3 and waits == [1, 2] and not kept(tmp_path)


def test_a_download_that_breaks_off_once_is_no_matter(tmp_path, remote, waits):
    def once(request: BaseHTTPRequestHandler) -> None:
        remote.files["/finpines.txt"] = METRES.encode()
        cut_short(request)

    remote.files["/finpines.txt"] = once
    assert len(pines.load_pines()) == 4 and len(remote.asked) == 2 and waits == [1]


def test_a_full_disk_is_no_missing_data(tmp_path, remote, waits):
    """A job is skipped for lack of data; here it would be lack of room."""
    remote.files["/finpines.txt"] = b"x" * 2**22
    with full_disk():
        text = failure(pines.load_pines)
    assert "finpines" in text and text.endswith(": File too large") and not kept(tmp_path)


def test_the_reason_of_a_missing_network_is_the_system_s_own(monkeypatch, remote, waits):
    """On port 9 of this machine nobody listens."""
    monkeypatch.setattr(pines, "URL", "http://127.0.0.1:9/finpines.txt")
    why = "HTTPConnection(host='127.0.0.1', port=9): Failed to establish a new connection: "
    text = failure(pines.load_pines, kind=MissingData)
    assert f"({why}" in text and "Connection refused); set RESCORE_DATA" in text


def test_a_packed_file_stays_packed(tmp_path, remote):
    """Some servers say of a .gz that gzip is its encoding; a browser would unpack it."""
    packed, wanted = gzip.compress(METRES.encode()), []

    def labelled(request: BaseHTTPRequestHandler) -> None:
        wanted.append(request.headers["Accept-Encoding"])
        request.send_response(200)
        request.send_header("Content-Encoding", "gzip")
        request.send_header("Content-Length", str(len(packed)))
        request.end_headers()
        request.wfile.write(packed)

    remote.files["/a.gz"] = labelled
    assert fetch.download(f"{remote.url}/a.gz", hashlib.sha256(packed).hexdigest(), "x/a.gz").read_bytes() == packed
    assert wanted == ["identity"]


def test_two_that_want_one_file_fetch_it_once(tmp_path, remote, capsys):
    """Threads, whose locks exclude each other as those of processes do."""
    never = threading.Event()

    def slow(request: BaseHTTPRequestHandler) -> None:
        never.wait(0.5)  # a second request would come in this time
        of_unknown_length(request)

    remote.files["/finpines.txt"] = slow
    with ThreadPoolExecutor(3) as pool:
        tables = list(pool.map(lambda _: pines.find_pines(), range(3)))
    assert tables == [tmp_path / "cache" / "finpines.txt"] * 3 and len(remote.asked) == 1
    assert capsys.readouterr().err == "waiting for another process that fetches finpines.txt\n" * 2


def test_without_a_lock_a_download_is_made_all_the_same(tmp_path, remote):
    (tmp_path / "cache" / ".finpines.txt.lock").mkdir(parents=True)
    assert len(pines.load_pines()) == 4


def test_a_damaged_cache_is_one_clear_error(tmp_path, small_table):
    path = tmp_path / "cache" / "finpines.txt"
    path.parent.mkdir()
    path.write_text(METRES[:-4])
    assert failure(pines.load_pines).startswith(
        f"{path}: wrong checksum (sha256 {digest(METRES[:-4])}, expected {digest(METRES)})"
    )


def test_a_folder_in_an_archive_is_no_file(tmp_path):
    path = tmp_path / "some.tar"
    with tarfile.open(path, "w") as archive:
        folder, member = tarfile.TarInfo("there"), tarfile.TarInfo("there/a.bin")
        folder.type, member.size = tarfile.DIRTYPE, 3
        archive.addfile(folder)
        archive.addfile(member, io.BytesIO(b"abc"))
    with tarfile.open(path) as archive:
        assert fetch.read_member(archive, "there/a.bin") == b"abc"
        with pytest.raises(RescoreError, match="some.tar': there is not a file"):
            fetch.read_member(archive, "there")
