"""Keeps the parts of the service running: what ends or answers no more is started again."""

import time
from collections.abc import Callable
from typing import Final

from launcher.processes import Child

LONGEST_PAUSE_SECONDS: Final = 30.0
STEADY_SECONDS: Final = 60.0
"""A part that has run for so long is no longer taken to be failing."""
_MOST_DOUBLINGS: Final = 30


class Part:
    """A process that is started again when it has ended, after a pause that doubles while it keeps ending."""

    def __init__(
        self, name: str, start: Callable[[], Child], say: Callable[[str], None], *, stop_seconds: float
    ) -> None:
        self.name = name
        self.started = time.monotonic()
        self.child = start()
        self._start = start
        self._say = say
        self._stop_seconds = stop_seconds
        self._failures = 0
        self._start_at: float | None = None

    @property
    def exit_code(self) -> int | None:
        """The exit code, or None while it runs."""
        return self.child.exit_code

    def revive(self) -> None:
        """Start it again if it has ended and its pause is over."""
        now = time.monotonic()
        if self.exit_code is None:
            if now - self.started > STEADY_SECONDS:
                self._failures = 0
        elif self._start_at is None:
            pause = self._pause(now)
            self._say(f"{self.name} ended with exit code {self.exit_code}; starting it again in {pause:g} seconds")
            self.child.stop(0)  # what it had started itself
        elif now >= self._start_at:
            try:
                self.child = self._start()
            except OSError as error:  # the machine has no memory or no process left just now
                pause = self._pause(now)
                self._say(f"{self.name} could not be started ({error.strerror}); trying again in {pause:g} seconds")
            else:
                self._start_at = None
                self.started = now

    def _pause(self, now: float) -> float:
        """Put off the next start; give the seconds, none for the first time."""
        pause = min(2.0 ** min(self._failures, _MOST_DOUBLINGS) - 1, LONGEST_PAUSE_SECONDS)
        self._failures += 1
        self._start_at = now + pause
        return pause

    def stop(self) -> None:
        """Stop it for good."""
        self.child.stop(self._stop_seconds)


class Watch:
    """Looks whether TorchServe answers predictions, and ends it when it has not for too long.

    A worker that has failed too often is never replaced by TorchServe itself, which then accepts requests and answers
    none of them.
    """

    def __init__(
        self,
        part: Part,
        answers: Callable[[], bool],
        say: Callable[[str], None],
        *,
        start_seconds: float,
        silence_seconds: float,
        interval_seconds: float = 2.0,
    ) -> None:
        self._part = part
        self._answers = answers
        self._say = say
        self._start_seconds = start_seconds
        self._silence_seconds = silence_seconds
        self._interval_seconds = interval_seconds
        self._looked = 0.0
        self._answered = time.monotonic()  # whoever makes a watch has just seen an answer

    def look(self) -> None:
        """Ask for a prediction if it is time, and end the part if it has been silent for too long."""
        now = time.monotonic()
        if self._part.exit_code is not None or now - self._looked < self._interval_seconds:
            return
        self._looked = now
        if self._answers():
            self._answered = time.monotonic()
            return
        has_answered = self._answered > self._part.started
        allowed = self._silence_seconds if has_answered else self._start_seconds
        silent = time.monotonic() - max(self._answered, self._part.started)
        if silent > allowed:
            self._say(f"{self._part.name} has answered no prediction for {silent:.0f} seconds: ending it")
            self._part.child.stop(0)
