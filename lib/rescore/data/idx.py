"""MNIST (LeCun, Cortes, Burges) and Fashion-MNIST (Xiao, Rasul, Vollgraf 2017): 60,000 and 10,000 grey images of 28x28."""

import gzip
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rescore.data.damage import reading
from rescore.data.fetch import cache_folder, check_content, data_folder, download

if TYPE_CHECKING:
    import numpy as np

SPLITS = ("train", "test")
PREFIX = {"train": "train", "test": "t10k"}
PARTS = {"images": "images-idx3-ubyte", "labels": "labels-idx1-ubyte"}


@dataclass(frozen=True)
class Idx:
    """A data set in four IDX files.

    Args:
        name: folder of its downloads in the cache.
        folders: where its files may lie under RESCORE_DATA, plain or with `.gz`.
        url: folder of the downloads, each with `.gz`.
        packed: SHA-256 of the downloads.
        content: SHA-256 of what they hold; a local `.gz` may be packed in another way.
        pooled: an image is the means of its squares of so many pixels a side, rounded (halves up).
    """

    name: str
    folders: tuple[str, ...]
    url: str
    packed: dict[str, str]
    content: dict[str, str]
    pooled: int = 1

    def find(self, file: str) -> Path | None:
        """The local copy of `file`, None if there is none; downloads nothing."""
        folder = data_folder()
        places = [folder / place / f"{file}{end}" for place in self.folders for end in ("", ".gz")] if folder else []
        places.append(cache_folder() / self.name / f"{file}.gz")
        return next((place for place in places if place.exists()), None)

    def at_hand(self, split: str) -> bool:
        return all(self.find(file) for file in self._files(split))

    def read(self, split: str) -> tuple["np.ndarray", "np.ndarray"]:
        """Images (n, 1, side, side) and labels (n,), uint8, where the side is 28 / pooled.

        Raises MissingData, or RescoreError for a wrong checksum.
        """
        import numpy as np

        images, labels = (self._content(file) for file in self._files(split))
        pixels = np.frombuffer(images, np.uint8, offset=16).reshape(-1, 1, 28, 28)
        return _pooled(pixels, self.pooled), np.frombuffer(labels, np.uint8, offset=8)

    def _files(self, split: str) -> list[str]:
        return [f"{PREFIX[split]}-{part}" for part in PARTS.values()]

    def _content(self, file: str) -> bytes:
        path = self.find(file) or download(f"{self.url}/{file}.gz", self.packed[file], f"{self.name}/{file}.gz")
        with reading(path, "a whole gzip file" if path.suffix == ".gz" else "a file that can be read"):
            content = path.read_bytes()
            if path.suffix == ".gz":
                content = gzip.decompress(content)
        return check_content(content, self.content[file], path)


def _pooled(images: "np.ndarray", k: int) -> "np.ndarray":
    """Means over squares of k x k pixels of images (n, 1, H, W), uint8, rounded in integers."""
    if k == 1:
        return images
    n, _, height, width = images.shape
    sums = images.reshape(n, 1, height // k, k, width // k, k).sum((3, 5), dtype="uint32")
    return ((sums + k * k // 2) // (k * k)).astype("uint8")


MNIST = Idx(
    "mnist",
    ("MNIST/raw",),
    "https://ossci-datasets.s3.amazonaws.com/mnist",
    packed={
        "train-images-idx3-ubyte": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "train-labels-idx1-ubyte": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "t10k-images-idx3-ubyte": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "t10k-labels-idx1-ubyte": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    },
    content={
        "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    },
)
MNIST14 = replace(MNIST, pooled=2)
FASHION_MNIST = Idx(
    "fashion_mnist",
    ("FashionMNIST/raw", "fashion-mnist"),  # the second: as Debian's package dataset-fashion-mnist lays it out
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
    packed={
        "train-images-idx3-ubyte": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "train-labels-idx1-ubyte": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "t10k-images-idx3-ubyte": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "t10k-labels-idx1-ubyte": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    },
    content={
        "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    },
)
