"""Pictures of any mode as 8 bits of grey or of colour."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from rescore.data.pictures import open_picture


def square(mode: str) -> Image.Image:
    """Four pixels, darkest to brightest in reading order, of any mode."""
    return Image.fromarray(np.array([[0, 85], [170, 255]], np.uint8)).convert(mode)


GREYS, RED = [0, 85, 170, 255], (255, 0, 0)
DEEP = Image.fromarray(np.array([[0, 255], [256, 65535]], np.uint16))
ROTATED = Image.Exif()
ROTATED[0x0112] = 6  # the camera was held upright: a viewer turns the picture clockwise


@pytest.mark.parametrize(
    ("picture", "suffix", "options", "expected"),
    [
        pytest.param(square("L"), "png", {}, GREYS, id="grey"),
        pytest.param(square("RGB"), "png", {}, [(v,) * 3 for v in GREYS], id="colour"),
        pytest.param(square("1"), "png", {}, None, id="1 bit"),
        pytest.param(DEEP, "png", {}, [0, 0, 1, 255], id="16 bits"),
        pytest.param(DEEP, "tiff", {}, [0, 0, 1, 255], id="16 bits tiff"),
        pytest.param(Image.new("P", (1, 1), 1), "png", {"palette": RED}, [RED], id="palette"),
        pytest.param(Image.new("P", (1, 1), 1), "png", {"palette": RED, "transparency": 1}, [(255,) * 3], id="a hole"),
        pytest.param(Image.new("RGBA", (1, 1), (*RED, 255)), "png", {}, [RED], id="opaque"),
        pytest.param(Image.new("RGBA", (1, 1), (*RED, 0)), "png", {}, [(255,) * 3], id="transparent"),
        pytest.param(Image.new("RGBA", (1, 1), (*RED, 51)), "webp", {"lossless": True}, [(255, 204, 204)], id="a fifth of red"),
        pytest.param(Image.new("LA", (1, 1), (100, 0)), "png", {}, [255], id="grey and alpha"),
        pytest.param(square("L"), "png", {"transparency": 85}, [0, 255, 170, 255], id="a transparent grey"),
        pytest.param(Image.new("RGB", (1, 1), RED), "png", {"transparency": RED}, [(255,) * 3], id="a transparent colour"),
        pytest.param(Image.new("CMYK", (1, 1), (0, 255, 255, 0)), "tiff", {}, [RED], id="CMYK"),
        pytest.param(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "jpg", {"quality": 100}, [RED] * 64, id="CMYK of a camera"),
        pytest.param(square("L"), "png", {"exif": ROTATED}, [170, 0, 255, 85], id="rotated"),
        pytest.param(
            square("RGB"),
            "webp",
            {"lossless": True, "exif": ROTATED},
            [(v,) * 3 for v in (170, 0, 255, 85)],
            id="rotated colours",
        ),
        pytest.param(
            square("RGB"),
            "gif",
            {"save_all": True, "append_images": [Image.new("RGB", (2, 2), RED)]},
            [(v,) * 3 for v in GREYS],
            id="frames",
        ),
    ],
)
def test_a_picture_of_any_mode_is_8_bits_of_grey_or_of_colour(tmp_path, picture, suffix, options, expected):
    path = tmp_path / f"a.{suffix}"
    if "palette" in options:
        picture.putpalette((0, 0, 0, *options["palette"]))
    picture.save(path, **{name: value for name, value in options.items() if name != "palette"})
    expected = [0, 0, 255, 255] if expected is None else expected  # Pillow's own threshold of 1 bit, dithered
    found = open_picture(path)
    assert found.mode == ("L" if isinstance(expected[0], int) else "RGB")
    pixels = np.asarray(found).reshape(-1, len(found.getbands())).squeeze(1 if found.mode == "L" else ()).tolist()
    if picture.mode == "1":
        assert set(pixels) == {0, 255}
    else:
        assert np.abs(np.array(pixels) - np.array(expected)).max() <= (2 if suffix == "jpg" else 0)


def test_16_bits_of_colour_are_their_upper_8(tmp_path):
    """A PNG written out by hand, for Pillow writes none."""
    pixels = np.array([[[0, 255, 256], [0x1234, 65535, 0xABCD]]], ">u2")
    header, body = struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0), zlib.compress(b"\0" + pixels.tobytes())
    chunks = ((b"IHDR", header), (b"IDAT", body), (b"IEND", b""))
    parts = [struct.pack(">I", len(x)) + name + x + struct.pack(">I", zlib.crc32(name + x)) for name, x in chunks]
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    assert np.asarray(open_picture(tmp_path / "a.png")).tolist() == [[[0, 0, 1], [0x12, 255, 0xAB]]]
