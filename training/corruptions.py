"""The fifteen corruptions of CIFAR-10-C, each at five severities (Hendrycks and Dietterich 2019, arXiv:1903.12261).

CIFAR-10-C is a file of 2.7 GB; this makes its pictures anew. Constants, order of steps, borders and rounding are those
of the program that made the file (make_cifar_c.py in github.com/hendrycks/robustness), its random numbers are not: they
were never published. Each function takes pictures, uint8 of shape (N, 32, 32, 3), the constant of a severity, and where
it draws anything a generator; it gives pixels on the same scale, floating, not yet cut to 0 to 255.
"""

from collections.abc import Callable
from functools import cache
from math import ceil
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from scipy import ndimage
from torch.nn import functional as F

from training.data import Pixels
from training.pictures import through_jpeg

Floats = npt.NDArray[np.floating[Any]]
Random = np.random.Generator

SIDE: Final = 32
SEVERITIES: Final = 5
FROST: Final = Path(__file__).parent / "frost"


class Corruption(NamedTuple):
    """What is done to pictures, and its constant for each severity."""

    function: Callable[..., npt.NDArray[Any]]
    constants: tuple[Any, ...]


def corrupted(pictures: Pixels, name: str, severity: int, seed: int = 0) -> Pixels:
    """Corrupt pictures, shape (N, 32, 32, 3), by one of `CORRUPTIONS`; same arguments, same result.

    Args:
        pictures: what to corrupt; it stays as it is.
        name: the corruption's.
        severity: 1 to 5.
        seed: another one draws other noise, angles and so on.
    """
    function, constants = CORRUPTIONS[name]
    rng = np.random.default_rng([seed, list(CORRUPTIONS).index(name), severity])
    pixels = function(pictures, constants[severity - 1], rng)
    result: Pixels = np.clip(pixels, 0, 255).astype(np.uint8)  # cuts the fractions off, as the file's maker did
    return result


def gaussian_noise(pictures: Pixels, deviation: float, rng: Random) -> Floats:
    """Add normal noise, `deviation` of the full scale."""
    return pictures + 255 * rng.normal(0, deviation, pictures.shape)


def shot_noise(pictures: Pixels, photons: float, rng: Random) -> Floats:
    """Count photons: Poisson noise, white being `photons` of them on average."""
    return 255 / photons * rng.poisson(pictures / 255 * photons)


def impulse_noise(pictures: Pixels, share: float, rng: Random) -> Pixels:
    """Make a `share` of all values, channel by channel, black or white."""
    spoilt = rng.random(pictures.shape) <= share
    extremes = np.where(rng.random(pictures.shape) <= 0.5, np.uint8(255), np.uint8(0))
    return np.where(spoilt, extremes, pictures)


def defocus_blur(pictures: Pixels, constants: tuple[float, float], rng: Random) -> Floats:  # noqa: ARG001
    """Blur by a disk, itself softened: its radius and the softening's deviation, in pixels."""
    radius, softening = constants
    reach = np.arange(-2, 3)
    disk = (np.add.outer(reach**2, reach**2) <= radius**2).astype(np.float64)
    bell = np.exp(-(np.arange(-1, 2) ** 2) / (2 * softening**2))
    softened = ndimage.convolve(disk / disk.sum(), np.outer(bell, bell) / bell.sum() ** 2, mode="constant")
    blurred: Floats = ndimage.correlate(pictures.astype(np.float64), softened[None, :, :, None], mode="mirror")
    return blurred


def glass_blur(pictures: Pixels, constants: tuple[float, int], rng: Random) -> Floats:
    """Blur, move pixels about, blur again: the blur's deviation in pixels, and how often they are moved.

    The program would swap each pixel with a neighbour above or to the left, but its swap of two NumPy views copies the
    neighbour instead; what it published is that.
    """
    deviation, times = constants
    moved = _blurred(pictures, deviation).astype(np.uint8)
    place = np.arange(2, SIDE)
    picture = np.arange(len(pictures))[:, None, None]
    for _ in range(times):
        up, left = rng.integers(-1, 1, (2, len(pictures), len(place), len(place)))
        moved[:, 2:, 2:] = moved[picture, place[:, None] + up, place + left]
    return _blurred(moved, deviation)


def motion_blur(pictures: Pixels, constants: tuple[int, float], rng: Random) -> Floats:
    """Smear along a line up to 45 degrees from the horizontal: radius and deviation in pixels."""
    return _smeared(pictures, *constants, rng.uniform(-45, 45, len(pictures)))


def zoom_blur(pictures: Pixels, end: float, rng: Random) -> Floats:  # noqa: ARG001
    """Average the picture with enlargements of it, a hundredth apart up to `end`."""
    columns = pictures.reshape(len(pictures), SIDE * SIDE, 3)
    zoomed: Floats = np.tensordot(columns, _zooms(end), (1, 1)).swapaxes(1, 2).reshape(pictures.shape)
    return zoomed


def snow(pictures: Pixels, constants: tuple[float, ...], rng: Random) -> Floats:
    """Whiten, and lay smeared flakes over it twice, the second time upside down.

    The constants: mean, deviation, enlargement and threshold of the noise that makes flakes, radius and deviation of
    their smear, and how much of the picture's own brightness stays.
    """
    mean, deviation, factor, threshold, radius, smear, kept = constants
    zoom = _zoom(factor)
    noise = zoom @ rng.normal(mean, deviation, pictures.shape[:3]) @ zoom.T
    specks: Pixels = np.where(noise < threshold, 0, noise.clip(0, 1) * 255).astype(np.uint8)
    flakes = _smeared(specks[..., None], int(radius), smear, rng.uniform(-135, -45, len(pictures)))
    grey = pictures @ np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
    whitened = kept * pictures + (1 - kept) * np.maximum(pictures, grey[..., None] * 1.5 + 127.5)
    snowed: Floats = whitened + flakes + flakes[:, ::-1, ::-1]
    return snowed


def frost(pictures: Pixels, constants: tuple[float, float], rng: Random) -> Floats:
    """Lay a piece of a photograph of frost over it: how much of the picture and of the frost is seen."""
    picture_share, frost_share = constants
    sheets = _frost_sheets()
    pieces = np.empty_like(pictures)
    for piece, index in zip(pieces, rng.integers(len(sheets), size=len(pieces)), strict=True):
        sheet = sheets[index]
        top, left = rng.integers(0, (sheet.shape[0] - SIDE, sheet.shape[1] - SIDE))
        piece[:] = sheet[top : top + SIDE, left : left + SIDE]
    frosted: Floats = picture_share * pictures + frost_share * pieces
    return frosted


def fog(pictures: Pixels, constants: tuple[float, float], rng: Random) -> Floats:
    """Add clouds and darken to the range of before: how thick they are, and how fast finer ones fade."""
    thickness, decay = constants
    brightest = pictures.max(axis=(1, 2, 3), keepdims=True) / 255
    clouded = pictures + 255 * thickness * _clouds(len(pictures), decay, rng)[..., None]
    dimmed: Floats = clouded * brightest / (brightest + thickness)
    return dimmed


def brightness(pictures: Pixels, more: float, rng: Random) -> Floats:  # noqa: ARG001
    """Raise the value of hue, saturation and value, which is the largest channel."""
    value = pictures.max(axis=3, keepdims=True)
    raised = np.minimum(value + 255 * more, 255)
    brighter: Floats = np.where(value == 0, raised, pictures * (raised / np.maximum(value, 1)))
    return brighter


def contrast(pictures: Pixels, kept: float, rng: Random) -> Floats:  # noqa: ARG001
    """Draw each channel's values towards its mean."""
    means = pictures.mean(axis=(1, 2), keepdims=True)
    drawn: Floats = (pictures - means) * kept + means
    return drawn


def elastic_transform(pictures: Pixels, constants: tuple[float, float, float], rng: Random) -> Floats:
    """Shear by moving three points, then move every pixel a little, neighbours alike.

    The constants: strength and smoothness of the small movements, and how far the points may go, in pixels.
    """
    strength, smoothness, jitter = constants
    points = np.array([(26.0, 26.0), (26.0, 6.0), (6.0, 6.0)])  # x, y
    moved = points + rng.uniform(-jitter, jitter, (len(pictures), 3, 2))
    # Where each pixel comes from: the affine map that brings the moved points back.
    back = np.linalg.solve(np.concatenate([moved, np.ones((len(moved), 3, 1))], axis=2), points)  # (N, 3, 2)
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float64)
    sheared = _sampled(pictures, np.stack([x, y, np.ones_like(x)], axis=-1) @ back[:, None], mirrored_at_centres=True)
    shifts = rng.uniform(-1, 1, (len(pictures), SIDE, SIDE, 2))
    shifts = strength * ndimage.gaussian_filter(shifts, (0, smoothness, smoothness, 0), mode="reflect", truncate=3)
    return _sampled(sheared, np.stack([x, y], axis=-1) + shifts, mirrored_at_centres=False)


def pixelate(pictures: Pixels, share: float, rng: Random) -> Pixels:  # noqa: ARG001
    """Shrink to a `share` of the side and enlarge again."""
    small = (int(SIDE * share),) * 2
    images = [Image.fromarray(picture).resize(small, Image.Resampling.BOX) for picture in pictures]
    return np.stack([np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BOX)) for image in images])


def jpeg_compression(pictures: Pixels, quality: int, rng: Random) -> Pixels:  # noqa: ARG001
    """Write as JPEG and read again."""
    return np.stack([through_jpeg(picture, quality) for picture in pictures])


def _blurred(pictures: Pixels, deviation: float) -> Floats:
    """Blur as scikit-image's `gaussian` does."""
    blurred: Floats = ndimage.gaussian_filter(
        pictures.astype(np.float64), (0, deviation, deviation, 0), mode="nearest", truncate=4
    )
    return blurred


def _smeared(pictures: Pixels, radius: int, deviation: float, angles: Floats) -> Floats:
    """Smear each picture, shape (N, 32, 32, channels), in its own direction as ImageMagick's MotionBlurImage does.

    A pixel becomes a mean of those that lie from it in the direction of the angle, clockwise from the right, in
    degrees, with the weights of half a Gaussian; beyond the border its own pixels go on.
    """
    steps = np.arange(2 * radius + 1)
    weights = np.exp(-(steps**2) / (2 * deviation**2))
    radians = np.deg2rad(angles)[:, None]
    across, down = (np.ceil(steps * part - 0.5).astype(np.int64) for part in (np.cos(radians), np.sin(radians)))
    place = np.arange(SIDE)
    picture = np.arange(len(pictures))[:, None, None]
    smeared = np.zeros(pictures.shape)
    for step, weight in enumerate(weights / weights.sum()):
        rows = (place + down[:, step, None]).clip(0, SIDE - 1)
        columns = (place + across[:, step, None]).clip(0, SIDE - 1)
        smeared += weight * pictures[picture, rows[:, :, None], columns[:, None, :]]
    cut: Floats = np.rint(smeared * 257) // 257  # it computes with 16 bits a value and cuts them to 8
    return cut


@cache
def _zoom(factor: float) -> Floats:
    """Give the matrix, shape (32, 32), that enlarges the middle of a row or column to the whole of it, linearly."""
    kept = ceil(SIDE / factor)
    enlarged = ndimage.zoom(np.eye(kept), (factor, 1), order=1)
    above, left = (len(enlarged) - SIDE) // 2, (SIDE - kept) // 2
    matrix = np.zeros((SIDE, SIDE))
    matrix[:, left : left + kept] = enlarged[above : above + SIDE]
    return matrix


@cache
def _zooms(end: float) -> Floats:
    """Give the matrix, shape (1024, 1024), that averages a picture, row by row, with its enlargements."""
    zooms = [np.eye(SIDE), *(_zoom(factor) for factor in np.arange(1, end, 0.01))]
    averaged: Floats = np.mean([np.kron(zoom, zoom) for zoom in zooms], axis=0)
    return averaged


@cache
def _frost_sheets() -> list[Pixels]:
    return [np.asarray(Image.open(path)) for path in sorted(FROST.glob("*.png"))]


def _clouds(count: int, decay: float, rng: Random) -> Floats:
    """Draw fractal height maps of 0 to 1, shape (N, 32, 32), by diamonds and squares on a torus."""
    heights = np.zeros((count, SIDE, SIDE))
    step, roughness = SIDE, 100.0

    def between(neighbours: Floats) -> Floats:
        """Give the mean of four neighbours, whose sum comes in, and add noise."""
        return neighbours / 4 + roughness * rng.uniform(-roughness, roughness, neighbours.shape)

    while step > 1:
        half = step // 2
        corners = heights[:, ::step, ::step]
        right, below = np.roll(corners, -1, axis=2), np.roll(corners, -1, axis=1)
        centres = between(corners + right + below + np.roll(below, -1, axis=2))
        heights[:, half::step, half::step] = centres
        heights[:, ::step, half::step] = between(centres + np.roll(centres, 1, axis=1) + corners + right)
        heights[:, half::step, ::step] = between(centres + np.roll(centres, 1, axis=2) + corners + below)
        step, roughness = half, roughness / decay
    heights -= heights.min(axis=(1, 2), keepdims=True)
    clouds: Floats = heights / heights.max(axis=(1, 2), keepdims=True)
    return clouds


def _sampled(pictures: npt.NDArray[Any], places: Floats, *, mirrored_at_centres: bool) -> Floats:
    """Look pictures up at places (x, y), shape (N, 32, 32, 2), bilinearly, pixel (0, 0) being the first one's centre.

    Beyond the border lies the mirrored picture, mirrored at the outermost pixels' centres or at their edges.
    """
    grid = 2 * places / (SIDE - 1) - 1 if mirrored_at_centres else (2 * places + 1) / SIDE - 1
    sampled = F.grid_sample(
        torch.from_numpy(pictures.astype(np.float64)).movedim(3, 1),
        torch.from_numpy(grid),
        padding_mode="reflection",
        align_corners=mirrored_at_centres,
    )
    found: Floats = sampled.movedim(1, 3).numpy()
    return found


CORRUPTIONS: Final = {
    "gaussian_noise": Corruption(gaussian_noise, (0.04, 0.06, 0.08, 0.09, 0.10)),
    "shot_noise": Corruption(shot_noise, (500, 250, 100, 75, 50)),
    "impulse_noise": Corruption(impulse_noise, (0.01, 0.02, 0.03, 0.05, 0.07)),
    "defocus_blur": Corruption(defocus_blur, ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1))),
    "glass_blur": Corruption(glass_blur, ((0.05, 1), (0.25, 1), (0.4, 1), (0.25, 2), (0.4, 2))),
    "motion_blur": Corruption(motion_blur, ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5))),
    "zoom_blur": Corruption(zoom_blur, (1.06, 1.11, 1.16, 1.21, 1.26)),
    "snow": Corruption(
        snow,
        (
            (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
            (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
            (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
            (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
            (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
        ),
    ),
    "frost": Corruption(frost, ((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45))),
    "fog": Corruption(fog, ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75))),
    "brightness": Corruption(brightness, (0.05, 0.1, 0.15, 0.2, 0.3)),
    "contrast": Corruption(contrast, (0.75, 0.5, 0.4, 0.3, 0.15)),
    "elastic_transform": Corruption(
        elastic_transform, ((0, 0, 2.56), (1.6, 6.4, 2.24), (2.56, 1.92, 1.92), (3.2, 1.28, 1.6), (3.2, 0.96, 0.96))
    ),
    "pixelate": Corruption(pixelate, (0.95, 0.9, 0.85, 0.75, 0.65)),
    "jpeg_compression": Corruption(jpeg_compression, (80, 65, 58, 50, 40)),
}
"""The fifteen of the benchmark in its order, with the published constants for severities 1 to 5.

Lengths that are stated there as shares of the side are in pixels here.
"""
