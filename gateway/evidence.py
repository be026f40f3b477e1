"""What a trial shows: the same pictures' answers by the default version and by the candidate, side by side.

Whoever answers a request of a trial, the other of the two is asked the same in the background: by one thread, out of a
short queue that drops what it has no room for, so that no sender waits for it.
"""

import queue
import threading
from collections import Counter as Tally
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram

from gateway.asking import Answers
from gateway.batching import Outcome
from gateway.metrics import SCORES, SECONDS
from gateway.problems import Problem
from gateway.recent import bin_of, middle_of, quantile_of
from gateway.torchserve import Prediction
from gateway.trial import Trial
from gateway.uploads import Upload

MOST_WAITING: Final = 16
"""Requests in the queue."""
MOST_BYTES: Final = 32_000_000
"""Of their pictures together."""


@dataclass(frozen=True)
class Job:
    """A request that was answered, and that the other version is to be asked as well."""

    trial: Trial
    uploads: list[Upload]
    request_id: str
    answered: Answers
    by_candidate: bool

    @property
    def bytes(self) -> int:
        """How much of the queue's room it takes."""
        return sum(len(upload.data) for upload in self.uploads)


@dataclass
class Figures:
    """What was counted in one trial against one default version."""

    trial: Trial
    default: str
    asked: int = 0  # requests that were put before the candidate
    failed: int = 0  # of them, those that it did not answer
    answered: int = 0  # of them, those whose senders got its answer
    dropped: int = 0  # requests that were not compared for lack of room
    requests: int = 0  # compared
    pictures: int = 0
    agreed: int = 0  # pictures that both gave the same class, or both refused
    scored: int = 0  # pictures that both answered
    shift: float = 0.0  # sum of the candidate's scores less the default's
    default_times: Tally[int] = field(default_factory=Tally)
    candidate_times: Tally[int] = field(default_factory=Tally)

    def document(self) -> dict[str, Any]:
        """Give the figures to programs; what was not measured is null.

        `agreed`, `scored` and `times` (seconds and how often) let the figures of several gateways be added up.
        """
        times = {"default": self.default_times, "candidate": self.candidate_times}
        return {
            "candidate": self.trial.candidate,
            "default": self.default or None,
            "since": self.trial.since,
            "canary_share": self.trial.canary_share,
            "shadow_share": self.trial.shadow_share,
            "asked": self.asked,
            "failed": self.failed,
            "answered": self.answered,
            "dropped": self.dropped,
            "requests": self.requests,
            "pictures": self.pictures,
            "agreement": self.agreed / self.pictures if self.pictures else None,
            "score_shift": self.shift / self.scored if self.scored else None,
            "seconds": {
                role: {"p50": quantile_of(each, 0.5), "p95": quantile_of(each, 0.95)} for role, each in times.items()
            },
            "agreed": self.agreed,
            "scored": self.scored,
            "times": {
                role: [[middle_of(number), each[number]] for number in sorted(each)] for role, each in times.items()
            },
        }


class Evidence:
    """Gathers the figures of the trial of now, for /status and for Prometheus.

    `ask_other` puts a job's request before the version that has not answered it; `current` gives the trial of now.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        ask_other: Callable[[Job], Answers],
        current: Callable[[], Trial | None],
    ) -> None:
        self.ask_other = ask_other
        self.current = current
        self.figures: Figures | None = None
        self._jobs: queue.Queue[Job] = queue.Queue(MOST_WAITING)
        self._bytes = 0
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._requests = Counter(
            "gateway_trial_requests",
            "Requests of a trial: put before the candidate, of them failed by it, and those that got its answer; "
            "compared with the default version's answer, or not for lack of room.",
            ["candidate", "outcome"],
            registry=registry,
        )
        self._pictures = Counter(
            "gateway_trial_pictures",
            "Pictures that both versions were asked, by whether they agreed.",
            ["candidate", "agreed"],
            registry=registry,
        )
        self._scores = Histogram(
            "gateway_trial_score",
            "Scores of pictures that both versions answered.",
            ["candidate", "by"],
            buckets=SCORES,
            registry=registry,
        )
        self._seconds = Histogram(
            "gateway_trial_seconds",
            "Time of TorchServe's answers to requests that both versions were asked.",
            ["candidate", "by"],
            buckets=SECONDS,
            registry=registry,
        )

    def document(self, trial: Trial | None) -> dict[str, Any] | None:
        """Give the figures of a trial to programs."""
        if trial is None:
            return None
        with self._lock:
            return self._of(trial).document()

    def count_asked(self, trial: Trial, *, failed: bool) -> None:
        """Count a request that was put before the candidate."""
        with self._lock:
            figures = self._of(trial)
            figures.asked += 1
            figures.failed += failed
        self._requests.labels(trial.candidate, "asked").inc()
        if failed:
            self._requests.labels(trial.candidate, "failed").inc()

    def count_answered(self, trial: Trial) -> None:
        """Count a request whose sender got the candidate's answer."""
        with self._lock:
            self._of(trial).answered += 1
        self._requests.labels(trial.candidate, "answered").inc()

    def compare(self, job: Job) -> None:
        """Have the other version asked as well, as soon as there is time; drop it where there is no room."""
        with self._lock:
            fits = self._bytes + job.bytes <= MOST_BYTES and not self._jobs.full()
            if fits:
                self._jobs.put_nowait(job)
                self._bytes += job.bytes
            else:
                self._of(job.trial).dropped += 1
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="comparison", daemon=True)
                self._thread.start()
        if not fits:
            self._requests.labels(job.trial.candidate, "dropped").inc()

    def record(self, trial: Trial, default: Answers, candidate: Answers) -> None:
        """Count what both answered to the same request."""
        if not (default.is_whole and candidate.is_whole):  # nothing to compare
            return
        name = trial.candidate
        pairs = list(zip(default.outcomes, candidate.outcomes, strict=True))
        scores = [
            (one.answer["score"], other.answer["score"])
            for one, other in pairs
            if isinstance(one, Prediction) and isinstance(other, Prediction)
        ]
        agreed = sum(agree(one, other) for one, other in pairs)
        with self._lock:
            figures = self._of(trial, default.version)
            figures.requests += 1
            figures.pictures += len(pairs)
            figures.agreed += agreed
            figures.scored += len(scores)
            figures.shift += sum(other - one for one, other in scores)
            figures.default_times[bin_of(default.seconds)] += 1
            figures.candidate_times[bin_of(candidate.seconds)] += 1
        self._requests.labels(name, "compared").inc()
        self._pictures.labels(name, "true").inc(agreed)
        self._pictures.labels(name, "false").inc(len(pairs) - agreed)
        self._seconds.labels(name, "default").observe(default.seconds)
        self._seconds.labels(name, "candidate").observe(candidate.seconds)
        for one, other in scores:
            self._scores.labels(name, "default").observe(one)
            self._scores.labels(name, "candidate").observe(other)

    def wait(self) -> None:
        """Wait until everything that was taken has been compared."""
        self._jobs.join()

    def _work(self) -> None:
        while True:
            job = self._jobs.get()
            try:
                other = self.ask_other(job)
                default, candidate = (other, job.answered) if job.by_candidate else (job.answered, other)
                self.record(job.trial, default, candidate)
            except Exception as error:  # noqa: BLE001  # whatever it is, the next comparison may go well
                structlog.get_logger().error("unforeseen", request_id=job.request_id, exc_info=error)
            finally:
                with self._lock:
                    self._bytes -= job.bytes
                self._jobs.task_done()

    def _of(self, trial: Trial, default: str = "") -> Figures:
        """Give the figures of a trial, new ones where the trial or the default version has become another.

        What is still to be counted of a trial that is over goes into figures that nobody sees.
        """
        if not trial.is_same(self.current()):
            return Figures(trial, default)
        figures = self.figures
        if (
            figures is None
            or not trial.is_same(figures.trial)
            or (default and figures.default and default != figures.default)
        ):
            figures = self.figures = Figures(trial, default)
        figures.trial = trial  # its shares may have changed
        figures.default = figures.default or default
        return figures


def agree(one: Outcome, other: Outcome) -> bool:
    """Say whether two outcomes for a picture are the same class, or the same refusal."""
    if isinstance(one, Prediction) and isinstance(other, Prediction):
        return bool(one.answer["label"] == other.answer["label"])
    return isinstance(one, Problem) and isinstance(other, Problem) and one.kind == other.kind
