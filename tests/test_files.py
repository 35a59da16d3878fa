"""A file is whole or absent."""

import hashlib

import pytest
from rescore.errors import RescoreError
from rescore.files import atomic_path, atomic_write, read_json, sha256


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
        (b"\xff\xfe", "x.json: not JSON: 'utf-8' codec"),
        (b"[1]", "x.json: expected an object with a, b; found list"),
        (b'{"b": 1}', "x.json: expected an object with a, b; found no a"),
        (b'{"a": "x", "b": "2"}', "x.json, key b: '2' is not a number"),
        (b'{"a": "x", "b": true}', "x.json, key b: True is not a number"),
    ],
)
def test_damaged_json_is_one_clear_error(tmp_path, content, problem):
    path = tmp_path / "x.json"
    path.write_bytes(b'{"a": "x", "b": null}')
    assert read_json(path, ["a", "b"], numbers=["b", "c"]) == {"a": "x", "b": None}
    path.write_bytes(content)
    with pytest.raises(RescoreError) as error:
        read_json(path, ["a", "b"], numbers=["b", "c"])
    assert problem in str(error.value)
