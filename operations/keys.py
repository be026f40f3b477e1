"""TorchServe's keys: it leaves them in a file, anew at every start, and renews them there."""

import json
from pathlib import Path
from typing import Final

import requests

from operations.errors import Unreachable

RENEW_TIMEOUT_SECONDS: Final = 10


class Keys:
    """The keys by their names in the file: `inference`, `management`, and `API`, which renews the other two."""

    def __init__(self, path: Path, management_url: str) -> None:
        self.path = path
        self.management_url = management_url

    def read(self, name: str) -> str:
        """Read a key as it is now.

        Raises:
            Unreachable: there is no whole key file; TorchServe writes it in place, so it may be there by half.
        """
        try:
            return str(json.loads(self.path.read_text())[name]["key"])
        except OSError as error:
            raise Unreachable(
                f"there is no readable key file {self.path}: is the service running? Start it (make serve), and give "
                "this command the same GATEWAY_PORT and TS_… variables, or name the file with --key-file"
            ) from error
        except (ValueError, KeyError, TypeError) as error:
            raise Unreachable(
                f"{self.path} is not TorchServe's key file, or is being written now: try again"
            ) from error

    def renew(self, name: str) -> str:
        """Have TorchServe make a new key in place of an expired one, and read it; the old one is void at once.

        Raises:
            Unreachable: it does not.
        """
        headers = {"Authorization": f"Bearer {self.read('API')}"}
        try:
            with requests.Session() as session:
                session.trust_env = False  # no proxy and no .netrc from the environment between us and TorchServe
                response = session.get(
                    f"{self.management_url}/token",
                    params={"type": name},
                    headers=headers,
                    timeout=RENEW_TIMEOUT_SECONDS,
                )
        except requests.RequestException as error:
            raise Unreachable(f"TorchServe does not answer at {self.management_url}: is it running?") from error
        if not response.ok:
            raise Unreachable(
                f"TorchServe takes neither the {name} key in {self.path} nor the one that renews it: they are of "
                "another start or another server"
            )
        return self.read(name)
