"""Plain margins, as letterboxed pictures, scans and screenshots have them around what they show."""

from typing import Final

import numpy as np
import numpy.typing as npt

_TOLERANCE: Final = 12  # levels of 256, by which a margin's pixels may be off its colour: JPEG's loss
_LEAST: Final = 0.25  # of either side is left: less may be anything on a plain ground

Box = tuple[int, int, int, int]


def content_box(pixels: npt.NDArray[np.uint8]) -> Box:
    """Give left, top, right and bottom of what lies within plain margins of a picture, pixels of shape (H, W, 3).

    Margins lie at both ends of a side, each of one colour throughout. Where hardly anything would be left, and where
    there are none, it is the whole picture.
    """
    top, bottom = _within(pixels)
    left, right = _within(pixels[top:bottom].swapaxes(0, 1))
    return left, top, right, bottom


def is_plain(line: npt.NDArray[np.uint8]) -> bool:
    """Say whether a line of pixels, shape (N, 3), has one colour."""
    # Most are told by their range, which is quicker found.
    return bool(np.ptp(line, axis=0).max() <= 2 * _TOLERANCE and _off(line[None])[0] <= _TOLERANCE)


def _off(lines: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Give how far each of the lines, shape (M, N, 3), is off the first one's colour where it is most."""
    colour = np.median(lines[0], axis=0).astype(np.float32)
    off: npt.NDArray[np.float32] = np.abs(lines - colour).max((1, 2))
    return off


def _within(lines: npt.NDArray[np.uint8]) -> tuple[int, int]:
    """Give the first and the end of the lines, shape (M, N, 3), that do not belong to a margin at either end."""
    count = len(lines)
    before, after = ((_off(each) > _TOLERANCE).argmax() for each in (lines, lines[::-1]))
    first, end = int(before), count - int(after)
    return (first, end) if first > 0 and end < count and end - first >= _LEAST * count else (0, count)
