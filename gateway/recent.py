"""What happened in the last quarter of an hour, kept in memory for the status page; Prometheus keeps the rest."""

import math
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from gateway.drift import LABELS, Expectation, distance

SLOT_SECONDS: Final = 15
SLOTS: Final = 60
QUANTILES: Final = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
_STEP: Final = math.log(1.05)
"""Times are counted in bins each 5 % wider than the one before, so that a quantile is true to 2.5 %."""


@dataclass
class Slot:
    """What happened in fifteen seconds."""

    number: int  # of slots since the clock's zero
    requests: int = 0
    failures: int = 0  # requests that ended with 5xx
    times: Counter[int] = field(default_factory=Counter)  # requests by the bin of their seconds
    problems: Counter[str] = field(default_factory=Counter)  # by kind
    labels: Counter[str] = field(default_factory=Counter)  # pictures answered, by class
    scores: float = 0.0  # their sum
    out_of_scope: int = 0

    @property
    def pictures(self) -> int:
        """How many were answered."""
        return self.labels.total()

    @property
    def score(self) -> float | None:
        """Mean score of the answers."""
        return self.scores / self.pictures if self.pictures else None

    @property
    def out_of_scope_share(self) -> float | None:
        """Share of the pictures answered that show none of the ten."""
        return self.out_of_scope / self.pictures if self.pictures else None

    def seconds(self, quantile: float) -> float | None:
        """Give the time that this share of the requests did not exceed."""
        return quantile_of(self.times, quantile)


@dataclass(frozen=True)
class Drift:
    """How far the answers are from those to validation pictures."""

    labels: float  # half the sum of all differences between the classes' shares
    score: float  # difference of the means
    out_of_scope: float  # difference of the shares


class Recent:
    """Counts by slots of time; those that are too old are forgotten."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._slots: deque[Slot] = deque()
        self._lock = threading.Lock()

    def count_request(self, status: int, seconds: float, number: int = 1) -> None:
        """Count requests for answers, each of which took so long."""
        with self._lock:
            slot = self._now()
            slot.requests += number
            slot.failures += number * (status >= 500)
            slot.times[bin_of(seconds)] += number

    def count_problem(self, kind: str, number: int = 1) -> None:
        """Count pictures or requests that got no answer."""
        with self._lock:
            self._now().problems[kind] += number

    def count_answer(self, label: str, score: float, *, in_scope: bool) -> None:
        """Count a picture that was answered."""
        with self._lock:
            slot = self._now()
            slot.labels[label] += 1
            slot.scores += score
            slot.out_of_scope += not in_scope

    def slots(self) -> list[Slot]:
        """Give copies of all slots, the oldest first, those without an event as well; the last one is not over yet."""
        with self._lock:
            newest = self._now().number
            known = {slot.number: _sum(slot.number, [slot]) for slot in self._slots}
        return [known.get(number) or Slot(number) for number in range(newest - SLOTS + 1, newest + 1)]

    def _now(self) -> Slot:
        number = int(self._clock() // SLOT_SECONDS)
        if not self._slots or self._slots[-1].number != number:
            self._slots.append(Slot(number))
            while self._slots[0].number <= number - SLOTS:
                self._slots.popleft()
        return self._slots[-1]


def bin_of(seconds: float) -> int:
    """Give the bin that a time is counted in."""
    return math.floor(math.log(max(seconds, 1e-6)) / _STEP)


def quantile_of(times: Counter[int], quantile: float) -> float | None:
    """Give the seconds that this share of the times did not exceed; None where there are none."""
    left = quantile * times.total()
    for each in sorted(times):
        left -= times[each]
        if left <= 0:
            return middle_of(each)
    return None


def middle_of(number: int) -> float:
    """Give the seconds that a bin stands for."""
    return math.exp((number + 0.5) * _STEP)


def total(slots: Sequence[Slot]) -> Slot:
    """Add up slots."""
    return _sum(slots[-1].number, slots)


def drift(slot: Slot, expectation: Expectation) -> Drift | None:
    """Compare a slot's answers with what the model answered on validation pictures."""
    if slot.score is None or slot.out_of_scope_share is None:
        return None
    shares = {label: slot.labels[label] / slot.pictures for label in LABELS}
    return Drift(
        labels=distance(shares, expectation.label_shares),
        score=slot.score - expectation.score,
        out_of_scope=slot.out_of_scope_share - expectation.out_of_scope_share,
    )


def _sum(number: int, slots: Iterable[Slot]) -> Slot:
    whole = Slot(number)
    for slot in slots:
        whole.requests += slot.requests
        whole.failures += slot.failures
        whole.times.update(slot.times)
        whole.problems.update(slot.problems)
        whole.labels.update(slot.labels)
        whole.scores += slot.scores
        whole.out_of_scope += slot.out_of_scope
    return whole
