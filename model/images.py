"""From an image file's bytes to the network's input: the only place where this is done.

Any picture becomes one RGB square. The middle of what lies within plain margins, at most `LONGEST` times as long as it
is wide, is squeezed to a square of at most `detail` pixels with antialiasing, laid over white where it is transparent,
turned upright by its EXIF orientation, made of single pixels again if it consists of blocks, and brought to `side`
pixels. Of an animation the first frame is taken. A picture of `side` by `side` pixels without margins, transparency or
blocks passes unchanged, pixel for pixel, where `detail` is no less.
"""

import io
import warnings
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from model.margins import Box, content_box, is_plain
from model.pixelation import LARGER_THAN, without_blocks

Pixels = npt.NDArray[np.uint8]

FORMATS: Final = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "AVIF")
"""The only formats that are decoded, by Pillow's names; none of them starts an external program."""

MIN_SIDE: Final = 8
"""Pixels; below this a picture tells the network next to nothing."""

MAX_PIXELS: Final = 50_000_000
"""Width times height; the 50-megapixel pictures of today's phones pass (8,160 x 6,120)."""

LONGEST: Final = 1.25
"""The longer side of what is seen of a picture, over the shorter one: only beyond that is anything cut off."""

# First bytes, to tell a damaged picture from something that is no picture that we read, and to name the latter.
_SIGNATURES: Final = (
    (0, b"\xff\xd8\xff", "JPEG"),
    (0, b"\x89PNG", "PNG"),
    (8, b"WEBP", "WEBP"),
    (0, b"GIF8", "GIF"),
    (4, b"ftypavi", "AVIF"),
    (4, b"ftyphei", "HEIC"),
    (0, b"II*\x00", "TIFF"),
    (0, b"MM\x00*", "TIFF"),
    (0, b"%PDF", "PDF"),
    (0, b"<svg", "SVG"),
    (0, b"BM", "BMP"),
)

# Brands of ISO/IEC 23008-12's container that do not say what compresses the picture; one of the others that the file is
# compatible with does. Those are read up to this many bytes.
_ANY_BRANDS: Final = (b"ftypmif1", b"ftypmsf1")
_MOST_BRANDS: Final = 128

# Bytes of a JPEG that are decoded at a time. Each may hold many scans, and each scan goes over all pixels: Pillow's own
# 64 kB could take half a minute, in which nobody can break it off. Of a photograph, smaller ones cost next to nothing.
_JPEG_BLOCK: Final = 2048

# The softest of Pillow's filters: of all it leaves large photographs most like CIFAR-10's own pictures.
_FILTER: Final = Image.Resampling.BILINEAR

_EXIF_ORIENTATION: Final = 0x0112
# EXIF 2.32, tag 274: what turns the stored pixels upright.
_UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# What lies along the turned picture's width, and along its height: the stored one's, from its start or its end.
_TURNED: Final = {
    Image.Transpose.FLIP_LEFT_RIGHT: ("-x", "y"),
    Image.Transpose.ROTATE_180: ("-x", "-y"),
    Image.Transpose.FLIP_TOP_BOTTOM: ("x", "-y"),
    Image.Transpose.TRANSPOSE: ("y", "x"),
    Image.Transpose.ROTATE_270: ("-y", "x"),
    Image.Transpose.TRANSVERSE: ("-y", "-x"),
    Image.Transpose.ROTATE_90: ("y", "-x"),
}


@dataclass(frozen=True)
class Region:
    """Where in an upright picture something lies, in shares of its width and height from the left and the top."""

    left: float = 0.0
    top: float = 0.0
    right: float = 1.0
    bottom: float = 1.0

    def turned(self, transpose: Image.Transpose) -> "Region":
        """Give where it lies when the picture has been turned or mirrored."""
        across, down = _TURNED[transpose]
        ends = {"x": (self.left, self.right), "y": (self.top, self.bottom)}
        ends |= {f"-{name}": (1 - end, 1 - start) for name, (start, end) in ends.items()}
        (left, right), (top, bottom) = ends[across], ends[down]
        return Region(left, top, right, bottom)


@dataclass(frozen=True)
class Square:
    """What the network is given of a picture, and of how many pixels it was made."""

    pixels: Pixels
    """RGB, 0 to 255, shape (3, side, side)."""
    seen: int
    """Side, in pixels, of the square before it was enlarged: the picture's shorter side, at most `detail`.

    Margins that are cut off do not count. Pixels that were made blocks of count as one each.
    """
    region: Region = Region()
    """The part of the picture that it shows."""


class ImageError(Exception):
    """A picture that gets no answer; the message says what is wrong and what to do, in words for its sender.

    `facts` has what the message fills in (the problem's extension members, RFC 9457 section 3.2), so that others can
    say the same in another language.
    """

    def __init__(self, message: str, **facts: str | int | None) -> None:
        super().__init__(message)
        self.facts = facts

    kind: ClassVar[str]  # last part of the problem's type
    title: ClassVar[str]
    status: ClassVar[int]  # HTTP


class UnsupportedFormatError(ImageError):
    """The bytes are not of a format that is read."""

    kind = "unsupported-format"
    title = "Not an image format that is read"
    status = 415


class EmptyFileError(ImageError):
    """There are no bytes."""

    kind = "empty-file"
    title = "The file is empty"
    status = 400


class DamagedImageError(ImageError):
    """The bytes begin like a picture but cannot be decoded."""

    kind = "damaged-image"
    title = "The picture cannot be decoded"
    status = 422


class ImageTooSmallError(ImageError):
    """Width or height is below `MIN_SIDE`."""

    kind = "image-too-small"
    title = "The picture is too small"
    status = 422


class TooManyPixelsError(ImageError):
    """Width times height is above `MAX_PIXELS`."""

    kind = "too-many-pixels"
    title = "The picture has too many pixels"
    status = 422


class TooCostlyError(ImageError):
    """Decoding takes too much time or memory."""

    kind = "too-costly"
    title = "The picture takes too long to decode"
    status = 422

    def __init__(self) -> None:
        super().__init__(
            "Decoding it takes too much time or memory. Save it anew, smaller or as an ordinary JPEG, and send that."
        )


def read_pixels(image_bytes: bytes | bytearray, side: int, detail: int) -> Pixels:
    """Decode one picture as `read_square` does, and give its pixels alone, shape (3, side, side).

    Raises:
        ImageError: as there.
    """
    return read_square(image_bytes, side, detail).pixels


def read_square(image_bytes: bytes | bytearray, side: int, detail: int) -> Square:
    """Decode one picture into a network's input of `side` by `side` pixels.

    `detail` is the side, in pixels, that larger pictures are shrunk to before they are brought to `side`.

    Raises:
        EmptyFileError: there are no bytes.
        UnsupportedFormatError: not one of `FORMATS`.
        DamagedImageError: truncated or otherwise not decodable.
        ImageTooSmallError: a side is shorter than `MIN_SIDE`.
        TooManyPixelsError: there are more than `MAX_PIXELS`.
        TooCostlyError: there is not enough memory, or a GIF would take too much.
    """
    try:
        with warnings.catch_warnings():  # of metadata that Pillow finds odd: they would go to the log
            warnings.simplefilter("ignore")
            return _read_square(image_bytes, side, detail)
    except MemoryError as error:
        raise TooCostlyError from error


def _read_square(image_bytes: bytes | bytearray, side: int, detail: int) -> Square:
    with _open(image_bytes) as image:
        width, height = image.size
        if min(width, height) < MIN_SIDE:
            raise ImageTooSmallError(
                f"The picture is {width} x {height} pixels; each side needs {MIN_SIDE} or more. Send a larger one.",
                width=width,
                height=height,
                min_side=MIN_SIDE,
            )
        if width * height > MAX_PIXELS:
            raise TooManyPixelsError(
                f"The picture is {width} x {height} pixels; at most {MAX_PIXELS // 1_000_000} megapixels are read. "
                "Send a smaller one; a few hundred pixels a side are plenty.",
                width=width,
                height=height,
                max_pixels=MAX_PIXELS,
            )
        try:
            square, region = _square(image, detail)
            upright = _UPRIGHT.get(_orientation(image))
        except MemoryError:
            raise
        except Exception as error:  # Pillow's decoders raise a dozen kinds, SyntaxError and struct.error among them
            raise _damaged(image.format or "image") from error
    if upright is not None:
        square, region = square.transpose(upright), region.turned(upright)
    square = without_blocks(square)
    seen = min(square.size)
    if square.size != (side, side):
        square = square.resize((side, side), _FILTER)
    return Square(np.ascontiguousarray(np.asarray(square).transpose(2, 0, 1)), seen, region)


def _open(image_bytes: bytes | bytearray) -> Image.Image:
    name = _format_of(image_bytes)
    if name in FORMATS:
        # Pillow's own limit says less than ours, which is checked before a pixel is decoded. But what a GIF's first
        # frame will be replaced by, of any size, is laid out as it is opened; above twice this it is not.
        Image.MAX_IMAGE_PIXELS = MAX_PIXELS if name == "GIF" else None
        try:
            return Image.open(io.BytesIO(image_bytes), formats=(name,))
        except MemoryError:
            raise
        except Image.DecompressionBombError as error:
            raise TooCostlyError from error
        except Exception as error:  # as above: headers are parsed here
            raise _damaged(name) from error
    if not image_bytes:
        raise EmptyFileError("The file is empty: it has no bytes. Choose the picture again and send that.")
    what = f"This is a {name} file" if name else "This is not a picture"
    raise UnsupportedFormatError(f"{what}. Send a JPEG, PNG, WebP, GIF, BMP or AVIF picture.", format=name)


def _format_of(image_bytes: bytes | bytearray) -> str | None:
    for offset, signature, name in _SIGNATURES:
        if image_bytes[offset : offset + len(signature)] == signature:
            return name
    if image_bytes[4:12] in _ANY_BRANDS:
        end = min(int.from_bytes(image_bytes[:4]), _MOST_BRANDS)
        brands = {bytes(image_bytes[start : start + 4]) for start in range(16, end, 4)}
        return "AVIF" if brands & {b"avif", b"avis"} else "HEIC"
    return None


def _damaged(name: str) -> DamagedImageError:
    return DamagedImageError(
        f"The {name} data is damaged or cut short. Open the picture in a viewer, save it anew and send that.",
        format=name,
    )


def _square(image: Image.Image, detail: int) -> tuple[Image.Image, Region]:
    """Give the middle as a square RGB picture of at most `detail` pixels a side, not yet turned upright, and where."""
    # A JPEG can be decoded at an eighth of its size; four times the target leaves antialiasing its work.
    image.draft(None, (4 * detail, 4 * detail))
    if isinstance(image, JpegImageFile):
        image.decodermaxblock = _JPEG_BLOCK
    image.load()
    if image.mode.startswith("I;16"):  # Pillow would clip 16-bit grey at 255
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    mode = "RGBA" if image.has_transparency_data else "RGB"
    if image.mode != mode:  # else it would be copied, which for 50 megapixels is 200 MB
        image = image.convert(mode)
    left, top, right, bottom = _content(image, detail)
    shorter = min(right - left, bottom - top)
    width, height = (min(length, LONGEST * shorter) for length in (right - left, bottom - top))
    box = (
        (left + right - width) / 2,
        (top + bottom - height) / 2,
        (left + right + width) / 2,
        (top + bottom + height) / 2,
    )
    side = min(shorter, detail)
    shares = (edge / length for edge, length in zip(box, 2 * image.size, strict=True))
    return _shrunk(image, box, (side, side)), Region(*shares)


def _content(image: Image.Image, detail: int) -> Box:
    """Find what lies within plain margins, by the picture as it is at `detail` pixels a side.

    Small pictures are left as they are, also those that were enlarged by repeating pixels.
    """
    width, height = image.size
    whole = (0, 0, width, height)
    if min(image.size) <= LARGER_THAN:
        return whole
    across, down = min(width, detail), min(height, detail)
    # Of most pictures the first lines say that there is nothing to find.
    row = np.asarray(_shrunk(image.crop((0, 0, width, 1)), None, (across, 1)))
    column = np.asarray(_shrunk(image.crop((0, 0, 1, height)), None, (1, down)))
    if not is_plain(row[0]) and not is_plain(column[:, 0]):
        return whole
    small = _shrunk(image, whole, (across, down))
    left, top, right, bottom = box = content_box(np.asarray(small))
    if box == (0, 0, across, down):
        return whole
    content = small.crop(box)
    blocks = without_blocks(content)
    if blocks is not content and min(across * blocks.width / content.width, down * blocks.height / content.height) < (
        LARGER_THAN + 1  # the blocks' length is no more than an estimate
    ):
        return whole
    left, right = _at_full_size(left, right, across, width)
    top, bottom = _at_full_size(top, bottom, down, height)
    return left, top, right, bottom


def _at_full_size(first: int, end: int, count: int, length: int) -> tuple[int, int]:
    """Give the pixels, of `length`, that some of `count` lines stand for.

    Where lines are fewer, those at the ends mix margin and content; they go with the margin.
    """
    if (first, end) == (0, count):
        return 0, length
    mixed = int(length > count)
    return -(-(first + mixed) * length // count), (end - mixed) * length // count


def _shrunk(image: Image.Image, box: tuple[float, float, float, float] | None, size: tuple[int, int]) -> Image.Image:
    """Give a part of a picture, or all of it, at a size, over white where it is transparent."""
    if image.size != size:
        image = image.resize(size, _FILTER, box, reducing_gap=4)
    if image.mode == "RGBA":
        white = Image.new("RGBA", size, "white")
        image = Image.alpha_composite(white, image).convert("RGB")
    return image


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_EXIF_ORIENTATION, 1))
    except Exception:  # noqa: BLE001  # a broken EXIF block says nothing about the pixels, which are whole
        return 1
