"""What is taken for a TorchServe that answers."""

import json

import pytest

from launcher import probe

QUEUE_IS_FULL = {
    "code": 503,
    "type": "ServiceUnavailableException",
    "message": 'Model "cifar10" has no worker to serve inference request. Please use scale workers API to add workers.',
}
HANDLER_RAISED = {"code": 503, "type": "InternalServerException", "message": "Prediction failed"}
WORKER_DIED = {"code": 500, "type": "InternalServerException", "message": "Worker died."}


@pytest.mark.parametrize(
    ("status", "document", "worker", "answers"),
    [
        (200, {"label": "cat"}, "READY", True),
        (503, QUEUE_IS_FULL, "READY", True),
        (503, QUEUE_IS_FULL, "UNLOADING", False),
        (503, {"type": probe.HANDLER_IS_BUSY, "status": 503}, "READY", True),
        (503, HANDLER_RAISED, "READY", False),
        (503, [], "READY", False),
        (500, WORKER_DIED, "READY", False),
    ],
)
def test_a_busy_one_answers_and_one_whose_handler_raises_does_not(
    stand_in, tmp_path, status, document, worker, answers
):
    key_file = tmp_path / "key_file.json"
    key_file.write_text(json.dumps({"inference": {"key": "one"}, "management": {"key": "other"}}))
    stand_in.answers = {"POST": (status, document), "GET": (200, [{"workers": [{"status": worker}]}])}
    address = f"127.0.0.1:{stand_in.server_port}"
    assert probe.answers(key_file, address, address) is answers
    assert stand_in.keys[0] == "Bearer one"


def test_where_nobody_listens_nobody_answers(tmp_path):
    key_file = tmp_path / "key_file.json"
    assert not probe.answers(key_file, "127.0.0.1:9", "127.0.0.1:9")
    key_file.write_text(json.dumps({"inference": {"key": "one"}}))
    assert not probe.answers(key_file, "127.0.0.1:9", "127.0.0.1:9")
