"""Pictures of blocks become small again, and others stay as they are."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.Image import Resampling

from model.pixelation import without_blocks
from training.pictures import DRAWN, drawn, through_jpeg

PHOTO = Image.open(Path(__file__).parents[1] / "photo.jpg").convert("RGB")


def small(side):
    return PHOTO.resize((side, side), Resampling.BOX)


def blocks(side, enlarged_to):
    return small(side).resize((enlarged_to, enlarged_to), Resampling.NEAREST)


def jpeg(picture, quality):
    return Image.fromarray(through_jpeg(np.asarray(picture), quality))


def difference(first, second):
    """How far two pictures are apart, as a share of how far one is from a plain picture of its mean colour."""
    first, second = (np.asarray(each, float) for each in (first, second))
    return np.sqrt(((first - second) ** 2).mean() / ((second - second.mean((0, 1))) ** 2).mean())


@pytest.mark.parametrize(("side", "enlarged_to"), [(16, 128), (24, 96), (32, 64), (32, 128), (60, 120), (64, 128)])
def test_blocks_of_even_length_become_the_pixels_they_were_made_of(side, enlarged_to):
    assert np.array_equal(np.asarray(without_blocks(blocks(side, enlarged_to))), np.asarray(small(side)))


@pytest.mark.parametrize(("side", "enlarged_to"), [(24, 100), (32, 70), (32, 100), (40, 128), (48, 128)])
def test_blocks_of_uneven_length_become_nearly_those_pixels(side, enlarged_to):
    made = without_blocks(blocks(side, enlarged_to))
    assert made.size == (side, side)
    assert difference(made, small(side)) < 0.15


@pytest.mark.parametrize("enlarged_to", [150, 224, 300, 512, 1000])
def test_blocks_that_were_shrunk_become_nearly_those_pixels(enlarged_to):
    made = without_blocks(blocks(32, enlarged_to).resize((128, 128), Resampling.BILINEAR))
    assert made.size == (32, 32)
    assert difference(made, small(32)) < 0.1


@pytest.mark.parametrize("quality", [90, 75, 50])
def test_jpeg_does_not_hide_blocks(quality):
    made = without_blocks(jpeg(blocks(32, 128), quality))
    assert made.size == (32, 32)
    assert difference(made, small(32)) < 0.15


def test_of_a_screenshot_the_whole_blocks_count():
    shot = blocks(32, 128).crop((3, 1, 127, 126))  # of four pixels' blocks, 1 and 3, 3 and 2 pixels are left
    made = without_blocks(shot)
    assert made.size == (30, 30)
    assert np.array_equal(np.asarray(made), np.asarray(small(32).crop((1, 1, 31, 31))))


def test_blocks_may_be_squeezed():
    wide = PHOTO.resize((40, 32), Resampling.BOX)
    squeezed = wide.resize((400, 320), Resampling.NEAREST).resize((128, 128), Resampling.BILINEAR)
    made = without_blocks(squeezed)
    assert made.size == (40, 32)
    assert difference(made, wide) < 0.15


NATURAL = {
    "a photograph": small(128),
    "a photograph that was compressed": jpeg(small(128), 10),
    "a small photograph that was compressed": jpeg(small(64), 10),
    "a photograph in a frame": Image.new("RGB", (128, 128)),
    "one colour": Image.new("RGB", (128, 128), "teal"),
    "one edge": Image.fromarray((np.indices((128, 128))[1] > 40).astype(np.uint8) * 255),
    "stripes": Image.fromarray((np.indices((128, 128))[1] // 4 % 2).astype(np.uint8) * 255),
    "blocks of hardly more than a pixel": small(100).resize((128, 128), Resampling.NEAREST),
    "a picture of CIFAR-10's size": blocks(16, 32),
    "one enlarged by bilinear interpolation": small(32).resize((128, 128), Resampling.BILINEAR),
    "one enlarged by bicubic interpolation": small(32).resize((100, 100), Resampling.BICUBIC),
    "one enlarged by Lanczos' filter": small(32).resize((64, 64), Resampling.LANCZOS),
}
NATURAL["a photograph in a frame"].paste(small(100), (14, 14))


@pytest.mark.parametrize("kind", NATURAL)
def test_what_is_not_blocks_stays_as_it_is(kind):
    assert without_blocks(NATURAL[kind]) is NATURAL[kind]


@pytest.mark.parametrize("kind", sorted(set(DRAWN) - {"drawings"}))  # those are of bars and boxes themselves
def test_what_is_drawn_finely_stays_as_it_is(kind):
    for each in drawn(kind, 20):
        picture = Image.open(io.BytesIO(each.data))
        assert without_blocks(picture) is picture
