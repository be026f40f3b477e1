"""CIFAR-10 from wherever it lies, and its one fixed split.

Three sources give the same arrays: torchvision's download (the default), one `.npz` archive, and the layout of Kaggle's
"CIFAR-10 - Object Recognition in Images" competition. `python -m training.data` prints what the data is.
"""

import argparse
import csv
import importlib
import sys
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from sklearn.model_selection import train_test_split

from model.labels import LABELS

Pixels = npt.NDArray[np.uint8]
Classes = npt.NDArray[np.uint8]
Indices = npt.NDArray[np.int64]

VALIDATION_SHARE: Final = 0.1  # 5,000 of 50,000
SPLIT_SEED: Final = 10
SIDE: Final = 32
NPZ_KEYS: Final = ("train_images", "train_labels", "test_images", "test_labels")


class DataError(Exception):
    """The data is missing or is not CIFAR-10; the message says what to do."""


@dataclass(frozen=True)
class Split:
    """Pictures, shape (N, 32, 32, 3), RGB, and their class indices, shape (N,)."""

    images: Pixels
    labels: Classes

    def __post_init__(self) -> None:
        if self.images.dtype != np.uint8 or self.images.ndim != 4 or self.images.shape[1:] != (32, 32, 3):
            raise DataError(
                f"pictures must be uint8 of shape (N, 32, 32, 3), not {self.images.dtype} {self.images.shape}"
            )
        if self.labels.shape != self.images.shape[:1]:
            raise DataError(f"{len(self.images)} pictures came with labels of shape {self.labels.shape}")
        if not np.issubdtype(self.labels.dtype, np.integer):
            raise DataError(f"class indices must be whole numbers, not {self.labels.dtype}")
        if len(wrong := self.labels[(self.labels < 0) | (self.labels >= len(LABELS))]):
            raise DataError(f"class indices must be 0 to {len(LABELS) - 1}, found {wrong[0]}")

    def __len__(self) -> int:
        return len(self.images)

    def take(self, indices: Indices) -> "Split":
        """Give the pictures at `indices`."""
        return Split(self.images[indices], self.labels[indices])


@dataclass(frozen=True)
class Cifar10:
    """Training, validation and test pictures; the test split is empty where the source has no test labels (Kaggle)."""

    train: Split
    validation: Split
    test: Split


def load(source: Path) -> Cifar10:
    """Read CIFAR-10 from `source`: an `.npz` file, a folder in Kaggle's layout, or a folder to download into.

    Raises:
        DataError: nothing usable is there and it cannot be downloaded, or there are too few pictures to split.
    """
    development, test = read(source)
    try:
        train, validation = split_indices(development.labels)
    except ValueError as error:
        raise DataError(
            f"{source} has too few training pictures to set a tenth of each class aside: {error}"
        ) from error
    return Cifar10(development.take(train), development.take(validation), test)


def split_indices(labels: Classes) -> tuple[Indices, Indices]:
    """Give the indices of training and of validation pictures, each class in equal shares: a tenth is validation."""
    train, validation = train_test_split(
        np.arange(len(labels)), test_size=VALIDATION_SHARE, stratify=labels, random_state=SPLIT_SEED
    )
    return np.sort(train), np.sort(validation)


def read(source: Path) -> tuple[Split, Split]:
    """Read the data set's own two parts, training and test, in its own order."""
    if source.suffix == ".npz":
        return _read_npz(source)
    if (source / "cifar10.npz").exists():
        return _read_npz(source / "cifar10.npz")
    if (source / "trainLabels.csv").exists():
        return _read_kaggle(source)
    return _read_torchvision(source)


def _read_npz(path: Path) -> tuple[Split, Split]:
    if not path.exists():
        raise DataError(f"there is no {path}")
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            missing = [key for key in NPZ_KEYS if key not in archive]
            if missing:
                raise DataError(f"{path} lacks {', '.join(missing)}; it must hold {', '.join(NPZ_KEYS)}")
            train_images, train_labels, test_images, test_labels = (archive[key] for key in NPZ_KEYS)
    except (OSError, EOFError, TypeError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path} is no .npz archive, or a damaged one ({error}); make or copy it anew") from error
    return Split(train_images, train_labels), Split(test_images, test_labels)


def _read_kaggle(folder: Path) -> tuple[Split, Split]:
    """Read `train/ID.png` with `trainLabels.csv`; Kaggle's own test pictures are unlabelled, so that split is empty."""

    def part(name: str) -> Split:
        table = folder / f"{name}Labels.csv"
        if not table.exists():
            return Split(np.empty((0, 32, 32, 3), np.uint8), np.empty(0, np.uint8))
        with table.open(newline="") as file:
            reader = csv.DictReader(file)
            if not {"id", "label"} <= set(reader.fieldnames or ()):
                raise DataError(f"{table} needs the columns id and label in its first line, as Kaggle's has them")
            try:
                rows = sorted((int(row["id"]), str(row["label"])) for row in reader)
            except (TypeError, ValueError) as error:
                raise DataError(f"{table} holds an id that is no number: {error}") from error
        unknown = sorted({label for _, label in rows} - set(LABELS))
        if unknown:
            raise DataError(f"{table} names classes that are not CIFAR-10's: {', '.join(unknown)}")
        images = np.empty((len(rows), 32, 32, 3), np.uint8)
        for index, (identifier, _) in enumerate(rows):
            path = folder / name / f"{identifier}.png"
            if not path.exists():
                raise DataError(f"{table} lists picture {identifier}, but there is no {path}")
            images[index] = _read_picture(path)
        return Split(images, np.array([LABELS.index(label) for _, label in rows], np.uint8))

    return part("train"), part("test")


def _read_picture(path: Path) -> Pixels:
    try:
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError) as error:  # Pillow has all of them for damaged files
        raise DataError(f"{path} is no picture that can be read ({error}); unpack Kaggle's archive anew") from error
    height, width, _ = pixels.shape
    if (height, width) != (SIDE, SIDE):
        raise DataError(f"{path} is {width} x {height} pixels, but CIFAR-10's are {SIDE} x {SIDE}")
    return pixels


def _read_torchvision(folder: Path) -> tuple[Split, Split]:
    datasets = _torchvision_datasets()
    parts = []
    for is_train in (True, False):
        try:
            part = datasets.CIFAR10(folder, train=is_train, download=True)
        except (OSError, RuntimeError) as error:
            raise DataError(
                f"CIFAR-10 is not in {folder} and could not be downloaded ({error}). Put cifar10.npz or Kaggle's "
                "train/ and trainLabels.csv there, or run this where the internet can be reached."
            ) from error
        parts.append(Split(np.asarray(part.data), np.asarray(part.targets, np.uint8)))
    return parts[0], parts[1]


def _torchvision_datasets() -> Any:
    """Import torchvision's data sets, also where its build expects the CUDA build of torch."""
    try:
        return importlib.import_module("torchvision.datasets")
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
    # Its CUDA build cannot load its own operators beside a CPU torch; declaring the two it looks up is enough for data.
    for name in [module for module in sys.modules if module.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    for operator in ("nms", "qnms"):
        torch.library.define(f"torchvision::{operator}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return importlib.import_module("torchvision.datasets")


def contact_sheet(split: Split, rows: int = 10) -> Image.Image:
    """Draw the first `rows` pictures of each class, a class a column."""
    columns = [split.images[split.labels == index][:rows] for index in range(len(LABELS))]
    rows = min(len(column) for column in columns)
    grid = np.stack([column[:rows] for column in columns])  # (10, rows, 32, 32, 3)
    sheet = grid.transpose(1, 2, 0, 3, 4).reshape(rows * 32, len(LABELS) * 32, 3)
    return Image.fromarray(sheet).resize((sheet.shape[1] * 2, sheet.shape[0] * 2), Image.Resampling.NEAREST)


def main() -> None:
    """Print counts, mean and deviation of each split, and write a contact sheet."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--data", type=Path, default=Path("data"), help="an .npz file or a folder (default: data)")
    parser.add_argument("--sheet", type=Path, default=Path("plots/contact-sheet.png"), help="where the sheet goes")
    options = parser.parse_args()
    try:
        data = load(options.data)
    except DataError as error:
        sys.exit(f"training.data: {error}")
    for name, split in (("training", data.train), ("validation", data.validation), ("test", data.test)):
        if not len(split):
            print(f"{name:<11}none: this source has no labelled test pictures")
            continue
        pixels = split.images.astype(np.float64) / 255
        print(
            f"{name:<11}{len(split):>6,} pictures   mean {pixels.mean((0, 1, 2)).round(4)}   "
            f"deviation {pixels.std((0, 1, 2)).round(4)}   (red, green, blue; 0 to 1)"
        )
        counts = np.bincount(split.labels, minlength=len(LABELS))
        print("           " + "  ".join(f"{label} {count}" for label, count in zip(LABELS, counts, strict=True)))
    options.sheet.parent.mkdir(parents=True, exist_ok=True)
    contact_sheet(data.train).save(options.sheet)
    print(f"contact sheet: {options.sheet}")


if __name__ == "__main__":
    main()
