"""Photographs, which teach the network sharpness, other framing and what is none of the ten.

What they show is asked of EfficientNet-Lite2 as it was trained on ImageNet, once a run; its answers are kept beside it.
Of those that lie as CLASS/NAME the folder says it as well.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

from model.images import ImageError, read_pixels
from model.labels import LABELS, NONE_COLUMN
from training.data import DataError
from training.imagenet import grouping
from training.pictures import AMBIGUOUS, NONE, class_names, files_in
from training.pretrained import imagenet_network
from training.run import outputs_of

SIDE: Final = 64
"""Photographs are kept at so many pixels of height and width."""

TEACHER: Final = {"variant": 2, "side": 160}
MOST_AMBIGUOUS: Final = 0.25
"""Photographs with more of the teacher's probability on classes that say neither yes nor no are left out, if no folder
says what they show."""
UNNAMED: Final = -1
"""In place of a class's index: no folder says what a photograph shows."""


@dataclass(frozen=True)
class Photographs:
    """Pixels, uint8 (N, 3, SIDE, SIDE), and for each the probability of each of the ten and of none, (N, 11)."""

    pixels: Tensor
    targets: Tensor
    named: Tensor  # what their folders call them: a class's index, NONE_COLUMN or UNNAMED, int64 (N,)
    sha256: str  # of all pixels that were read, of what folders call them and of the teacher's name

    def __len__(self) -> int:
        return len(self.pixels)

    def corrected(self, answers: Tensor, chosen: Tensor, share: float) -> Tensor:
        """Take out of answers about chosen photographs, (count, 11), such a share of what their folders rule out.

        That is all of the ten but what the folder names. None of the ten stays possible: it may be hard to see.
        """
        named = self.named[chosen]
        allowed = F.one_hot(named.clamp(min=0), NONE_COLUMN + 1).float()
        allowed[:, NONE_COLUMN] = 1
        corrected = (answers + 1e-6) * allowed  # something is left where all that was thought is ruled out
        corrected /= corrected.sum(1, keepdim=True)
        return torch.where((named == UNNAMED)[:, None], answers, answers.lerp(corrected, share))

    def draw(self, count: int, share: float, generator: torch.Generator) -> Tensor:
        """Draw so many of them, (count,) indices; about `share` of what they show is of the ten, if any is."""
        none = self.targets[:, NONE_COLUMN]
        ten = 1 - none
        weights = share * ten / ten.sum().clamp(min=1e-9) + (1 - share) * none / none.sum().clamp(min=1e-9)
        return torch.multinomial(weights, count, replacement=True, generator=generator)


def load(path: Path, cache: Path, console: Console) -> Photographs:
    """Read every picture in a folder or zip file, what the teacher finds in it and what its folder calls it.

    Folders are understood as by `training.pictures.photographs`; of another one, or none, a picture is unnamed.

    Raises:
        DataError: there is no such folder or zip file, no picture in it, or a classes.csv that says nothing.
    """
    pixels, named = _read(path, console)
    asked = hashlib.sha256(pixels.numpy().tobytes() + json.dumps(TEACHER).encode())
    kept = cache / f"photographs-{asked.hexdigest()[:16]}.safetensors"
    if kept.exists():
        probabilities = load_file(kept)["probabilities"]
    else:
        probabilities = _ask(pixels, console)
        cache.mkdir(parents=True, exist_ok=True)
        save_file({"probabilities": probabilities}, kept)
    clear = (probabilities[:, NONE_COLUMN + 1] <= MOST_AMBIGUOUS) | (named != UNNAMED)
    targets = probabilities[clear, : NONE_COLUMN + 1] + 1e-9  # a named one may have been thought ambiguous throughout
    asked.update(named.numpy().tobytes())
    return Photographs(pixels[clear], targets / targets.sum(1, keepdim=True), named[clear], asked.hexdigest())


def _read(path: Path, console: Console) -> tuple[Tensor, Tensor]:
    """Give pixels, uint8 (N, 3, SIDE, SIDE), and what folders call them, int64 (N,)."""
    names = class_names(path)
    pictures, named = [], []
    for name, data in track(files_in(path), "reading photographs", console=console, transient=True):
        called = names.get(PurePosixPath(name).parent.name)
        if called == AMBIGUOUS:
            continue
        try:
            pictures.append(read_pixels(data, SIDE, SIDE))
        except ImageError:
            continue  # a text file beside the pictures, say
        named.append((*LABELS, NONE).index(called) if called else UNNAMED)
    if not pictures:
        raise DataError(f"there is no picture in {path}")
    return torch.from_numpy(np.stack(pictures)), torch.tensor(named)


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
