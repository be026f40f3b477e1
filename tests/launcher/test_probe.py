"""What is taken for a TorchServe that answers."""

import json
import math
import re
import socket
import subprocess
import sys

import pytest

from launcher import probe
from tests.service import ROOT

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
    assert probe.answers(key_file, address, address, address) is answers
    assert "Bearer one" in stand_in.keys


def test_where_nobody_listens_nobody_answers(tmp_path):
    key_file = tmp_path / "key_file.json"
    assert not probe.answers(key_file, "127.0.0.1:9", "127.0.0.1:9", "127.0.0.1:9")
    key_file.write_text(json.dumps({"inference": {"key": "one"}}))
    assert not probe.answers(key_file, "127.0.0.1:9", "127.0.0.1:9", "127.0.0.1:9")


@pytest.mark.parametrize("folder", ["gateway", "handler"])
@pytest.mark.parametrize("status", [200, 503])
def test_an_images_own_check_goes_past_any_proxy(stand_in, elsewhere, folder, status):
    stand_in.answers["GET"] = (status, {})
    dockerfile = (ROOT / folder / "Dockerfile").read_text().replace("\\\n", "")
    [command] = [json.loads(each) for each in re.findall(r"CMD (.*/readyz.*)", dockerfile)]
    code = command[-1].replace("8000", str(stand_in.server_port))
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == (status != 200)


METRICS = """# TYPE ts_inference_latency_microseconds counter
ts_inference_latency_microseconds{model_name="cifar10",model_version="2.0",hostname="vm",} 7.5
ts_inference_latency_microseconds{model_name="cifar10",model_version="default",hostname="vm",} 5903819.79
"""


@pytest.mark.parametrize(("metrics", "time"), [(METRICS, 5903819.79), ("# TYPE none\n", 0), (None, math.nan)])
def test_how_long_answers_of_the_default_version_took_is_asked(stand_in, metrics, time):
    address = f"127.0.0.1:{stand_in.server_port}" if metrics else "127.0.0.1:9"
    stand_in.answers["GET"] = (200, (metrics or "").encode())
    assert probe._answering_time(address) == pytest.approx(time, nan_ok=True)


@pytest.mark.parametrize(
    ("before", "after", "answers"),
    [(5.0, 6.0, True), (5.0, 5.0, False), (math.nan, 6.0, False), (5.0, math.nan, False)],
)
def test_one_that_answers_others_while_the_picture_waits_is_alive(tmp_path, monkeypatch, before, after, answers):
    key_file = tmp_path / "key_file.json"
    key_file.write_text(json.dumps({"inference": {"key": "one"}}))
    times = iter((before, after))
    monkeypatch.setattr(probe, "_answering_time", lambda _: next(times))
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes the picture and never answers
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        assert probe.answers(key_file, address, address, address, timeout_seconds=0.1) is answers
