"""Starts each peer in the environment that `make bench-peers` makes for them, and checks that it answers as we do."""

import base64
import contextlib
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import requests

from benchmarks.load import Request
from benchmarks.pictures import form
from benchmarks.systems import ROOT, BenchmarkError, System, free_ports, started, wait

PYTHON: Final = ROOT / ".venv-peers" / "bin" / "python"

# Nothing is reported to anybody, and what is beside the engine computes with one thread as well.
_QUIET: Final = {
    "BENTOML_DO_NOT_TRACK": "True",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    "OMP_NUM_THREADS": "1",
}
_HAPROXY_PORTS: Final = (
    "RAY_SERVE_HAPROXY_METRICS_PORT",
    "RAY_SERVE_HAPROXY_STATS_PORT",
    "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT",
    "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT",
)
_HAPROXY_FILES: Final = {
    "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": "haproxy.cfg",
    "RAY_SERVE_HAPROXY_SOCKET_PATH": "admin.sock",
    "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": "metrics.sock",
    "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": "state",
    "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": "state/server",
}


def _raw(url: str, picture: bytes) -> Request:
    return Request.post(url, picture, {"Content-Type": "application/octet-stream"})


def _json(url: str, picture: bytes) -> Request:
    body = json.dumps({"picture": base64.b64encode(picture).decode()}).encode()
    return Request.post(url, body, {"Content-Type": "application/json"})


def _form(url: str, picture: bytes) -> Request:
    return form(url, picture, 1, "pictures")


@dataclass(frozen=True)
class Peer:
    """A server of others: `package` is what it is installed by, `arguments` are Python's, with `{port}` in them."""

    name: str
    package: str
    arguments: tuple[str, ...]
    path: str
    request: Callable[[str, bytes], Request]

    @contextlib.contextmanager
    def start(self) -> Iterator[System]:
        """Run it on a free port, in a folder of its own for what it writes.

        Raises:
            BenchmarkError: it does not answer.
        """
        port, *others = free_ports(1 + len(_HAPROXY_PORTS))
        url = f"http://127.0.0.1:{port}{self.path}"
        request = self.request(url, (ROOT / "gateway" / "probe.png").read_bytes())
        with tempfile.TemporaryDirectory() as folder:
            environment = os.environ | _QUIET | {"TMPDIR": folder, "RAY_TMPDIR": folder, "BENTOML_HOME": folder}
            environment |= dict(zip(_HAPROXY_PORTS, map(str, others), strict=True))
            environment |= {name: f"{folder}/{file}" for name, file in _HAPROXY_FILES.items()}
            command = [str(PYTHON), *(each.replace("{port}", str(port)) for each in self.arguments)]
            began = time.monotonic()
            with started(command, environment, ROOT) as processes:
                wait(lambda: send(request).ok, processes)
                yield System(self.name, url, processes, time.monotonic() - began)


PEERS: Final = (
    Peer("FastAPI", "fastapi", ("-m", "benchmarks.peers.fastapi_server", "{port}"), "/classify", _raw),
    Peer("LitServe", "litserve", ("-m", "benchmarks.peers.litserve_server", "{port}"), "/predict", _json),
    Peer(
        "BentoML",
        "bentoml",
        (
            "-m",
            "bentoml",
            "serve",
            "benchmarks.peers.bentoml_server:Classifier",
            "--host",
            "127.0.0.1",
            "--port",
            "{port}",
        ),
        "/classify",
        _form,
    ),
    Peer("Ray Serve", "ray", ("-m", "benchmarks.peers.ray_server", "{port}"), "/classify", _raw),
)


def send(request: Request) -> requests.Response:
    """Send a request of the load by a client that everybody trusts."""
    head, _, body = request.message.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    return requests.post(f"http://{request.host}:{request.port}{first.split()[1]}", body, headers=headers, timeout=30)


def check(request: Request, expected: dict[str, Any], name: str) -> None:
    """Compare an answer with ours.

    Raises:
        BenchmarkError: they differ.
    """
    answer = send(request).json()
    if isinstance(answer, dict) and "results" in answer:  # the gateway's
        answer = answer["results"]
    if isinstance(answer, list):
        [answer] = answer
    if answer != expected:
        raise BenchmarkError(f"{name} answers otherwise than this project's code:\n{answer}\n{expected}")


def versions() -> dict[str, str]:
    """Name the peers' versions.

    Raises:
        BenchmarkError: their environment is not there.
    """
    names = [peer.package for peer in PEERS]
    script = (
        "import json, sys; from importlib.metadata import version as v; print(json.dumps([v(n) for n in sys.argv[1:]]))"
    )
    try:
        done = subprocess.run([str(PYTHON), "-c", script, *names], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise BenchmarkError(
            f"the peers are not installed in {PYTHON.parent.parent}: make bench-peers does it"
        ) from error
    return {peer.name: each for peer, each in zip(PEERS, json.loads(done.stdout), strict=True)}
