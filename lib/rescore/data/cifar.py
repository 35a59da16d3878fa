"""CIFAR-10 (Krizhevsky 2009): 50,000 and 10,000 colour images of 32x32, from the official files or from lossless strips."""

import hashlib
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

from rescore.data.damage import check_labels, reading
from rescore.data.fetch import cache_folder, check, data_folder, download, read_member
from rescore.data.pictures import open_picture
from rescore.errors import MissingData, RescoreError

if TYPE_CHECKING:
    import numpy as np

SPLITS = ("train", "test")
URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
ARCHIVE = "cifar-10-binary.tar.gz"
SHA256 = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
MEMBERS = {"train": [f"data_batch_{i}.bin" for i in range(1, 6)], "test": ["test_batch.bin"]}

BATCHES = "cifar-10-batches-py"  # where torchvision looks for the archive of pickles, unpacked; it wants both splits
BATCH_FILES = (*(name.removesuffix(".bin") for names in MEMBERS.values() for name in names), "batches.meta")

STRIPS = {"train": 100, "test": 20}  # WebP files of 500 images, one below the other, shuffled within the split
PER_STRIP = 500
CLASSES = 10
SET_DIGEST = {  # of a whole split, whatever its order
    "train": "55c8a3bce23874fd5871719a30be30ce1b1f86e2f74afbc9cc19d1252b74adde",
    "test": "7d79e752791e1a3f8555c99847bcbd1210edb70997e4519cd59bb1741e4f6ee7",
}


def at_hand(split: str) -> bool:
    """Whether the archive, its batches or all strips of images are there; nothing is read or downloaded."""
    folder = data_folder()
    if _archive() is not None or (folder is not None and _batches(folder)):
        return True
    if folder is None or not _strips(folder / "cifar10"):
        return False
    return all(path.exists() for path in _needed(folder / "cifar10", split, None))


def read(split: str, limit: int | None) -> tuple["np.ndarray", "np.ndarray"]:
    """Images (n, 3, 32, 32) and labels (n,), uint8; n may be above `limit`.

    Read from RESCORE_DATA: the official archive in `cifar10/`; or torchvision's `cifar-10-batches-py/`; or strips with
    `labels.npz` in `cifar10/` (only those that `limit` needs have to be there; a whole split is checked against a digest that
    does not depend on its order); else downloaded.

    Raises:
        MissingData: no source; or strips, and one of those needed is not there.
        RescoreError: a file that is damaged.
    """
    folder = data_folder()
    path = _archive()
    if path is None and folder is not None and _batches(folder):
        return _read_batches(folder, split)
    if path is None and folder is not None and _strips(folder / "cifar10"):
        return _read_strips(folder / "cifar10", split, limit)
    return _read_archive(check(path, SHA256) if path else download(URL, SHA256, ARCHIVE), split)


def _archive() -> Path | None:
    folder = data_folder()
    places = ([folder / "cifar10" / ARCHIVE] if folder else []) + [cache_folder() / ARCHIVE]
    return next((place for place in places if place.exists()), None)


def _read_archive(path: Path, split: str) -> tuple["np.ndarray", "np.ndarray"]:
    import numpy as np

    with tarfile.open(path) as archive:
        files = [read_member(archive, f"cifar-10-batches-bin/{name}") for name in MEMBERS[split]]
    rows = np.concatenate([np.frombuffer(content, np.uint8) for content in files]).reshape(-1, 1 + 3 * 32 * 32)
    return rows[:, 1:].reshape(-1, 3, 32, 32), rows[:, 0]


def _batches(folder: Path) -> bool:
    return all((folder / BATCHES / name).is_file() for name in BATCH_FILES)


def _read_batches(folder: Path, split: str) -> tuple["np.ndarray", "np.ndarray"]:
    import numpy as np
    from torchvision.datasets import CIFAR10  # seconds to import

    digests = dict([*CIFAR10.train_list, *CIFAR10.test_list, (CIFAR10.meta["filename"], CIFAR10.meta["md5"])])
    for name in BATCH_FILES:
        check(folder / BATCHES / name, f"md5:{digests[name]}")  # torchvision checks them too, but does not say which is wrong
    data = CIFAR10(folder, train=split == "train")
    return data.data.transpose(0, 3, 1, 2), np.array(data.targets, np.uint8)


def _strips(folder: Path) -> bool:
    return (folder / "labels.npz").exists()


def _needed(folder: Path, split: str, limit: int | None) -> list[Path]:
    count = STRIPS[split] if limit is None else min(-(-limit // PER_STRIP), STRIPS[split])
    return [folder / f"{split}-{i:02d}.webp" for i in range(count)]


def _read_strips(folder: Path, split: str, limit: int | None) -> tuple["np.ndarray", "np.ndarray"]:
    import numpy as np

    parts = []
    for path in _needed(folder, split, limit):
        if not path.exists():
            raise MissingData(f"{path}: no such file; cifar10/{split} needs it and the strips before it")
        strip = np.asarray(open_picture(path))
        with reading(path, f"a strip of {PER_STRIP} images of 32x32"):
            parts.append(strip.reshape(PER_STRIP, 32, 32, 3))
    images = np.ascontiguousarray(np.concatenate(parts).transpose(0, 3, 1, 2))
    path = folder / "labels.npz"
    with reading(path, f"an npz with {split}_labels"), np.load(path) as stored:
        labels = stored[f"{split}_labels"][: len(images)]
    labels = check_labels(labels, len(images), path)
    if labels.max() >= CLASSES:
        raise RescoreError(f"{path}: label {labels.max()}; allowed: 0 to {CLASSES - 1}")
    labels = labels.astype(np.uint8)
    if len(parts) == STRIPS[split] and (found := set_digest(images, labels)) != SET_DIGEST[split]:
        raise RescoreError(
            f"{folder}: the strips of {split} do not hold CIFAR-10 (digest of the set {found}, expected "
            f"{SET_DIGEST[split]}); replace them"
        )
    return images, labels


def set_digest(images: "np.ndarray", labels: "np.ndarray") -> str:
    """Sum, modulo 2^256, of the SHA-256 of every image (as height, width, channel) and its label: the same in any order."""
    rows = images.transpose(0, 2, 3, 1)
    digests = (hashlib.sha256(image.tobytes() + bytes([label])).digest() for image, label in zip(rows, labels, strict=True))
    return f"{sum(int.from_bytes(digest, 'big') for digest in digests) % 2**256:064x}"
