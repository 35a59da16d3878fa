"""Networks through which images are compared, and what they say of a set of images."""

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.nn import functional as F

from rescore.data.fetch import check, download
from rescore.data.images import ImageSet, check_images, check_range
from rescore.data.pixels import random_flip, to_unit
from rescore.errors import MissingData, RescoreError
from rescore.files import save_tensors
from rescore.metrics.matching import top1
from rescore.random import derive_seed, seeded
from rescore.training import Adam, fit, train_once

INCEPTION = "inception-v3-compat"  # the graph of 2015-12-05 that TTUR's FID and TF-GAN use, as torch-fidelity ports it
INCEPTION_FILE = "weights-inception-2015-12-05-6726825d.pth"
INCEPTION_URL = f"https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{INCEPTION_FILE}"
INCEPTION_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
INCEPTION_VARIABLE = "RESCORE_INCEPTION"
BLOCK = 4096  # rows looked at at a time
SMALL_VERSION = 1  # of the network and its training below; to be raised when they change by more than rounding (a fused Adam)


@dataclass(frozen=True)
class Features:
    """What a network says of a set of images.

    Args:
        extractor: the network's name, as a protocol states it.
        source: the images', such as `cifar10/train`.
        values: (n, d), float32 or float64.
        logits: (n, classes) or None.

    Raises:
        RescoreError: not such tensors, or a value that is not finite.
    """

    extractor: str
    source: str
    values: Tensor
    logits: Tensor | None = None

    def __post_init__(self) -> None:
        for name, x in (("values", self.values), ("logits", self.logits)):
            if x is None:
                continue
            if x.ndim != 2 or len(x) != len(self.values) or x.dtype not in (torch.float32, torch.float64):
                raise RescoreError(
                    f"features of {self.source}: {name} {x.dtype} {tuple(x.shape)}; allowed: (n, d), float32 or float64"
                )
            if not all(torch.isfinite(rows).all() for rows in x.split(BLOCK)):  # of all of x at once it takes twice its memory
                raise RescoreError(f"features of {self.source}: {name} are not finite")

    def __len__(self) -> int:
        return len(self.values)

    @property
    def reference(self) -> str:
        """`cifar10/train/50000`: how a protocol names them."""
        return f"{self.source}/{len(self)}"

    def __getitem__(self, rows: Tensor | slice) -> "Features":
        """The same of some of the images."""
        return Features(self.extractor, self.source, self.values[rows], None if self.logits is None else self.logits[rows])


class Extractor(nn.Module):
    """A frozen network: uint8 images (n, C, H, W) -> features (n, dim) and logits (n, classes), float32.

    Attributes:
        name: in the protocol of every number made through it; two networks that differ have two names.
    """

    name: str
    dim: int
    classes: int


class InceptionFeatures(Extractor):
    """Inception's pool features (2048) and its logits without bias (1008).

    Images of any size are resized to 299x299 as TensorFlow 1 did, without antialiasing; grey ones are repeated on three
    channels.

    The weights are torch-fidelity's file: the one that RESCORE_INCEPTION names, else downloaded.

    Raises:
        MissingData: no weights.
        RescoreError: another file.
    """

    name, dim, classes = f"{INCEPTION}/2048", 2048, 1008

    def __init__(self):
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3  # slow to import

        super().__init__()
        path, layers = find_inception(), ["2048", "logits_unbiased"]
        self.network = FeatureExtractorInceptionV3(INCEPTION, layers, feature_extractor_weights_path=str(path))

    @torch.no_grad()
    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        check_images(images, self.name)
        return self.network(images.expand(-1, 3, -1, -1))


def chosen_inception() -> Path | None:
    """The file that RESCORE_INCEPTION names, whether or not it is there."""
    chosen = os.environ.get(INCEPTION_VARIABLE)
    return Path(chosen).expanduser() if chosen else None


def find_inception() -> Path:
    """The file of Inception's weights, its checksum verified; errors as of `InceptionFeatures`."""
    if path := chosen_inception():
        if not path.is_file():
            raise MissingData(
                f"Inception weights {path}: no such file; set {INCEPTION_VARIABLE} to the path of {INCEPTION_FILE}"
            )
        return check(path, INCEPTION_SHA256)
    try:
        return download(INCEPTION_URL, INCEPTION_SHA256, INCEPTION_FILE)
    except MissingData as error:
        raise MissingData(f"Inception weights: {error}; set {INCEPTION_VARIABLE} to the path of {INCEPTION_FILE}") from None


@dataclass(frozen=True)
class ClassifierSettings:
    """The small classifier and its training by Adam on the cross-entropy.

    Args:
        dim: features, 64 to 128.
        width: channels of the first of three convolutions; the others have 2 and 4 times as many.
        flip: mirror images at random (not for digits).
    """

    steps: int = 1000
    batch: int = 128
    lr: float = 1e-3
    dim: int = 64
    width: int = 32
    flip: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if not 64 <= self.dim <= 128:
            raise RescoreError(f"classifier: dim {self.dim}; allowed: 64 to 128")


class SmallClassifier(Extractor):
    """Three convolutions, a 2x2 mean of what they leave, and a linear layer to the features; a linear layer to the classes.

    Args:
        name: see `classifier_name`.
        shape: (C, H, W) of its images, at least 8x8.
    """

    def __init__(self, name: str, shape: tuple[int, int, int], classes: int, settings: ClassifierSettings):
        super().__init__()
        self.name, self.shape, self.dim, self.classes = name, tuple(shape), settings.dim, classes
        w = settings.width
        layers: list[nn.Module] = []
        for before, after, stride in ((shape[0], w, 1), (w, 2 * w, 2), (2 * w, 4 * w, 2)):
            layers += [nn.Conv2d(before, after, 3, stride, padding=1), nn.GroupNorm(8, after), nn.SiLU()]
        self.body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16 * w, settings.dim))
        self.head = nn.Linear(settings.dim, classes)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        check_images(images, self.name)
        if tuple(images.shape[1:]) != self.shape:
            raise RescoreError(f"{self.name}: images of {tuple(images.shape[1:])}; it was trained on {self.shape}")
        features = self.body(to_unit(images))
        return features, self.head(F.silu(features))


def classifier_name(data: ImageSet, settings: ClassifierSettings) -> str:
    """`small-<data>-<hash>`: the hash is of the settings, the training images and the version of the code, not of the weights.

    So the name is known before the training and is the same on every machine; weights trained on two machines may differ in
    their rounding. The file of the weights is the place to compare those.
    """
    identity = {"version": SMALL_VERSION, "data": data.fingerprint, "settings": asdict(settings)}
    return f"small-{data.name}-{hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:8]}"


def train_classifier(
    data: ImageSet, settings: ClassifierSettings, folder: Path, device: torch.device | str = "cpu"
) -> SmallClassifier:
    """The classifier trained on `data`, frozen, on `device`; from `folder` if it was trained before (`<name>.safetensors`).

    Raises RescoreError if `data` has no labels or the file is damaged.
    """
    if data.labels is None:
        raise RescoreError(f"{data.source}: no labels to train a classifier on")
    name, labels = classifier_name(data, settings), data.labels
    classes, seed = int(labels.max()) + 1, derive_seed("classifier", settings.seed)
    model = seeded(lambda: SmallClassifier(name, data.shape, classes, settings), seed).to(device)

    def loss(generator: torch.Generator) -> Tensor:
        rows = torch.randint(len(data), (settings.batch,), generator=generator)
        images = random_flip(data.images[rows], generator) if settings.flip else data.images[rows]
        return F.cross_entropy(model(images.to(device))[1], labels[rows].to(device))

    def train() -> SmallClassifier:
        generator = torch.Generator().manual_seed(derive_seed("classifier batches", settings.seed))
        fit(model, loss, Adam(settings.steps, settings.lr), generator, folder / name, label=name)
        return model

    return train_once(folder / f"{name}.safetensors", train, model).eval()


def accuracy(extractor: Extractor, data: ImageSet) -> float:
    """Share of images whose label alone has the largest logit: whether a classifier knows what it is to judge."""
    logits = extract(extractor, data.images, data.source).logits
    if logits is None or data.labels is None:
        raise RescoreError(f"{extractor.name} on {data.source}: no logits or no labels to compare")
    return top1(logits, data.labels).double().mean().item()


@torch.no_grad()
def extract(
    extractor: Extractor, images: Tensor | Iterable[Tensor], source: str, batch: int = 500, device: torch.device | str = "cpu"
) -> Features:
    """The extractor's features and logits, on the CPU.

    Args:
        images: uint8 (n, C, H, W), or an iterable of such, taken one after another (samples as they are made).
        source: what a protocol calls the images.
        batch: images at a time.
        device: where the extractor works; it is left there.

    Raises RescoreError for images that are not such, or of another size than the extractor's.
    """
    extractor = extractor.to(device)
    values, logits, largest = [], [], 0
    for part in (images,) if isinstance(images, Tensor) else images:
        check_images(part, source)
        largest = max(largest, int(part.max()))
        values.append(torch.empty(len(part), extractor.dim))  # ahead of the work: what is kept does not fragment the heap
        logits.append(torch.empty(len(part), extractor.classes))
        for start in range(0, len(part), batch):
            rows = slice(start, start + batch)
            values[-1][rows], logits[-1][rows] = extractor(part[rows].to(device))
    if not values:
        raise RescoreError(f"{source}: no images")
    check_range(largest, source)
    return Features(extractor.name, source, _join(values), _join(logits))


def _join(parts: list[Tensor]) -> Tensor:
    """torch.cat, freeing the parts as it goes: half its peak memory."""
    joined = parts[0].new_empty(sum(map(len, parts)), parts[0].shape[1])
    position = len(joined)
    while parts:
        part = parts.pop()
        position -= len(part)
        joined[position : position + len(part)] = part
    return joined


def reference_features(extractor: Extractor, data: ImageSet, folder: Path, device: torch.device | str = "cpu") -> Features:
    """`extract` of a data set, kept in `folder`, in a file that names the extractor and the images' fingerprint.

    Raises RescoreError if the file is damaged or holds the features of another extractor or of other images.
    """
    path = folder / f"{extractor.name}-{data.source}-{len(data)}-{data.fingerprint[:8]}.safetensors".replace("/", "-")
    identity = {"extractor": extractor.name, "source": data.source, "fingerprint": data.fingerprint}
    if not path.exists():
        made = extract(extractor, data.images, data.source, device=device)
        if made.logits is None:
            raise RescoreError(f"{extractor.name}: features without logits are not kept")
        save_tensors(path, {"values": made.values, "logits": made.logits}, identity)
    try:
        with safe_open(path, "pt") as stored:
            found, values, logits = stored.metadata() or {}, stored.get_tensor("values"), stored.get_tensor("logits")
    except (SafetensorError, OSError) as error:
        raise RescoreError(f"{path}: not the features it should hold ({error}). Remove it to make them again") from None
    if found != identity:
        raise RescoreError(f"{path}: features of {found}, not of {identity}. Remove it to make them again")
    return Features(extractor.name, data.source, values, logits)
