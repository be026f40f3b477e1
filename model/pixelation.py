"""Pictures that were enlarged by repeating pixels, as viewers, plots and screenshots have them; made small again.

Blocks have edges that no photograph has, and a network that never saw any misnames what they show. Where a picture
consists of them, each becomes the pixel that it was made of.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image

Floats = npt.NDArray[np.floating[Any]]

LARGER_THAN: Final = 32
"""Side, in pixels, up to which pictures are left as they are: CIFAR-10's, however spoilt."""
FEWEST: Final = 12
"""Blocks a side; JPEG has 8 of its own in 64 pixels."""

_LONGEST: Final = 1.3  # of a block, over the shorter side: model.images squeezes by a quarter at most
_CLEAR: Final = 0.35  # of a photograph's changes at most a third repeat so along both sides, of one in thousands more
_LEFT: Final = 0.3  # of the mean square of changes; by so much a picture may differ from its blocks
_FIRST_PEAK: Final = 0.9  # of the highest: edges repeat at multiples of their frequency just as clearly
_FINENESS: Final = 16  # frequencies to look at for each cycle in a side
_TOLERANCE: Final = 0.2  # of a block, by which the first or last one may be cut


@dataclass(frozen=True)
class _Blocks:
    """Where blocks lie along a side, in pixels; only whole ones count."""

    first: float
    length: float
    count: int

    @property
    def end(self) -> float:
        return self.first + self.count * self.length


def without_blocks(picture: Image.Image) -> Image.Image:
    """Give a pixel of its colour for each block that a picture consists of, else the picture itself.

    Blocks are about square and two or more pixels long. They need not be of even length nor have sharp edges, as after
    JPEG's loss or shrinking, nor begin at the picture's edge, as in screenshots; those that it cuts are left out.
    """
    if min(picture.size) <= LARGER_THAN:
        return picture
    grey = np.asarray(picture.convert("L"), np.float32)
    down, across = np.diff(grey, axis=0) ** 2, np.diff(grey, axis=1) ** 2
    rows, columns = _blocks(np.sqrt(down.mean(1))), _blocks(np.sqrt(across.mean(0)))
    if rows is None or columns is None or not 1 / _LONGEST <= rows.length / columns.length <= _LONGEST:
        return picture
    box = (columns.first, rows.first, min(columns.end, picture.width), min(rows.end, picture.height))
    small = picture.resize((columns.count, rows.count), Image.Resampling.BOX, box)
    difference = _difference(grey, np.asarray(small.convert("L"), np.float32), rows, columns)
    return small if difference <= _LEFT * (down.mean() + across.mean()) else picture


def _blocks(changes: Floats) -> _Blocks | None:
    """Find blocks by how much changes from each pixel to the next along a side, if there are clear ones."""
    side = len(changes) + 1
    if not changes.any():
        return None
    spectrum = np.fft.rfft(changes, _FINENESS * side)
    strength = np.abs(spectrum) / changes.sum()
    strength[: _FINENESS * FEWEST] = 0
    if strength.max() < _CLEAR:
        return None
    start = int(np.argmax(strength >= _FIRST_PEAK * strength.max()))
    peak = start + int(np.argmax(strength[start : start + _FINENESS]))
    length = _FINENESS * side / peak
    # The phase says where edges are; the first change is at the one between the first two pixels.
    first = (1 - np.angle(spectrum[peak]) / (2 * np.pi) * length) % length
    if first > (1 - _TOLERANCE) * length:
        first = 0.0
    return _Blocks(first, length, int((side - first) / length + _TOLERANCE))


def _difference(grey: Floats, small: Floats, rows: _Blocks, columns: _Blocks) -> float:
    """Give the mean square of what differs between a picture and its blocks."""

    def inside(blocks: _Blocks, side: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """Give the pixels that lie in a block, and in which."""
        places = ((np.arange(side) + 0.5 - blocks.first) // blocks.length).astype(np.intp)
        pixels = np.flatnonzero((places >= 0) & (places < blocks.count))
        return pixels, places[pixels]

    (y, down), (x, across) = inside(rows, grey.shape[0]), inside(columns, grey.shape[1])
    return float(((grey[np.ix_(y, x)] - small[np.ix_(down, across)]) ** 2).mean())
