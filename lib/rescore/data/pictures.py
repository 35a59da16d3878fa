"""How a picture file becomes 8-bit pixels: the same for every data set that is read from pictures."""

import io
from pathlib import Path
from typing import TYPE_CHECKING

from rescore.data.damage import reading

if TYPE_CHECKING:
    from PIL.Image import Image

GREY = ("1", "L", "LA", "La", "I;16", "I;16L", "I;16B", "I;16N")  # modes that hold no colour
TRANSPARENT = ("LA", "La", "PA", "RGBA", "RGBa")
BACKGROUND = "white"  # what shows through, as in a browser


def open_picture(file: Path | io.BytesIO, source: str | Path | None = None) -> "Image":
    """The picture as Pillow's mode L (grey) or RGB, 8 bits a channel, the right way up.

    | what the file has | what becomes of it |
    | --- | --- |
    | 16 bits a channel | the upper 8, grey or colour; black and white stay what they are |
    | 1 bit | 0 and 255 |
    | a palette | its colours, RGB |
    | transparency: alpha, or a transparent colour | laid on white |
    | CMYK, YCbCr | RGB by Pillow's formulas; a colour profile is not applied |
    | EXIF orientation | applied: pixels as a viewer shows them |
    | several frames | the first |

    Args:
        source: what errors call it; by default `file`, if that is a path.

    Raises:
        MissingData: no such file.
        RescoreError: no picture, a damaged one, CIE LAB, or 32 bits a channel, whose black and white no file states.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    with reading(source or (file if isinstance(file, Path) else "a picture in memory"), "a picture"):
        try:
            picture = Image.open(file)
        except UnidentifiedImageError:  # its message names the file once more, or an address in memory
            raise ValueError("of no format that is known") from None
        with picture:
            picture.load()
            if picture.mode in ("I", "F"):
                raise ValueError("32 bits a channel; allowed: 8 or 16")
            grey, transparent = picture.mode in GREY, picture.mode in TRANSPARENT or "transparency" in picture.info
            upright = ImageOps.exif_transpose(picture)
            if upright.mode.startswith("I;16"):
                upright = _upper_bits(upright)
            if transparent:
                upright = upright.convert("RGBA")
                upright = Image.alpha_composite(Image.new("RGBA", upright.size, BACKGROUND), upright)
            return upright.convert("L" if grey else "RGB")


def _upper_bits(picture: "Image") -> "Image":
    """16-bit grey to 8-bit grey, as Pillow itself reads 16-bit colours; `convert` would clip at 255 and leave white."""
    import numpy as np
    from PIL import Image

    return Image.fromarray((np.asarray(picture).astype(np.uint16) >> 8).astype(np.uint8))
