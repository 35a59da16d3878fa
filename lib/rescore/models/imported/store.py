"""Where published weights lie, and which there are. No torch.

A file as published lies at `weights/<source>/<name>` of RESCORE_DATA or of the cache. `rescore import` puts what it has made of one into
the cache as `weights/<source>/<sha256 of the published file>.safetensors`, where a spec with that digest finds it under any name.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rescore.data.fetch import cache_folder, check, data_folder
from rescore.errors import MissingData
from rescore.files import sha256
from rescore.models.spec import Weights
from rescore.progress import warn

PAGES = {
    "score_sde": "https://github.com/yang-song/score_sde_pytorch#pretrained-checkpoints",
    "cld": "https://github.com/nv-tlabs/CLD-SGM#checkpoints",
    "gddim": "https://github.com/qsh-zh/gDDIM#reproduce-results",
    "edm": "https://github.com/NVlabs/edm#pre-trained-models",
}


@dataclass(frozen=True)
class Published:
    """A network whose weights its authors publish.

    Args:
        name, settings: of the network, as in a spec.
        channels, out_channels: of the images that it takes and gives: 6 are x and v of CLD.
        side: of the images.
    """

    name: str
    settings: dict[str, Any] = field(default_factory=dict)
    channels: int = 3
    out_channels: int = 3
    side: int = 32


_DISCRETE_VE = {"embedding": "positional", "sigmas": [0.01, 50.0]}
_CLD = {"blocks": 8, "scale_by_sigma": False, "unit_input": False}
PUBLISHED: dict[str, dict[str, Published]] = {  # by source, then by the folder or file that the page names
    "score_sde": {
        "ve/cifar10_ncsnpp": Published("ncsnpp", _DISCRETE_VE),
        "ve/cifar10_ncsnpp_continuous": Published("ncsnpp"),
        "ve/cifar10_ncsnpp_deep_continuous": Published("ncsnpp_deep"),
        "vp/cifar10_ddpm": Published("ddpm"),
        "vp/cifar10_ddpm_continuous": Published("ddpm"),
        "vp/cifar10_ddpmpp": Published("ddpmpp"),
        "vp/cifar10_ddpmpp_continuous": Published("ddpmpp"),
        "vp/cifar10_ddpmpp_deep_continuous": Published("ddpmpp_deep"),
        "subvp/cifar10_ddpm_continuous": Published("ddpm"),
        "subvp/cifar10_ddpmpp_continuous": Published("ddpmpp"),
        "subvp/cifar10_ddpmpp_deep_continuous": Published("ddpmpp_deep"),
    },
    "cld": {"cifar10": Published("ncsnpp", _CLD, channels=6)},
    "gddim": {
        "cld_cifar10": Published("ncsnpp", _CLD, channels=6, out_channels=6),
        "blur_cifar10": Published("ncsnpp", _CLD),
    },
    "edm": {
        "baseline-cifar10-32x32-uncond-vp": Published("ddpmpp"),
        "cifar10-32x32-uncond-vp": Published("ddpmpp"),
    },
}


def raw_places(weights: Weights) -> list[Path]:
    """Where the published file may lie."""
    return [folder / "weights" / weights.source / weights.name for folder in (data_folder(), cache_folder()) if folder]


def imported_path(source: str, digest: str) -> Path:
    """Where `rescore import` leaves what it has made of the file with this SHA-256."""
    return cache_folder() / "weights" / source / f"{digest}.safetensors"


def at_hand(weights: Weights) -> bool:
    """Whether the file is there, published or imported; its digest is not looked at."""
    imported = weights.sha256 is not None and imported_path(weights.source, weights.sha256).is_file()
    return imported or any(path.exists() for path in raw_places(weights))


def find_weights(weights: Weights) -> tuple[Path, str]:
    """The file of these weights, imported or as published, and the SHA-256 of the published one.

    Raises MissingData, with the page and the place to put it, if it is not at hand; RescoreError if it has another digest.
    """
    if weights.sha256 is not None and (imported := imported_path(weights.source, weights.sha256)).is_file():
        return imported, weights.sha256
    places = raw_places(weights)
    path = next((place for place in places if place.exists()), None)
    if path is None:
        where = " or ".join(map(str, places)) if data_folder() else f"RESCORE_DATA/weights/{weights.source}/{weights.name} or {places[-1]}"
        raise MissingData(f"weights of {weights.source}, {weights.name}: not at hand; get them from {PAGES[weights.source]} and put the "
                          f"file at {where}, or import it: rescore import {weights.source} FILE")  # fmt: skip
    file = path if path.is_file() else newest(path)
    if weights.sha256 is not None:
        return check(file, weights.sha256), weights.sha256
    digest = sha256(file)
    warn(f"{file}: these weights are not pinned; after you have made sure that they are the published ones, write sha256: {digest}")
    return file, digest


def newest(folder: Path) -> Path:
    """The `checkpoint_<n>` of a folder with the largest n, as flax leaves them. Raises MissingData if it has none."""
    found = [path for path in folder.glob("checkpoint_*") if path.name.rpartition("_")[2].isdigit()]
    if not found:
        raise MissingData(f"{folder}: no file checkpoint_<number> in this folder")
    return max(found, key=lambda path: int(path.name.rpartition("_")[2]))
