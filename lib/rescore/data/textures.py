"""Patches of the textures that ship in scikit-image: brick, grass and gravel, 512x512 grey photographs."""

from typing import TYPE_CHECKING

from rescore.errors import RescoreError

if TYPE_CHECKING:  # configs import this module
    import numpy as np

TEXTURES = ("brick", "grass", "gravel")
SIZES = ("8x8", "8x4", "4x4")
NAMES = (*(f"{texture}-{size}" for texture in TEXTURES for size in SIZES), "textures-8x8")
"""Data sets of patches: `brick-8x4` has height 8 and width 4; `textures-8x8` is all three, labelled in their order."""

SPLITS = ("train", "test")
SCALE = 4  # block means of so many pixels squared: a brick is then about 9 wide, a pebble 5
STRETCH = (0.5, 99.5)  # percentiles of a reduced photograph that become black and white: bricks alone span a fifth of the range
TEST_COLUMNS = ((40, 56), (96, 112))  # of the 128 of a reduced photograph; two bands, for the bricks lean with the perspective


def load_texture(name: str) -> "np.ndarray":
    """The photograph reduced by block means, its contrast stretched, (128, 128) uint8. Raises RescoreError for another name."""
    import numpy as np
    import skimage.data
    from skimage.transform import downscale_local_mean

    if name not in TEXTURES:
        raise RescoreError(f"texture {name!r}; allowed: {', '.join(TEXTURES)}")
    reduced = downscale_local_mean(getattr(skimage.data, name)(), (SCALE, SCALE))
    low, high = np.percentile(reduced, STRETCH)
    return np.rint(255 * ((reduced - low) / (high - low)).clip(0, 1)).astype(np.uint8)


def read(name: str, split: str) -> tuple["np.ndarray", "np.ndarray | None"]:
    """All patches (n, 1, h, w) uint8 of a data set of `NAMES` that lie in a split, and the labels of `textures-8x8`.

    No patch of one split shares a pixel with one of the other.
    """
    import numpy as np

    texture, size = name.split("-")
    height, width = (int(side) for side in size.split("x"))
    if texture == "textures":
        parts = [read(f"{each}-{size}", split)[0] for each in TEXTURES]
        return np.concatenate(parts), np.repeat(np.arange(len(TEXTURES)), [len(part) for part in parts])
    return windows(load_texture(texture), height, width, bands(split)), None


def bands(split: str) -> list[tuple[int, int]]:
    """The columns of a split, first and last plus one."""
    if split == "test":
        return list(TEST_COLUMNS)
    edges = [0, *(edge for band in TEST_COLUMNS for edge in band), 512 // SCALE]
    return list(zip(edges[::2], edges[1::2], strict=True))


def strips(name: str, height: int, width: int) -> "np.ndarray":
    """All windows (n, 1, height, width) uint8 of a photograph, whatever the split."""
    image = load_texture(name)
    return windows(image, height, width, [(0, image.shape[1])])


def windows(image: "np.ndarray", height: int, width: int, columns: list[tuple[int, int]]) -> "np.ndarray":
    """All windows (n, 1, height, width) of an image (H, W) that lie within one of the bands of columns."""
    import numpy as np

    views = [np.lib.stride_tricks.sliding_window_view(image[:, start:end], (height, width)) for start, end in columns]
    return np.concatenate([view.reshape(-1, 1, height, width) for view in views])
