"""Small data that looks like CIFAR-10: ten classes that a small network tells apart in a few steps."""

import io
import signal
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from training import run
from training.data import Cifar10, Split

ROOT = Path(__file__).parents[2]


def colourful(per_class, seed):
    """Pictures whose class is a colour and a brighter half, with noise; shape (10 * per_class, 32, 32, 3)."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(10, dtype=np.uint8), per_class)
    colours = np.random.default_rng(0).integers(40, 215, (10, 1, 1, 3))
    images = colours[labels] + rng.normal(0, 25, (len(labels), 32, 32, 3))
    images[labels % 2 == 1, :16] += 40
    order = rng.permutation(len(labels))
    return Split(images.clip(0, 255).astype(np.uint8)[order], labels[order])


@pytest.fixture(scope="session")
def tiny():
    return Cifar10(train=colourful(20, 1), validation=colourful(10, 2), test=colourful(10, 3))


@pytest.fixture(scope="session")
def hundred():
    """Ten of CIFAR-10's own pictures of each class, cut from their contact sheet."""
    sheet = np.asarray(Image.open(ROOT / "plots" / "contact-sheet.png"))[::2, ::2]
    images = sheet.reshape(10, 32, 10, 32, 3).swapaxes(1, 2).reshape(100, 32, 32, 3)
    return Split(images, np.tile(np.arange(10, dtype=np.uint8), 10))


@pytest.fixture(scope="session")
def npz(tmp_path_factory):
    train, test = colourful(20, 4), colourful(5, 5)
    path = tmp_path_factory.mktemp("data") / "cifar10.npz"
    parts = {"train": train, "test": test}
    images = {f"{name}_images": part.images for name, part in parts.items()}
    labels = {f"{name}_labels": part.labels for name, part in parts.items()}
    np.savez(path, **images, **labels)
    return path


@pytest.fixture(scope="session")
def photographs_zip(tmp_path_factory):
    """A zip file as people have them: pictures of several sizes in folders, and a text between them."""
    path = tmp_path_factory.mktemp("photographs") / "photographs.zip"
    rng = np.random.default_rng(6)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("README.txt", "not a picture")
        for index in range(12):
            buffer = io.BytesIO()
            Image.fromarray(rng.integers(0, 256, (64 + index, 80, 3), dtype=np.uint8)).save(buffer, "JPEG")
            archive.writestr(f"things/{index}.jpg", buffer.getvalue())
    return path


@pytest.fixture
def stop_after_steps(monkeypatch):
    """Has SIGTERM come after so many steps, counted from now over all runs."""
    step = run.Training.step

    def stop_after_steps(*numbers):
        steps = 0

        def interrupted(self):
            nonlocal steps
            step(self)
            steps += 1
            if steps in numbers:
                signal.raise_signal(signal.SIGTERM)

        monkeypatch.setattr(run.Training, "step", interrupted)

    return stop_after_steps
