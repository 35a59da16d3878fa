"""Image data: what is loaded, and from where. No test touches the network."""

import gzip
import hashlib
import io
import os
import pickle
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from failures import failure
from PIL import Image
from rescore.data import cifar, folders, idx, images, scenes
from rescore.data.images import ImageSet, images_at_hand, load_images
from rescore.data.pictures import open_picture
from rescore.errors import MissingData, RescoreError
from test_pictures import ROTATED

pytestmark = pytest.mark.usefixtures("nothing_at_hand")
REAL = os.environ.get("RESCORE_DATA")


@pytest.fixture
def real_data(nothing_at_hand, monkeypatch):
    """The data folder that the tests were started with."""
    monkeypatch.setenv("RESCORE_DATA", REAL or "")


def real(name, split, limit=None) -> ImageSet:
    if not images_at_hand(name, split):
        pytest.skip(f"{name}/{split} is not under RESCORE_DATA")
    return load_images(name, split, limit)


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """An empty data folder of the test's own."""
    path = tmp_path / "data"
    path.mkdir()
    monkeypatch.setenv("RESCORE_DATA", str(path))
    return path


def noise(n: int, height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, height, width, channels), np.uint8)


# data sets that are always there or are real


def test_digits_are_scikit_learns():
    from sklearn.datasets import load_digits

    whole, train, test = (load_images("digits", split) for split in ("all", "train", "test"))
    assert (len(whole), len(train), len(test)) == (1797, 1438, 359) and whole.shape == (1, 8, 8)
    assert torch.equal(torch.round(whole.images[:, 0] / 255 * 16), torch.from_numpy(load_digits().images).float())
    assert whole.images.unique().numel() == 17 and whole.images.max() == 255
    assert torch.equal(test.images, whole.images[4::5]) and test.labels[:5].tolist() == [4, 9, 4, 9, 4]
    assert whole.labels[:10].tolist() == list(range(10)) and images_at_hand("digits")
    assert train.fingerprint == "64230df7cf2720193335be9796dc2038671d5b6a88378b996783796d459d056a"
    assert train.source == "digits/train"


@pytest.mark.parametrize(("split", "count", "labels"), [("train", 60000, [5, 0, 4, 1, 9]), ("test", 10000, [7, 2, 1, 0, 4])])
def test_mnist_is_the_original(real_data, split, count, labels):
    """Its checksums are verified on reading; here the shape, the known first labels and the known mean."""
    data = real("mnist", split)
    assert len(data) == count and data.shape == (1, 28, 28) and data.labels[:5].tolist() == labels
    mean = data.images.sum().item() / data.images.numel() / 255
    assert mean == pytest.approx({"train": 0.13066, "test": 0.13251}[split], abs=1e-5)
    if split == "test":
        assert torch.equal(load_images("mnist", split, limit=7).images, data.images[:7])


def test_fashion_mnist_is_the_original(real_data):
    data = real("fashion_mnist", "train")
    assert len(data) == 60000 and data.labels[:5].tolist() == [9, 0, 0, 3, 0]


def test_cifar10_tiny(real_data):
    data = real("cifar10", "train", limit=600)
    assert len(data) == 600 and data.shape == (3, 32, 32) and data.labels.dtype == torch.int64
    assert set(data.labels.tolist()) == set(range(10))
    mean = data.images.double().mean((0, 2, 3)) / 255
    assert mean.tolist() == pytest.approx([0.4914, 0.4822, 0.4465], abs=0.03), "channels in their order"


def test_cifar10_test_split_is_the_whole_set(real_data):
    """All its 20 strips: the digest of the set is verified; the classes are balanced."""
    data = real("cifar10", "test")
    assert torch.equal(data.labels.bincount(), torch.full((10,), 1000))
    mean = data.images.sum((0, 2, 3)) / (255 * 10000 * 1024)
    assert mean.tolist() == pytest.approx([0.49421428, 0.48513139, 0.45040909], abs=1e-6)


# MNIST's format


def write_idx(path: Path, array: np.ndarray, packed: bool = False) -> bytes:
    header = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    content = header + array.tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content) if packed else content)
    return content


@pytest.fixture
def small_idx(monkeypatch):
    """Three images in place of 10,000: (name, array, content) of the two files."""
    parts = {"images": noise(3, 28, 28, 1)[..., 0], "labels": np.array([3, 1, 2], np.uint8)}
    files = {part: (f"t10k-{ending}", parts[part]) for part, ending in idx.PARTS.items()}
    for data in (idx.MNIST, idx.FASHION_MNIST):
        for name, array in files.values():
            content = write_idx(Path(os.environ["RESCORE_CACHE"]) / "scratch", array)
            monkeypatch.setitem(data.content, name, hashlib.sha256(content).hexdigest())
            monkeypatch.setitem(data.packed, name, hashlib.sha256(gzip.compress(content, mtime=0)).hexdigest())
    return files


@pytest.mark.parametrize("place", ["FashionMNIST/raw", "fashion-mnist"])
@pytest.mark.parametrize("packed", [True, False])
def test_fashion_mnist_is_read_plain_and_packed(folder, small_idx, place, packed):
    assert not images_at_hand("fashion_mnist", "test")
    for name, array in small_idx.values():
        write_idx(folder / place / (name + ".gz" * packed), array, packed)
    data = load_images("fashion_mnist", "test")
    assert np.array_equal(data.images[:, 0], small_idx["images"][1]) and data.labels.tolist() == [3, 1, 2]
    assert images_at_hand("fashion_mnist", "test")


def test_mnist14_is_the_mean_of_two_by_two_pixels(folder, small_idx):
    """Each pixel within half a grey level of the mean of its square, a half rounded up; MNIST's labels."""
    for name, array in small_idx.values():
        write_idx(folder / "MNIST/raw" / name, array)
    data, whole = load_images("mnist14", "test"), torch.from_numpy(small_idx["images"][1].copy()).double()[:, None]
    means = (whole[..., ::2, ::2] + whole[..., 1::2, ::2] + whole[..., ::2, 1::2] + whole[..., 1::2, 1::2]) / 4
    assert torch.equal(data.images.double(), (means + 0.5).floor()) and (means % 1 == 0.5).any()
    assert data.shape == images.image_shape("mnist14") == (1, 14, 14) and data.labels.tolist() == [3, 1, 2]
    assert torch.equal(load_images("mnist", "test").images.double(), whole)


def test_a_download_is_made_once_and_checked(tmp_path, monkeypatch, small_idx, server):
    for name, array in small_idx.values():
        server.files[f"/{name}.gz"] = gzip.compress(write_idx(tmp_path / "scratch", array), mtime=0)
    monkeypatch.setitem(images.IDX, "mnist", replace(idx.MNIST, url=server.url))
    for _ in range(2):
        assert load_images("mnist", "test").labels.tolist() == [3, 1, 2]
    assert server.asked == list(server.files)
    assert images_at_hand("mnist", "test") and not images_at_hand("mnist", "train")


def test_a_damaged_file_is_one_clear_error(folder, small_idx):
    for name, array in small_idx.values():
        write_idx(folder / "MNIST/raw" / name, array)
    path = folder / "MNIST/raw" / small_idx["images"][0]
    path.write_bytes(path.read_bytes()[:-1])
    assert failure(load_images, "mnist", "test").startswith(f"{path}: wrong checksum (sha256 ")
    packed = write_idx(path, small_idx["images"][1])
    path.unlink()
    path = path.with_name(f"{path.name}.gz")
    path.write_bytes(gzip.compress(packed)[:-9])
    assert failure(load_images, "mnist", "test").startswith(f"{path}: not a whole gzip file")


# CIFAR-10's two formats


def write_strips(folder: Path, count: int) -> tuple[np.ndarray, np.ndarray]:
    """`count` strips of the test split, lossless, and its labels."""
    pixels, labels = noise(500 * count, 32, 32) // 128 * 255, np.arange(500 * count).astype(np.uint8) % 10
    (folder / "cifar10").mkdir()
    for i, strip in enumerate(np.split(pixels, count)):
        path = folder / "cifar10" / f"test-{i:02d}.webp"
        Image.fromarray(strip.reshape(-1, 32, 3)).save(path, lossless=True, quality=0, method=0)
    np.savez(folder / "cifar10" / "labels.npz", test_labels=labels, train_labels=labels)
    return pixels, labels


def test_cifar10_from_strips_needs_only_what_it_reads(folder, monkeypatch):
    pixels, labels = write_strips(folder, 2)
    data = load_images("cifar10", "test", limit=501)
    assert np.array_equal(data.images.permute(0, 2, 3, 1), pixels[:501]) and data.labels.tolist() == labels[:501].tolist()
    assert not images_at_hand("cifar10", "test")
    message = failure(load_images, "cifar10", "test", kind=MissingData)
    assert "test-02.webp: no such file" in message and message.endswith(
        "; set RESCORE_DATA to a folder that holds cifar10/cifar-10-binary.tar.gz or cifar-10-batches-py/ of torchvision"
    )
    monkeypatch.setitem(cifar.STRIPS, "test", 2)
    assert "do not hold CIFAR-10" in failure(load_images, "cifar10", "test")
    monkeypatch.setitem(cifar.SET_DIGEST, "test", cifar.set_digest(pixels[::-1].transpose(0, 3, 1, 2), labels[::-1]))
    assert len(load_images("cifar10", "test")) == 1000, "the digest does not depend on the order"
    (folder / "cifar10" / "test-01.webp").write_bytes(b"RIFF")
    assert "test-01.webp: not a picture (of no format that is known)" in failure(load_images, "cifar10", "test")
    Image.fromarray(pixels[0]).save(folder / "cifar10" / "test-01.webp")
    assert "test-01.webp: not a strip of 500 images of 32x32 (" in failure(load_images, "cifar10", "test")


def test_cifar10_from_the_official_archive(folder, monkeypatch):
    pixels, labels = noise(6, 32, 32), np.arange(6, dtype=np.uint8)
    path = folder / "cifar10" / cifar.ARCHIVE
    path.parent.mkdir()
    with tarfile.open(path, "w:gz") as archive:
        for name in cifar.MEMBERS["train"] + cifar.MEMBERS["test"]:
            rows = np.concatenate((labels[:, None], pixels.transpose(0, 3, 1, 2).reshape(6, -1)), 1)
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = rows.size
            archive.addfile(member, io.BytesIO(rows.tobytes()))
    assert "wrong checksum" in failure(load_images, "cifar10", "train")
    monkeypatch.setattr(cifar, "SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
    train, test = (load_images("cifar10", split) for split in ("train", "test"))
    assert len(train) == 30 and len(test) == 6 and test.labels.tolist() == labels.tolist()
    assert np.array_equal(test.images.permute(0, 2, 3, 1), pixels)


def write_batches(folder: Path, monkeypatch) -> tuple[np.ndarray, np.ndarray]:
    """torchvision's files with four images in each, as those of the official archive of pickles; all pixels and labels."""
    from torchvision.datasets import CIFAR10

    pixels, labels = noise(24, 32, 32), np.arange(24) % 10
    (folder / cifar.BATCHES).mkdir()
    digests = {}
    for name, x, y in zip(cifar.BATCH_FILES, np.split(pixels, 6), np.split(labels, 6), strict=False):
        content = pickle.dumps({"data": x.transpose(0, 3, 1, 2).reshape(4, -1), "labels": y.tolist()})
        (folder / cifar.BATCHES / name).write_bytes(content)
        digests[name] = hashlib.md5(content).hexdigest()
    content = pickle.dumps({"label_names": list("abcdefghij")})
    (folder / cifar.BATCHES / "batches.meta").write_bytes(content)
    monkeypatch.setattr(CIFAR10, "train_list", [[f"data_batch_{i}", digests[f"data_batch_{i}"]] for i in range(1, 6)])
    monkeypatch.setattr(CIFAR10, "test_list", [["test_batch", digests["test_batch"]]])
    monkeypatch.setattr(CIFAR10, "meta", CIFAR10.meta | {"md5": hashlib.md5(content).hexdigest()})
    return pixels, labels


def test_cifar10_where_torchvision_has_put_it(folder, monkeypatch):
    from torchvision.datasets import CIFAR10

    names = [name for name, _ in CIFAR10.train_list + CIFAR10.test_list] + [CIFAR10.meta["filename"]]
    assert (CIFAR10.base_folder, tuple(names)) == (cifar.BATCHES, cifar.BATCH_FILES)
    pixels, labels = write_batches(folder, monkeypatch)
    assert images_at_hand("cifar10")
    for split, rows in (("train", slice(20)), ("test", slice(20, 24))):
        data = load_images("cifar10", split)
        assert np.array_equal(data.images.permute(0, 2, 3, 1), pixels[rows]) and data.labels.tolist() == labels[rows].tolist()
        assert data.images.is_contiguous()
    path = folder / cifar.BATCHES / "data_batch_3"
    path.write_bytes(path.read_bytes()[:-1])
    assert failure(load_images, "cifar10", "test").startswith(f"{path}: wrong checksum (md5 ")
    path.unlink()
    assert not images_at_hand("cifar10")
    assert "could not be downloaded" in failure(load_images, "cifar10", kind=MissingData)


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_torchvision_reads_the_same_from_the_same_folder(folder, small_idx, name):
    """It wants the files of both splits; ours the two of one."""
    from torchvision import datasets

    theirs = {"mnist": datasets.MNIST, "fashion_mnist": datasets.FashionMNIST}[name]
    for file, array in small_idx.values():
        for split in idx.PREFIX.values():
            write_idx(folder / theirs.__name__ / "raw" / file.replace("t10k", split), array)
    ours, theirs = load_images(name, "test"), theirs(folder, train=False)
    assert torch.equal(ours.images[:, 0], theirs.data) and torch.equal(ours.labels, theirs.targets)


# CelebA, folders, npz


@pytest.fixture
def celeba(folder):
    """Four images, one flat, and their splits."""
    (folder / folders.CELEBA_IMAGES).mkdir(parents=True)
    pixels = noise(4, 218, 178)
    pixels[0] = (10, 20, 30)
    for i, image in enumerate(pixels):
        Image.fromarray(image).save(folder / folders.CELEBA_IMAGES / f"{i}.png")
    (folder / folders.CELEBA_PARTITION).write_text("0.png 0\n1.png 0\n2.png 1\n3.png 2\n")
    return pixels


def test_celeba_is_cropped_to_140_and_resized_to_64(celeba):
    """Against the triangle filter written out: each new pixel averages old ones within 140/64 of its centre."""
    train = load_images("celeba64", "train")
    assert len(train) == 2 and train.shape == (3, 64, 64) and train.labels is None
    assert torch.equal(train.images[0, :, 5, 7], torch.tensor([10, 20, 30], dtype=torch.uint8))
    scale = 140 / 64
    centres = (np.arange(64) + 0.5) * scale
    weights = np.clip(1 - np.abs(np.arange(140)[None] + 0.5 - centres[:, None]) / scale, 0, None)
    weights /= weights.sum(1, keepdims=True)
    square = celeba[1, 39:179, 19:159].astype(float)
    expected = np.einsum("ah,bw,hwc->cab", weights, weights, square)
    assert np.abs(train.images[1].numpy() - expected).max() < 1.1, "8-bit rounding after each of two passes"
    assert [len(load_images("celeba64", split)) for split in ("valid", "test")] == [1, 1]
    assert len(load_images("celeba64", "train", limit=1)) == 1 and images_at_hand("celeba64")


def test_an_image_that_is_not_aligned_celeba_is_refused(celeba, folder):
    path = folder / folders.CELEBA_IMAGES / "2.png"
    Image.fromarray(celeba[0][:64, :64]).save(path)
    assert failure(load_images, "celeba64", "valid") == (f"{path}: 64x64 pixels; an aligned image of CelebA has 178x218")


def test_a_folder_of_images(tmp_path):
    pixels = noise(3, 6, 5)
    (tmp_path / "mine" / "grey").mkdir(parents=True)
    for i in (2, 0, 1):
        Image.fromarray(pixels[i]).save(tmp_path / "mine" / f"{i}.png")
        Image.fromarray(pixels[i, :, :, 0]).save(tmp_path / "mine" / "grey" / f"{i}.png")
    data, grey = (load_images("folder", split, path=tmp_path / "mine") for split in ("all", "grey"))
    assert np.array_equal(data.images.permute(0, 2, 3, 1), pixels) and data.shape == (3, 6, 5)
    assert np.array_equal(grey.images[:, 0], pixels[..., 0])
    assert data.source == f"mine-{data.fingerprint[:8]}/all", "two folders of one name have two sources"
    Image.fromarray(pixels[0][:4]).save(tmp_path / "mine" / "9.png")
    assert "9.png: 3 channel(s) of 4x5; the first image has 3 channel(s) of 6x5" in failure(
        load_images, "folder", "all", path=tmp_path / "mine"
    )
    (tmp_path / "mine" / "9.png").unlink()
    (tmp_path / "mine" / "a.jpg").write_text("no image")
    message = failure(load_images, "folder", "all", path=tmp_path / "mine")
    assert "a.jpg: not a picture (of no format that is known); replace it" in message
    assert "no such folder" in failure(load_images, "folder", "train", path=tmp_path / "mine", kind=MissingData)
    (tmp_path / "mine" / "empty").mkdir()
    message = f"{tmp_path / 'mine' / 'empty'}: no image file (allowed: .png, "
    assert failure(load_images, "folder", "empty", path=tmp_path / "mine").startswith(message)


def test_every_loader_of_pictures_reads_them_alike(tmp_path, folder):
    """A 16-bit grey picture, turned by its EXIF: not white, not lying."""
    wide = np.linspace(0, 65535, 178 * 218).astype(np.uint16).reshape(178, 218)
    upright = np.rot90(wide >> 8, -1).astype(np.uint8)
    for place in ("mine", folders.CELEBA_IMAGES, "lhq_256"):
        (folder / place).mkdir(parents=True)
        Image.fromarray(wide).save(folder / place / "a.png", exif=ROTATED)
    (folder / folders.CELEBA_PARTITION).write_text("a.png 0\n")
    assert np.array_equal(load_images("folder", "all", path=folder / "mine").images[0, 0], upright)
    for name, prepare in (("celeba64", folders.celeba64), ("lhq64", lambda image: scenes.central_square(image, 64))):
        expected = np.asarray(prepare(Image.fromarray(upright)).convert("RGB")).transpose(2, 0, 1)
        assert np.array_equal(load_images(name, {"celeba64": "train"}.get(name, "all")).images[0], expected)
    Image.fromarray(np.zeros((4, 4), np.float32)).save(folder / "mine" / "b.tiff")
    with pytest.raises(RescoreError, match=r"b.tiff: not a picture \(32 bits a channel; allowed: 8 or 16\); replace it"):
        open_picture(folder / "mine" / "b.tiff")


def test_an_npz_of_images(tmp_path, monkeypatch):
    pixels = noise(4, 6, 5)
    np.savez(tmp_path / "mine.npz", images=pixels, labels=np.arange(4), test_images=pixels[:2, :, :, 0], flat=pixels / 255)
    data = load_images("npz", "all", path=tmp_path / "mine.npz", limit=3)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert images_at_hand("npz", "all", path="~/mine.npz")
    assert load_images("npz", "all", path="~/mine.npz", limit=3).source == data.source
    assert np.array_equal(data.images.permute(0, 2, 3, 1), pixels[:3]) and data.labels.tolist() == [0, 1, 2]
    grey = load_images("npz", "test", path=tmp_path / "mine.npz")
    assert grey.shape == (1, 6, 5) and grey.labels is None
    assert "no key train_images; it has images, labels" in failure(load_images, "npz", "train", path=tmp_path / "mine.npz")
    np.savez(tmp_path / "float.npz", images=pixels / 255)
    assert "float64 (4, 6, 5, 3); allowed: uint8" in failure(load_images, "npz", "all", path=tmp_path / "float.npz")
    (tmp_path / "broken.npz").write_bytes(b"PK\3\4")
    assert "broken.npz: not an npz" in failure(load_images, "npz", "all", path=tmp_path / "broken.npz")
    assert "no such file" in failure(load_images, "npz", "all", path=tmp_path / "absent.npz", kind=MissingData)


# messages and identity


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10", "celeba64"])
def test_missing_data_says_what_to_set(name):
    message = failure(load_images, name, kind=MissingData)
    assert message.startswith(f"{name}/train: ")
    assert message.endswith(f"; set RESCORE_DATA to a folder that holds {images.LAYOUT[name]}")
    assert not images_at_hand(name)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("imagenet",), "images: 'imagenet' is unknown; allowed: digits, mnist, "),
        (("cifar10", "valid"), "cifar10: split 'valid'; allowed: train, test"),
        (("digits", "test", 360), "digits/test: limit 360, but it has 359 images"),
        (("digits", "test", 0), "digits/test: limit 0; allowed: 1 or more"),
        (("digits", "test", None, "here"), "digits/test: path here; allowed: a path for folder and npz"),
        (("folder", "all"), "folder/all: path None; allowed: a path for"),
    ],
)
def test_a_wrong_argument_is_one_clear_error(arguments, message):
    assert failure(load_images, *arguments).startswith(message)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (torch.zeros(2, 3, 4, 4), "torch.float32 images; allowed: uint8"),
        (torch.zeros(2, 4, 4, 3, dtype=torch.uint8), "images of shape (2, 4, 4, 3); allowed: (n, 1, H, W) or (n, 3, H, W)"),
        (torch.zeros(0, 3, 4, 4, dtype=torch.uint8), "images of shape (0, 3, 4, 4)"),
        (torch.ones(2, 3, 4, 4, dtype=torch.uint8), "the largest pixel is 1: images of range [0, 1] cast to uint8?"),
    ],
)
def test_images_of_another_kind_are_refused(bad, message):
    assert message in failure(ImageSet, "x", "all", bad)
    assert len(ImageSet("black", "all", torch.zeros(2, 3, 4, 4, dtype=torch.uint8))) == 2, "what a collapsed sampler draws"


def test_the_fingerprint_sees_pixels_labels_order_and_shape():
    pixels, labels = torch.arange(64, dtype=torch.uint8).reshape(4, 1, 4, 4), torch.arange(4)
    changed = pixels.clone()
    changed[3, 0, 3, 3] += 1
    sets = [
        (pixels, labels),
        (changed, labels),
        (pixels, labels.flip(0)),
        (pixels.flip(0), labels),
        (pixels, None),
        (pixels.reshape(4, 1, 2, 8), labels),
    ]
    assert len({ImageSet("x", "all", *s).fingerprint for s in sets}) == len(sets)
    assert ImageSet("y", "all", pixels.clone(), labels.clone()).fingerprint == ImageSet("x", "all", pixels, labels).fingerprint


def test_a_config_may_import_it_without_torch():
    script = "import sys; from rescore.data.images import images_at_hand as f; f('cifar10'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0
