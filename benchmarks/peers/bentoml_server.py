"""BentoML: adaptive batching and two workers; a picture comes as a file in a form.

By https://docs.bentoml.com/en/latest/get-started/adaptive-batching.html and
https://docs.bentoml.com/en/latest/build-with-bentoml/parallelize-requests.html. The latency that batching may cost is
left at its default, for with 100 ms it refused requests at 64 connections.
"""

from pathlib import Path
from typing import Any

import bentoml

from benchmarks.peers.answers import BATCH, WORKERS, classify, open_classifier


@bentoml.service(workers=WORKERS, logging={"access": {"enabled": False}}, metrics={"enabled": False})
class Classifier:
    """Answers a list of pictures; of requests that wait, several lists together."""

    def __init__(self) -> None:
        self.classifier = open_classifier()

    @bentoml.api(batchable=True, max_batch_size=BATCH)
    def classify(self, pictures: list[Path]) -> list[dict[str, Any]]:
        return classify(self.classifier, [each.read_bytes() for each in pictures])
