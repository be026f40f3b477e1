"""Margins are found whatever their colour, and what is none is left."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from model.margins import content_box, is_plain
from training.pictures import through_jpeg

PHOTO = Image.open(Path(__file__).parents[1] / "photo.jpg").convert("RGB").resize((60, 50))


def box_of(picture):
    return content_box(np.asarray(picture))


@pytest.mark.parametrize("colour", ["black", "white", "grey", (0, 120, 250)])
@pytest.mark.parametrize("margins", [(10, 12, 14, 16), (1, 1, 1, 1), (30, 0, 20, 0), (0, 35, 0, 15), (80, 70, 90, 70)])
def test_margins_of_any_colour_and_width_are_found(colour, margins):
    left, top, _, _ = margins
    assert box_of(ImageOps.expand(PHOTO, margins, colour)) == (left, top, left + 60, top + 50)


def test_margins_may_differ_in_colour():
    half = ImageOps.expand(PHOTO, (0, 0, 0, 20), "black")
    assert box_of(ImageOps.expand(half, (0, 20, 0, 0), "white")) == (0, 20, 60, 70)


@pytest.mark.parametrize("quality", [90, 75, 50])
def test_jpeg_hides_no_more_of_margins_than_a_block(quality):
    framed = ImageOps.expand(PHOTO, (32, 24), "white")
    left, top, right, bottom = box_of(through_jpeg(np.asarray(framed), quality))
    assert 24 <= left <= 32 <= 60 + 32 <= right <= 60 + 40
    assert 16 <= top <= 24 <= 50 + 24 <= bottom <= 50 + 32


@pytest.mark.parametrize(
    "picture",
    [
        PHOTO,
        Image.new("RGB", (60, 50), "white"),
        ImageOps.expand(PHOTO, (0, 20, 0, 0), "white"),  # a bright sky
        ImageOps.expand(PHOTO, 100, "white"),  # hardly anything is left
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 60, 3), dtype=np.uint8)),
    ],
    ids=["photograph", "plain", "one side", "small", "noise"],
)
def test_what_has_none_is_left_whole(picture):
    assert box_of(picture) == (0, 0, *picture.size)


def test_a_line_is_plain_up_to_what_jpeg_loses():
    line = np.full((50, 3), 200, np.uint8)
    assert is_plain(line)
    line[7] = (210, 195, 200)
    assert is_plain(line)
    line[7] = (220, 200, 200)
    assert not is_plain(line)
