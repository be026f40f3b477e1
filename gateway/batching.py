"""Pictures of several requests, put before TorchServe together where more come than it answers one by one.

To ask over HTTP costs half as much as to answer, so a crowd is answered faster in groups. Nobody waits for a group to
fill: a picture goes at once while few requests are under way, and those that come meanwhile go together as soon as one
of these is answered.
"""

import threading
import time
from collections import deque
from dataclasses import dataclass, field, replace
from typing import Final

from gateway.problems import Problem
from gateway.torchserve import ModelTimeout, ModelUnavailable, Prediction, TorchServe

PICTURES_TOGETHER: Final = 8
"""Pictures that TorchServe is asked for at once: others wait for a worker only as long as these take."""
LARGEST_BYTES: Final = 1 << 18
"""A larger picture goes alone: to decode it takes far longer than to ask, and others would wait for it."""

STUCK_SECONDS: Final = 0.5
"""A request that has had no answer for so long takes nobody's place any more: its worker may hang."""

Outcome = Prediction | Problem


@dataclass(eq=False)
class _Waiting:
    """A picture whose thread waits for its outcome, or to ask for a group of which it is the first."""

    image: bytes
    request_id: str
    until: float
    began: float
    woken: threading.Event = field(default_factory=threading.Event)
    group: "list[_Waiting]" = field(default_factory=list)
    outcome: Outcome | None = None


class Batcher:
    """Lets the thread whose picture has waited longest ask for others' pictures as well."""

    def __init__(self, torchserve: TorchServe) -> None:
        self.torchserve = torchserve
        self._lock = threading.Lock()
        self._waiting: deque[_Waiting] = deque()
        self._under_way: dict[_Waiting, float] = {}  # who asks, and since when
        # All of a group make no larger request than one picture may.
        self._largest_bytes = min(LARGEST_BYTES, torchserve.settings.max_image_bytes // PICTURES_TOGETHER)

    def ask(self, image: bytes, request_id: str, *, until: float) -> Outcome:
        """Have one picture classified by the model's default version, until a moment on the monotonic clock."""
        began = time.monotonic()
        outcome: Outcome | None = None
        # Whoever asked may have had less time left than there is for this picture.
        while outcome is None or (isinstance(outcome, ModelTimeout) and time.monotonic() < until):
            outcome = self._ask_in_turn(_Waiting(image, request_id, until, began))
        return outcome

    def _ask_in_turn(self, mine: _Waiting) -> Outcome:
        with self._lock:
            if len(mine.image) > self._largest_bytes:
                self._lead([mine])
            else:
                self._waiting.append(mine)
                self._let_next_ask()
        while not mine.group:
            mine.woken.wait(min(max(mine.until - time.monotonic(), 0), STUCK_SECONDS))
            with self._lock:
                self._let_next_ask()  # there may be room only because somebody hangs, of which nobody tells
                if mine.outcome or (not mine.group and time.monotonic() >= mine.until):
                    if mine in self._waiting:
                        self._waiting.remove(mine)
                    return mine.outcome or ModelTimeout(self.torchserve.settings.answer_timeout_seconds)
        return self._ask_for_group(mine)

    def _let_next_ask(self) -> None:
        """Let the thread that has waited longest ask, for those behind it as well, if one more may be under way."""
        if not self._waiting:
            return
        now = time.monotonic()
        under_way = sum(now - began < STUCK_SECONDS for began in self._under_way.values())
        if under_way < self._most_under_way():
            together = min(PICTURES_TOGETHER, len(self._waiting))
            self._lead([self._waiting.popleft() for _ in range(together)])

    def _lead(self, group: list[_Waiting]) -> None:
        """Have the first of a group ask for all of it."""
        first = group[0]
        self._under_way[first] = time.monotonic()
        first.group = group
        first.woken.set()

    def _most_under_way(self) -> int:
        return self.torchserve.settings.batches * max(1, len(self.torchserve.replicas))

    def _ask_for_group(self, mine: _Waiting) -> Outcome:
        outcomes: list[Outcome] = []
        try:
            outcomes = self._outcomes(mine.group)
        finally:  # whatever happens, nobody is left waiting
            outcomes += [ModelUnavailable("whoever asked failed")] * (len(mine.group) - len(outcomes))
            with self._lock:
                for each, outcome in zip(mine.group, outcomes, strict=True):
                    each.outcome = outcome
                    each.woken.set()
                del self._under_way[mine]
                self._let_next_ask()
        return outcomes[0]

    def _outcomes(self, group: list[_Waiting]) -> list[Outcome]:
        first, asked = group[0], time.monotonic()
        outcomes: list[Outcome]
        try:
            if len(group) == 1:
                outcomes = [self.torchserve.predict(first.image, first.request_id, until=first.until)]
            else:
                request_ids = ",".join(each.request_id for each in group)
                images = [each.image for each in group]
                outcomes = [*self.torchserve.predict_together(images, request_ids, until=first.until)]
        except Problem as problem:
            return [problem] * len(group)
        return [_with_wait(outcome, asked - each.began) for each, outcome in zip(group, outcomes, strict=True)]


def _with_wait(outcome: Outcome, seconds: float) -> Outcome:
    """Count what a picture waited here into the time that it waited for a worker."""
    if isinstance(outcome, Problem):
        return outcome
    return replace(outcome, stages=outcome.stages | {"queue": outcome.stages["queue"] + seconds})
