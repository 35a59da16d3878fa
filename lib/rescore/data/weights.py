"""Where the weights of networks lie that authors of papers have published. No torch.

A file as published lies at `weights/<source>/<name>` of RESCORE_DATA or of the cache. `rescore import` puts what it has made of
one into the cache as `weights/<source>/<sha256 of the published file>.safetensors`, where a spec with that digest finds it
under any name.
"""

import re
from pathlib import Path

from rescore.data.fetch import cache_folder, check, data_folder
from rescore.errors import MissingData
from rescore.files import sha256
from rescore.progress import warn

PAGES = {
    "score_sde": "https://github.com/yang-song/score_sde_pytorch#pretrained-checkpoints",
    "cld": "https://github.com/nv-tlabs/CLD-SGM#checkpoints",
    "gddim": "https://github.com/qsh-zh/gDDIM#reproduce-results",
    "edm": "https://github.com/NVlabs/edm#pre-trained-models",
}


def raw_places(source: str, name: str) -> list[Path]:
    """Where the published file may lie."""
    return [folder / "weights" / source / name for folder in (data_folder(), cache_folder()) if folder]


def imported_path(source: str, digest: str) -> Path:
    """Where `rescore import` leaves what it has made of the file with this SHA-256."""
    return cache_folder() / "weights" / source / f"{digest}.safetensors"


def weights_at_hand(source: str, name: str, digest: str | None) -> bool:
    """Whether the file is there, published or imported; its digest is not looked at."""
    imported = digest is not None and imported_path(source, digest).is_file()
    return imported or any(path.exists() for path in raw_places(source, name))


def find_weights(source: str, name: str, digest: str | None) -> tuple[Path, str]:
    """The file of these weights, imported or as published, and the SHA-256 of the published one.

    Args:
        digest: what that has to be; None: whatever it is, with a warning that says it.

    Raises MissingData, with the page and the place to put it, if it is not at hand; RescoreError if it has another digest.
    """
    if digest is not None and (imported := imported_path(source, digest)).is_file():
        return imported, digest
    places = raw_places(source, name)
    path = next((place for place in places if place.exists()), None)
    if path is None:
        where = " or ".join(map(str, places)) if data_folder() else f"RESCORE_DATA/weights/{source}/{name} or {places[-1]}"
        raise MissingData(
            f"weights of {source}, {name}: not at hand; get them from {PAGES[source]} and put the "
            f"file at {where}, or import it: rescore import {source} FILE"
        )
    file = path if path.is_file() else newest(path)
    if digest is not None:
        return check(file, digest), digest
    found = sha256(file)
    warn(f"{file}: weights that are not pinned; once you are sure that they are the published ones, write sha256: {found}")
    return file, found


def newest(folder: Path) -> Path:
    """The `checkpoint_<n>` (flax) or `checkpoint_<n>.pth` of a folder with the largest n. Raises MissingData if it has none."""
    found = {
        int(match[1]): path for path in folder.iterdir() if (match := re.fullmatch(r"checkpoint_(\d+)(\.pth)?", path.name))
    }
    if not found:
        raise MissingData(f"{folder}: no file checkpoint_<number> in this folder")
    return found[max(found)]
