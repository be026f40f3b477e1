"""What every peer serves: our own decoding, engine and answers. It needs no torch, and neither do the peers."""

from typing import Any, Final

import numpy as np

from handler.engine import open_engine
from model.classifier import Classifier
from model.images import Square
from model.manifest import WEIGHTS_PATH, Manifest

WORKERS: Final = 2
"""Processes that compute, as in handler/model-config.yaml; with one thread each they fill two cores."""
BATCH: Final = 8
"""Pictures that are computed together at most, as in handler/model-config.yaml."""


def open_classifier() -> Classifier:
    """Load the served weights and compute once, so that the first request is not slow.

    Raises:
        UnavailableError: this machine cannot compute with 8 bits; there is nothing to compare then.
    """
    manifest = Manifest.read()
    engine, _ = open_engine(WEIGHTS_PATH, manifest, 1, "int8")
    classifier = Classifier(engine, manifest)
    classifier.classify([Square(np.zeros((3, engine.side, engine.side), np.uint8), engine.side)])
    return classifier


def classify(classifier: Classifier, pictures: list[bytes]) -> list[dict[str, Any]]:
    """Answer the files of pictures together."""
    return classifier.classify([classifier.read(each) for each in pictures])
