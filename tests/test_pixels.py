"""Pixels: grey levels, dequantisation, flips."""

import pytest
import torch
from failures import failure
from rescore.data.pixels import crop_to, dequantise, pad_to, random_flip, to_uint8, to_unit
from rescore.random import make_generator


@pytest.mark.parametrize("rounding", ["truncate", "nearest"])
def test_every_grey_level_survives_the_way_there_and_back(rounding):
    levels = torch.arange(256, dtype=torch.uint8)
    x = to_unit(levels)
    assert x.dtype == torch.float32 and x[0] == -1 and x[255] == 1
    assert torch.equal(to_uint8(x, rounding), levels) and torch.equal(to_uint8(x.double(), rounding), levels)


def test_truncation_and_rounding():
    x = torch.tensor([-1.5, -1.0, 1.0, 1.5, 100.9 / 127.5 - 1, 100.4 / 127.5 - 1], dtype=torch.float64)
    assert to_uint8(x).tolist() == [0, 0, 255, 255, 100, 100]
    assert to_uint8(x, "nearest").tolist() == [0, 0, 255, 255, 101, 100]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: to_uint8(torch.tensor([0.0, torch.nan])), "to_uint8: a pixel is not finite"),
        (lambda: to_uint8(torch.tensor([0.0, 255.0])), "to_uint8: values in [0, 255]; allowed: [-1, 1]"),
        (lambda: to_uint8(torch.tensor([1])), "to_uint8: torch.int64; allowed: floats"),
        (lambda: to_uint8(torch.zeros(1), "up"), "to_uint8: rounding 'up'; allowed: truncate, nearest"),
        (lambda: to_unit(torch.zeros(1)), "to_unit: torch.float32; allowed: uint8"),
        (lambda: dequantise(torch.zeros(1), make_generator("x")), "dequantise: torch.float32; allowed: uint8"),
    ],
)
def test_pixels_of_another_kind_are_refused(call, message):
    assert failure(call).startswith(message)


def test_dequantised_pixels_stay_in_their_bin_and_fill_it():
    images = torch.arange(256, dtype=torch.uint8).expand(1000, 1, 1, 256)
    x, per_unit = dequantise(images, make_generator("dequantise"))
    assert per_unit == 128
    assert x.dtype == torch.float32 and x.min() >= -1 and x.max() < 1
    exact = (x.double() + 1) * 128
    assert torch.equal(exact.floor().to(torch.uint8), images), "no draw reaches the next level"
    u = exact - images
    assert u.mean().item() == pytest.approx(1 / 2, abs=5 / (12 * u.numel()) ** 0.5)
    assert u.square().mean().item() == pytest.approx(1 / 3, abs=5 * (4 / 45 / u.numel()) ** 0.5)
    assert torch.equal(x, dequantise(images, make_generator("dequantise"))[0])


def test_few_grey_levels_have_wide_bins_around_their_places():
    levels = torch.tensor([0, 16, 32, 239, 255], dtype=torch.uint8)  # k = 0, 1, 2, 15, 16 of 17
    images = levels.expand(4000, 1, 1, 5)
    x, per_unit = dequantise(images, make_generator("grey"), grey_levels=17)
    assert per_unit == 8
    offset = (x.double() - torch.tensor([0, 1, 2, 15, 16]) / 8 + 1) * per_unit
    assert offset.min() >= -0.5 and offset.max() < 0.5
    assert offset.mean().item() == pytest.approx(0, abs=5 / (12 * offset.numel()) ** 0.5)
    assert failure(lambda: dequantise(images + 1, make_generator("grey"), 17)) == (
        "dequantise: a pixel is none of 17 equal steps from 0 to 255"
    )


def test_flips_are_mirror_images_of_half():
    images = torch.arange(4000 * 12, dtype=torch.int32).reshape(4000, 1, 3, 4)
    flipped = random_flip(images, make_generator("flip"))
    mirrored = (flipped == images.flip(-1)).all((1, 2, 3))
    assert ((flipped == images).all((1, 2, 3)) ^ mirrored).all(), "each is itself or its mirror image"
    assert mirrored.double().mean().item() == pytest.approx(0.5, abs=5 * 0.5 / 4000**0.5)
    assert torch.equal(flipped, random_flip(images, make_generator("flip")))


def test_borders_are_added_and_taken_off_and_nothing_else():
    """A side below the images' would cut them, a size above them read nothing."""
    images = torch.zeros(2, 1, 28, 27)
    assert pad_to(images, 28).shape == (2, 1, 28, 28) and crop_to(images, (28, 27)).shape == images.shape
    assert "pad_to: side 27 of images of 28x27; allowed: 28 or more" in failure(pad_to, images, 27)
    for size in ((29, 27), (28, 28)):
        message = f"crop_to: size {size[0]}x{size[1]} of images of 28x27; allowed: no more than theirs"
        assert message in failure(crop_to, images, size)
