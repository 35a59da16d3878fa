"""Images on a panel: labelled rows of them, stacks and strips."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from rescore.figures.style import SMALL


def image_rows(
    ax: Axes, rows: Mapping[str, np.ndarray] | Sequence[tuple[str, np.ndarray]], columns: Sequence[str] = ()
) -> None:
    """A labelled row of framed images (n, C, H, W) in [-1, 1] for each entry, maybe with labels of the columns; C = 1 or 3.

    Without any the panel stays empty.
    """
    rows = list(rows.items() if isinstance(rows, Mapping) else rows)
    if not rows:
        return
    frame = ((0, 0), (0, 0), (1, 1), (1, 1))
    framed = [np.pad(images.clip(-1, 1), frame, constant_values=1) for _, images in rows]
    picture = np.concatenate([np.concatenate(list(images), axis=2) for images in framed], axis=1)
    ax.imshow((picture.transpose(1, 2, 0).squeeze() + 1) / 2, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    height, width = framed[0].shape[-2:]
    ax.set_yticks([height * (i + 0.5) - 0.5 for i in range(len(rows))], [label for label, _ in rows])
    ax.set_xticks([width * (i + 0.5) - 0.5 for i in range(len(columns))], columns)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)


GAP = 0.15  # between images above each other, of their height


def image_stack(ax: Axes, images: Sequence[np.ndarray], labels: Sequence[str]) -> None:
    """Images (C, H, W) of one width above each other, a gap between, labelled at the left unless the label is empty."""
    gap = max(1, round(GAP * min(image.shape[1] for image in images)))
    parts, middles, y = [], [], 0
    for image in images:
        parts += [image, np.full((len(image), gap, image.shape[2]), np.nan)]
        middles.append(y + image.shape[1] / 2 - 0.5)
        y += image.shape[1] + gap
    _show(ax, np.concatenate(parts[:-1], 1))
    named = [(middle, label) for middle, label in zip(middles, labels, strict=True) if label]
    ax.set_yticks([middle for middle, _ in named], [label for _, label in named], fontsize=SMALL)


def image_row(ax: Axes, images: Sequence[np.ndarray], labels: Sequence[str]) -> None:
    """Images (C, H, W) of one size side by side, labelled below."""
    side = images[0].shape[2]
    gap = np.full((*images[0].shape[:2], side // 4), np.nan)
    _show(ax, np.concatenate([part for image in images for part in (image, gap)][:-1], 2))
    places = [k * (side + side // 4) + side / 2 - 0.5 for k in range(len(images))]
    ax.set_xticks(places, labels, fontsize=SMALL)


def _show(ax: Axes, image: np.ndarray) -> None:
    """An image (C, H, W) in [-1, 1], grey or RGB; NaN is white."""
    pixels = np.nan_to_num((image.transpose(1, 2, 0) + 1) / 2, nan=1.0)
    ax.imshow(pixels.repeat(3 // pixels.shape[2], 2), interpolation="nearest")
    ax.set(xticks=[], yticks=[])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)


def ring_picture(image: np.ndarray, pixels: int = 2) -> np.ndarray:
    """A closed image (C, H, L) as a ring seen from above, its top outside: (C, D, D), NaN beside the ring.

    It begins at the top and goes with the clock; the inner circle is as long as the image, at `pixels` a column.
    """
    height, length = image.shape[1:]
    inner = length / (2 * np.pi)
    half = int(np.ceil(inner + height)) * pixels
    y, x = (np.indices((2 * half, 2 * half)) + 0.5 - half) / pixels
    row = np.floor(inner + height - np.hypot(x, y)).astype(int)
    column = np.floor(np.arctan2(x, -y) / (2 * np.pi) % 1 * length).astype(int).clip(0, length - 1)
    inside = (row >= 0) & (row < height)
    return np.where(inside, image[:, row.clip(0, height - 1), column], np.nan)
