"""Malformed and hostile pictures, each made by code: no bytes here are random, every run makes the same.

`ANSWERED` have a photograph in them that must be found all the same, or are whole pictures of another kind. `REFUSED`
get the stated status. `EITHER` are damaged somewhere: whether enough is left to answer is the decoder's to say, but it
is one or the other, at once, and harms nothing.
"""

import io
import json
import random
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable
from functools import cache, partial
from pathlib import Path

from PIL import Image

from tests import pictures

CORPUS = Path(__file__).parent / "corpus"

Make = Callable[[], bytes]
LARGEST = 19_900_000
"""Bytes: below the 20 MB that are taken, to do the most harm."""


def chunk(name: bytes, data: bytes = b"") -> bytes:
    """A PNG chunk."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def ihdr(width: int, height: int, depth: int = 8, colour: int = 2, interlace: int = 0) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlace))


def png(*chunks: bytes) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks) + chunk(b"IEND")


def png_with(*chunks: bytes) -> bytes:
    """The photograph's PNG with chunks behind its header."""
    data = pictures.PHOTO_PATH.read_bytes()
    return data[:33] + b"".join(chunks) + data[33:]


def flat_png(width: int, height: int, **header: int) -> bytes:
    """A picture of one colour: a thousand times smaller than its pixels."""
    row = bytes(1 + 3 * width)
    deflate = zlib.compressobj(9)
    data = b"".join(deflate.compress(row) for _ in range(height)) + deflate.flush()
    return png(ihdr(width, height, **header), chunk(b"IDAT", data))


def zeros(size: int) -> bytes:
    return zlib.compress(bytes(size), 9)


@cache
def photograph(image_format: str) -> bytes:
    image = pictures.large(pictures.photo(), 160)
    options: dict[str, dict[str, object]] = {"JPEG": {"quality": 80}, "AVIF": {"quality": 60, "speed": 8}}
    return pictures.encode(image, image_format, **options.get(image_format, {}))


def jpeg_with(*segments: tuple[int, bytes]) -> bytes:
    """The photograph's JPEG with marker segments behind its first two bytes."""
    data = photograph("JPEG")
    return data[:2] + b"".join(segment(marker, body) for marker, body in segments) + data[2:]


def segment(marker: int, body: bytes = b"") -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def exif(entries: Iterable[tuple[int, int, int, bytes]], following: int = 0) -> bytes:
    """An EXIF block of one directory; an entry is tag, type, count and four bytes."""
    body = [struct.pack("<HHI4s", tag, kind, count, value.ljust(4, b"\0")) for tag, kind, count, value in entries]
    ifd = struct.pack("<H", len(body)) + b"".join(body) + struct.pack("<I", following)
    return b"Exif\0\0II*\0" + struct.pack("<I", 8) + ifd


def orientation(kind: int, count: int, value: bytes) -> bytes:
    return jpeg_with((0xE1, exif([(0x0112, kind, count, value)])))


def scans(side: int, most: int) -> bytes:
    """A progressive JPEG of scans of ten bytes, each of which makes the decoder go over all of the picture."""
    data = pictures.encode(Image.new("L", (side, side)), "JPEG", progressive=True)
    tables = segment(0xC4, b"\x10\1" + bytes(15) + b"\xe0")  # one code: no coefficient in so many blocks
    scan = segment(0xDA, b"\1\1\0" + bytes((1, 63, 0)))  # whose blocks are missing
    return data[: data.index(b"\xff\xda")] + tables + scan * most + b"\xff\xd9"


def gif(width: int, height: int, *blocks: bytes) -> bytes:
    return b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(6) + b"".join(blocks) + b";"


def gif_frame(left: int, top: int, width: int, height: int, data: bytes = b"\2\2\x4c\1\0") -> bytes:
    return b"," + struct.pack("<HHHHB", left, top, width, height, 0) + data


def bmp(width: int, height: int, *, bits: int = 8, compression: int = 0, colours: int = 2, data: bytes = b"") -> bytes:
    offset = 54 + 4 * min(colours, 256)
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, len(data), 0, 0, colours, 0)
    return b"BM" + struct.pack("<IHHI", offset + len(data), 0, 0, offset) + info + bytes(offset - 54) + data


def slow_bmp() -> bytes:
    """Run-length coding with runs of one pixel, which Pillow decodes in Python."""
    return bmp(7000, 7000, compression=1, data=b"\1\0" * (LARGEST // 2))


def riff(*chunks: tuple[bytes, bytes], size: int | None = None) -> bytes:
    body = b"WEBP" + b"".join(
        name + struct.pack("<I", len(data)) + data + bytes(len(data) % 2) for name, data in chunks
    )
    return b"RIFF" + struct.pack("<I", len(body) if size is None else size) + body


def canvas(width: int, height: int, flags: int = 0) -> tuple[bytes, bytes]:
    """WebP's VP8X chunk, whose sizes need not be those of what follows."""
    return b"VP8X", bytes((flags, 0, 0, 0)) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")


def lossless(width: int, height: int) -> bytes:
    """WebP's lossless data of one colour: 20 bytes for any size."""
    header = 0x2F | (width - 1) << 8 | (height - 1) << 22
    return header.to_bytes(5, "little") + bytes.fromhex("8888080000")


def flat_webp(width: int, height: int) -> bytes:
    return pictures.encode(Image.new("RGB", (width, height)), "WEBP", lossless=True)


def avif_lying(width: int, height: int, *, side: int = 64) -> bytes:
    """An AVIF whose container says another size than its frame has."""
    data = pictures.encode(Image.new("RGB", (side, side)), "AVIF", speed=10, quality=1)
    at = data.index(b"ispe") + 8
    return data[:at] + struct.pack(">II", width, height) + data[at + 8 :]


def box(name: bytes, body: bytes = b"") -> bytes:
    return struct.pack(">I", len(body) + 8) + name + body


def nested(depth: int) -> bytes:
    body = b""
    for _ in range(depth):
        body = box(b"meta", bytes(4) + body)
    return box(b"ftyp", b"avif" + bytes(4) + b"avifmif1miaf") + body


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("../../etc/cron.d/evil", bytes(1_000_000))
    return buffer.getvalue()


def giant_icc() -> bytes:
    """A profile in as many segments as JPEG allows, of which each says that it is the first."""
    return jpeg_with(*[(0xE2, b"ICC_PROFILE\0\1\xff" + bytes(65_000))] * 255)


def flipped(image_format: str, seed: int, most: int = 12) -> bytes:
    """The photograph with some bits turned over."""
    data = bytearray(photograph(image_format))
    dice = random.Random(seed)  # the same every time
    for _ in range(dice.randint(1, most)):
        data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
    return bytes(data)


def cut(image_format: str, share: float) -> bytes:
    data = photograph(image_format)
    return data[: int(len(data) * share)]


def other(image_format: str, mode: str = "RGB") -> bytes:
    return pictures.encode(pictures.photo().convert(mode), image_format)


FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "AVIF")
HTML = b"<script>alert(document.domain)</script>"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'
XXE = b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>' + SVG.replace(
    b"/>", b">&e;</image>"
)

ANSWERED: dict[str, Make] = {
    "png and zip in one": lambda: pictures.PHOTO_PATH.read_bytes() + zipped(),
    "jpeg and zip in one": lambda: photograph("JPEG") + zipped(),
    "gif with a script behind it": lambda: photograph("GIF") + b"*/=1;alert(1)//",
    "jpeg with html as its comment": lambda: jpeg_with((0xFE, HTML)),
    "png with html as its text": lambda: png_with(chunk(b"tEXt", b"Comment\0" + HTML)),
    "png with a bomb for text": lambda: png_with(chunk(b"zTXt", b"x\0\0" + zeros(900_000))),
    "jpeg with 255 first parts of a profile": giant_icc,
    "jpeg with a photo of nothing behind it": lambda: photograph("JPEG") + b"\xff\xd8\xff" * 1000,
    "jpeg whose other pictures are nowhere": lambda: jpeg_with((0xE2, b"MPF\0II*\0" + b"\xff" * 40)),
    **{
        f"exif orientation of kind {kind}, {value!r}": partial(orientation, kind, count, value)
        for kind, count, value in (
            (3, 1, b"\0\0"),
            (3, 1, b"\x09"),
            (3, 1, b"\xff\xff"),
            (4, 1, b"\xff\xff\xff\xff"),
            (2, 4, b"six\0"),
            (5, 1, b"\xff\xff\xff\xff"),
            (3, 0xFFFFFFFF, b"\x08"),
            (99, 1, b"\x06"),
        )
    },
    "exif whose directories go round": lambda: jpeg_with(
        (0xE1, exif([(0x8769, 4, 1, struct.pack("<I", 8)), (0x014A, 4, 1, struct.pack("<I", 8))], following=8))
    ),
    "exif of 5,000 entries": lambda: jpeg_with((0xE1, exif([(0x0112, 3, 1, b"\1")] * 5_000))),
    "exif 150 times": lambda: jpeg_with(*[(0xE1, exif([(0x0112, 3, 1, b"\1")]) + bytes(60_000))] * 150),
    "animation of 3,000 frames": lambda: pictures.encode(
        pictures.photo().quantize(256),
        "GIF",
        save_all=True,
        append_images=[Image.new("P", (32, 32), index % 2) for index in range(3_000)],
    ),
}

REFUSED: dict[str, tuple[Make, int]] = {
    "png of 4 gigapixels": (lambda: pictures.header_only_png(65_535, 65_535), 422),
    "png of 2**31 by 2**31": (lambda: pictures.header_only_png(2**31 - 1, 2**31 - 1), 422),
    "png of no width": (lambda: pictures.header_only_png(0, 9), 422),
    "png, flat, 51 megapixels": (lambda: flat_png(8_500, 6_000), 422),
    "jpeg of 4 gigapixels": (
        lambda: b"\xff\xd8" + segment(0xC0, struct.pack(">BHHB", 8, 65_500, 65_500, 1) + b"\1\x11\0") + b"\xff\xd9",
        422,
    ),
    "gif of 4 gigapixels": (lambda: gif(65_535, 65_535, gif_frame(0, 0, 65_535, 65_535)), 422),
    "bmp of 4 gigapixels": (lambda: bmp(65_535, 65_535), 422),
    "bmp of 2**31 by -2**31": (lambda: bmp(2**31 - 1, -(2**31)), 422),
    "webp of 268 megapixels": (lambda: riff((b"VP8L", lossless(16_384, 16_384))), 422),
    "webp of 2**48 pixels": (lambda: riff(canvas(2**24, 2**24), (b"VP8L", lossless(64, 64))), 422),
    "avif that calls itself 4 gigapixels": (lambda: avif_lying(65_535, 65_535), 422),
    "avif that calls itself 2**32 wide": (lambda: avif_lying(2**32 - 1, 64), 422),
    "avif of boxes in boxes": (lambda: nested(400), 422),
    "png without pixels": (lambda: png(ihdr(64, 64)), 422),
    "png without header": (lambda: png(chunk(b"IDAT", zlib.compress(bytes(100)))), 422),
    "png of depth 3": (lambda: png(ihdr(64, 64, depth=3), chunk(b"IDAT", zeros(10_000))), 422),
    "png of a colour type that is none": (lambda: png(ihdr(64, 64, colour=5), chunk(b"IDAT", zeros(10_000))), 422),
    "png with text for 100 MB": (lambda: png_with(*[chunk(b"zTXt", b"x\0\0" + zeros(1_000_000))] * 100), 422),
    "png with a profile that inflates to 100 MB": (
        lambda: png_with(chunk(b"iCCP", b"x\0\0" + zeros(100_000_000))),
        422,
    ),
    "gif with no colours": (lambda: b"GIF89a" + bytes(7) + b";", 422),
    "webp that is too short": (lambda: riff((b"VP8 ", bytes(3))), 422),
    "jpeg without tables": (
        lambda: (
            b"\xff\xd8"
            + segment(0xC0, struct.pack(">BHHB", 8, 64, 64, 1) + b"\1\x11\0")
            + segment(0xDA, b"\1\1\0\0\x3f\0")
            + b"\xff\xd9"
        ),
        422,
    ),
    "empty": (bytes, 400),
    "one byte": (lambda: b"\xff", 415),
    "zeros": (lambda: bytes(100_000), 415),
    "html": (lambda: b"<!doctype html>" + HTML, 415),
    "html that begins like a gif, nearly": (lambda: b"GIF7" + HTML, 415),
    "svg": (lambda: SVG, 415),
    "svg with an entity": (lambda: XXE, 415),
    "eps": (lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n(/etc/passwd) (r) file\n", 415),
    "eps with a preview": (lambda: b"\xc5\xd0\xd3\xc6" + bytes(400), 415),
    "pdf": (lambda: b"%PDF-1.7\n1 0 obj\n<</OpenAction<</S/JavaScript/JS(app.alert(1))>>>>\n", 415),
    "tiff": (lambda: other("TIFF"), 415),
    "tiff, big-endian, its directory its own successor": (lambda: b"MM\0*\0\0\0\x08\0\0\0\0\0\x08", 415),
    "photoshop": (lambda: b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, 64, 64, 8, 3) + bytes(12), 415),
    "icon": (lambda: other("ICO"), 415),
    "netpbm": (lambda: other("PPM"), 415),
    "jpeg 2000": (lambda: b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(60), 415),
    "heic": (lambda: box(b"ftyp", b"heic" + bytes(4) + b"mif1heic") + bytes(60), 415),
    "targa": (lambda: other("TGA"), 415),
    "pcx": (lambda: other("PCX"), 415),
    "icns": (lambda: b"icns" + struct.pack(">I", 100) + bytes(92), 415),
    "dds": (lambda: other("DDS"), 415),
    "mpeg": (lambda: b"\0\0\1\xb3" + bytes(100), 415),
    "windows metafile": (lambda: b"\xd7\xcd\xc6\x9a" + bytes(100), 415),
    "zip": (zipped, 415),
    "gzip": (lambda: b"\x1f\x8b\x08" + bytes(100), 415),
    "program": (lambda: b"\x7fELF\2\1\1" + bytes(100), 415),
    "pickle": (lambda: b"cposix\nsystem\n(S'id'\ntR.", 415),
    "json": (lambda: json.dumps({"image": "x" * 100}).encode(), 415),
    "text as utf-16": (lambda: "picture".encode("utf-16"), 415),
}

SLOW: dict[str, Make] = {
    "bmp in runs of one pixel": slow_bmp,
    "png of a million empty chunks": lambda: png_with(chunk(b"aaAa") * (LARGEST // 12)),
    "jpeg of four million empty comments": lambda: jpeg_with(*[(0xFE, b"")] * (LARGEST // 4)),
    "jpeg of many scans": lambda: scans(7_000, 100_000),
    "jpeg of many small scans": lambda: scans(512, 300_000),
}

EITHER: dict[str, Make] = {
    "gif of a million comments": lambda: gif(64, 64, *[b"!\xfe\1x\0"] * 1_000_000, gif_frame(0, 0, 64, 64)),
    "png, flat, 49 megapixels": lambda: flat_png(7_000, 7_000),
    "webp, flat, 49 megapixels": lambda: flat_webp(7_000, 7_000),
    "avif, flat, 49 megapixels": lambda: pictures.encode(Image.new("RGB", (7_000, 7_000)), "AVIF", speed=10, quality=1),
    "avif of 64 megapixels that calls itself 64 by 64": lambda: avif_lying(64, 64, side=8_000),
    "png, interlaced, 49 megapixels": lambda: flat_png(7_000, 7_000, interlace=1),
    "png with frames that are not there": lambda: png_with(chunk(b"acTL", struct.pack(">II", 2**31 - 1, 0))),
    "png with a frame outside of it": lambda: png_with(
        chunk(b"acTL", struct.pack(">II", 2, 0)),
        chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, 2**31 - 1, 2**31 - 1, 2**31 - 1, 9, 1, 1, 0, 0)),
    ),
    "png, wrong checksum": lambda: pictures.PHOTO_PATH.read_bytes().replace(b"IEND\xaeB`\x82", b"IEND\0\0\0\0"),
    "png, header twice": lambda: png_with(ihdr(7_000, 7_000)),
    "png whose chunk is 4 GB": lambda: png_with(b"\xff\xff\xff\xfftEXt"),
    "png of palette without palette": lambda: png(ihdr(64, 64, colour=3), chunk(b"IDAT", zeros(64 * 65))),
    "gif with a frame outside of it": lambda: gif(64, 64, gif_frame(60_000, 60_000, 5_000, 5_000)),
    "gif whose frame leaves 4 gigapixels behind": lambda: gif(
        64, 64, b"!\xf9\4\x08\0\0\0\0", gif_frame(0, 0, 65_535, 65_535), gif_frame(0, 0, 64, 64)
    ),
    "gif with a frame larger than it": lambda: gif(64, 64, gif_frame(0, 0, 65_535, 65_535)),
    "bmp of negative height": lambda: bmp(64, -64, data=bytes(64 * 64)),
    "bmp of 2**32 colours": lambda: bmp(64, 64, colours=2**32 - 1, data=bytes(64 * 64)),
    "bmp with runs out of it": lambda: bmp(64, 64, compression=1, data=b"\0\2\xff\xff\xff\1" * 1_000),
    "bmp whose pixels are its header": lambda: bmp(64, 64)[:10] + bytes(4) + bmp(64, 64)[14:],
    "webp whose canvas is larger than its picture": lambda: riff(canvas(5_000, 5_000), (b"VP8L", lossless(64, 64))),
    "webp that calls itself 4 GB": lambda: riff((b"VP8L", lossless(64, 64)), size=2**32 - 10),
    "avif smaller than its frame": lambda: avif_lying(16, 16),
    "avif larger than its frame": lambda: avif_lying(4_000, 4_000),
    "avif whose box never ends": lambda: (
        photograph("AVIF")[:4].replace(b"\0\0\0\x20", bytes(4)) + photograph("AVIF")[4:]
    ),
    **{
        f"{image_format}, cut at {share:.0%}": partial(cut, image_format, share)
        for image_format in FORMATS
        for share in (0.02, 0.1, 0.5, 0.9, 0.999)
    },
    **{
        f"{image_format}, bits turned over, {seed}": partial(flipped, image_format, seed)
        for image_format in FORMATS
        for seed in range(12)
    },
    **{path.name: path.read_bytes for path in sorted(CORPUS.glob("*")) if path.is_file()},
}
