"""The measurement of a running service, on pictures whose answers are known."""

import numpy as np
import pytest
from rich.console import Console

from handler.engine import open_engine
from model.classifier import Classifier
from model.labels import LABELS
from model.manifest import WEIGHTS_PATH, Manifest
from training.data import DataError, Split
from training.pictures import png
from training.through_service import accuracy_through_service


@pytest.fixture(scope="module")
def known():
    """Thirty pictures of noise with the labels that the network gives them."""
    images = np.random.default_rng(0).integers(0, 256, (30, 32, 32, 3), dtype=np.uint8)
    manifest = Manifest.read()
    classifier = Classifier(open_engine(WEIGHTS_PATH, manifest, 2)[0], manifest)
    answers = classifier.classify([classifier.read(png(image)) for image in images])
    return Split(images, np.array([LABELS.index(answer["label"]) for answer in answers]))


def test_right_and_wrong_answers_are_counted(service, known):
    assert accuracy_through_service(service.gateway, known, Console()) == (1.0, Manifest.read().sha256)
    labels = known.labels.copy()
    labels[:6] = (labels[:6] + 1) % 10
    accuracy, _ = accuracy_through_service(service.gateway, Split(known.images, labels), Console())
    assert accuracy == pytest.approx(0.8)


def test_a_service_that_is_not_there_is_named(known):
    with pytest.raises(DataError, match=r"127\.0\.0\.1:9"):
        accuracy_through_service("http://127.0.0.1:9", known, Console())
