"""LitServe: batches, two workers, as many servers before them, and its queue for hundreds of requests a second.

By https://lightning.ai/docs/litserve/speed-up-serving-by-200x, where pictures come in JSON as base64 as well; of the
waits for a batch that were tried, the shortest answered most.
"""

import base64
import signal
import sys
from typing import Any

import litserve as ls

from benchmarks.peers.answers import BATCH, WORKERS, open_classifier
from model.images import Square

BATCH_SECONDS = 0.001


class ClassifierAPI(ls.LitAPI):
    """Answers one picture a request: base64 in the JSON field `picture`."""

    def setup(self, device: str) -> None:  # noqa: ARG002  # LitServe calls it so
        self.classifier = open_classifier()

    def decode_request(self, request: dict[str, str]) -> Square:
        return self.classifier.read(base64.b64decode(request["picture"]))

    def batch(self, inputs: list[Square]) -> list[Square]:
        return inputs

    def predict(self, x: list[Square]) -> list[dict[str, Any]]:
        return self.classifier.classify(x)

    def unbatch(self, output: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return output

    def encode_response(self, output: dict[str, Any]) -> dict[str, Any]:
        return output


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # it ends upon Ctrl-C only
    api = ClassifierAPI(max_batch_size=BATCH, batch_timeout=BATCH_SECONDS)
    server = ls.LitServer(api, accelerator="cpu", workers_per_device=WORKERS, fast_queue=True)
    server.run(
        host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", generate_client_file=False, access_log=False
    )
