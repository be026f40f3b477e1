"""Answers that the worker's loop gives by itself: made beforehand, since there is no time when they are needed."""

import secrets
import threading
import time
from collections import Counter
from typing import Final

import structlog
from flask import Flask, g
from gunicorn import util

from gateway.heads import Head
from gateway.metrics import METHODS
from gateway.problems import FOR_PROGRAMS, KINDS, Problem, respond
from gateway.security import EXPOSED, set_headers

_ID_PLACE: Final = "0" * 32
_ROUTES: Final = frozenset({"/", "/api/v1/classify", "/api/v1/explain"})


class Refusals:
    """Problems as whole HTTP responses, and how many there were of each kind."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._metrics = app.extensions["metrics"]
        self._origins = app.extensions["settings"].cors_origins
        self._made: dict[tuple[str, str, bool], tuple[bytes, list[bytes]]] = {}
        self._date = 0, b""
        self._lock = threading.Lock()  # threads answer what they cannot read
        self._uncounted: Counter[tuple[str, str, str]] = Counter()
        self._unreported: Counter[str] = Counter()
        self._reported = 0.0

    def answer(self, kind: str, head: Head, *, keep: bool) -> bytes:
        """Give the whole HTTP response to a request with this head."""
        key = (kind, head.place, head.is_ukrainian)
        if key not in self._made:
            self._made[key] = self._make(*key)
        start, around_the_id = self._made[key]
        request_id = head.request_id.encode() or secrets.token_hex(16).encode()
        with self._lock:
            self._uncounted[kind, head.method, head.path if head.path in _ROUTES else "none"] += 1
        body = request_id.join(around_the_id)
        return b"%bDate: %b\r\nX-Request-ID: %b\r\nContent-Length: %d\r\nConnection: %b\r\n%b\r\n%b" % (
            *(start, self._now(), request_id, len(body)),
            *(b"keep-alive" if keep else b"close", self._sharing(head), body),
        )

    def _sharing(self, head: Head) -> bytes:
        """Let pages of the origins that may ask read the answer, as security.py does."""
        if not head.origin or not head.path.startswith(FOR_PROGRAMS):
            return b""
        if head.origin not in self._origins and "*" not in self._origins:
            return b""
        lines = f"Access-Control-Allow-Origin: {head.origin}\r\nAccess-Control-Expose-Headers: {', '.join(EXPOSED)}\r\n"
        return lines.encode("latin-1")

    def _now(self) -> bytes:
        """Give the time as HTTP writes it; it is worth making once a second."""
        second = int(time.time())
        if second != self._date[0]:
            self._date = second, util.http_date().encode()
        return self._date[1]

    def _make(self, kind: str, place: str, is_ukrainian: bool) -> tuple[bytes, list[bytes]]:
        """Give a response's first lines, and its body without the request's id."""
        headers = {"Accept-Language": "uk" if is_ukrainian else "en"}
        headers["Accept"] = "text/html" if place == "/" else "application/json"
        with self._app.test_request_context(place, method="POST", headers=headers):
            g.request_id = _ID_PLACE
            response = set_headers(respond(Problem(kind)))
            response.headers["Cache-Control"] = "no-store"
            del response.headers["Content-Length"]
            lines = [f"HTTP/1.1 {response.status}", *(f"{name}: {value}" for name, value in response.headers.items())]
            return "\r\n".join([*lines, ""]).encode(), response.get_data().split(_ID_PLACE.encode())

    def count(self) -> None:
        """Take those that were given since the last time into the metrics; one by one it would cost as much as they."""
        with self._lock:
            uncounted, self._uncounted = self._uncounted, Counter()
        for (kind, method, route), number in uncounted.items():
            status = KINDS[kind].status
            self._metrics.requests.labels(method if method in METHODS else "other", route, str(status)).inc(number)
            self._metrics.count_problem(kind, number)
            if method == "POST":
                self._metrics.recent.count_request(status, 0.0, number)
                self._metrics.recent.count_problem(kind, number)
            self._unreported[kind] += number

    def report(self) -> None:
        """Write one line a second for them all."""
        if self._unreported and time.monotonic() - self._reported >= 1:
            self._reported = time.monotonic()
            structlog.get_logger().warning("refused", **self._unreported)
            self._unreported.clear()
