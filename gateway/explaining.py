"""Explanations in turn: each takes TorchServe as long as some fifty pictures, and others' pictures wait as well."""

import threading
import time
from typing import Final

from gateway.problems import Problem
from gateway.torchserve import ModelTimeout, Prediction, TorchServe

AT_ONCE: Final = 2
"""At each TorchServe: more would be put into one batch, which all of it waits for, and be ready no sooner."""


class Explaining:
    """Lets few be asked for at once; others wait in turn, for which no more than half of the threads are lent."""

    def __init__(self, torchserve: TorchServe) -> None:
        self.torchserve = torchserve
        self._changed = threading.Condition()
        self._waiting = 0
        self._under_way = 0

    def ask(self, image: bytes, request_id: str, *, until: float) -> Prediction:
        """Have one picture classified and explained, until a moment on the monotonic clock.

        Raises:
            Problem: too many wait, or one of those that `TorchServe.predict` raises.
        """
        settings = self.torchserve.settings
        with self._changed:
            if self._waiting >= max(1, settings.threads // 2):
                raise Problem("overloaded")
            self._waiting += 1
            try:
                has_turn = self._changed.wait_for(self._has_room, max(0.0, until - time.monotonic()))
            finally:
                self._waiting -= 1
            if not has_turn:
                raise ModelTimeout(settings.answer_timeout_seconds)
            self._under_way += 1
        try:
            return self.torchserve.predict(image, request_id, explain=True, until=until)
        finally:
            with self._changed:
                self._under_way -= 1
                self._changed.notify()

    def _has_room(self) -> bool:
        return self._under_way < AT_ONCE * max(1, len(self.torchserve.replicas))
