"""Pictures with known answers: what a version must get right before it is promoted.

Two hundred of CIFAR-10's validation pictures, which no training saw, lie in one contact sheet, a class a row;
`python -m operations.sample --data data` makes it. The golden pictures are the page's own samples and the probe.
"""

import argparse
import io
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from launcher.settings import ROOT
from model.labels import LABELS

SHEET_PATH: Final = Path(__file__).parent / "validation-sample.png"
SIDE: Final = 32  # pixels
A_CLASS: Final = 20  # pictures

GOLDEN: Final = {
    ROOT / "gateway" / "probe.png": "cat",
    ROOT / "gateway" / "static" / "samples" / "cat.jpg": "cat",
    ROOT / "gateway" / "static" / "samples" / "frog.png": "frog",
    ROOT / "gateway" / "static" / "samples" / "ship.png": "ship",
}


def pictures() -> list[tuple[bytes, str]]:
    """Give the sample's pictures as PNG files with their labels, a picture of each class in turn."""
    with Image.open(SHEET_PATH) as sheet:
        return [
            (_png(sheet.crop((column * SIDE, row * SIDE, (column + 1) * SIDE, (row + 1) * SIDE))), label)
            for column in range(A_CLASS)
            for row, label in enumerate(LABELS)
        ]


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def main() -> None:
    """Draw the contact sheet from CIFAR-10: the first validation pictures of each class."""
    from training.data import load  # noqa: PLC0415  # needs requirements/train.txt, which operators need not install

    parser = argparse.ArgumentParser(prog="python -m operations.sample", description=main.__doc__)
    parser.add_argument("--data", type=Path, default=ROOT / "data", help="an .npz file or a folder (default: data)")
    parser.add_argument("--sheet", type=Path, default=SHEET_PATH, help="where the sheet goes")
    options = parser.parse_args()
    validation = load(options.data).validation
    rows = [validation.images[validation.labels == index][:A_CLASS] for index in range(len(LABELS))]
    grid = np.stack(rows)  # (10, A_CLASS, 32, 32, 3)
    pixels = grid.transpose(0, 2, 1, 3, 4).reshape(len(LABELS) * SIDE, A_CLASS * SIDE, 3)
    Image.fromarray(pixels).save(options.sheet, optimize=True)
    print(f"{options.sheet}  {len(LABELS) * A_CLASS} pictures  {options.sheet.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
