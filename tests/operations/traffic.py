"""People who ask all the while, directly and through the gateway, and what they were answered."""

import threading
from dataclasses import dataclass

import requests

from tests import pictures
from tests.service import eventually

PHOTO = pictures.PHOTO_PATH.read_bytes()
A_REQUEST = 3  # pictures, of those who send several


@dataclass(frozen=True)
class Answered:
    who: str
    status: int
    version: str | None
    sha256: str | None
    scores: tuple[float, ...]


class Traffic:
    """Three senders without a pause: to TorchServe, to the gateway, and to the gateway several pictures at once."""

    def __init__(self, service):
        self.service = service
        self.answers = []
        self.failures = []
        self._over = threading.Event()
        senders = (self._directly, self._one_picture, self._several_pictures)
        self._threads = [threading.Thread(target=self._send, args=(sender,)) for sender in senders]

    def wait_for(self, version):
        """Until every sender has been answered by this version after now."""
        seen = len(self.answers)

        def all_answered():
            new = {answer.who for answer in self.answers[seen:] if answer.version == version}
            return self.failures or len(new) == len(self._threads)

        eventually(all_answered, 60)

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _send(self, sender):
        with requests.Session() as session:
            while not self._over.is_set():
                try:
                    self.answers.append(sender(session))
                except Exception as error:  # noqa: BLE001  # whatever it is, a request was lost
                    self.failures.append(repr(error))

    def _directly(self, session):
        headers = self.service.key("inference") | {"Content-Type": "application/octet-stream"}
        url = f"{self.service.inference}/predictions/cifar10"
        response = session.post(url, data=PHOTO, headers=headers, timeout=60)
        version, sha256 = (response.headers[f"X-Model-{name}"] for name in ("Version", "SHA256"))
        return Answered("directly", response.status_code, version, sha256, (response.json()["score"],))

    def _one_picture(self, session):
        return self._through_the_gateway(session, "one picture", 1)

    def _several_pictures(self, session):
        return self._through_the_gateway(session, "several pictures", A_REQUEST)

    def _through_the_gateway(self, session, who, count):
        form = [("image", ("photo.png", PHOTO))] * count
        response = session.post(f"{self.service.gateway}/api/v1/classify", files=form, timeout=60)
        answer = response.json()
        model, scores = answer["model"], tuple(result["score"] for result in answer["results"])
        return Answered(who, response.status_code, model["version"], model["sha256"], scores)
