"""The client of TorchServe's inference API.

What can go wrong, as seen by a caller:

    Problem                   an answer for the sender, see problems.py
    ├── PictureRefused        4xx: the handler's own words about the picture
    ├── ModelUnavailable      503: not there, restarting, queue full, or the key is refused
    └── ModelTimeout          504: no answer in time
"""

import re
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

import urllib3
from urllib3.exceptions import HTTPError, ReadTimeoutError

from gateway.problems import Problem
from gateway.replicas import KeyFileError, NoReplicaError, Replica, Replicas
from gateway.settings import Settings

MOST_REPLICAS: Final = 100
"""Connections are kept to so many at once."""
FIRST_SHARE: Final = 0.4
"""Of the time that an answer may take, the part after which another worker is asked."""
SHORTEST_SECONDS: Final = 0.001
_STAGE: Final = re.compile(r"([a-z]+);dur=([0-9]+(?:\.[0-9]+)?)")


class PictureRefused(Problem):
    """The handler does not answer this picture; its problem's members beyond the standard's are the facts."""

    def __init__(self, document: dict[str, Any]) -> None:
        kind = document["type"].rsplit("/", 1)[-1]
        standard = ("type", "title", "status", "detail")
        super().__init__(kind, **{name: value for name, value in document.items() if name not in standard})


class ModelUnavailable(Problem):
    """No prediction can be had now; the reason is for the log."""

    def __init__(self, reason: str) -> None:
        super().__init__("model-unavailable")
        self.reason = reason


class _QueueFull(ModelUnavailable):
    """TorchServe has as many requests waiting as it takes."""


class ModelTimeout(Problem):
    """The prediction took too long."""

    def __init__(self, seconds: float) -> None:
        super().__init__("model-timeout", seconds=f"{seconds:g}")
        self.reason = "no answer in time"


@dataclass(frozen=True)
class Prediction:
    """The handler's answer for one picture and which weights gave it."""

    answer: dict[str, Any]
    version: str
    sha256: str
    stages: dict[str, float]  # seconds, by what they went into
    batch_size: int  # pictures that the handler had at once; 0 where the version's handler does not say


@dataclass(frozen=True)
class _Reply:
    """What TorchServe answered."""

    document: Any
    version: str
    sha256: str
    stages: dict[str, float]
    batch_size: int

    def prediction(self) -> Prediction:
        return Prediction(self.document, self.version, self.sha256, self.stages, self.batch_size)


class TorchServe:
    """A pooled client of all replicas, with one timeout for connecting and one for the answer."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.replicas = Replicas(settings.torchserve_url, settings.key_file)
        # What requests is built on: its own layer would take a third of the gateway's time for each picture.
        self.pool = urllib3.PoolManager(num_pools=MOST_REPLICAS, maxsize=settings.threads * 2, retries=False)

    def predict(
        self,
        image: bytes,
        request_id: str,
        *,
        explain: bool = False,
        version: str = "",
        until: float | None = None,
        once: bool = False,
    ) -> Prediction:
        """Have one picture classified; with `explain`, its answer has an `explanation` as well.

        The default version of the model answers, or the one that `version` names. `until` is on the monotonic clock;
        without it the answer may take as long as is set. `once` is for what can be had elsewhere: see `_ask`.

        Raises:
            PictureRefused: the picture itself gets no answer.
            ModelUnavailable: TorchServe cannot answer now.
            ModelTimeout: it did not answer in time.
        """
        what = "explanations" if explain else "predictions"
        headers = {"X-Request-ID": request_id}
        return self._ask(self._path(what, version), image, headers, self._until(until), once=once).prediction()

    def probe(self, image: bytes, request_id: str, *, seconds: float) -> Prediction:
        """Have a picture classified within so many seconds; the handler's log says nothing of it.

        Raises:
            ModelUnavailable: TorchServe cannot answer now.
            ModelTimeout: it did not answer in time.
        """
        headers = {"X-Request-ID": request_id, "X-Probe": "true"}
        try:
            return self._ask(self._path("predictions"), image, headers, time.monotonic() + seconds).prediction()
        except ModelTimeout as error:
            raise ModelTimeout(seconds) from error

    def predict_together(
        self,
        images: list[bytes],
        request_id: str,
        *,
        version: str = "",
        until: float | None = None,
        once: bool = False,
    ) -> list[Prediction | PictureRefused]:
        """Have several pictures classified by one request, which costs much less than as many; each gets its own.

        Raises:
            ModelUnavailable: TorchServe cannot answer now.
            ModelTimeout: it did not answer in time.
        """
        headers = {"X-Request-ID": request_id, "X-Picture-Lengths": ",".join(str(len(image)) for image in images)}
        try:
            path, until = self._path("predictions", version), self._until(until)
            reply = self._ask(path, b"".join(images), headers, until, once=once)
        except PictureRefused:
            reply = None
        if reply is None or not isinstance(reply.document, list):
            # A version whose handler knows of one picture a request only, as the first ones did.
            ask = partial(self._predict_or_refuse, request_id=request_id, version=version, until=until, once=once)
            return [ask(image) for image in images]
        return [
            PictureRefused(each) if "status" in each else replace(reply, document=each).prediction()
            for each in reply.document
        ]

    def _predict_or_refuse(
        self, image: bytes, *, request_id: str, version: str, until: float | None, once: bool
    ) -> Prediction | PictureRefused:
        try:
            return self.predict(image, request_id, version=version, until=until, once=once)
        except PictureRefused as refused:
            return refused

    def manifest(self, request_id: str, *, until: float, once: bool = False) -> Prediction:
        """Give the manifest of the weights that answer now; `until` is on the monotonic clock.

        `once` is for whoever has little patience, or can do without: see `_ask`.

        Raises:
            ModelUnavailable: TorchServe cannot answer now.
            ModelTimeout: it did not answer in time.
        """
        headers = {"X-Request-ID": request_id, "X-Model-Manifest": "true"}
        return self._ask(self._path("predictions"), b"-", headers, until, once=once).prediction()

    def _until(self, until: float | None) -> float:
        return time.monotonic() + self.settings.answer_timeout_seconds if until is None else until

    def _path(self, what: str, version: str = "") -> str:
        return f"{what}/{self.settings.model_name}" + (f"/{version}" if version else "")

    def _ask(self, what: str, body: bytes, headers: dict[str, str], until: float, *, once: bool = False) -> _Reply:
        """Ask one replica and, where it fails, once more, until a moment on the monotonic clock.

        That is safe: a prediction changes nothing. A full queue is no failure, but another replica may have room. The
        first has a part of the time only: a machine that is gone, or a worker that hangs, says nothing at all. With an
        explanation, which takes long, that is told from a busy one by another replica alone.

        With `once` it is not asked again, and a failure is not held against the replica: it may be the version's, or
        that of too short a time.
        """
        began = time.monotonic()
        if began >= until:  # it has waited for a thread all the time
            raise ModelTimeout(self.settings.answer_timeout_seconds)
        replica = self._choose()
        if once:
            return self._ask_replica(replica, what, body, headers, until, is_held_against=False)
        may_hang = len(self.replicas) > 1 or not what.startswith("explanations")
        try:
            first_until = began + (until - began) * FIRST_SHARE if may_hang else until
            return self._ask_replica(replica, what, body, headers, first_until)
        except (ModelUnavailable, ModelTimeout) as problem:
            second = self._choose(other_than=replica)
            if time.monotonic() >= until or (second is replica and isinstance(problem, _QueueFull)):
                raise
            return self._ask_replica(second, what, body, headers, until)

    def _choose(self, other_than: Replica | None = None) -> Replica:
        try:
            return self.replicas.choose(other_than)
        except NoReplicaError as error:
            raise ModelUnavailable(str(error)) from error

    def _ask_replica(
        self,
        replica: Replica,
        what: str,
        body: bytes,
        headers: dict[str, str],
        until: float,
        *,
        is_held_against: bool = True,
    ) -> _Reply:
        began = time.perf_counter()
        try:
            with self.replicas.waiting_for(replica):
                response = self._post(replica, what, body, headers, until)
        except (ModelUnavailable, ModelTimeout) as problem:
            if is_held_against:
                self.replicas.failed(replica, problem.reason)
            raise
        if response.status == 200:
            self.replicas.answered(replica)
            return _Reply(
                document=response.json(),
                version=response.headers.get("X-Model-Version", ""),
                sha256=response.headers.get("X-Model-SHA256", ""),
                stages=stages_of(response.headers.get("Server-Timing", ""), time.perf_counter() - began),
                batch_size=int(response.headers.get("X-Batch-Size", 0)),
            )
        if response.headers.get("Content-Type", "").startswith("application/problem+json"):
            self.replicas.answered(replica)
            raise PictureRefused(response.json())
        if response.status == 413:
            raise Problem.too_large(self.settings.max_image_bytes)
        reason = "the key is refused" if _key_refused(response) else f"TorchServe answered {response.status}"
        if response.status == 503:
            raise _QueueFull(reason)
        if is_held_against:
            self.replicas.failed(replica, reason)
        raise ModelUnavailable(reason)

    def _post(
        self, replica: Replica, what: str, body: bytes, headers: dict[str, str], until: float
    ) -> urllib3.BaseHTTPResponse:
        response = self._post_once(replica, what, body, headers, until)
        if _key_refused(response):
            # TorchServe makes new keys at every start; ours may be an old one.
            replica.key = ""
            response = self._post_once(replica, what, body, headers, until)
        return response

    def _post_once(
        self, replica: Replica, what: str, body: bytes, headers: dict[str, str], until: float
    ) -> urllib3.BaseHTTPResponse:
        settings = self.settings
        try:
            key = replica.key or replica.read_key()
        except KeyFileError as error:
            raise ModelUnavailable(str(error)) from error
        headers = headers | {"Authorization": f"Bearer {key}", "Content-Type": "application/octet-stream"}
        seconds = max(until - time.monotonic(), SHORTEST_SECONDS)
        timeout = urllib3.Timeout(total=seconds, connect=settings.connect_timeout_seconds)
        try:
            return self.pool.request("POST", f"{replica.url}/{what}", body=body, headers=headers, timeout=timeout)
        except ReadTimeoutError as error:
            raise ModelTimeout(settings.answer_timeout_seconds) from error  # the sender's wait, not this one's
        except HTTPError as error:
            raise ModelUnavailable(type(error).__name__) from error


def stages_of(timing: str, seconds: float) -> dict[str, float]:
    """Say where the time of an answer went, in seconds.

    The handler names its stages in the header Server-Timing; `queue` is the rest: the wait for a worker and the way.
    """
    stages = {name: float(milliseconds) / 1000 for name, milliseconds in _STAGE.findall(timing)}
    return {"queue": max(0.0, seconds - sum(stages.values()))} | stages


def _key_refused(response: urllib3.BaseHTTPResponse) -> bool:
    return response.status == 400 and b"InvalidKeyException" in response.data
