"""Whether TorchServe answers predictions, asked with a real one: `python -m launcher.probe` exits with 0 or 1.

Containers ask this every few seconds, so it imports nothing but the standard library.
"""

import http.client
import json
import math
import os
import re
import socket
import sys
from contextlib import closing
from pathlib import Path
from typing import Final

PICTURE_PATH: Final = Path(__file__).parent.parent / "gateway" / "probe.png"
QUEUE_IS_FULL: Final = "ServiceUnavailableException"
"""The type in TorchServe's own 503; one for a handler that raised has InternalServerException."""
HANDLER_IS_BUSY: Final = "/problems/model-unavailable"
"""The type in the handler's 503, for pictures whose neighbours in a batch took all the time."""
ANSWERING_TIME: Final = "ts_inference_latency_microseconds"
"""TorchServe's counter that grows with every answer, and with nothing else."""


def answers(key_file: Path, inference: str, management: str, metrics: str, timeout_seconds: float = 9) -> bool:
    """Have a picture classified; also True when the service is busy, which is no failure.

    That is, the handler says so itself, the queue is full while a worker is ready, or others were answered while the
    picture waited for its turn. Addresses are of the form `host:port`.
    """
    before = _answering_time(metrics)
    try:
        keys = json.loads(key_file.read_text())
        headers = {
            "Authorization": f"Bearer {keys['inference']['key']}",
            "Content-Type": "application/octet-stream",
            "X-Probe": "true",
        }
        with closing(http.client.HTTPConnection(inference, timeout=timeout_seconds)) as picture:
            picture.request("POST", "/predictions/cifar10", PICTURE_PATH.read_bytes(), headers)
            answer = picture.getresponse()
            status, body = answer.status, answer.read()
        if status != 503:
            return status == 200
        reason = json.loads(body)["type"]
        if reason != QUEUE_IS_FULL:
            return bool(reason == HANDLER_IS_BUSY)
        headers = {"Authorization": f"Bearer {keys['management']['key']}"}
        with closing(http.client.HTTPConnection(management, timeout=timeout_seconds)) as model:
            model.request("GET", "/models/cifar10", headers=headers)
            [described] = json.loads(model.getresponse().read())
        return any(worker["status"] == "READY" for worker in described["workers"])
    except TimeoutError:
        return before < _answering_time(metrics)
    except (OSError, ValueError, KeyError, TypeError, http.client.HTTPException):
        return False


def _answering_time(metrics: str) -> float:
    """Ask how long all answers to who named no version have taken so far; NaN, neither less nor more, if none tells."""
    try:
        with closing(http.client.HTTPConnection(metrics, timeout=1)) as connection:
            connection.request("GET", f"/metrics?name[]={ANSWERING_TIME}")
            text = connection.getresponse().read().decode()
    except (OSError, ValueError, http.client.HTTPException):
        return math.nan
    times = re.findall(rf'^{ANSWERING_TIME}{{[^}}]*model_version="default"[^}}]*}} (\S+)$', text, re.MULTILINE)
    return sum(map(float, times))


def key_folder(template: str) -> Path:
    """Give the folder that a template names; `{address}` in it is our IP address."""
    address = socket.gethostbyname(socket.gethostname()) if "{address}" in template else ""
    return Path(template.replace("{address}", address))


def reachable(host: str) -> str:
    """Give an address at which what listens on `host` can be reached from here, as URLs have it."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  # compared with, not listened on
    return f"[{host}]" if ":" in host else host


def main() -> None:
    """Look where the launcher's own settings say, which are environment variables."""

    def setting(name: str, default: str) -> str:
        return os.environ.get(name) or default

    key_file = key_folder(setting("KEY_FOLDER", ".")) / "key_file.json"
    inference = f"{reachable(setting('TS_INFERENCE_HOST', '127.0.0.1'))}:{setting('TS_INFERENCE_PORT', '8080')}"
    management = f"127.0.0.1:{setting('TS_MANAGEMENT_PORT', '8081')}"
    metrics = f"{reachable(setting('TS_METRICS_HOST', '127.0.0.1'))}:{setting('TS_METRICS_PORT', '8082')}"
    sys.exit(0 if answers(key_file, inference, management, metrics) else "no prediction was answered")


if __name__ == "__main__":
    main()
