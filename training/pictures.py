"""Pictures beside CIFAR-10 to measure with: labelled photographs, and drawn things that are no photographs."""

import csv
import io
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path, PurePosixPath
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter, ImageFont, ImageOps
from sklearn.datasets import load_digits

from model.images import ImageError, read_pixels
from model.labels import LABELS
from training.data import DataError

NONE: Final = "none"
AMBIGUOUS: Final = "ambiguous"
_MACS_OWN: Final = "__MACOSX"


@dataclass(frozen=True)
class Picture:
    """A picture's file as a person would send it, and which of the ten it shows, or none."""

    data: bytes
    label: str


def png(pixels: npt.NDArray[np.uint8]) -> bytes:
    """Write pixels, shape (H, W, 3), as a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def shrunk(data: bytes, side: int) -> bytes:
    """Make a picture's file one of `side` by `side` pixels, by Pillow's usual filter; the service's is softer."""
    with Image.open(io.BytesIO(data)) as image:
        return png(np.asarray(ImageOps.fit(image.convert("RGB"), (side, side))))


def through_jpeg(pixels: npt.NDArray[np.uint8], quality: int) -> npt.NDArray[np.uint8]:
    """Write pixels, shape (H, W, 3), as a JPEG file and read them again."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    with Image.open(buffer) as image:
        return np.array(image)


def files_in(path: Path) -> Iterator[tuple[str, bytes]]:
    """Give name and bytes of every file in a folder or zip file, by name; hidden ones are left out.

    Raises:
        DataError: there is neither at `path`.
    """
    if path.is_dir():
        for file in sorted(path.rglob("*")):
            name = file.relative_to(path).as_posix()
            if file.is_file() and not _is_hidden(name):
                yield name, file.read_bytes()
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for name in sorted(archive.namelist()):
                if not name.endswith("/") and not _is_hidden(name):
                    yield name, archive.read(name)
    else:
        raise DataError(f"there is no folder or zip file of pictures at {path}")


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") or part == _MACS_OWN for part in PurePosixPath(name).parts)


def photographs(path: Path) -> list[Picture]:
    """Read pictures that lie as CLASS/NAME in a folder or zip file; what cannot be read is left out.

    CLASS is one of the ten or `none`. A file classes.csv in or beside it translates other names: its first column
    holds CLASS and its column `cifar10` one of the ten, `none`, or `ambiguous` for those to be left out.

    Raises:
        DataError: there is neither at `path`, a CLASS says nothing, or no picture lies so.
    """
    names = class_names(path)
    pictures = []
    for name, data in files_in(path):
        folder = PurePosixPath(name).parent.name
        if not folder or names.get(folder) == AMBIGUOUS or not _is_picture(data):
            continue
        if folder not in names:
            raise DataError(f"{path} holds {name}, but {folder!r} is neither one of the ten nor in a classes.csv")
        pictures.append(Picture(data, names[folder]))
    if not pictures:
        raise DataError(
            f"no picture that can be read lies as CLASS/NAME in {path}; put them into folders called "
            f"{', '.join(LABELS)} or {NONE}"
        )
    return pictures


def class_names(path: Path) -> dict[str, str]:
    """Say which of the ten, none or AMBIGUOUS a folder's name stands for, by a classes.csv in or beside `path`, too.

    Raises:
        DataError: there is such a file, but it does not say so.
    """
    return {label: label for label in (*LABELS, NONE)} | _classes_csv(path)


def _is_picture(data: bytes) -> bool:
    try:
        read_pixels(data, 32, 32)
    except ImageError:
        return False
    return True


def _classes_csv(path: Path) -> dict[str, str]:
    for file in (path / "classes.csv", path.parent / "classes.csv"):
        if file.exists():
            with file.open(newline="") as lines:
                rows = csv.DictReader(lines)
                first, *others = rows.fieldnames or [""]
                if "cifar10" not in others:
                    raise DataError(f"{file} needs a column cifar10 behind the one that names CLASS")
                classes = {row[first]: row["cifar10"] for row in rows}
            for name, label in classes.items():
                if label not in (*LABELS, NONE, AMBIGUOUS):
                    raise DataError(f"{file} says {label!r} of {name}; give one of the ten, {NONE} or {AMBIGUOUS}")
            return classes
    return {}


def drawn(kind: str, count: int, seed: int = 0) -> list[Picture]:
    """Make `count` pictures of a kind in `DRAWN`; they show none of the ten. Same arguments, same pictures."""
    rng = np.random.default_rng([seed, sorted(DRAWN).index(kind)])
    pictures = []
    for _ in range(count):
        buffer = io.BytesIO()
        DRAWN[kind](rng).save(buffer, "PNG", compress_level=1)
        pictures.append(Picture(buffer.getvalue(), NONE))
    return pictures


def _side(rng: np.random.Generator) -> int:
    return int(rng.choice([32, 64, 128, 256]))


def _colour(rng: np.random.Generator) -> tuple[int, ...]:
    return tuple(rng.integers(0, 256, 3).tolist())


def _noise(rng: np.random.Generator) -> Image.Image:
    """White noise, or noise blurred into blobs."""
    side = _side(rng)
    image = Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8))
    return image.filter(ImageFilter.GaussianBlur(float(rng.choice([0, 1, 4])) * side / 64))


def _texture(rng: np.random.Generator) -> Image.Image:
    """Sums of a few waves in two colours: stripes, checks, cloth."""
    side = _side(rng)
    y, x = np.mgrid[:side, :side] / side
    waves = np.zeros((side, side))
    for _ in range(rng.integers(1, 5)):
        across, down = rng.normal(0, 12, 2)
        waves += np.sin(2 * np.pi * (across * x + down * y + rng.random()))
    share = (waves - waves.min()) / (np.ptp(waves) + 1e-9)
    share = share[..., None] + rng.normal(0, 0.05, (side, side, 1))
    first, second = (np.array(_colour(rng), float) for _ in range(2))
    pixels: npt.NDArray[np.float64] = first * share + second * (1 - share)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def _drawing(rng: np.random.Generator) -> Image.Image:
    """Filled and open shapes on a plain ground."""
    side = _side(rng)
    image = Image.new("RGB", (side, side), _colour(rng))
    draw = ImageDraw.Draw(image)
    for _ in range(rng.integers(1, 9)):
        box = np.sort(rng.integers(0, side, (2, 2)), axis=0).T.flatten()[[0, 2, 1, 3]].tolist()
        shape = rng.integers(3)
        if shape == 0:
            draw.ellipse(box, _colour(rng))
        elif shape == 1:
            draw.rectangle(box, _colour(rng))
        else:
            draw.line(box, _colour(rng), width=max(1, side // 24))
    return image


def _screenshot(rng: np.random.Generator) -> Image.Image:
    """Lines of letters below a bar, as on a screen."""
    side = max(128, _side(rng))
    dark = rng.random() < 0.4
    ground, ink = ((30, 32, 38), (225, 228, 235)) if dark else ((252, 252, 253), (25, 28, 35))
    image = Image.new("RGB", (side, side), ground)
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, side, side // 10), fill=_colour(rng))
    size = int(rng.integers(9, 16))
    font = ImageFont.load_default(size)
    letters = "abcdefghijklmnopqrstuvwxyz      "
    for top in range(side // 8, side, size + 4):
        line = "".join(rng.choice(list(letters), rng.integers(4, 60)))
        draw.text((6, top), line, fill=ink, font=font)
    return image


@cache
def _digits() -> npt.NDArray[np.float64]:
    images: npt.NDArray[np.float64] = load_digits().images
    return images


def _digit(rng: np.random.Generator) -> Image.Image:
    """A handwritten digit (UCI's, from scikit-learn), enlarged, in two colours."""
    digits = _digits()
    image = digits[rng.integers(len(digits))] / 16
    first, second = (np.array(_colour(rng), float) for _ in range(2))
    pixels = first * image[..., None] + second * (1 - image[..., None])
    side = _side(rng)
    return Image.fromarray(pixels.astype(np.uint8)).resize((side, side), Image.Resampling.BICUBIC)


DRAWN: Final[dict[str, Callable[[np.random.Generator], Image.Image]]] = {
    "digits": _digit,
    "drawings": _drawing,
    "noise": _noise,
    "screenshots": _screenshot,
    "textures": _texture,
}
"""Kinds of pictures that are far from any photograph."""


def _enlarged(image: Image.Image, how: Image.Resampling) -> Image.Image:
    return image.resize((224, 224), how)


def _shrunk_in_frame(picture: Image.Image) -> Image.Image:
    return ImageOps.expand(picture.resize((24, 24), Image.Resampling.BOX), 4, "white")


VARIED: Final[dict[str, Callable[[Image.Image], Image.Image]]] = {
    "enlarged to 224 pixels by repeating pixels": partial(_enlarged, how=Image.Resampling.NEAREST),
    "enlarged to 224 pixels smoothly": partial(_enlarged, how=Image.Resampling.BICUBIC),
    "in a white frame of 4 pixels": partial(ImageOps.expand, border=4, fill="white"),
    "shrunk to 24 pixels in such a frame": _shrunk_in_frame,
    "in grey": ImageOps.grayscale,
    "on their side": partial(Image.Image.transpose, method=Image.Transpose.ROTATE_90),
}
"""What may have become of a picture, RGB, before it is sent."""
