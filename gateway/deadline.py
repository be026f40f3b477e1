"""Until when a request has to be answered: its wait for a thread counts."""

import time
from contextvars import ContextVar
from typing import Final

RECEIVED: Final[ContextVar[float | None]] = ContextVar("received", default=None)
"""When the last came of the request that this thread answers, on the monotonic clock; the worker sets it."""


def deadline(seconds: float) -> float:
    """Give the moment, on the monotonic clock, so many seconds after the request was received."""
    return (RECEIVED.get() or time.monotonic()) + seconds
