"""The client of TorchServe's inference API.

What can go wrong, as seen by a caller:

    Problem                   an answer for the sender, see problems.py
    ├── PictureRefused        4xx: the handler's own words about the picture
    ├── ModelUnavailable      503: not there, restarting, queue full, or the key is refused
    └── ModelTimeout          504: no answer in time
"""

import json
import re
from dataclasses import dataclass
from typing import Any, Final

import requests
from requests.adapters import HTTPAdapter

from gateway.problems import Problem
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


class ModelTimeout(Problem):
    """The prediction took too long."""

    def __init__(self, seconds: float) -> None:
        super().__init__("model-timeout", seconds=f"{seconds:g}")


@dataclass(frozen=True)
class Prediction:
    """The handler's answer for one picture and which weights gave it."""

    answer: dict[str, Any]
    version: str
    sha256: str
    stages: dict[str, float]  # seconds, by what they went into


class TorchServe:
    """A pooled client with one timeout for connecting and one for the answer."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.url = settings.torchserve_url.rstrip("/")
        self.key = ""
        self.session = requests.Session()
        self.session.trust_env = False  # no proxy from the environment between us and TorchServe
        self.session.mount("http://", HTTPAdapter(pool_maxsize=settings.threads * 2))

    def predict(self, image: bytes, request_id: str, *, explain: bool = False) -> Prediction:
        """Have one picture classified; with `explain`, its answer has an `explanation` as well.

        Raises:
            PictureRefused: the picture itself gets no answer.
            ModelUnavailable: TorchServe cannot answer now.
            ModelTimeout: it did not answer in time.
        """
        return self._ask("explanations" if explain else "predictions", image, {"X-Request-ID": request_id})

    def manifest(self, request_id: str) -> Prediction:
        """Give the manifest of the weights that answer now.

        Raises:
            ModelUnavailable: TorchServe cannot answer now.
            ModelTimeout: it did not answer in time.
        """
        return self._ask("predictions", b"-", {"X-Request-ID": request_id, "X-Model-Manifest": "true"})

    def _ask(self, what: str, body: bytes, headers: dict[str, str]) -> Prediction:
        response = self._post(what, body, headers)
        if _key_refused(response):
            # TorchServe makes new keys at every start; ours may be an old one.
            self._read_key()
            response = self._post(what, body, headers)
        if response.ok:
            return Prediction(
                answer=response.json(),
                version=response.headers.get("X-Model-Version", ""),
                sha256=response.headers.get("X-Model-SHA256", ""),
                stages=stages_of(response),
            )
        if response.headers.get("Content-Type", "").startswith("application/problem+json"):
            raise PictureRefused(response.json())
        if response.status_code == 413:
            raise Problem.too_large(self.settings.max_image_bytes)
        if _key_refused(response):
            raise ModelUnavailable("the key is refused")
        raise ModelUnavailable(f"TorchServe answered {response.status_code}")

    def _post(self, what: str, body: bytes, headers: dict[str, str]) -> requests.Response:
        try:
            return self._post_once(what, body, headers)
        except ModelUnavailable:
            # A pooled connection may have been closed by the other side meanwhile. Asking again is safe: a prediction
            # changes nothing.
            return self._post_once(what, body, headers)

    def _post_once(self, what: str, body: bytes, headers: dict[str, str]) -> requests.Response:
        settings = self.settings
        headers = headers | {
            "Authorization": f"Bearer {self.key or self._read_key()}",
            "Content-Type": "application/octet-stream",
        }
        timeout = (settings.connect_timeout_seconds, settings.answer_timeout_seconds)
        url = f"{self.url}/{what}/{settings.model_name}"
        try:
            return self.session.post(url, data=body, headers=headers, timeout=timeout)
        except requests.ReadTimeout as error:
            raise ModelTimeout(settings.answer_timeout_seconds) from error
        except requests.RequestException as error:
            raise ModelUnavailable(type(error).__name__) from error

    def _read_key(self) -> str:
        """Read the inference key; TorchServe writes the file in place, so it may be there by half."""
        try:
            self.key = str(json.loads(self.settings.key_file.read_text())["inference"]["key"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ModelUnavailable("there is no whole key file") from error
        return self.key


def stages_of(response: requests.Response) -> dict[str, float]:
    """Say where the time of an answer went, in seconds.

    The handler names its stages in the header Server-Timing; `queue` is the rest: the wait for a worker and the way.
    """
    timing = response.headers.get("Server-Timing", "")
    stages = {name: float(milliseconds) / 1000 for name, milliseconds in _STAGE.findall(timing)}
    return {"queue": max(0.0, response.elapsed.total_seconds() - sum(stages.values()))} | stages


def _key_refused(response: requests.Response) -> bool:
    return response.status_code == 400 and "InvalidKeyException" in response.text
