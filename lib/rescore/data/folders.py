"""Images from files of one's own: a folder, an npz; and CelebA as the papers cut it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rescore.data.damage import check_labels, read_text, reading
from rescore.data.fetch import data_folder
from rescore.data.pictures import open_picture
from rescore.errors import MissingData, RescoreError

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
CELEBA_SPLITS = {"train": "0", "valid": "1", "test": "2"}  # as list_eval_partition.txt numbers them
CELEBA_SIZE = (178, 218)  # width, height of the aligned images
CELEBA_CROP = 140
CELEBA_PARTITION, CELEBA_IMAGES = "celeba/list_eval_partition.txt", "celeba/img_align_celeba"


def read_celeba64(split: str, limit: int | None) -> "np.ndarray":
    """CelebA (Liu et al. 2015) at 64x64: (n, 3, 64, 64) uint8, in the order of its partition file.

    The central 140x140 square is resized by a bilinear (triangle) filter with antialiasing: Pillow's BILINEAR, which is what
    Song et al. 2021 do in TensorFlow (`tf.image.resize`, antialias=True), but for the rounding to 8 bits.
    Its site asks for a browser, so nothing is downloaded: `celeba/img_align_celeba/` and `celeba/list_eval_partition.txt`
    have to lie under RESCORE_DATA.
    """
    folder = data_folder()
    if folder is None or not celeba_at_hand():
        raise MissingData(f"not under RESCORE_DATA ({folder or 'unset'}), and it cannot be downloaded without a browser")
    names = _celeba_names(folder / CELEBA_PARTITION, split)
    return read_files([folder / CELEBA_IMAGES / name for name in names[:limit]], celeba64, folder / CELEBA_PARTITION)


def _celeba_names(partition: Path, split: str) -> list[str]:
    """The pictures of a split; a line of the file is `name number`. Raises RescoreError, naming the line, for another form."""
    names = []
    for number, line in enumerate(read_text(partition, "a list of pictures and their splits").splitlines(), 1):
        match line.split():
            case [name, which] if which in CELEBA_SPLITS.values():
                names += [name] * (which == CELEBA_SPLITS[split])
            case []:
                continue
            case _:
                raise RescoreError(f"{partition}, line {number}: allowed: a file name and 0, 1 or 2, not {line.strip()[:80]!r}")
    return names


def celeba_at_hand() -> bool:
    """Whether RESCORE_DATA holds the partition and the folder of aligned images; no image is read."""
    folder = data_folder()
    return folder is not None and (folder / CELEBA_PARTITION).exists() and (folder / CELEBA_IMAGES).is_dir()


def celeba64(image: "Image") -> "Image":
    """The central square of an aligned image of CelebA, at 64x64. Raises ValueError for another size."""
    from PIL.Image import Resampling

    if image.size != CELEBA_SIZE:
        raise ValueError(f"{image.size[0]}x{image.size[1]} pixels; an aligned image of CelebA has 178x218")
    left, top = ((side - CELEBA_CROP) // 2 for side in CELEBA_SIZE)
    square = image.convert("RGB").crop((left, top, left + CELEBA_CROP, top + CELEBA_CROP))
    return square.resize((64, 64), Resampling.BILINEAR)


def read_folder(path: Path, split: str, limit: int | None) -> "np.ndarray":
    """The images of a folder in the order of their names, (n, C, H, W) uint8: grey if they are, else RGB."""
    folder = path if split == "all" else path / split
    if not folder.is_dir():
        raise MissingData(f"{folder}: no such folder")
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES)
    return read_files(files[:limit], lambda image: image, folder)


def read_files(files: Sequence[Path], prepare: Callable[["Image"], "Image"], source: Path) -> "np.ndarray":
    """Pictures of one size, (n, C, H, W) uint8; `prepare` maps each from `open_picture` to one of the same kind.

    Raises RescoreError for one that is damaged or of another size than the first, or if there is none in `source`.
    """
    import numpy as np

    if not files:
        raise RescoreError(f"{source}: no image file (allowed: {', '.join(SUFFIXES)})")
    images = np.empty(0, np.uint8)
    for i, file in enumerate(files):
        picture = open_picture(file)
        try:
            pixels = np.asarray(prepare(picture))
        except ValueError as error:
            raise RescoreError(f"{file}: {error}") from None
        pixels = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
        if i == 0:
            images = np.empty((len(files), *pixels.shape), np.uint8)
        if pixels.shape != images.shape[1:]:
            raise RescoreError(f"{file}: {_size(pixels.shape)}; the first image has {_size(images.shape[1:])}, and all must")
        images[i] = pixels
    return images


def _size(shape: Sequence[int]) -> str:
    return f"{shape[0]} channel(s) of {shape[1]}x{shape[2]}"


def read_npz(path: Path, split: str) -> tuple["np.ndarray", "np.ndarray | None"]:
    """Images (n, C, H, W) uint8, and labels if there are any, of an npz that holds (n, H, W, C) or (n, H, W).

    Keys: `images` (else `arr_0`) and `labels`; for a split other than `all`, `<split>_images` and `<split>_labels`.
    """
    import numpy as np

    names = ("images", "arr_0") if split == "all" else (f"{split}_images",)
    with reading(path, "an npz of arrays"), np.load(path) as stored:
        name = next((name for name in names if name in stored), None)
        if name is None:
            raise RescoreError(f"{path}: no key {' or '.join(names)}; it has {', '.join(stored) or 'none'}")
        images = stored[name]
        key = "labels" if split == "all" else f"{split}_labels"
        labels = stored.get(key, None)
    if images.ndim == 3:
        images = images[..., None]
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] not in (1, 3):
        raise RescoreError(f"{path}: {name} is {images.dtype} {images.shape}; allowed: uint8 (n, H, W[, C]), C = 1 or 3")
    if labels is not None:
        labels = check_labels(labels, len(images), path)
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2)), labels
