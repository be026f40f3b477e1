"""A version of the model on trial: which one, and how much of the traffic it gets.

The operator's command writes a small file (operations/trial.py), which is read again when it has changed: a trial
begins, changes and ends without a restart. A share of the requests is answered by the candidate (canary); of another
share the candidate gets a copy (shadow). One that fails is left out for a while, longer each time in a row.
"""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import structlog

from gateway.replicas import pause_after

LOOK_SECONDS: Final = 1.0
"""So often the file is looked at, at most."""
SHORTEST_PAUSE_SECONDS: Final = 0.5
LONGEST_PAUSE_SECONDS: Final = 30.0


@dataclass(frozen=True)
class Trial:
    """What the operator wants tried."""

    candidate: str  # the version's name
    canary_share: float
    shadow_share: float
    since: str  # tells one trial of a version from the next

    def is_same(self, other: "Trial | None") -> bool:
        """Say whether it is the same trial, perhaps with other shares."""
        return other is not None and (self.candidate, self.since) == (other.candidate, other.since)

    @classmethod
    def read(cls, path: Path) -> "Trial":
        """Read the file.

        Raises:
            OSError: it is not there.
            ValueError: it is no trial.
        """
        try:
            document = json.loads(path.read_text())
            trial = cls(
                candidate=str(document["candidate"]),
                canary_share=float(document["canary_share"]),
                shadow_share=float(document["shadow_share"]),
                since=str(document["since"]),
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a trial: {error}") from error
        shares = (trial.canary_share, trial.shadow_share)
        if not trial.candidate or not all(0 <= share <= 1 for share in shares):
            raise ValueError("it names no candidate, or a share that is not from 0 to 1")
        return trial


@dataclass
class Turns:
    """Spreads a share evenly over what comes: of every hundred, a share of 0.1 gets ten."""

    due: float = 0.0

    def take(self, share: float) -> bool:
        """Say whether this one is of the share."""
        self.due += share
        if self.due < 1 - 1e-9:
            return False
        self.due -= 1
        return True


@dataclass
class Trials:
    """The trial of now, if there is one."""

    path: Path
    _trial: Trial | None = None
    _seen: tuple[int, ...] = ()  # what told the file of last time from others
    _looked: float = -LOOK_SECONDS
    _canary: Turns = field(default_factory=Turns)
    _shadow: Turns = field(default_factory=Turns)
    _failures: int = 0  # of the candidate, in a row
    _out_until: float = 0.0  # on the monotonic clock
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def current(self) -> Trial | None:
        """Give the trial of now."""
        with self._lock:
            self._look()
            return self._trial

    def canary(self) -> Trial | None:
        """Give the trial if it is the candidate's turn to answer."""
        return self._take(self._canary, lambda trial: trial.canary_share)

    def shadow(self) -> Trial | None:
        """Give the trial if it is the candidate's turn to get a copy."""
        return self._take(self._shadow, lambda trial: trial.shadow_share)

    def _take(self, turns: Turns, share: Callable[[Trial], float]) -> Trial | None:
        with self._lock:
            self._look()
            if self._trial and turns.take(share(self._trial)) and time.monotonic() >= self._out_until:
                return self._trial
            return None

    def failed(self, trial: Trial) -> None:
        """Leave the candidate out for a while."""
        with self._lock:
            pause = pause_after(self._failures, SHORTEST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
            self._failures += 1
            self._out_until = time.monotonic() + pause
        structlog.get_logger().warning("candidate_failed", version=trial.candidate, out_seconds=pause)

    def answered(self) -> None:
        """Take the candidate for well again."""
        with self._lock:
            self._failures, self._out_until = 0, 0.0

    def _look(self) -> None:
        if time.monotonic() - self._looked < LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        try:
            found = self.path.stat()
            seen: tuple[int, ...] = (found.st_mtime_ns, found.st_size, found.st_ino)
        except OSError:
            seen = ()
        if seen == self._seen:
            return
        self._seen, before = seen, self._trial
        try:
            self._trial = Trial.read(self.path)
        except FileNotFoundError:
            self._trial = None
        except (OSError, ValueError) as error:
            self._trial = None  # better no trial than one that nobody asked for
            structlog.get_logger().error("trial_unreadable", path=str(self.path), reason=str(error))
        if self._trial != before:
            self._failures, self._out_until = 0, 0.0
            structlog.get_logger().info("trial", **(vars(self._trial) if self._trial else {"candidate": None}))
