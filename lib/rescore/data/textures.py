"""Pieces of photographs that ship in packages: scikit-image's brick, grass and gravel, and the sky in one of scikit-learn."""

from typing import TYPE_CHECKING

from rescore.domain import check_one_of

if TYPE_CHECKING:  # configs import this module
    import numpy as np

TEXTURES = ("brick", "grass", "gravel")  # 512x512, grey
SKY = "sky"
SIZES, LARGE = ("8x8", "8x4", "4x4"), ("32x32", "32x16")
SPLITS = {
    **{f"{texture}-{size}": ("train", "test") for texture in TEXTURES for size in SIZES},
    "textures-8x8": ("train", "test"),
    **{f"{photograph}-{size}": ("all",) for photograph in (*TEXTURES, SKY) for size in LARGE},
}
"""Data sets of patches: `brick-8x4` has height 8 and width 4; `textures-8x8` is all three textures, labelled in their order.
Of large patches, which no band of held-out columns would hold, there is one split, of the whole photograph."""

SCALE = 4  # block means of so many pixels squared: a brick is then about 9 wide, a pebble 5
STRETCH = (0.5, 99.5)  # percentiles of a reduced photograph that become black and white: bricks alone span a fifth of the range
TEST_COLUMNS = ((40, 56), (96, 112))  # of the 128 of a reduced photograph; two bands, for the bricks lean with the perspective
SKY_PLACE = (slice(0, 128), slice(330, 640))  # of `china.jpg`: above the lake, right of the tower
SKY_STD = 0.3  # of the sky's patches, in [-1, 1]


def load_texture(name: str) -> "np.ndarray":
    """The photograph reduced by block means, its contrast stretched, (128, 128) uint8. Raises RescoreError for another name."""
    import numpy as np
    import skimage.data
    from skimage.transform import downscale_local_mean

    check_one_of("texture", name, TEXTURES)
    reduced = downscale_local_mean(getattr(skimage.data, name)(), (SCALE, SCALE))
    low, high = np.percentile(reduced, STRETCH)
    return np.rint(255 * ((reduced - low) / (high - low)).clip(0, 1)).astype(np.uint8)


def sky_colours() -> "np.ndarray":
    """The sky of scikit-learn's `china.jpg`, (64, 155, 3) float64, 0 to 255.

    Block means of 2x2, without which the blocks of the JPEG show.
    """
    from sklearn.datasets import load_sample_image

    image = load_sample_image("china.jpg")[SKY_PLACE].astype(float)
    return image.reshape(image.shape[0] // 2, 2, image.shape[1] // 2, 2, 3).mean((1, 3))


def without_slope(image: "np.ndarray") -> "np.ndarray":
    """An image (H, W) float64 less the plane that is nearest to it, and so without its mean."""
    import numpy as np

    y, x = np.indices(image.shape)
    plane = np.stack([np.ones(image.size), y.ravel(), x.ravel()], 1)
    return image - (plane @ np.linalg.lstsq(plane, image.ravel(), rcond=None)[0]).reshape(image.shape)


def load_sky() -> "np.ndarray":
    """The mean of the sky's colours without its slope, of standard deviation `SKY_STD` in [-1, 1], (64, 155) uint8.

    What is beyond black and white, a few pixels in a thousand, is cut off.
    """
    import numpy as np

    rest = without_slope(sky_colours().mean(2))
    return np.rint(127.5 * (1 + SKY_STD * rest / rest.std())).clip(0, 255).astype(np.uint8)


def load_photograph(name: str) -> "np.ndarray":
    """`load_sky` or `load_texture`, (H, W) uint8."""
    return load_sky() if name == SKY else load_texture(name)


def read(name: str, split: str) -> tuple["np.ndarray", "np.ndarray | None"]:
    """All patches (n, 1, h, w) uint8 of a data set of `SPLITS` that lie in a split, and the labels of `textures-8x8`.

    No patch of one split shares a pixel with one of the other.
    """
    import numpy as np

    photograph, size = name.split("-")
    height, width = (int(side) for side in size.split("x"))
    if split == "all":
        return strips(photograph, height, width), None
    if photograph == "textures":
        parts = [read(f"{each}-{size}", split)[0] for each in TEXTURES]
        return np.concatenate(parts), np.repeat(np.arange(len(TEXTURES)), [len(part) for part in parts])
    return windows(load_texture(photograph), height, width, bands(split)), None


def bands(split: str) -> list[tuple[int, int]]:
    """The columns of a split, first and last plus one."""
    if split == "test":
        return list(TEST_COLUMNS)
    edges = [0, *(edge for band in TEST_COLUMNS for edge in band), 512 // SCALE]
    return list(zip(edges[::2], edges[1::2], strict=True))


def strips(name: str, height: int, width: int | None = None) -> "np.ndarray":
    """All windows (n, 1, height, width) uint8 of a photograph, whatever the split; without a width as wide as it is."""
    image = load_photograph(name)
    return windows(image, height, width or image.shape[1], [(0, image.shape[1])])


def windows(image: "np.ndarray", height: int, width: int, columns: list[tuple[int, int]]) -> "np.ndarray":
    """All windows (n, 1, height, width) of an image (H, W) that lie within one of the bands of columns."""
    import numpy as np

    views = [np.lib.stride_tricks.sliding_window_view(image[:, start:end], (height, width)) for start, end in columns]
    return np.concatenate([view.reshape(-1, 1, height, width) for view in views])
