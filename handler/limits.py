"""What the decoding of one picture may cost: time by an alarm, memory by the kernel.

A file of a few bytes may ask for seconds and for gigabytes: a flat WebP of 49 megapixels has 34, and a JPEG may go over
its pixels in any number of scans.
"""

import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Final, TypeVar

_MEMORY: Final = Path("/proc/self/statm")  # read at every batch: psutil would take four times as long
_DATA: Final = 5

Result = TypeVar("Result")


class OutOfTimeError(Exception):
    """The work was broken off."""


class _Ring(BaseException):
    """No Exception, so that no decoder takes it for one of its own."""


class Alarm:
    """Breaks off what takes too long; for the main thread, where Python handles signals.

    A decoder's call into C ends first. Pillow makes many short ones for all formats but WebP and AVIF. Their one call a
    picture is bounded by its pixels: two seconds for the 50 megapixels that are let through, four for the 268 that
    libavif takes in a frame whose container says that it is small.
    """

    def __init__(self) -> None:
        self._armed = False
        signal.signal(signal.SIGALRM, self._ring)

    def run(self, seconds: float, work: Callable[[], Result]) -> Result:
        """Do the work and give what it gives.

        Raises:
            OutOfTimeError: it was not done after `seconds`.
        """
        try:
            try:
                self._armed = True
                # Again and again: one that rings in a destructor is lost.
                signal.setitimer(signal.ITIMER_REAL, seconds, 0.1)
                return work()
            finally:
                self._armed = False
        except _Ring:
            self._armed = False
            raise OutOfTimeError from None
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _ring(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        if self._armed:
            raise _Ring


def limit_memory(more_bytes: int) -> None:
    """Let this process take so many more bytes than it has now, on Linux; beyond, Python raises MemoryError."""
    if sys.platform == "linux":
        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        wanted = int(_MEMORY.read_bytes().split()[_DATA]) * resource.getpagesize() + more_bytes
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
