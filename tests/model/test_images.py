from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image

from model.images import FORMATS, ImageError, read_pixels, read_square
from tests import pictures
from training.run import resized

read = partial(read_pixels, side=32, detail=32)


@pytest.fixture(scope="module")
def expected():
    return np.asarray(pictures.photo()).transpose(2, 0, 1)


@pytest.mark.parametrize("kind", pictures.LOSSLESS)
def test_a_32x32_picture_keeps_every_pixel_in_any_guise(kind, expected):
    assert np.array_equal(read(pictures.LOSSLESS[kind]()), expected)


@pytest.mark.parametrize("kind", [kind for kind in pictures.CLOSE if "grey" not in kind])
def test_other_guises_stay_close_to_the_picture(kind, expected):
    pixels = read(pictures.CLOSE[kind]())
    assert pixels.shape == (3, 32, 32)
    assert np.abs(pixels.astype(int) - expected.astype(int)).mean() < 12


@pytest.mark.parametrize("kind", ["grey", "grey with alpha", "16-bit grey"])
def test_grey_of_any_depth_is_the_same_grey_in_three_channels(kind):
    pixels = read(pictures.CLOSE[kind]())
    assert np.array_equal(pixels, np.broadcast_to(np.asarray(pictures.grey()), (3, 32, 32)))


@pytest.mark.parametrize("kind", pictures.REFUSED)
def test_a_picture_that_cannot_be_answered_says_why(kind):
    make, status, problem, words = pictures.REFUSED[kind]
    with pytest.raises(ImageError) as refusal:
        read(make())
    assert (refusal.value.status, refusal.value.kind) == (status, problem)
    assert words in str(refusal.value)
    assert "Send" in str(refusal.value) or "send" in str(refusal.value)


def test_nothing_at_all_is_refused():
    with pytest.raises(ImageError, match="empty"):
        read(b"")


def test_transparency_lies_over_white():
    half = Image.new("RGBA", (32, 32), (0, 0, 0, 128))
    pixels = read(pictures.encode(half, "PNG"))
    assert set(np.unique(pixels)) == {127}


def test_colour_hidden_under_full_transparency_does_not_shine_through():
    hidden = Image.new("RGBA", (64, 64), (255, 0, 0, 0))
    assert read(pictures.encode(hidden, "PNG")).min() == 255


def test_only_formats_that_start_no_other_program_are_read():
    assert set(FORMATS).isdisjoint({"EPS", "PDF", "WMF", "MPEG"})


def test_orientation_and_cropping_commute():
    """A tall picture that EXIF lays on its side has the same middle as the picture laid on its side."""
    tall = Image.new("RGB", (40, 91), "white")
    tall.paste(pictures.photo(), (3, 30))
    exif = Image.Exif()
    exif[pictures.ORIENTATION] = 6
    by_exif = read(pictures.encode(tall, "PNG", exif=exif))
    by_hand = read(pictures.encode(tall.transpose(Image.Transpose.ROTATE_270), "PNG"))
    assert np.abs(by_exif.astype(int) - by_hand.astype(int)).max() <= 1


@pytest.mark.parametrize("turned", [False, True])
def test_a_picture_is_seen_whole_up_to_five_by_four_and_its_middle_beyond(turned):
    def seen(*colours):
        wide = np.repeat(np.array(colours, np.uint8), 16)[None].repeat(64, 0)
        pixels = read(pictures.encode(Image.fromarray(wide.T if turned else wide), "PNG"))[0]
        return (pixels.T if turned else pixels)[16].tolist()

    whole = seen(250, 60, 120, 60, 10)  # 80 by 64 pixels
    assert (whole[0], whole[-1]) == (250, 10)
    assert seen(0, 250, 60, 120, 60, 10, 255)[1:-1] == whole[1:-1]  # at the ends shrinking mixes in what is beside them


def test_a_small_picture_is_enlarged_as_training_enlarges_it(expected):
    pixels = read_pixels(pictures.LOSSLESS["png"](), side=128, detail=64)
    enlarged = resized(torch.from_numpy(expected.copy())[None], 128)[0].numpy()
    assert pixels.shape == (3, 128, 128)
    assert np.abs(pixels - enlarged).max() <= 1


def test_a_large_picture_has_no_more_detail_than_is_asked_for():
    sharp = Image.fromarray(np.indices((512, 512)).sum(0).astype(np.uint8) // 4 % 2 * 255)
    fine = read_pixels(pictures.encode(sharp, "PNG"), side=128, detail=128)
    soft = read_pixels(pictures.encode(sharp, "PNG"), side=128, detail=32)
    assert fine.std() > 5 * soft.std()


@pytest.mark.parametrize(("size", "seen"), [((32, 32), 32), ((40, 200), 40), ((500, 64), 64), ((300, 200), 128)])
def test_it_is_said_how_many_pixels_were_seen(size, seen):
    picture = read_square(pictures.encode(Image.new("RGB", size), "PNG"), side=192, detail=128)
    assert picture.pixels.shape == (3, 192, 192)
    assert picture.seen == seen


def test_a_picture_enlarged_by_repeating_pixels_is_read_as_it_was():
    photo = pictures.photo()
    blocks = photo.resize((128, 128), Image.Resampling.NEAREST)
    read_small, read_blocks = (
        read_square(pictures.encode(each, "PNG"), side=192, detail=128) for each in (photo, blocks)
    )
    assert read_blocks.seen == read_small.seen == 32
    assert np.array_equal(read_blocks.pixels, read_small.pixels)


@pytest.mark.parametrize("kind", pictures.CLOSE)
def test_every_guise_has_the_side_that_is_asked_for(kind):
    assert read_pixels(pictures.CLOSE[kind](), side=96, detail=64).shape == (3, 96, 96)
