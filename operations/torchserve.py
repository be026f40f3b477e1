"""The client of TorchServe's management and inference APIs, as far as versions of one model need them."""

import re
import time
from dataclasses import dataclass
from typing import Any, Final

import requests

from launcher.settings import Settings
from operations.errors import Refused, Unreachable
from operations.keys import Keys

MODEL_NAME: Final = "cifar10"
TIMEOUT_SECONDS: Final = 30
PAUSES_SECONDS: Final = (0.2, 0.5, 1.0, 2.0)
"""Between the tries of a prediction where TorchServe's queue is full: the public's pictures go before ours."""

MODEL_API_IS_OFF: Final = (
    "TorchServe neither adds nor removes versions now. Start the service with TS_ENABLE_MODEL_API=true make serve"
)


@dataclass(frozen=True)
class Version:
    """A version of the model as TorchServe describes it."""

    name: str
    archive: str  # the file's name in the model store
    is_default: bool
    workers: int  # wanted
    ready: int  # of them, those that answer
    pending: int  # requests that wait for one
    description: dict[str, Any]

    @classmethod
    def of(cls, description: dict[str, Any], default: str) -> "Version":
        """Take from TorchServe's description what operations need; `default` is the default version's name."""
        return cls(
            name=description["modelVersion"],
            archive=description["modelUrl"],
            is_default=description["modelVersion"] == default,
            workers=description["minWorkers"],
            ready=sum(worker["status"] == "READY" for worker in description["workers"]),
            pending=description["jobQueueStatus"]["pendingRequests"],
            description=description,
        )


@dataclass(frozen=True)
class Answer:
    """What the handler answered, which weights it named, and how long it took."""

    document: dict[str, Any]
    version: str
    sha256: str
    seconds: float


class TorchServe:
    """One TorchServe on this machine; every call goes with the key it needs, renewed when it has expired."""

    def __init__(self, settings: Settings, keys: Keys) -> None:
        self.management = management_url(settings)
        self.inference = f"http://{settings.inference_address}"
        self.metrics = f"http://{settings.metrics_address}"
        self.keys = keys
        self.session = requests.Session()
        self.session.trust_env = False  # no proxy from the environment between us and TorchServe

    def versions(self) -> list[Version]:
        """Describe all versions, the oldest number first."""
        default = self._manage("GET", f"/models/{MODEL_NAME}").json()[0]["modelVersion"]
        every = self._manage("GET", f"/models/{MODEL_NAME}/all").json()
        return sorted((Version.of(each, default) for each in every), key=lambda version: float(version.name))

    def version(self, name: str) -> Version:
        """Describe one version.

        Raises:
            Refused: it is not loaded.
        """
        versions = self.versions()
        for version in versions:
            if version.name == name:
                return version
        loaded = ", ".join(version.name for version in versions)
        raise Refused(f"there is no version {name} in TorchServe, only {loaded}; add FILE.mar brings one in")

    def default(self) -> Version:
        """Describe the version that answers who names none."""
        return next(version for version in self.versions() if version.is_default)

    def check_model_api(self) -> None:
        """See that versions can be added and removed.

        Raises:
            Refused: TorchServe was started without that.
        """
        # A registration of nothing: 405 where the model API is off, 400 for the missing URL where it is on.
        response = self._send("management", "POST", f"{self.management}/models")
        if response.status_code == 405:
            raise Refused(MODEL_API_IS_OFF)

    def register(self, archive: str) -> None:
        """Load an archive of the model store beside what is loaded; its workers start in the background.

        A synchronous registration would block the threads that take predictions in.
        """
        self._manage("POST", "/models", url=archive, model_name=MODEL_NAME, synchronous="false")

    def unregister(self, version: str) -> None:
        """Unload a version; what waits for it is lost."""
        self._manage("DELETE", f"/models/{MODEL_NAME}/{version}")

    def set_default(self, version: str) -> None:
        """Have requests that name no version answered by this one from now on."""
        self._manage("PUT", f"/models/{MODEL_NAME}/{version}/set-default")

    def scale(self, version: str, workers: int) -> None:
        """Ask for a number of workers; they start and stop in the background."""
        path = f"/models/{MODEL_NAME}/{version}"
        self._manage("PUT", path, min_worker=workers, max_worker=workers, synchronous="false")

    def requests_to(self, version: str) -> float:
        """Count the requests so far that named this version."""
        try:
            response = self.session.get(f"{self.metrics}/metrics", timeout=TIMEOUT_SECONDS)
        except requests.RequestException as error:
            raise _silent(self.metrics) from error
        pattern = rf'^ts_inference_requests_total{{[^}}]*model_version="{re.escape(version)}"[^}}]*}} (\S+)$'
        return sum(float(count) for count in re.findall(pattern, response.text, re.MULTILINE))

    def ask(self, picture: bytes, version: str | None = None, headers: dict[str, str] | None = None) -> Answer:
        """Have a picture classified by a version, or by the default one.

        Raises:
            Unreachable: there is no answer.
            Refused: it is an error.
        """
        url = f"{self.inference}/predictions/{MODEL_NAME}" + (f"/{version}" if version else "")
        headers = {"Content-Type": "application/octet-stream"} | (headers or {})
        response = self._send("inference", "POST", url, data=picture, headers=headers)
        for pause_seconds in PAUSES_SECONDS:
            if response.status_code != 503:
                break
            time.sleep(pause_seconds)
            response = self._send("inference", "POST", url, data=picture, headers=headers)
        if not response.ok:
            name = f"version {version}" if version else "the default version"
            raise Refused(f"{name} does not classify: TorchServe answers {response.status_code} {response.reason}")
        return Answer(
            document=response.json(),
            version=response.headers.get("X-Model-Version", ""),
            sha256=response.headers.get("X-Model-SHA256", ""),
            seconds=response.elapsed.total_seconds(),
        )

    def manifest(self, version: str) -> Answer:
        """Ask a version for the manifest of its weights."""
        return self.ask(b"-", version, {"X-Model-Manifest": "true"})

    def _manage(self, method: str, path: str, **parameters: str | int) -> requests.Response:
        response = self._send("management", method, self.management + path, params=parameters)
        if response.status_code == 405:
            raise Refused(MODEL_API_IS_OFF)
        if not response.ok:
            raise Refused(f"TorchServe refuses: {_message(response)}")
        return response

    def _send(self, key: str, method: str, url: str, **options: Any) -> requests.Response:
        """Send a request; where its key is refused, again with the file's key of now, or else with a renewed one."""
        value = self.keys.read(key)
        response = self._send_once(value, method, url, options)
        if _key_refused(response):
            again = self.keys.read(key)
            response = self._send_once(again if again != value else self.keys.renew(key), method, url, options)
        if _key_refused(response):
            raise Unreachable(f"TorchServe refuses the {key} key in {self.keys.path}: it is of another server")
        return response

    def _send_once(self, key: str, method: str, url: str, options: dict[str, Any]) -> requests.Response:
        headers = options.get("headers", {}) | {"Authorization": f"Bearer {key}"}
        try:
            return self.session.request(method, url, **(options | {"headers": headers, "timeout": TIMEOUT_SECONDS}))
        except requests.RequestException as error:
            raise _silent(url) from error


def management_url(settings: Settings) -> str:
    """Say where the management API is."""
    return f"http://{settings.management_address}"


def _silent(url: str) -> Unreachable:
    address = "/".join(url.split("/")[:3])
    return Unreachable(
        f"TorchServe does not answer at {address}: start it (make serve), or set the TS_… ports it was started with"
    )


def _key_refused(response: requests.Response) -> bool:
    return response.status_code == 400 and "InvalidKeyException" in response.text


def _message(response: requests.Response) -> str:
    try:
        return str(response.json()["message"])
    except (ValueError, KeyError, TypeError):
        return f"{response.status_code} {response.reason}"
