"""A file is whole or absent, and one that is damaged, refused or too large for its disk is one clear error."""

import errno
import hashlib
import os

import numpy as np
import pytest
import torch
from failures import failure, full_disk
from rescore.files import (
    append_line,
    atomic_path,
    atomic_write,
    load_tensors,
    load_yaml,
    read_arrays,
    read_json,
    read_text,
    save_arrays,
    save_tensors,
    sha256,
)
from rescore.ledger.records import read_records, read_skipped


def test_a_write_makes_folders_and_leaves_no_temporary_file(tmp_path):
    path = tmp_path / "a" / "b" / "file.txt"
    atomic_write(path, "süß\n")
    assert path.read_text(encoding="utf-8") == "süß\n"
    atomic_write(str(path), b"\x00\xff")
    assert path.read_bytes() == b"\x00\xff"
    assert list(path.parent.iterdir()) == [path]
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("before", [None, "the old content"])
def test_an_error_leaves_what_was_there(tmp_path, before):
    path = tmp_path / "file.txt"
    if before is not None:
        path.write_text(before)
    with pytest.raises(KeyboardInterrupt), atomic_path(path) as temporary:
        assert temporary.parent == path.parent, "a rename is atomic only within one file system"
        temporary.write_text("half of the ne")
        raise KeyboardInterrupt
    assert [p.name for p in tmp_path.iterdir()] == ([] if before is None else ["file.txt"])
    assert before is None or path.read_text() == before


def test_the_old_content_is_there_until_the_end(tmp_path):
    path = tmp_path / "file.txt"
    atomic_write(path, "old")
    with atomic_path(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"


def test_a_temporary_name_matches_no_pattern_of_finished_files(tmp_path):
    with atomic_path(tmp_path / "step-1.json") as temporary:
        assert list(tmp_path.glob("step-*.json")) == []
        assert temporary.exists()


def test_sha256(tmp_path):
    content = bytes(range(256)) * 5000
    (tmp_path / "file").write_bytes(content)
    assert sha256(tmp_path / "file") == hashlib.sha256(content).hexdigest()
    assert sha256(tmp_path / "file") != sha256(__file__)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "x.json: not JSON: Expecting value"),
        (b'{"a": 1, "b"', "x.json: not JSON: "),
        (b"[" * 100_000, "x.json: not JSON: "),
        (b"\xff\xfe", "x.json: not UTF-8 text (invalid start byte at byte 0)"),
        (b"[1]", "x.json: expected an object with a, b; found list"),
        (b'{"b": 1}', "x.json: expected an object with a, b; found no a"),
        (b'{"a": null, "b": 1}', "x.json, key a: None is not a text"),
        (b'{"a": 3, "b": 1}', "x.json, key a: 3 is not a text"),
        (b'{"a": "x", "b": "2"}', "x.json, key b: '2' is not a finite number"),
        (b'{"a": "x", "b": true}', "x.json, key b: True is not a finite number"),
        (b'{"a": "x", "b": NaN}', "x.json, key b: nan is not a finite number"),
        (b'{"a": "x", "b": 1e999}', "x.json, key b: inf is not a finite number"),
        (b'{"a": "x", "b": 1, "c": 1.5}', "x.json, key c: 1.5 is not a whole number"),
        (b'{"a": "x", "b": 1, "c": 1, "d": {}}', "x.json, key d: {} is not a list"),
        (b'{"a": "x", "b": 1, "e": ["' + b"x" * 500 + b'"]}', f"x.json, key e: ['{'x' * 58}... is not an object"),
    ],
)
def test_damaged_json_is_one_clear_error(tmp_path, content, problem):
    path, kinds = tmp_path / "x.json", ({"a": str, "b": float}, {"c": int, "d": list, "e": dict})
    path.write_bytes(b'{"a": "x", "b": 3, "c": null, "e": {}, "other": NaN}')
    assert set(read_json(path, *kinds)) == {"a", "b", "c", "e", "other"}
    path.write_bytes(content)
    text = failure(read_json, path, *kinds)
    assert text.startswith(str(tmp_path)) and problem in text


READERS = [read_text, read_json, read_arrays, load_tensors, load_yaml, read_skipped, read_records, sha256]


@pytest.mark.parametrize("read", READERS)
def test_what_the_system_does_not_give_is_one_clear_error(tmp_path, read):
    path = tmp_path / "a file"
    assert failure(read, path) == f"{path}: no such file"
    path.mkdir()
    assert failure(read, path).startswith(f"{path}: Is a directory")
    looping = tmp_path / "loop"
    looping.symlink_to(looping)
    assert failure(read, looping).startswith(f"{looping}: Too many levels of symbolic links")


@pytest.mark.parametrize("content", [b"", b"not an archive", b"PK\x03\x04 cut short"])
def test_damaged_arrays_and_tensors_are_one_clear_error(tmp_path, content):
    path = tmp_path / "file"
    path.write_bytes(content)
    assert failure(read_arrays, path).startswith(f"{path}: not an npz of arrays (")
    assert failure(load_tensors, path).startswith(f"{path}: not a safetensors file (")


def test_arrays_and_tensors_come_back(tmp_path):
    path = tmp_path / "a" / "x.npz"
    save_arrays(path, {"x": np.arange(3.0), "y": np.array("text")})
    assert read_arrays(path, ["x"])["x"].tolist() == [0, 1, 2] and read_arrays(path)["y"] == "text"
    assert failure(read_arrays, path, ["z", "x", "w"]) == f"{path}: no array z, w; it has x, y"
    path.write_bytes(path.read_bytes()[:-30])
    assert failure(read_arrays, path).startswith(f"{path}: not an npz of arrays (")
    np.save(path.with_suffix(".npy"), np.arange(3))
    assert failure(read_arrays, path.with_suffix(".npy")).startswith(f"{path.with_suffix('.npy')}: not an npz of arrays (")
    np.savez(path, objects=np.array([{}], dtype=object))
    assert "not an npz of arrays" in failure(read_arrays, path), "nothing is unpickled"

    path, transposed = tmp_path / "b" / "x.safetensors", torch.arange(6.0).reshape(2, 3).T
    save_tensors(path, {"x": transposed.requires_grad_()}, {"of": "a test"})
    assert torch.equal(load_tensors(path)["x"], transposed)
    path.write_bytes(path.read_bytes()[:-1])
    assert failure(load_tensors, path).startswith(f"{path}: not a safetensors file (")


# a full disk


LARGE = np.random.default_rng(0).random(2**19)  # 4 MB
WRITERS = {
    "text": lambda path: atomic_write(path, "x" * 2**22),
    "arrays": lambda path: save_arrays(path, {"x": LARGE}),
    "compressed": lambda path: save_arrays(path, {"x": LARGE}, compressed=True),
    "tensors": lambda path: save_tensors(path, {"x": torch.from_numpy(LARGE)}),
}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
@pytest.mark.parametrize("before", [None, b"the old content"])
def test_a_full_disk_is_one_clear_error_and_leaves_what_was_there(tmp_path, write, before):
    path = tmp_path / "file"
    if before is not None:
        path.write_bytes(before)
    with full_disk():
        text = failure(write, path)
    assert text.startswith(f"{path}: ") and "File too large" in text
    assert [one.name for one in tmp_path.iterdir()] == ([] if before is None else ["file"])
    assert before is None or path.read_bytes() == before
    write(path)
    assert path.stat().st_size > 2**21


@pytest.mark.parametrize("call", ["os.fsync", "pathlib.Path.replace", "pathlib.Path.write_bytes", "tempfile.mkstemp"])
def test_at_each_step_of_a_write(tmp_path, monkeypatch, call):
    """The last bytes may find no place only when they are synced, and a new name none in its folder."""
    path = tmp_path / "file"
    path.write_text("old")

    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(call, full)
        assert failure(atomic_write, path, "new") == f"{path}: No space left on device"
    assert [one.name for one in tmp_path.iterdir()] == ["file"] and path.read_text() == "old"


def test_a_temporary_file_that_stays_hides_no_error(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr("pathlib.Path.unlink", refuse)
    with full_disk():
        assert "File too large" in failure(atomic_write, tmp_path / "file", "x" * 2**22)


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "folder").mkdir()
    assert failure(atomic_write, tmp_path / "folder", "x") == f"{tmp_path / 'folder'}: Is a directory"
    (tmp_path / "file").write_text("precious")
    assert failure(atomic_write, tmp_path / "file" / "x", "x") == f"{tmp_path / 'file'}: File exists"
    assert sorted(one.name for one in tmp_path.iterdir()) == ["file", "folder"]


@pytest.mark.parametrize(
    "raised",
    [ConnectionError("no network"), PermissionError(errno.EACCES, "Permission denied", "/another/file"), ValueError("x")],
    ids=["without a file", "another file's", "no error of the system"],
)
def test_other_errors_within_stay_what_they_are(tmp_path, raised):
    """Downloads tell by them that the network is away."""
    with pytest.raises(type(raised)) as error, atomic_path(tmp_path / "file"):
        raise raised
    assert error.value is raised and not list(tmp_path.iterdir())


def test_lines_are_appended_behind_one_that_was_cut(tmp_path):
    path = tmp_path / "lines"
    append_line(path, "one")
    append_line(path, "süß")
    with open(path, "ab") as stream:
        stream.write(b"half a li")
    append_line(path, "three")
    append_line(path, "four")
    assert path.read_text(encoding="utf-8").split("\n") == ["one", "süß", "half a li", "three", "four", ""]
    with full_disk():
        assert failure(append_line, path, "x" * 2**22) == f"{path}: File too large"
    assert path.read_text(encoding="utf-8").startswith("one\nsüß\nhalf a li\nthree\nfour\n")
    append_line(path, "five")
    assert path.read_text(encoding="utf-8").endswith("x\nfive\n")
