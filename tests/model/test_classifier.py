import numpy as np
import pytest
import torch

from handler.engine import Float32Engine
from model.calibration import Calibration
from model.classifier import Classifier
from model.images import Square
from model.labels import LABELS
from model.manifest import Manifest
from model.scope import Scope, scope_score
from model.whitened_convnet import WhitenedConvNet


@pytest.fixture
def classifier():
    torch.manual_seed(0)
    manifest = Manifest(
        version="t",
        sha256="",
        detail=32,
        calibration=Calibration(2.0, (0.0, 1.0, *[0.0] * 8)),
        scope=Scope(0.25, (32, 64), ((4.0, 5.0, 6.0), (2.0, 4.0, 6.0))),
        document={},
    )
    return Classifier(Float32Engine(WhitenedConvNet((8, 8, 8)).eval()), manifest)


def logits_with(score):
    """Logits whose scope score is `score`, class 3 ahead."""
    row = np.zeros((1, 10), np.float32)
    row[0, 3] = 1.0
    return row + (score - scope_score(row))


def test_scores_are_probabilities_that_fall(classifier):
    [answer] = classifier.answers(np.random.default_rng(0).normal(size=(1, 10)).astype(np.float32), [64])
    scores = [entry["score"] for entry in answer["scores"]]
    assert sorted(scores, reverse=True) == scores
    assert sum(scores) == pytest.approx(1, abs=1e-5)
    assert sorted(entry["label"] for entry in answer["scores"]) == sorted(LABELS)
    assert (answer["label"], answer["score"]) == (answer["scores"][0]["label"], scores[0])


@pytest.mark.parametrize(
    ("score", "share", "in_scope"), [(0.0, 0.0, False), (2.9, 0.225, False), (3.1, 0.275, True), (9.0, 1.0, True)]
)
def test_scope_is_the_share_of_pictures_of_the_ten_below(classifier, score, share, in_scope):
    [answer] = classifier.answers(logits_with(score), [64])
    assert answer["in_scope_score"] == pytest.approx(share, abs=1e-3)
    assert answer["in_scope"] is in_scope


def test_a_picture_is_judged_by_how_much_was_seen_of_it(classifier, monkeypatch):
    monkeypatch.setattr(classifier, "outputs", lambda pictures: np.repeat(logits_with(3.5), len(pictures), 0))
    pixels = np.zeros((3, 32, 32), np.uint8)
    small, large = classifier.classify([Square(pixels, 32), Square(pixels, 64)])
    assert (small.pop("in_scope"), small.pop("in_scope_score")) == (False, 0.0)
    assert (large.pop("in_scope"), large.pop("in_scope_score")) == (True, 0.375)
    assert small == large


@pytest.fixture
def noise():
    return [Square(each, 48) for each in np.random.default_rng(0).integers(0, 256, (5, 3, 32, 32), dtype=np.uint8)]


def test_outputs_are_calibrated(classifier, noise):
    plain = classifier.engine.outputs(np.stack([picture.pixels for picture in noise]))
    assert np.allclose(classifier.outputs(noise), plain / 2, atol=1e-5)
    smaller = [Square(picture.pixels, 32) for picture in noise]
    assert np.allclose(classifier.outputs(smaller) - plain / 2, [0, 1, *[0] * 8], atol=1e-5)


def test_a_picture_gets_the_same_answer_alone_and_in_a_batch(classifier, noise):
    alone = np.concatenate([classifier.outputs([picture]) for picture in noise])
    assert np.allclose(classifier.outputs(noise), alone, atol=1e-5)
