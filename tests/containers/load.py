"""Steady requests from several threads, each noted with its outcome."""

import threading
import time
from collections import Counter
from typing import Any

import requests

from tests import pictures
from tests.service import ROOT


class Load:
    """Sends pictures to `url` until left."""

    def __init__(self, url: str, connections: int = 4):
        self.url = f"{url}/api/v1/classify"
        self.outcomes: Counter[str] = Counter()
        self.seconds = 0.0
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._send) for _ in range(connections)]
        self._picture = (ROOT / "gateway" / "probe.png").read_bytes()  # the same photograph at 32x32 pixels

    def _send(self) -> None:
        with requests.Session() as session:
            while not self._stopping.is_set():
                try:
                    response = session.post(self.url, data=self._picture, timeout=30)
                    outcome = str(response.status_code)
                    if response.ok and response.json()["results"][0]["label"] != pictures.PHOTO_LABEL:
                        outcome = "wrong class"
                except requests.RequestException as error:
                    outcome = type(error).__name__
                self.outcomes[outcome] += 1

    def __enter__(self) -> "Load":
        self._started = time.monotonic()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        self.seconds = time.monotonic() - self._started

    @property
    def answered(self) -> int:
        return self.outcomes["200"]
