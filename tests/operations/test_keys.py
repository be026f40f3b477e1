"""Keys that run out while the service runs."""

import json
import shutil

import pytest
import requests

from launcher import torchserve
from launcher.processes import Child
from launcher.settings import Settings
from operations.errors import Unreachable
from operations.keys import Keys
from operations.torchserve import TorchServe, management_url
from tests.launcher.conftest import elsewhere, stand_in  # noqa: F401  # fixtures
from tests.operations.conftest import SERVED
from tests.service import eventually, free_ports

LIFETIME_MINUTES = 0.1  # what is asked with a new key must be answered within it


@pytest.fixture
def short_lived(tmp_path, monkeypatch, archives):
    """A TorchServe whose keys expire after some seconds, without a gateway."""
    store = tmp_path / "store"
    store.mkdir()
    (store / "cifar10.mar").write_bytes(archives[SERVED].read_bytes())
    config = tmp_path / "config.properties"
    lines = torchserve.CONFIG_PATH.read_text().splitlines()
    config.write_text("\n".join(line for line in lines if not line.startswith("token_expiration_min")))
    with config.open("a") as file:
        file.write(f"\ntoken_expiration_min={LIFETIME_MINUTES}\n")
    monkeypatch.setattr(torchserve, "CONFIG_PATH", config)
    ports = {name.lower(): port for name, port in free_ports().items()}
    settings = Settings(**ports, ts_model_store=store)
    for folder in (settings.run_folder, settings.torchserve_folder):
        folder.mkdir(parents=True)
    command = torchserve.command(settings, print)
    child = Child("TorchServe", command, torchserve.environment(settings), settings.run_folder)
    yield settings
    child.stop(20)
    for folder in (settings.run_folder, settings.scratch_folder):
        shutil.rmtree(folder)


def test_the_key_that_renews_the_others_goes_past_any_proxy(stand_in, elsewhere, tmp_path):  # noqa: F811
    path = tmp_path / "key_file.json"
    path.write_text(json.dumps({"API": {"key": "one"}, "inference": {"key": "new"}}))
    assert Keys(path, f"http://127.0.0.1:{stand_in.server_port}").renew("inference") == "new"
    assert stand_in.keys == ["Bearer one"]


def test_expired_keys_are_renewed(short_lived):
    keys = Keys(short_lived.key_file, management_url(short_lived))

    def refused():
        """Whether TorchServe is up and does not take the key that the file holds."""
        try:
            headers = {"Authorization": f"Bearer {keys.read('management')}"}
            response = requests.get(f"{management_url(short_lived)}/models", headers=headers, timeout=30)
        except (Unreachable, requests.ConnectionError):  # the file or the server is not there yet
            return False
        return "InvalidKeyException" in response.text

    eventually(refused, 120)
    old = keys.read("management")
    client = TorchServe(short_lived, keys)
    assert [version.name for version in client.versions()] == [SERVED]
    assert keys.read("management") != old
    client.session.close()
