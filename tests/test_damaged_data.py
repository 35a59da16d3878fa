"""What comes in place of data, fed to every loader: one error that names the file and says what is wrong. No network."""

import gzip
import hashlib
import io
import shutil
import sys
import types
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from failures import failure
from PIL import Image
from rescore.data import cifar, folders, humanml, idx, images, motion, pines, tabular
from rescore.data.damage import check_labels
from rescore.data.images import load_images
from rescore.errors import RescoreError
from rescore.metrics import text_motion

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"4d7a2146" * 8 + b"\nsize 12345\n"
DAMAGE = {
    "pointer": (POINTER, "the file is a pointer of Git LFS (`git lfs pull` fetches its content)"),
    "page": (b"\n<!DOCTYPE html>\n<html><body>Please log in</body></html>\n", "the file is an HTML page, such as a login or"),
    "empty": (b"", "the file is empty"),
}


def array(x) -> bytes:
    stream = io.BytesIO()
    np.save(stream, x)
    return stream.getvalue()


def npz(**arrays) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def picture(*size: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", size, (200, 100, 0)).save(stream, "png")
    return stream.getvalue()


def csv(rows: int, columns: int, **options) -> bytes:
    return pd.DataFrame(np.random.default_rng(0).normal(size=(rows, columns))).to_csv(index=False, **options).encode()


HEPMASS = b"label\n" + b"1.0" + b",0.5" * 27 + b"\n0.0" + b",0.25" * 27 + b"\n"
STRIP = picture(32, 16000)
TWO = np.full((2, 4, 4), 9, np.uint8)
TEXT = b"a man walks#a/DET man/NOUN walk/VERB#0.0#0.0\n"


@dataclass(frozen=True)
class Loader:
    """How to load, and the files under RESCORE_DATA, the first of which is damaged. The others are whole."""

    load: object
    files: dict[str, bytes]


HUMANML = {
    "HumanML3D/train.txt": b"1\n",
    "HumanML3D/test.txt": b"1\n",
    "HumanML3D/new_joint_vecs/1.npy": array(np.ones((60, 263))),
    "HumanML3D/texts/1.txt": TEXT,
    "HumanML3D/Mean.npy": array(np.ones(263)),
    "HumanML3D/Std.npy": array(np.ones(263)),
}
MNIST = {f"MNIST/raw/t10k-{part}": b"" for part in idx.PARTS.values()}
BATCHES = {f"{cifar.BATCHES}/{name}": b"" for name in cifar.BATCH_FILES}
CELEBA = {folders.CELEBA_PARTITION: b"a.png 0\n", f"{folders.CELEBA_IMAGES}/a.png": picture(*folders.CELEBA_SIZE)}
MOTIONS = {f"BasicMotions/{motion._file(split)}": b"" for split in motion.SPLITS}


def first(name: str, files: dict[str, bytes]) -> dict[str, bytes]:
    return {name: files[name]} | files


LOADERS = {
    "idx": Loader(lambda _: load_images("mnist", "test"), MNIST),
    "idx packed": Loader(lambda _: load_images("mnist", "test"), {f"{name}.gz": gzip.compress(b"") for name in MNIST}),
    "cifar archive": Loader(lambda _: load_images("cifar10", "test"), {f"cifar10/{cifar.ARCHIVE}": b""}),
    "cifar batch": Loader(lambda _: load_images("cifar10", "test"), BATCHES),
    "cifar strip": Loader(
        lambda _: load_images("cifar10", "test", limit=5),
        {"cifar10/test-00.webp": STRIP, "cifar10/labels.npz": npz(test_labels=np.zeros(500))},
    ),
    "cifar labels": Loader(
        lambda _: load_images("cifar10", "test", limit=5), {"cifar10/labels.npz": b"", "cifar10/test-00.webp": STRIP}
    ),
    "celeba list": Loader(lambda _: load_images("celeba64"), CELEBA),
    "celeba picture": Loader(lambda _: load_images("celeba64"), first(f"{folders.CELEBA_IMAGES}/a.png", CELEBA)),
    "folder": Loader(lambda data: load_images("folder", "all", path=data / "mine"), {"mine/a.png": picture(8, 8)}),
    "npz": Loader(lambda data: load_images("npz", "all", path=data / "mine.npz"), {"mine.npz": b""}),
    "scenes": Loader(lambda _: load_images("lhq32"), {"lhq_256/a.png": picture(40, 40)}),
    "lmdb": Loader(lambda _: load_images("tower32"), {"tower_train_lmdb/data.mdb": b""}),
    "pines": Loader(lambda _: pines.load_pines(), {"finpines/pines.csv": b""}),
    "pines in metres": Loader(lambda _: pines.load_pines(), {"finpines/finpines.txt": b""}),
    "power": Loader(lambda _: tabular.load_tabular("power"), {"power/data.npy": b""}),
    "miniboone": Loader(lambda _: tabular.load_tabular("miniboone"), {"miniboone/data.npy": b""}),
    "gas csv": Loader(lambda _: tabular.load_tabular("gas"), {"gas/ethylene_CO.csv": csv(9, 4)}),
    "gas pickle": Loader(lambda _: tabular.load_tabular("gas"), {"gas/ethylene_CO.pickle": b""}),
    "hepmass train": Loader(
        lambda _: tabular.load_tabular("hepmass"), {"hepmass/1000_train.csv": HEPMASS, "hepmass/1000_test.csv": HEPMASS}
    ),
    "hepmass test": Loader(
        lambda _: tabular.load_tabular("hepmass"), {"hepmass/1000_test.csv": HEPMASS, "hepmass/1000_train.csv": HEPMASS}
    ),
    "bsds300": Loader(lambda _: tabular.load_tabular("bsds300"), {"BSDS300/BSDS300.hdf5": b""}),
    "motion": Loader(lambda _: motion.load_motions("train"), MOTIONS),
    "humanml list": Loader(lambda _: humanml.load_humanml("train"), HUMANML),
    "humanml motion": Loader(lambda _: humanml.load_humanml("train"), first("HumanML3D/new_joint_vecs/1.npy", HUMANML)),
    "humanml text": Loader(lambda _: humanml.load_humanml("train"), first("HumanML3D/texts/1.txt", HUMANML)),
    "humanml scale": Loader(lambda _: humanml.load_scales(), first("HumanML3D/Std.npy", HUMANML)),
    "evaluator": Loader(lambda _: text_motion.load_evaluator(), dict.fromkeys(text_motion.FILES.values(), b"")),
}


@pytest.fixture
def data(tmp_path, monkeypatch) -> Path:
    """An empty data folder and cache, no network; packages that are not installed refuse every file."""
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("RESCORE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("RESCORE_CACHE", str(tmp_path / "cache"))

    def refused(*_, **__):
        raise OSError("refused")

    monkeypatch.setattr("requests.get", refused)
    for name, opener in (("lmdb", "open"), ("h5py", "File")):
        package = types.ModuleType(name)
        package.Error = OSError
        setattr(package, opener, refused)
        monkeypatch.setitem(sys.modules, name, package)
    return tmp_path / "data"


def put(data: Path, loader: Loader, **changed: bytes) -> Path:
    for name, content in (loader.files | changed).items():
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / name).write_bytes(content)
    return data / next(iter(loader.files))


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("name", LOADERS)
def test_what_comes_in_place_of_a_file_is_named(data, name, damage):
    loader, (content, why) = LOADERS[name], DAMAGE[damage]
    path = put(data, loader)
    path.write_bytes(content)
    message = failure(loader.load, data)
    assert message.startswith(f"{path}: ") and why in message
    assert path.read_bytes() == content, "left as it was"


@pytest.mark.parametrize("name", [name for name in LOADERS if name not in ("celeba list", "humanml list")])
def test_a_file_of_something_else_is_named(data, name):
    """Bytes that no format knows; of a list of names, any bytes are names (see the other tests of lists)."""
    loader = LOADERS[name]
    path = put(data, loader)
    path.write_bytes(bytes(range(256)) * 40)
    assert failure(loader.load, data).startswith(f"{path}")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("celeba list", b"202599\nimage_id partition\n", "line 1: allowed: a file name and 0, 1 or 2, not '202599'"),
        ("celeba list", b"a.png;0\n", "line 1: allowed: a file name and 0, 1 or 2, not 'a.png;0'"),
        ("celeba list", b"a.png 1\n", "no image file (allowed: .png, "),
        ("cifar labels", npz(test_labels=np.where(np.arange(500) == 2, np.nan, 1)), "label nan of image 2; allowed: 0, 1, "),
        ("cifar labels", npz(test_labels=np.array(["cat"] * 5)), "labels <U3 (5,); allowed: whole numbers (500,)"),
        ("cifar labels", npz(test_labels=np.full(500, 10)), "label 10; allowed: 0 to 9"),
        ("cifar labels", npz(labels=np.zeros(5)), "not an npz with test_labels ("),
        ("npz", npz(images=TWO, labels=np.array([0, np.nan])), "label nan of image 1; allowed: 0, 1, "),
        ("npz", npz(images=TWO, labels=np.array([0, -1])), "label -1 of image 1; allowed: 0, 1, 2, ..."),
        ("npz", npz(images=TWO, labels=np.array([0, 0.5])), "label 0.5 of image 1; allowed: 0, 1, 2, "),
        ("npz", npz(images=TWO, labels=np.array(["cat", "dog"])), "labels <U3 (2,); allowed: whole "),
        ("npz", npz(images=TWO, labels=np.zeros(3)), "labels float64 (3,); allowed: whole numbers (2,)"),
        ("npz", npz(images=TWO)[:-40], "not an npz of arrays ("),
        ("power", array(np.ones((9, 6))), "a table float64 (9, 6); allowed: numbers, (n, 8), n >= 1"),
        ("power", array(np.full((9, 8), "x")), "a table <U1 (9, 8); allowed: numbers, (n, 8), n >= 1"),
        ("miniboone", array(np.where(np.arange(86).reshape(2, 43) == 50, np.nan, 1)), "nan in row 1, column 7; allowed: "),
        ("gas csv", csv(9, 4, sep=";"), "1 column(s) separated by commas; allowed: 2 or more"),
        ("gas csv", b"a,b\n1,2\n3,x\n", "column b holds text, such as '2'; allowed: numbers"),
        ("gas csv", b"a,b\n1,2\n3,\n", "nan in row 1, column 1; allowed: finite numbers"),
        ("gas csv", b"a,b\n1,2\n3,4,5\n", "not a csv (Error tokenizing data"),
        ("hepmass train", HEPMASS.replace(b",", b";"), "1 column(s) separated by commas; allowed: 28 or more"),
        ("hepmass train", HEPMASS.replace(b"1.0", b"signal"), "column 0 holds text, such as 'signal'; allowed: numbers"),
        ("hepmass train", HEPMASS.replace(b"1.0", b"nan"), "nan in row 0, column 0; allowed: finite numbers"),
        ("hepmass test", HEPMASS.replace(b"1.0", b"2.0"), "labels [0.0, 2.0]; allowed: 0 and 1 in the first column"),
        ("humanml scale", array(np.zeros(263)), "value 0 of 263 is not finite or not above 0"),
        ("humanml scale", array(np.full(263, np.nan)), "value 0 of 263 is not finite or not above 0"),
    ],
)
def test_a_file_of_the_right_format_with_wrong_content_is_named(data, name, content, message):
    loader = LOADERS[name]
    path = put(data, loader)
    path.write_bytes(content)
    text = failure(loader.load, data)
    assert text.startswith(str(path)) and text[len(str(path)) :].lstrip(":, ").startswith(message)


def test_the_files_that_are_damaged_here_can_be_loaded_whole(data):
    """Else the errors above might be of another fault."""
    for name in ("cifar strip", "celeba list", "folder", "scenes", "humanml list", "humanml scale"):
        put(data, LOADERS[name])
        LOADERS[name].load(data)
        shutil.rmtree(data)
    assert len(tabular._numbers(pd.read_csv(io.BytesIO(csv(9, 4))), 2, data)) == 9


def test_a_download_that_is_a_page_says_so(data, tmp_path, monkeypatch, server):
    page, _ = DAMAGE["page"]
    name = "/t10k-images-idx3-ubyte.gz"
    server.files[name] = page
    monkeypatch.setitem(images.IDX, "mnist", replace(idx.MNIST, url=server.url))
    message = failure(load_images, "mnist", "test")
    digest = hashlib.sha256(page).hexdigest()
    assert message.startswith(f"{server.url}{name}: wrong checksum (sha256 {digest}, expected ")
    assert "the file is an HTML page" in message and not list((tmp_path / "cache").rglob("*.gz"))
    assert server.asked == [name], "what came whole is not asked for again"


def test_a_folder_in_the_place_of_a_file_is_named(data):
    for name in ("cifar archive", "pines", "idx", "npz"):
        (data / next(iter(LOADERS[name].files))).mkdir(parents=True)
        for other in list(LOADERS[name].files)[1:]:
            (data / other).write_bytes(b"")
        assert failure(LOADERS[name].load, data).startswith(f"{data / next(iter(LOADERS[name].files))}: not ")


def test_labels_are_whole_numbers():
    for labels in (np.array([0, 1, 2**30]), np.array([0.0, 1.0, 5.0]), np.array([1, 2, 3], np.uint8)):
        found = check_labels(labels, 3, "x")
        assert found.dtype == np.int64 and found.tolist() == labels.tolist()
    for wrong in ([0, np.inf, 0], [0, -np.inf, 0], [0, 1e30, 0]):
        with pytest.raises(RescoreError, match="^x: label .*inf of image 1|^x: label 1e\\+30 of image 1"):
            check_labels(np.array(wrong), 3, "x")
    assert torch.from_numpy(check_labels(np.array([3.0]), 1, "x")).dtype == torch.int64
