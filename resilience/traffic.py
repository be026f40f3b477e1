"""Requests that come whatever happens, and what became of each."""

import threading
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from benchmarks.load import Outcome, Request, open_loop
from benchmarks.systems import ROOT

PICTURE: Final = (ROOT / "gateway" / "probe.png").read_bytes()
LABEL: Final = b'"label":"cat"'
"""What the picture shows."""
ANSWERED: Final = "answered"
REFUSED: Final = "503"


def word(outcome: Outcome) -> str:
    """Say what became of a request: `answered` is rightly so; a refusal has to say when to come back."""
    if outcome.status == 200:
        return ANSWERED if LABEL in outcome.message else "answered wrongly"
    if outcome.status == 503:
        return REFUSED if b"Retry-After: " in outcome.message else "503 without Retry-After"
    return {0: "broken", -1: "not accepted"}.get(outcome.status, str(outcome.status))


@dataclass
class Tally:
    """Requests by what became of them, with the moments and seconds of each."""

    outcomes: list[tuple[float, float, str]] = field(default_factory=list)

    def note(self, outcome: Outcome) -> None:
        """Take one more."""
        self.outcomes.append((outcome.sent, outcome.seconds, word(outcome)))

    def __len__(self) -> int:
        """Count them all."""
        return len(self.outcomes)

    @property
    def counts(self) -> Counter[str]:
        """Count them by what became of them."""
        return Counter(kind for _, _, kind in self.outcomes)

    @property
    def longest(self) -> float:
        """Give the seconds after which the last of them had its answer."""
        return max((seconds for _, seconds, _ in self.outcomes), default=0.0)

    def percentile(self, share: float, kinds: Iterable[str] = (ANSWERED,)) -> float:
        """Give the seconds within which that share of those was answered."""
        ordered = sorted(seconds for _, seconds, kind in self.outcomes if kind in kinds)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")

    @property
    def calm_seconds(self) -> float:
        """Give the seconds from the last request that had no right answer, or from the first, to the last of all."""
        sent = [sent for sent, _, _ in self.outcomes]
        troubled = [sent for sent, _, kind in self.outcomes if kind != ANSWERED]
        return max(sent) - (max(troubled) if troubled else min(sent)) if sent else 0.0

    def trouble_after(self, moment: float, until: float = float("inf")) -> float:
        """Give the seconds from a moment to the last request, sent before `until`, that had no right answer."""
        sent = [sent for sent, _, kind in self.outcomes if kind != ANSWERED and moment <= sent < until]
        return max(sent) - moment if sent else 0.0


class Traffic:
    """An open loop in the background: so many requests a second for so long, or until it may `end` and is left."""

    def __init__(self, url: str, rate: float, seconds: float) -> None:
        self.tally = Tally()
        self._calm_seconds: float | None = None
        request = Request.post(url, PICTURE, {"Content-Type": "application/octet-stream"})
        options = {"note": self.tally.note, "stop": self._may_end}
        self._thread = threading.Thread(target=open_loop, args=(request, rate, seconds), kwargs=options)

    def end(self, calm_seconds: float = 0.0) -> None:
        """Let it end before its time, once nothing is under way and all that was sent for so long was answered."""
        self._calm_seconds = calm_seconds

    def _may_end(self) -> bool:
        return self._calm_seconds is not None and self.tally.calm_seconds >= self._calm_seconds

    def __enter__(self) -> Tally:
        self._thread.start()
        return self.tally

    def __exit__(self, *_: Any) -> None:
        self._thread.join()


def now() -> float:
    """Give the moment on the clock of the outcomes."""
    return time.perf_counter()
