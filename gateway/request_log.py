"""Request ids and one structured log line a request."""

import contextlib
import logging
import re
import sys
import time
import uuid
from typing import TextIO, cast

import structlog
from flask import Flask, Response, g, request

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_PROBES = ("health", "kserve-health")
_OF_THE_MOMENT = ("api", "kserve", "page", "status", *_PROBES)


class _Output:
    """Standard output, of which a full disk behind it takes the lines but no answer."""

    def write(self, text: str) -> None:
        with contextlib.suppress(OSError):
            sys.stdout.write(text)
            sys.stdout.flush()

    def flush(self) -> None:
        """Do nothing: every line is written at once."""


def init_app(app: Flask) -> None:
    """Give every request an id and a log line."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(cast(TextIO, _Output())),
    )
    app.before_request(_begin)
    app.after_request(_end)


def _begin() -> None:
    g.started = time.perf_counter()
    given = request.headers.get("X-Request-ID", "")
    g.request_id = given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


def _end(response: Response) -> Response:
    response.headers["X-Request-ID"] = g.request_id
    if request.blueprint in _OF_THE_MOMENT:
        response.headers.setdefault("Cache-Control", "no-store")
    if request.blueprint in _PROBES:
        return response  # a probe every second would bury the rest
    structlog.get_logger().info(
        "request",
        request_id=g.request_id,
        method=request.method,
        path=request.path,
        status=response.status_code,
        bytes_in=request.content_length or 0,
        milliseconds=round((time.perf_counter() - g.started) * 1000, 2),
    )
    return response
