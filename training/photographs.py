"""Photographs without labels, which teach the network sharpness, other framing and what is none of the ten.

What they show is asked of EfficientNet-Lite2 as it was trained on ImageNet, once a run; its answers are kept beside it.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from safetensors.torch import load_file, save_file
from torch import Tensor

from model.images import ImageError, read_pixels
from model.labels import NONE_COLUMN
from training.data import DataError
from training.imagenet import grouping
from training.pictures import files_in
from training.pretrained import imagenet_network
from training.run import outputs_of

SIDE: Final = 64
"""Photographs are kept at so many pixels of height and width."""

TEACHER: Final = {"variant": 2, "side": 160}
MOST_AMBIGUOUS: Final = 0.25
"""Photographs with more of the teacher's probability on classes that say neither yes nor no are left out."""


@dataclass(frozen=True)
class Photographs:
    """Pixels, uint8 (N, 3, SIDE, SIDE), and for each the probability of each of the ten and of none, (N, 11)."""

    pixels: Tensor
    targets: Tensor
    sha256: str  # of all pixels that were read, and of the teacher's name

    def __len__(self) -> int:
        return len(self.pixels)

    def draw(self, count: int, share: float, generator: torch.Generator) -> Tensor:
        """Draw so many of them, (count,) indices; about `share` of what they show is of the ten, if any is."""
        none = self.targets[:, NONE_COLUMN]
        ten = 1 - none
        weights = share * ten / ten.sum().clamp(min=1e-9) + (1 - share) * none / none.sum().clamp(min=1e-9)
        return torch.multinomial(weights, count, replacement=True, generator=generator)


def load(path: Path, cache: Path, console: Console) -> Photographs:
    """Read every picture in a folder or zip file, and what the teacher finds in it.

    Raises:
        DataError: there is no such folder or zip file, or no picture in it.
    """
    pixels = _read(path, console)
    sha256 = hashlib.sha256(pixels.numpy().tobytes() + json.dumps(TEACHER).encode()).hexdigest()
    kept = cache / f"photographs-{sha256[:16]}.safetensors"
    if kept.exists():
        probabilities = load_file(kept)["probabilities"]
    else:
        probabilities = _ask(pixels, console)
        cache.mkdir(parents=True, exist_ok=True)
        save_file({"probabilities": probabilities}, kept)
    clear = probabilities[:, NONE_COLUMN + 1] <= MOST_AMBIGUOUS
    targets = probabilities[clear, : NONE_COLUMN + 1]
    return Photographs(pixels[clear], targets / targets.sum(1, keepdim=True), sha256)


def _read(path: Path, console: Console) -> Tensor:
    pictures = []
    for _, data in track(files_in(path), "reading photographs", console=console, transient=True):
        try:
            pictures.append(read_pixels(data, SIDE, SIDE))
        except ImageError:
            continue  # a text file beside the pictures, say
    if not pictures:
        raise DataError(f"there is no picture in {path}")
    return torch.from_numpy(np.stack(pictures))


def _ask(pixels: Tensor, console: Console) -> Tensor:
    """Give the teacher's probabilities of the ten, none and ambiguous, shape (N, 12), both ways round averaged."""
    teacher = imagenet_network(**TEACHER)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    teacher.to(device)
    parts = []
    batches = torch.split(pixels, 250)
    for batch in track(batches, "asking what the photographs show", console=console, transient=True):
        both = [outputs_of(teacher, side, TEACHER["side"]).softmax(1) for side in (batch, batch.flip(-1))]
        parts.append((both[0] + both[1]) / 2)
    return torch.cat(parts) @ grouping()
