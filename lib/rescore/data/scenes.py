"""LHQ (landscapes; Skorokhodov et al. 2021) and the training set of LSUN Tower (Yu et al. 2015), reduced to small squares."""

import hashlib
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rescore.data.damage import disguise, reading
from rescore.data.fetch import cache_folder, data_folder, writable_cache
from rescore.data.folders import SUFFIXES
from rescore.data.pictures import open_picture
from rescore.errors import MissingData, RescoreError
from rescore.files import atomic_path
from rescore.progress import warn

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

SIDES = (32, 64)
PARTS = ("", "-half", "-quarter")
PLACES = {"lhq": ("lhq_256", "lhq"), "tower": ("tower_train_lmdb", "tower")}  # under RESCORE_DATA, the first that is there
NAMES = tuple(f"{scene}{side}{part}" for scene in PLACES for side in SIDES for part in PARTS)
"""`lhq64`: squares of 64 pixels; `lhq64-half`: their left and right halves (64x32); `lhq64-quarter`: their quarters (32x32)."""

SPLITS = ("all", "train", "test")
TEST_EVERY = 20  # neither set has a split; every so many-th image, in the order of names or keys, is ours
LAYOUT = {
    name: "lhq_256/*.png, as the official archive unpacks"
    if name.startswith("lhq")
    else "tower_train_lmdb/data.mdb, as the official archive unpacks (the package lmdb reads it), or images in tower/"
    for name in NAMES
}
DATABASE = "data.mdb"
SQUARES_VERSION = 2  # of how a picture becomes a square; to be raised when that changes


def find_scene(scene: str) -> Path | None:
    """The folder of `lhq` or `tower` under RESCORE_DATA, or None."""
    folder = data_folder()
    places = [] if folder is None else [folder / place for place in PLACES[scene]]
    return next((place for place in places if place.is_dir()), None)


def at_hand(name: str) -> bool:
    """Whether the photograph that a data set of `NAMES` is cut from is there."""
    return find_scene(_parse(name)[0]) is not None


def size(name: str) -> tuple[int, int]:
    """(height, width) of a data set of `NAMES`."""
    _, side, part = _parse(name)
    return side // 2 if part == "-quarter" else side, side // 2 if part else side


def read(name: str, split: str, limit: int | None) -> "np.ndarray":
    """Images (n, 3, h, w) uint8 of a data set of `NAMES`; the parts of one square follow each other.

    The central square of every picture is resized by Pillow's LANCZOS. All squares of one side are kept in the cache folder,
    for decoding takes minutes, and made again when a picture's name, size or time of change is another.

    Raises:
        MissingData: nothing under RESCORE_DATA.
        RescoreError: a file that cannot be read, or an lmdb database without the package.
    """
    import numpy as np

    scene, side, part = _parse(name)
    folder = find_scene(scene)
    if folder is None:
        raise MissingData(f"not under RESCORE_DATA ({data_folder() or 'unset'}), and it is not downloaded")
    squares = _squares(scene, folder, side)
    test = np.arange(len(squares)) % TEST_EVERY == TEST_EVERY - 1
    rows = np.flatnonzero({"all": np.full_like(test, True), "train": ~test, "test": test}[split])
    images = squares[rows[:limit]]
    half = side // 2
    if part:
        images = images.reshape(-1, 3, side, 2, half).transpose(0, 3, 1, 2, 4).reshape(-1, 3, side, half)
    if part == "-quarter":
        images = images.reshape(-1, 3, 2, half, half).transpose(0, 2, 1, 3, 4).reshape(-1, 3, half, half)
    return np.ascontiguousarray(images)


def _parse(name: str) -> tuple[str, int, str]:
    """Scene, side and part: `lhq64-half` is ("lhq", 64, "-half")."""
    whole, dash, part = name.partition("-")
    return whole[:-2], int(whole[-2:]), dash + part


def _squares(scene: str, folder: Path, side: int) -> "np.ndarray":
    """All squares (n, 3, side, side) of a folder, from the cache if they were made before; the array may be read-only."""
    import numpy as np

    identity, count, pictures = _database(folder) if (folder / DATABASE).is_file() else _files(folder)
    name, shape = f"{scene}{side}-{identity}.npy", (count, 3, side, side)
    path, tried = cache_folder() / name, None
    while path != tried:  # a second place where the first is read-only
        if path.exists() and (squares := _kept(path, shape)) is not None:
            return squares
        path, tried = writable_cache() / name, path
    with atomic_path(path) as temporary:
        made = np.lib.format.open_memmap(temporary, "w+", np.uint8, shape)
        for i, (source, picture) in enumerate(pictures()):
            made[i] = _square(source, picture, side)
        made.flush()
    return np.load(path, mmap_mode="r")


def _kept(path: Path, shape: tuple[int, ...]) -> "np.ndarray | None":
    """The squares of a file of the cache; None, with a warning, if they are not whole."""
    import numpy as np

    try:
        with reading(path, "squares that are whole"):
            squares = np.load(path, mmap_mode="r")
            if (squares.shape, squares.dtype) != (shape, np.uint8):
                raise ValueError(f"{squares.dtype} {squares.shape}, expected uint8 {shape}")
    except RescoreError as error:
        warn(f"{error.args[0].removesuffix('; replace it')}: they are made again")
        return None
    return squares


def _square(source: str, picture: Path | io.BytesIO, side: int) -> "np.ndarray":
    import numpy as np

    image = open_picture(picture, source)
    if min(image.size) < side:
        raise RescoreError(f"{source}: {image.size[0]}x{image.size[1]} pixels; allowed: {side} or more")
    return np.asarray(central_square(image, side)).transpose(2, 0, 1)


def central_square(image: "Image", side: int) -> "Image":
    """The central square of an image, RGB, at side x side."""
    from PIL.Image import Resampling

    width, height = image.size
    edge = min(width, height)
    left, top = (width - edge) // 2, (height - edge) // 2
    return image.convert("RGB").resize((side, side), Resampling.LANCZOS, (left, top, left + edge, top + edge))


Pictures = tuple[str, int, Callable[[], Iterator[tuple[str, Path | io.BytesIO]]]]
"""What identifies the pictures, how many they are, and a function that goes through their names and contents."""


def _files(folder: Path) -> Pictures:
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in SUFFIXES)
    if not files:
        raise RescoreError(f"{folder}: no image file (allowed: {', '.join(SUFFIXES)}) and no {DATABASE}")
    listing = "\n".join(f"{file.relative_to(folder)} {_stamp(file)}" for file in files)
    return _digest(listing), len(files), lambda: ((str(file), file) for file in files)


def _database(folder: Path) -> Pictures:
    """An LMDB environment of encoded images, as LSUN publishes them."""
    try:
        import lmdb
    except ImportError:
        raise RescoreError(
            f"{folder / DATABASE}: to read it takes the package lmdb: pip install -e '.[lsun]', or unpack its images into "
            "RESCORE_DATA/tower and remove the database"
        ) from None
    try:
        with lmdb.open(str(folder), readonly=True, lock=False) as environment:
            count = environment.stat()["entries"]
    except lmdb.Error as error:
        why = disguise(folder / DATABASE) or error
        raise RescoreError(f"{folder / DATABASE}: not an LMDB database ({why}); replace it") from None
    if not count:
        raise RescoreError(f"{folder / DATABASE}: a database of no images")

    def pictures() -> Iterator[tuple[str, io.BytesIO]]:
        with lmdb.open(str(folder), readonly=True, lock=False) as environment, environment.begin() as transaction:
            for key, value in transaction.cursor():
                yield f"{folder / DATABASE}, key {key.decode(errors='replace')}", io.BytesIO(value)

    return _digest(f"{count} {_stamp(folder / DATABASE)}"), count, pictures


def _stamp(file: Path) -> str:
    """Size and time of the last change: to digest the content would take as long as to make the squares."""
    found = file.stat()
    return f"{found.st_size} {found.st_mtime_ns}"


def _digest(text: str) -> str:
    return hashlib.sha256(f"{SQUARES_VERSION} {text}".encode()).hexdigest()[:12]
