"""Ray Serve: batches, two replicas, and its settings for throughput, HAProxy in front among them.

By https://docs.ray.io/en/latest/serve/advanced-guides/performance.html, .../dyn-req-batch.html and
https://docs.ray.io/en/master/kuberay/user-guides/serve-high-throughput.html; the environment variables are set by who
starts this.
"""

import sys
import threading
from typing import Any

import ray
from ray import serve
from starlette.requests import Request

from benchmarks.peers.answers import BATCH, WORKERS, classify, open_classifier

BATCH_SECONDS = 0.001
MOST_ONGOING = 100
"""Requests of one replica; the default, 5, would leave batches half empty."""
OBJECT_STORE_BYTES = 100_000_000
"""Ray would take a third of the machine's memory for objects; there are none here."""


@serve.deployment(num_replicas=WORKERS, max_ongoing_requests=MOST_ONGOING, ray_actor_options={"num_cpus": 1})
class Classifier:
    """Answers one picture, which is the body."""

    def __init__(self) -> None:
        self.classifier = open_classifier()

    @serve.batch(max_batch_size=BATCH, batch_wait_timeout_s=BATCH_SECONDS)
    async def together(self, pictures: list[bytes]) -> list[dict[str, Any]]:
        return classify(self.classifier, pictures)

    async def __call__(self, request: Request) -> Any:
        return await self.together(await request.body())


if __name__ == "__main__":
    ray.init(num_cpus=WORKERS, include_dashboard=False, object_store_memory=OBJECT_STORE_BYTES)
    serve.start(
        http_options={"host": "127.0.0.1", "port": int(sys.argv[1])}, logging_config={"enable_access_log": False}
    )
    serve.run(Classifier.bind(), route_prefix="/classify")  # type: ignore[attr-defined]  # the decorator adds it
    threading.Event().wait()  # Ray ends upon SIGTERM
