import io
from dataclasses import astuple
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from model.images import FORMATS, ImageError, Region, read_pixels, read_square
from tests import pictures
from training.run import resized

read = partial(read_pixels, side=32, detail=32)


def as_served(*images):
    return [read_square(pictures.encode(each, "PNG"), side=192, detail=128) for each in images]


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
        brightness = np.repeat([1, 0.5], 32)[:, None]  # else the first and the last would be margins
        wide = (np.repeat(colours, 16) * brightness).astype(np.uint8)
        pixels = read(pictures.encode(Image.fromarray(wide.T if turned else wide), "PNG"))[0]
        return (pixels.T if turned else pixels)[8].tolist()

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
    read_small, read_blocks = as_served(photo, blocks)
    assert read_blocks.seen == read_small.seen == 32
    assert np.array_equal(read_blocks.pixels, read_small.pixels)


@pytest.mark.parametrize("enlarged_to", [32, 128, 224])
def test_margins_of_small_pictures_stay_however_they_were_enlarged(enlarged_to):
    framed = ImageOps.expand(pictures.photo().resize((24, 24)), 4, "white")
    enlarged = framed.resize((enlarged_to, enlarged_to), Image.Resampling.NEAREST)
    small, read_large = as_served(framed, enlarged)
    assert read_large.region == Region()
    assert np.abs(read_large.pixels.astype(int) - small.pixels).mean() < 5


@pytest.mark.parametrize(("enlarged_to", "margin"), [(128, 60), (256, 64), (300, 100), (320, 100)])
def test_a_frame_around_blocks_is_cut_off(enlarged_to, margin):
    photo = pictures.photo()
    blocks = photo.resize((enlarged_to, enlarged_to), Image.Resampling.NEAREST)
    framed = ImageOps.expand(blocks, margin, "white")
    small, within = as_served(photo, framed)
    assert small.seen - 2 <= within.seen <= small.seen  # blocks that are cut with the frame are left out
    assert np.abs(within.pixels.astype(int) - small.pixels).mean() < 15  # with the frame they differ by 50 or more


@pytest.mark.parametrize("colour", ["black", "white", (40, 90, 160)])
@pytest.mark.parametrize("size", [(128, 128), (160, 130), (500, 400)])
def test_of_a_picture_in_a_frame_what_lies_within_is_seen(size, colour):
    photo = pictures.photo().resize(size)
    framed = ImageOps.expand(photo, (50, 20, 60, 70), colour)
    alone, within = as_served(photo, framed)
    assert min(*size, 128) - 4 <= within.seen <= alone.seen  # where shrinking mixed it with the frame, it is cut
    assert np.abs(within.pixels.astype(int) - alone.pixels).mean() < 5  # with their margins they differ by 36 or more
    width, height = framed.size
    assert astuple(within.region) == pytest.approx(
        (50 / width, 20 / height, 1 - 60 / width, 1 - 70 / height), abs=2 / 128
    )


@pytest.mark.parametrize("margin", [1, 4, 16, 40])
def test_a_small_picture_in_a_frame_is_read_as_without_it(margin):
    photo = pictures.photo()
    framed = ImageOps.expand(photo, margin, "white")
    alone, within = as_served(photo, framed)
    assert within.seen == 32
    assert np.array_equal(within.pixels, alone.pixels)


def test_of_a_letterboxed_picture_the_middle_is_seen_as_of_the_picture_alone():
    wide = pictures.photo().resize((320, 180))
    boxed = ImageOps.pad(wide, (320, 320))
    alone, within = as_served(wide, boxed)
    assert alone.region == Region((320 - 225) / 640, 0, (320 + 225) / 640, 1)
    assert np.abs(within.pixels.astype(int) - alone.pixels).mean() < 5
    assert within.region.left == pytest.approx(alone.region.left, abs=0.01)


def test_transparent_margins_are_margins():
    photo = pictures.photo().resize((100, 100))
    framed = ImageOps.expand(photo.convert("RGBA"), 40, (200, 30, 30, 0))
    alone, within = as_served(photo, framed)
    assert np.abs(within.pixels.astype(int) - alone.pixels).mean() < 5


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_region_is_that_of_the_upright_picture(orientation):
    """Where the picture is cut is found again in the picture that is turned upright before."""
    framed = ImageOps.expand(pictures.photo().resize((100, 140)), (10, 20, 30, 60), "black")
    exif = Image.Exif()
    exif[pictures.ORIENTATION] = orientation
    by_exif = pictures.encode(framed, "PNG", exif=exif)
    with Image.open(io.BytesIO(by_exif)) as stored:
        by_hand = pictures.encode(ImageOps.exif_transpose(stored), "PNG")
    turned, upright = (read_square(each, side=192, detail=128).region for each in (by_exif, by_hand))
    assert astuple(turned) == pytest.approx(astuple(upright), abs=1e-9)
    assert len({round(share, 3) for share in (turned.left, turned.top, 1 - turned.right, 1 - turned.bottom)}) == 4


@pytest.mark.parametrize("kind", pictures.CLOSE)
def test_every_guise_has_the_side_that_is_asked_for(kind):
    assert read_pixels(pictures.CLOSE[kind](), side=96, detail=64).shape == (3, 96, 96)
