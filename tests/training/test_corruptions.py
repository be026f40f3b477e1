from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.training.conftest import ROOT
from training.corruptions import CORRUPTIONS, FROST, SEVERITIES, corrupted

SHEET = Path(__file__).parent / "corrupted-ship.png"
EVERY = pytest.mark.parametrize("name", CORRUPTIONS)


@pytest.fixture
def clean(hundred):
    return hundred.images


def test_there_are_the_fifteen_of_the_benchmark():
    assert len(CORRUPTIONS) == 15
    assert all(len(corruption.constants) == SEVERITIES == 5 for corruption in CORRUPTIONS.values())


@EVERY
def test_pictures_are_those_of_the_original_program(name):
    """The sheet holds its steps' results with its own libraries (OpenCV, scikit-image, ImageMagick) and our draws."""
    ship = np.asarray(Image.open(ROOT / "gateway/static/samples/ship.png").convert("RGB"))
    sheet = np.asarray(Image.open(SHEET)).astype(int)  # a severity a row, a corruption a column
    left = 32 * list(CORRUPTIONS).index(name)
    for severity in range(1, SEVERITIES + 1):
        wanted = sheet[32 * (severity - 1) : 32 * severity, left : left + 32]
        difference = np.abs(corrupted(ship[None], name, severity)[0] - wanted)
        assert difference.max() <= 1
        assert (difference > 0).mean() < 0.06  # cut to whole numbers, a rounding error in float32 shows now and then


@EVERY
def test_the_same_arguments_give_the_same_pictures_and_leave_theirs_alone(name, clean):
    before = clean.copy()
    first, again, other = (corrupted(clean, name, 5, seed) for seed in (1, 1, 2))
    assert first.dtype == np.uint8
    assert first.shape == clean.shape
    assert (first == again).all()
    assert (clean == before).all()
    draws_nothing = {"defocus_blur", "zoom_blur", "brightness", "contrast", "pixelate", "jpeg_compression"}
    assert (first == other).all() == (name in draws_nothing)


@EVERY
def test_a_higher_severity_changes_pictures_more(name, clean):
    slight, severe = (np.abs(corrupted(clean, name, severity).astype(int) - clean).mean() for severity in (1, 5))
    assert slight > 0
    # Published like this: at severity 1 the picture is sheared most, at 5 it is crumpled most.
    assert (severe < slight) if name == "elastic_transform" else (severe > slight)


@EVERY
@pytest.mark.parametrize("value", [0, 255])
def test_black_and_white_pictures_pass(name, value):
    plain = np.full((2, 32, 32, 3), value, np.uint8)
    assert corrupted(plain, name, 5).shape == plain.shape


def test_the_photographs_of_frost_come_with_their_licence():
    sheets = sorted(FROST.glob("*.png"))
    assert len(sheets) == 5
    assert "Apache License" in (FROST / "LICENSE").read_text()
    assert "hendrycks/robustness" in (FROST / "README.md").read_text()
