"""Pictures of every awkward kind, made from one real photograph so that the right answer is known.

`LOSSLESS` kinds hold the very pixels of the photograph in another guise: their answer must equal its answer in every
digit. `CLOSE` kinds change the pixels a little: same class. `REFUSED` kinds get the stated problem.
"""

import io
import struct
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

PHOTO_PATH = Path(__file__).parent.parent / "gateway" / "probe.png"
PHOTO_LABEL = "cat"

ORIENTATION = 0x0112


def photo() -> Image.Image:
    with Image.open(PHOTO_PATH) as image:
        return image.convert("RGB")


def encode(image: Image.Image, image_format: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


def large(image: Image.Image, side: int = 640) -> Image.Image:
    return image.resize((side, side), Image.Resampling.BICUBIC)


def rotated(orientation: int) -> bytes:
    """The photograph stored turned, with the EXIF orientation that turns it upright again."""
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return encode(photo().transpose(undo[orientation]), "PNG", exif=exif)


def rgba_opaque() -> bytes:
    return encode(photo().convert("RGBA"), "PNG")


def sixteen_bit_rgb() -> bytes:
    """A PNG of 16 bits a channel, written by hand since Pillow writes none."""
    pixels = np.asarray(photo()).astype(">u2") * 257
    rows = b"".join(b"\x00" + row.tobytes() for row in pixels)

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", 32, 32, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def animated(image_format: str) -> bytes:
    """The photograph first, then a black frame."""
    black = Image.new("RGB", (32, 32))
    return encode(photo(), image_format, save_all=True, append_images=[black], duration=100, lossless=True)


def grey() -> Image.Image:
    return photo().convert("L")


def sixteen_bit_grey() -> bytes:
    return encode(Image.fromarray(np.asarray(grey()).astype(np.uint16) * 257), "PNG")


def header_only_png(width: int, height: int) -> bytes:
    """A PNG that declares a size and has no pixels: what is refused by size must be refused before it is decoded."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    data = zlib.compress(b"")
    idat = struct.pack(">I", len(data)) + b"IDAT" + data + struct.pack(">I", zlib.crc32(b"IDAT" + data))
    return b"\x89PNG\r\n\x1a\n" + body + idat


def forty_megapixels() -> bytes:
    return encode(photo().resize((6325, 6325), Image.Resampling.BICUBIC), "JPEG", quality=60)


def broken_exif() -> bytes:
    return encode(photo(), "PNG", exif=b"Exif\x00\x00garbage that is no TIFF header")


LOSSLESS: dict[str, Callable[[], bytes]] = {
    "png": PHOTO_PATH.read_bytes,
    "bmp": lambda: encode(photo(), "BMP"),
    "webp lossless": lambda: encode(photo(), "WEBP", lossless=True),
    "rgba opaque": rgba_opaque,
    "16-bit rgb": sixteen_bit_rgb,
    "animated webp": lambda: animated("WEBP"),
    "animated png": lambda: encode(photo(), "PNG", save_all=True, append_images=[Image.new("RGB", (32, 32))]),
    "broken exif": broken_exif,
    **{f"exif orientation {value}": partial(rotated, value) for value in range(2, 9)},
}

CLOSE: dict[str, Callable[[], bytes]] = {
    "large jpeg": lambda: encode(large(photo()), "JPEG", quality=92),
    "cmyk jpeg": lambda: encode(large(photo()).convert("CMYK"), "JPEG", quality=92),
    "wide": lambda: encode(wide(), "PNG"),
    "palette": lambda: encode(photo().quantize(256), "PNG"),
    "palette with transparency": lambda: encode(photo().quantize(255), "PNG", transparency=255),
    "animated gif": lambda: encode(
        photo().quantize(256), "GIF", save_all=True, append_images=[Image.new("P", (32, 32))]
    ),
    "grey with alpha": lambda: encode(grey().convert("LA"), "PNG"),
    "grey": lambda: encode(grey(), "PNG"),
    "16-bit grey": sixteen_bit_grey,
    "avif": lambda: encode(large(photo(), 256), "AVIF", quality=90),
    "avif by its compatible brands": lambda: with_brand(encode(large(photo(), 256), "AVIF", quality=90), b"mif1"),
    "40 megapixels": forty_megapixels,
}


def with_brand(data: bytes, brand: bytes) -> bytes:
    """An AVIF or HEIC that names another brand first."""
    return data[:8] + brand + data[12:]


def wide() -> Image.Image:
    """The photograph, drawn out to 5:4, between two white bars, which are cut off."""
    canvas = Image.new("RGB", (80, 32), "white")
    canvas.paste(photo().resize((40, 32)), (20, 0))
    return canvas


# Kind: bytes, status, last part of the problem's type, words that its detail must hold.
REFUSED: dict[str, tuple[Callable[[], bytes], int, str, str]] = {
    "1x1": (lambda: encode(Image.new("RGB", (1, 1)), "PNG"), 422, "image-too-small", "1 x 1"),
    "7 pixels high": (lambda: encode(Image.new("RGB", (900, 7)), "PNG"), 422, "image-too-small", "900 x 7"),
    "truncated jpeg": (lambda: encode(large(photo()), "JPEG")[:4000], 422, "damaged-image", "JPEG"),
    "truncated png": (lambda: PHOTO_PATH.read_bytes()[:-900], 422, "damaged-image", "PNG"),
    "jpeg of three bytes": (lambda: b"\xff\xd8\xff", 422, "damaged-image", "JPEG"),
    "text named .jpg": (lambda: b"This is a letter, not a picture.\n" * 20, 415, "unsupported-format", "not a picture"),
    "pdf": (lambda: b"%PDF-1.7\n%rest", 415, "unsupported-format", "PDF"),
    "heic": (lambda: b"\x00\x00\x00\x18ftypheic" + bytes(40), 415, "unsupported-format", "HEIC"),
    "heic by its compatible brands": (
        lambda: b"\x00\x00\x00\x18ftypmif1" + bytes(4) + b"mif1heic" + b"avif" * 10,  # the box ends before avif
        415,
        "unsupported-format",
        "HEIC",
    ),
    "postscript": (lambda: b"%!PS-Adobe-3.0 EPSF-3.0\nshowpage\n", 415, "unsupported-format", "not a picture"),
    "tiff": (lambda: encode(photo(), "TIFF"), 415, "unsupported-format", "TIFF"),
    "60 megapixels": (lambda: header_only_png(10_000, 6_000), 422, "too-many-pixels", "10000 x 6000"),
    "bomb": (lambda: header_only_png(2_000_000, 2_000_000), 422, "too-many-pixels", "2000000 x 2000000"),
}
