"""The client of TorchServe's inference API.

What can go wrong, as seen by a caller:

    Problem                   an answer for the sender, see problems.py
    ├── PictureRefused        4xx: the handler's own words about the picture
    ├── ModelUnavailable      503: not there, restarting, queue full, or the key is refused
    └── ModelTimeout          504: no answer in time
"""

import re
from dataclasses import dataclass
from typing import Any, Final

import requests
from requests.adapters import HTTPAdapter

from gateway.problems import Problem
from gateway.replicas import KeyFileError, NoReplicaError, Replica, Replicas
from gateway.settings import Settings

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
        self.reason = f"no answer within {seconds:g} seconds"


@dataclass(frozen=True)
class Prediction:
    """The handler's answer for one picture and which weights gave it."""

    answer: dict[str, Any]
    version: str
    sha256: str
    stages: dict[str, float]  # seconds, by what they went into


class TorchServe:
    """A pooled client of all replicas, with one timeout for connecting and one for the answer."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.replicas = Replicas(settings.torchserve_url, settings.key_file)
        self.session = requests.Session()
        self.session.trust_env = False  # no proxy from the environment between us and TorchServe
        self.session.mount("http://", HTTPAdapter(pool_maxsize=settings.threads * 2))

    def predict(
        self, image: bytes, request_id: str, *, explain: bool = False, version: str = "", probe: bool = False
    ) -> Prediction:
        """Have one picture classified; with `explain`, its answer has an `explanation` as well.

        The default version of the model answers, or the one that `version` names. A `probe` is left out of the
        handler's log.

        Raises:
            PictureRefused: the picture itself gets no answer.
            ModelUnavailable: TorchServe cannot answer now.
            ModelTimeout: it did not answer in time.
        """
        what = "explanations" if explain else "predictions"
        headers = {"X-Request-ID": request_id} | ({"X-Probe": "true"} if probe else {})
        return self._ask(self._path(what, version), image, headers)

    def manifest(self, request_id: str) -> Prediction:
        """Give the manifest of the weights that answer now.

        Raises:
            ModelUnavailable: TorchServe cannot answer now.
            ModelTimeout: it did not answer in time.
        """
        headers = {"X-Request-ID": request_id, "X-Model-Manifest": "true"}
        return self._ask(self._path("predictions"), b"-", headers)

    def _path(self, what: str, version: str = "") -> str:
        return f"{what}/{self.settings.model_name}" + (f"/{version}" if version else "")

    def _ask(self, what: str, body: bytes, headers: dict[str, str]) -> Prediction:
        """Ask one replica and, where it fails, once more.

        That is safe: a prediction changes nothing. A full queue is no failure, but another replica may have room. Where
        there is another, the first has half of the time: one whose machine is gone says nothing at all.
        """
        allowed = self.settings.answer_timeout_seconds
        replica = self._choose()
        try:
            first = allowed / 2 if len(self.replicas) > 1 else allowed
            return self._ask_replica(replica, what, body, headers, first)
        except (ModelUnavailable, ModelTimeout) as problem:
            second = self._choose(other_than=replica)
            if second is replica and isinstance(problem, _QueueFull | ModelTimeout):
                raise
            return self._ask_replica(second, what, body, headers, allowed / 2)

    def _choose(self, other_than: Replica | None = None) -> Replica:
        try:
            return self.replicas.choose(other_than)
        except NoReplicaError as error:
            raise ModelUnavailable(str(error)) from error

    def _ask_replica(
        self, replica: Replica, what: str, body: bytes, headers: dict[str, str], seconds: float
    ) -> Prediction:
        try:
            with self.replicas.waiting_for(replica):
                response = self._post(replica, what, body, headers, seconds)
        except (ModelUnavailable, ModelTimeout) as problem:
            self.replicas.failed(replica, problem.reason)
            raise
        if response.ok:
            self.replicas.answered(replica)
            return Prediction(
                answer=response.json(),
                version=response.headers.get("X-Model-Version", ""),
                sha256=response.headers.get("X-Model-SHA256", ""),
                stages=stages_of(response),
            )
        if response.headers.get("Content-Type", "").startswith("application/problem+json"):
            self.replicas.answered(replica)
            raise PictureRefused(response.json())
        if response.status_code == 413:
            raise Problem.too_large(self.settings.max_image_bytes)
        reason = "the key is refused" if _key_refused(response) else f"TorchServe answered {response.status_code}"
        if response.status_code == 503:
            raise _QueueFull(reason)
        self.replicas.failed(replica, reason)
        raise ModelUnavailable(reason)

    def _post(
        self, replica: Replica, what: str, body: bytes, headers: dict[str, str], seconds: float
    ) -> requests.Response:
        response = self._post_once(replica, what, body, headers, seconds)
        if _key_refused(response):
            # TorchServe makes new keys at every start; ours may be an old one.
            replica.key = ""
            response = self._post_once(replica, what, body, headers, seconds)
        return response

    def _post_once(
        self, replica: Replica, what: str, body: bytes, headers: dict[str, str], seconds: float
    ) -> requests.Response:
        settings = self.settings
        try:
            key = replica.key or replica.read_key()
        except KeyFileError as error:
            raise ModelUnavailable(str(error)) from error
        headers = headers | {"Authorization": f"Bearer {key}", "Content-Type": "application/octet-stream"}
        timeout = (settings.connect_timeout_seconds, seconds)
        url = f"{replica.url}/{what}"
        try:
            return self.session.post(url, data=body, headers=headers, timeout=timeout)
        except requests.ReadTimeout as error:
            raise ModelTimeout(settings.answer_timeout_seconds) from error  # the sender's wait, not this one's
        except requests.RequestException as error:
            raise ModelUnavailable(type(error).__name__) from error


def stages_of(response: requests.Response) -> dict[str, float]:
    """Say where the time of an answer went, in seconds.

    The handler names its stages in the header Server-Timing; `queue` is the rest: the wait for a worker and the way.
    """
    timing = response.headers.get("Server-Timing", "")
    stages = {name: float(milliseconds) / 1000 for name, milliseconds in _STAGE.findall(timing)}
    return {"queue": max(0.0, response.elapsed.total_seconds() - sum(stages.values()))} | stages


def _key_refused(response: requests.Response) -> bool:
    return response.status_code == 400 and "InvalidKeyException" in response.text
