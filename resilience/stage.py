"""The real service, started for one trial, with its parts at hand."""

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import psutil
import requests

from benchmarks.systems import ROOT, Processes, free_ports, service, wait
from resilience.proxy import Proxy
from resilience.traffic import now

SAMPLE_SECONDS: Final = 0.1


class Readiness:
    """Asks `/readyz` ten times a second until left: when it was asked, when it answered, and whether it was yes."""

    def __init__(self, gateway: str) -> None:
        self.samples: list[tuple[float, float, bool]] = []
        self._url = f"{gateway}/readyz"
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._sample)

    def _sample(self) -> None:
        with requests.Session() as session:
            while not self._stopping.wait(SAMPLE_SECONDS):
                asked, is_ready = now(), False
                with contextlib.suppress(requests.RequestException):
                    is_ready = session.get(self._url, timeout=5).ok
                self.samples.append((asked, now(), is_ready))

    def first(self, state: bool, after: float) -> float | None:
        """Give the moment of the first such answer to a question asked after a moment."""
        return next(
            (answered for asked, answered, is_ready in self.samples if asked > after and is_ready is state), None
        )

    def __enter__(self) -> "Readiness":
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._stopping.set()
        self._thread.join()


@dataclass
class Stage:
    """A running service."""

    url: str
    inference_port: int
    processes: Processes
    service_port: int
    management_port: int
    proxy: Proxy | None = None

    @property
    def gateway(self) -> str:
        """Give the gateway's address."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"

    @property
    def key_file(self) -> Path:
        """Give TorchServe's key file."""
        return ROOT / ".run" / str(self.service_port) / "key_file.json"

    def all(self, word: str) -> list[psutil.Process]:
        """Find the service's processes by a word of their command."""
        found = []
        for process in self.processes.all():
            with contextlib.suppress(psutil.NoSuchProcess):
                if word in " ".join(process.cmdline()):
                    found.append(process)
        return found

    def workers(self) -> list[psutil.Process]:
        """Find TorchServe's workers."""
        return self.all("model_service_worker")

    def gateway_worker(self) -> psutil.Process:
        """Find gunicorn's worker: the one whose parent is gunicorn too."""
        gunicorns = self.all("gunicorn")
        pids = {each.pid for each in gunicorns}
        return next(each for each in gunicorns if each.ppid() in pids)

    def is_whole(self) -> bool:
        """Say whether as many of TorchServe's workers are ready as there should be."""
        with contextlib.suppress(OSError, ValueError, KeyError):  # it is just being started again
            key = json.loads(self.key_file.read_text())["management"]["key"]
            url = f"http://127.0.0.1:{self.management_port}/models/cifar10"
            [model] = requests.get(url, headers={"Authorization": f"Bearer {key}"}, timeout=5).json()
            ready = [worker for worker in model["workers"] if worker["status"] == "READY"]
            return len(ready) >= int(model["minWorkers"])
        return False

    def wait_until_whole(self, most_seconds: float) -> float:
        """Wait for TorchServe's workers, but no longer than that; give the seconds that it took."""
        began = now()
        while now() - began < most_seconds and not self.is_whole():
            time.sleep(SAMPLE_SECONDS)
        return now() - began

    def wait_until_ready(self) -> None:
        """Wait for all workers and three predictions in a row."""
        in_a_row = 0

        def is_ready() -> bool:
            nonlocal in_a_row
            answers = self.is_whole() and requests.get(f"{self.gateway}/readyz", timeout=5).ok
            in_a_row = in_a_row + 1 if answers else 0
            time.sleep(0.5)
            return in_a_row >= 3

        wait(is_ready, self.processes)


@contextlib.contextmanager
def stage(**settings: str) -> Iterator[Stage]:
    """Start the service on free ports."""
    with service(**settings) as (torchserve, gateway):
        inference = urlsplit(torchserve.url).port or 0
        management = int(gateway.processes.root.environ()["TS_MANAGEMENT_PORT"])
        yield Stage(gateway.url, inference, gateway.processes, urlsplit(gateway.url).port or 0, management)


@contextlib.contextmanager
def behind_a_proxy(real: Stage) -> Iterator[Stage]:
    """Start one more gateway, between which and TorchServe the network can fail."""
    [port] = free_ports(1)
    with Proxy(real.inference_port) as proxy:
        environment = os.environ | {
            "GATEWAY_PORT": str(port),
            "GATEWAY_TORCHSERVE_URL": f"http://127.0.0.1:{proxy.port}",
            "GATEWAY_KEY_FILE": str(real.key_file),
        }
        command = [sys.executable, "-m", "gunicorn", "--config", str(ROOT / "gateway" / "gunicorn.conf.py")]
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
        try:
            processes = Processes(psutil.Process(process.pid))
            url = f"http://127.0.0.1:{port}/api/v1/classify"
            far = Stage(url, real.inference_port, processes, real.service_port, real.management_port, proxy)
            far.wait_until_ready()
            yield far
        finally:
            process.terminate()
            process.wait()
