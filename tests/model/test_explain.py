from pathlib import Path

import numpy as np
import pytest

from model.classifier import Classifier, class_logits
from model.explain import Explainer
from model.labels import LABELS
from model.manifest import Manifest, load_network

ROOT = Path(__file__).parent.parent.parent
SAMPLES = ("cat.jpg", "ship.png", "frog.png")
HIDDEN = 0.2  # share of the picture
GREY = 125


@pytest.fixture(scope="module")
def classifier():
    manifest = Manifest.read()
    return Classifier(load_network(manifest), manifest)


def hide(pixels, parts):
    """Paint over the parts, a boolean grid over the picture."""
    side = pixels.shape[-1]
    rows = np.arange(side) * len(parts) // side
    return np.where(parts[rows][:, rows], np.uint8(GREY), pixels)


def test_hiding_what_is_marked_changes_the_answer_more_than_hiding_as_much_elsewhere(classifier):
    explainer = Explainer(classifier.network)
    marked_drops, other_drops = [], []
    for name in SAMPLES:
        pixels = classifier.read((ROOT / "gateway" / "static" / "samples" / name).read_bytes())

        label = int(class_logits(classifier.outputs(pixels[None])).argmax())
        assert LABELS[label] == name.split(".")[0]
        strengths = np.array(explainer.strengths(pixels, label))
        count = round(HIDDEN * strengths.size)
        order = strengths.flatten().argsort()[::-1]
        marked = np.zeros(strengths.size, bool)
        marked[order[:count]] = True
        rng = np.random.default_rng(0)
        others = []
        for _ in range(20):
            other = np.zeros(strengths.size, bool)
            other[rng.choice(order[count:], count, replace=False)] = True
            others.append(hide(pixels, other.reshape(strengths.shape)))
        variants = np.stack([pixels, hide(pixels, marked.reshape(strengths.shape)), *others])
        scores = class_logits(classifier.outputs(variants)).log_softmax(1)[:, label].numpy()
        plain, hidden, *elsewhere = scores
        marked_drops.append(plain - hidden)
        other_drops.append(plain - np.mean(elsewhere))
    assert np.mean(marked_drops) > np.mean(other_drops)


def test_strengths_are_shares_of_the_strongest(classifier):
    pixels = classifier.read((ROOT / "tests" / "photo.jpg").read_bytes())
    strengths = np.array(Explainer(classifier.network).strengths(pixels, LABELS.index("cat")))
    assert strengths.ndim == 2
    assert strengths.min() >= 0
    assert strengths.max() == 1


def test_explaining_changes_no_answer(classifier):
    pixels = classifier.read((ROOT / "tests" / "photo.jpg").read_bytes())[None]
    before = classifier.outputs(pixels)
    Explainer(classifier.network).strengths(pixels[0], 0)
    assert np.array_equal(before, classifier.outputs(pixels))
