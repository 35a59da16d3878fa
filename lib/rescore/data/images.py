"""Image data sets as uint8 tensors, from the official download, from RESCORE_DATA, or from one's own files."""

import hashlib
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from rescore.data import cifar, folders, scenes, textures
from rescore.data.digits import digits_and_labels
from rescore.data.idx import FASHION_MNIST, MNIST, MNIST14
from rescore.data.idx import SPLITS as IDX_SPLITS
from rescore.domain import check_one_of
from rescore.errors import MissingData, RescoreError

if TYPE_CHECKING:  # configs import this module, and torch is slow to import
    import numpy as np
    from torch import Tensor

IDX = {"mnist": MNIST, "mnist14": MNIST14, "fashion_mnist": FASHION_MNIST}
OWN = ("folder", "npz")
SPLITS: dict[str, tuple[str, ...]] = {
    "digits": ("all", "train", "test"),
    "mnist": IDX_SPLITS,
    "mnist14": IDX_SPLITS,
    "fashion_mnist": IDX_SPLITS,
    "cifar10": cifar.SPLITS,
    "celeba64": tuple(folders.CELEBA_SPLITS),
    **textures.SPLITS,
    **dict.fromkeys(scenes.NAMES, scenes.SPLITS),
}
GREY_LEVELS = {"digits": 17}  # spread over 0 to 255; the other sets have all 256
DIGITS_TEST_EVERY = 5  # scikit-learn has no split; every fifth image is ours
LAYOUT = {
    **dict.fromkeys(("mnist", "mnist14"), "MNIST/raw/train-images-idx3-ubyte and the other three IDX files"),
    "fashion_mnist": "FashionMNIST/raw/train-images-idx3-ubyte and the other three IDX files, plain or .gz",
    "cifar10": f"cifar10/{cifar.ARCHIVE} or {cifar.BATCHES}/ of torchvision",
    "celeba64": f"{folders.CELEBA_IMAGES}/*.jpg and {folders.CELEBA_PARTITION}",
    **scenes.LAYOUT,
}


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images with their origin.

    Args:
        name: of the data set; of a folder or an npz, its file name and the start of the fingerprint.
        split: `train`, `test`, ...
        images: (n, C, H, W) uint8, C = 1 or 3.
        labels: (n,) int64, or None.

    Raises:
        RescoreError: images or labels of another kind.
    """

    name: str
    split: str
    images: "Tensor"
    labels: "Tensor | None" = None

    def __post_init__(self) -> None:
        check_images(self.images, self.source)
        check_range(int(self.images.max()), self.source)
        if self.labels is not None and self.labels.shape != self.images.shape[:1]:
            raise RescoreError(f"{self.source}: {len(self.images)} images and labels {tuple(self.labels.shape)}")

    def __len__(self) -> int:
        return len(self.images)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width

    @property
    def source(self) -> str:
        """`cifar10/train`; a protocol appends the number of images."""
        return f"{self.name}/{self.split}"

    @property
    def grey_levels(self) -> int:
        """How many values a pixel can have."""
        return GREY_LEVELS.get(self.name, 256)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of sizes, pixels and labels, in their order."""
        return fingerprint(self.images.numpy(), None if self.labels is None else self.labels.numpy())


def load_images(name: str, split: str = "train", limit: int | None = None, path: Path | str | None = None) -> ImageSet:
    """The images of a data set's split, (n, C, H, W) uint8 in a fixed order.

    `digits` (1,797 of 8x8, their 17 grey levels spread over 0 to 255; every fifth is `test`), `mnist`, `fashion_mnist` (28x28),
    `mnist14` (MNIST's means over 2x2 pixels), `cifar10` (32x32), `celeba64` (centre crop of 140, then 64x64;
    `rescore.data.folders.read_celeba64`), patches of textures and of a sky such as `brick-8x4` (all of
    `rescore.data.textures.SPLITS`; not every patch is square), squares of landscapes and towers such as `lhq64` and their
    halves (all of `rescore.data.scenes.NAMES`), `folder` and `npz` (any size; `split` is `all`, or a sub-folder, or the start
    of the npz's keys).

    Args:
        name: as above.
        split: one of the data set's.
        limit: only the first so many.
        path: of a folder or an npz; `~` is the home folder.

    Raises:
        MissingData: neither at hand nor to be downloaded; the message names what to set.
        RescoreError: a wrong name, split or limit, or a damaged file.
    """
    import torch

    _check(name, split, limit, path)
    path = None if path is None else Path(os.path.expanduser(path))  # noqa: PTH111 - a `~` without a home stays
    try:
        images, labels = _read(name, split, limit, path)
    except MissingData as error:
        hint = f"; set RESCORE_DATA to a folder that holds {LAYOUT[name]}" if name in LAYOUT else ""
        raise MissingData(f"{name}/{split}: {error}{hint}") from None
    if limit is not None and limit > len(images):
        raise RescoreError(f"{name}/{split}: limit {limit}, but it has {len(images)} images")
    images = images[:limit].copy()  # a copy of its own: what is read may be read-only
    labels = None if labels is None else labels[:limit].astype("int64")
    if path is not None:  # one of OWN
        name = f"{path.stem}-{fingerprint(images, labels)[:8]}"
    return ImageSet(name, split, torch.from_numpy(images), None if labels is None else torch.from_numpy(labels))


def image_shape(name: str) -> tuple[int, int, int]:
    """(C, H, W) of a data set of `SPLITS`, without its files. Raises RescoreError for another name."""
    sides = {
        "digits": (1, 8, 8),
        "mnist": (1, 28, 28),
        "mnist14": (1, 14, 14),
        "fashion_mnist": (1, 28, 28),
        "cifar10": (3, 32, 32),
        "celeba64": (3, 64, 64),
    }
    if name in sides:
        return sides[name]
    if name in textures.SPLITS:
        height, width = map(int, name.partition("-")[2].split("x"))
        return 1, height, width
    if name in scenes.NAMES:
        return 3, *scenes.size(name)
    raise RescoreError(f"images: the shape of {name!r} is not known without its files; allowed: {', '.join(SPLITS)}")


def images_at_hand(name: str, split: str = "train", path: Path | str | None = None) -> bool:
    """Looked up without a download or a digest: for a job that ran without them and is to run again with them."""
    _check(name, split, None, path)
    match name:
        case _ if name == "digits" or name in textures.SPLITS:
            return True
        case _ if name in scenes.NAMES:
            return scenes.at_hand(name)
        case "cifar10":
            return cifar.at_hand(split)
        case "celeba64":
            return folders.celeba_at_hand()
        case "folder" | "npz" if path is not None:
            return Path(os.path.expanduser(path)).exists()  # noqa: PTH111 - a `~` without a home stays
        case _:
            return IDX[name].at_hand(split)


def check_images(images: "Tensor", what: str) -> None:
    """Raise RescoreError unless `images` is uint8 (n, C, H, W), n >= 1, C = 1 or 3."""
    import torch

    if images.dtype != torch.uint8:
        raise RescoreError(f"{what}: {images.dtype} images; allowed: uint8 (rescore.data.pixels.to_uint8 makes them)")
    if images.ndim != 4 or images.shape[1] not in (1, 3) or not images.numel():
        raise RescoreError(f"{what}: images of shape {tuple(images.shape)}; allowed: (n, 1, H, W) or (n, 3, H, W), n >= 1")


def check_range(largest: int, what: str) -> None:
    """Raise RescoreError if the largest pixel of a whole set is 1, as a cast of [0, 1] leaves it. Black (0) may be true."""
    if largest == 1:
        raise RescoreError(f"{what}: the largest pixel is 1: images of range [0, 1] cast to uint8? allowed: 0 to 255")


def fingerprint(images: "np.ndarray", labels: "np.ndarray | None") -> str:
    """SHA-256 of sizes, pixels and labels, in their order."""
    digest = hashlib.sha256(repr(images.shape).encode())
    digest.update(images.data if images.flags.c_contiguous else images.tobytes())
    if labels is not None:
        digest.update(labels.astype("<i8").tobytes())
    return digest.hexdigest()


def _check(name: str, split: str, limit: int | None, path: Path | str | None) -> None:
    if name not in (*SPLITS, *OWN):
        raise RescoreError(f"images: {name!r} is unknown; allowed: {', '.join((*SPLITS, *OWN))}")
    if name in SPLITS:
        check_one_of(f"{name}: split", split, SPLITS[name])
    if limit is not None and limit < 1:
        raise RescoreError(f"{name}/{split}: limit {limit}; allowed: 1 or more, or none")
    if (name in OWN) != (path is not None):
        raise RescoreError(f"{name}/{split}: path {path}; allowed: a path for {' and '.join(OWN)}, none for the others")


def _read(name: str, split: str, limit: int | None, path: Path | None) -> tuple["np.ndarray", "np.ndarray | None"]:
    match name:
        case "digits":
            return _digits(split)
        case "cifar10":
            return cifar.read(split, limit)
        case "celeba64":
            return folders.read_celeba64(split, limit), None
        case "folder" if path is not None:
            return folders.read_folder(path, split, limit), None
        case "npz" if path is not None:
            return folders.read_npz(path, split)
        case _ if name in textures.SPLITS:
            return textures.read(name, split)
        case _ if name in scenes.NAMES:
            return scenes.read(name, split, limit), None
        case _:
            return IDX[name].read(split)


def _digits(split: str) -> tuple["np.ndarray", "np.ndarray"]:
    import numpy as np

    found, labels = digits_and_labels()
    images = np.rint(found * (255 / (GREY_LEVELS["digits"] - 1))).astype(np.uint8)[:, None]
    test = np.arange(len(images)) % DIGITS_TEST_EVERY == DIGITS_TEST_EVERY - 1
    chosen = {"all": np.full_like(test, True), "train": ~test, "test": test}[split]
    return images[chosen], labels[chosen]
