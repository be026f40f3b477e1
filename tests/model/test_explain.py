from pathlib import Path

import numpy as np
import pytest
import torch

from handler.engine import open_engine
from model.classifier import Classifier, class_logits
from model.explain import Explainer
from model.labels import LABELS
from model.manifest import WEIGHTS_PATH, Manifest

ROOT = Path(__file__).parent.parent.parent
SAMPLES = ("cat.jpg", "ship.png", "frog.png")
HIDDEN = 0.125  # share of the picture
GREY = 125


@pytest.fixture(scope="module")
def classifier():
    manifest = Manifest.read()
    return Classifier(open_engine(WEIGHTS_PATH, manifest, 2)[0], manifest)


def hide(pixels, parts):
    """Paint over the parts, a boolean grid over the picture."""
    side = pixels.shape[-1]
    rows = np.arange(side) * len(parts) // side
    return np.where(parts[rows][:, rows], np.uint8(GREY), pixels)


def test_hiding_what_is_marked_changes_the_answer_more_than_hiding_as_much_elsewhere(classifier):
    explainer = Explainer(classifier.engine)
    marked_drops, other_drops = [], []
    for name in SAMPLES:
        pixels = classifier.read((ROOT / "gateway" / "static" / "samples" / name).read_bytes()).pixels

        label = int(class_logits(classifier.engine.outputs(pixels[None])).argmax())
        assert LABELS[label] == name.split(".")[0]
        strengths = np.array(explainer.strengths(pixels, label))
        marked = strengths >= np.quantile(strengths, 1 - HIDDEN)
        # As many others in the same arrangement: scattered holes do more harm than one, wherever they are.
        shifts = [(down, across) for down in range(len(marked)) for across in range(len(marked)) if down or across]
        others = [hide(pixels, np.roll(marked, shift, (0, 1))) for shift in shifts]
        variants = np.stack([pixels, hide(pixels, marked), *others])
        scores = torch.from_numpy(class_logits(classifier.engine.outputs(variants))).log_softmax(1)[:, label].numpy()
        plain, hidden, *elsewhere = scores
        marked_drops.append(plain - hidden)
        other_drops.append(plain - np.mean(elsewhere))
    assert np.mean(marked_drops) > np.mean(other_drops)


def test_strengths_are_shares_of_the_strongest(classifier):
    pixels = classifier.read((ROOT / "tests" / "photo.jpg").read_bytes()).pixels
    strengths = np.array(Explainer(classifier.engine).strengths(pixels, LABELS.index("cat")))
    assert strengths.ndim == 2
    assert strengths.min() >= 0
    assert strengths.max() == 1


def test_explaining_changes_no_answer(classifier):
    pixels = classifier.read((ROOT / "tests" / "photo.jpg").read_bytes()).pixels[None]
    before = classifier.engine.outputs(pixels)
    Explainer(classifier.engine).strengths(pixels[0], 0)
    assert np.array_equal(before, classifier.engine.outputs(pixels))
