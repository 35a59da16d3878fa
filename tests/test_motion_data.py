"""BasicMotions: its files read, downloaded once, checked."""

import hashlib
import io
import zipfile

import numpy as np
import pytest
from rescore.data import motion
from rescore.errors import MissingData, RescoreError


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
    monkeypatch.setattr("requests.get", refuse)
    assert not motion.motions_at_hand()
    with pytest.raises(MissingData, match="RESCORE_DATA/BasicMotions or in an installed aeon"):
        motion.load_motions()
    (tmp_path / "BasicMotions").mkdir()
    for split in ("TRAIN", "TEST"):
        write_series(tmp_path / "BasicMotions" / f"BasicMotions_{split}.ts")
    assert motion.motions_at_hand()
    with pytest.raises(RescoreError, match="wrong checksum"):
        motion.load_motions()
    with pytest.raises(RescoreError, match="split 'all'; allowed: train, test"):
        motion.load_motions("all")


def packed(files: dict[str, str]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


def test_motions_are_downloaded_once_and_checked(tmp_path, monkeypatch, server):
    monkeypatch.delenv("RESCORE_DATA", raising=False)
    monkeypatch.setenv("RESCORE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr(motion, "URL", f"{server.url}/BasicMotions.zip")
    content = write_series(tmp_path / "a.ts")
    whole = packed({motion._file(split): content for split in motion.SPLITS})
    for wrong, why in (
        (b"<!DOCTYPE html>", "the file is an HTML page"),
        (whole[:-9], "File is not a zip file"),
        (packed({}), "no item named 'BasicMotions_TRAIN.ts'"),
    ):
        server.files["/BasicMotions.zip"] = wrong
        with pytest.raises(MissingData, match=rf"installed aeon, and {motion.URL} could not be downloaded \(.*{why}"):
            motion.load_motions()
    server.files["/BasicMotions.zip"] = whole
    with pytest.raises(RescoreError, match=rf"BasicMotions.zip: {motion._file('train')}: wrong checksum"):
        motion.load_motions()
    assert not motion.motions_at_hand(), "nothing wrong is kept"
    monkeypatch.setattr(motion, "SHA256", dict.fromkeys(motion.SPLITS, hashlib.sha256(content.encode()).hexdigest()))
    for split in motion.SPLITS:
        assert (motion.load_motions(split)[0] == 0.5).all()
    assert server.asked == ["/BasicMotions.zip"] * 5


def test_motions_at_hand_are_whole():
    if motion.find_motions() is None:
        pytest.skip("BasicMotions is not at hand")
    for split in motion.SPLITS:
        series, labels = motion.load_motions(split)
        assert series.shape == (40, 6, 100) and np.bincount(labels).tolist() == [10] * 4
