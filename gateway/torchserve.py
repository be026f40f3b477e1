"""The client of TorchServe's inference API.

What can go wrong, as seen by a caller:

    Problem                   an answer for the sender, see problems.py
    ├── PictureRefused        4xx: the handler's own words about the picture
    ├── ModelUnavailable      503: not there, restarting, queue full, or the key is refused
    └── ModelTimeout          504: no answer in time
"""

import json
from dataclasses import dataclass
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from gateway.problems import Problem
from gateway.settings import Settings


class PictureRefused(Problem):
    """The handler does not answer this picture."""


class ModelUnavailable(Problem):
    """No prediction can be had now."""

    def __init__(self, detail: str) -> None:
        super().__init__(503, "model-unavailable", "The model is not available", detail, retry_after_seconds=2)


class ModelTimeout(Problem):
    """The prediction took too long."""

    def __init__(self, seconds: float) -> None:
        detail = f"The model gave no answer within {seconds:g} seconds. Try again; a smaller picture is quicker."
        super().__init__(504, "model-timeout", "The model took too long", detail)


@dataclass(frozen=True)
class Prediction:
    """The handler's answer for one picture and which weights gave it."""

    answer: dict[str, Any]
    version: str
    sha256: str


class TorchServe:
    """A pooled client with one timeout for connecting and one for the answer."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.url = f"{settings.torchserve_url.rstrip('/')}/predictions/{settings.model_name}"
        self.key = ""
        self.session = requests.Session()
        self.session.trust_env = False  # no proxy from the environment between us and TorchServe
        self.session.mount("http://", HTTPAdapter(pool_maxsize=settings.threads * 2))

    def predict(self, image: bytes, request_id: str) -> Prediction:
        """Have one picture classified.

        Raises:
            PictureRefused: the picture itself gets no answer.
            ModelUnavailable: TorchServe cannot answer now.
            ModelTimeout: it did not answer in time.
        """
        response = self._post(image, request_id)
        if _key_refused(response):
            # TorchServe makes new keys at every start; ours may be an old one.
            self._read_key()
            response = self._post(image, request_id)
        if response.ok:
            return Prediction(
                answer=response.json(),
                version=response.headers.get("X-Model-Version", ""),
                sha256=response.headers.get("X-Model-SHA256", ""),
            )
        if response.headers.get("Content-Type", "").startswith("application/problem+json"):
            problem = response.json()
            kind = problem["type"].rsplit("/", 1)[-1]
            raise PictureRefused(problem["status"], kind, problem["title"], problem["detail"])
        if response.status_code == 413:
            raise Problem.too_large(self.settings.max_image_bytes)
        if _key_refused(response):
            raise ModelUnavailable("The model server refused the gateway's key. Try again shortly.")
        if response.status_code == 404:
            raise ModelUnavailable("The model is not loaded. Try again shortly.")
        raise ModelUnavailable("The model server is busy or restarting. Try again shortly.")

    def _post(self, image: bytes, request_id: str) -> requests.Response:
        try:
            return self._post_once(image, request_id)
        except ModelUnavailable:
            # A pooled connection may have been closed by the other side meanwhile. Asking again is safe: a prediction
            # changes nothing.
            return self._post_once(image, request_id)

    def _post_once(self, image: bytes, request_id: str) -> requests.Response:
        settings = self.settings
        headers = {
            "Authorization": f"Bearer {self.key or self._read_key()}",
            "Content-Type": "application/octet-stream",
            "X-Request-ID": request_id,
        }
        timeout = (settings.connect_timeout_seconds, settings.answer_timeout_seconds)
        try:
            return self.session.post(self.url, data=image, headers=headers, timeout=timeout)
        except requests.ReadTimeout as error:
            raise ModelTimeout(settings.answer_timeout_seconds) from error
        except requests.RequestException as error:
            raise ModelUnavailable("The model server cannot be reached. Try again shortly.") from error

    def _read_key(self) -> str:
        """Read the inference key; TorchServe writes the file in place, so it may be there by half."""
        try:
            self.key = str(json.loads(self.settings.key_file.read_text())["inference"]["key"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ModelUnavailable("The model server has not issued its key yet. Try again shortly.") from error
        return self.key


def _key_refused(response: requests.Response) -> bool:
    return response.status_code == 400 and "InvalidKeyException" in response.text
