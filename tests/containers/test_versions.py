"""Another version in the containers: added, tried, promoted, kept over a restart, and taken back."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests import pictures
from tests.containers.conftest import Stack, inspect, stack
from tests.operations.conftest import BETTER, SERVED, cooler, pack_version
from tests.service import eventually

STORE = "/var/lib/cifar10"
TOKEN = "a-token-for-the-status-page"


@pytest.fixture(scope="module")
def service(images: None) -> Iterator[Stack]:
    with stack("cifar10-versions-test", "deploy/versions/compose.yml", GATEWAY_STATUS_TOKEN=TOKEN) as running:
        yield running


def operate(service: Stack, *arguments: str) -> dict[str, Any]:
    said = service.compose("exec", "-T", "torchserve", "python", "-m", "operations", *arguments, "--json")
    document = json.loads(said)
    assert isinstance(document, dict)
    return document


def versions(service: Stack) -> dict[str, bool]:
    return {each["version"]: each["default"] for each in operate(service, "list")["versions"]}


def answering(service: Stack) -> str:
    photo = pictures.PHOTO_PATH.read_bytes()
    answer = requests.post(f"{service.gateway}/api/v1/classify", data=photo, timeout=30).json()
    return str(answer["model"]["version"])


def restart(service: Stack) -> None:
    """Stop all containers and start them again; what lay in memory is gone meanwhile."""
    service.compose("stop")
    service.compose("start")
    eventually(lambda: inspect(service.container("torchserve"))["State"]["Health"]["Status"] == "healthy", 90)
    eventually(service.is_ready, 60)


def test_workers_come_and_go(service: Stack) -> None:
    for workers in (1, 2):
        operate(service, "scale", str(workers))
        [found] = operate(service, "list")["versions"]
        assert found["workers"] == workers


def test_a_version_comes_and_goes_and_a_restart_keeps_what_was_promoted(service: Stack, tmp_path: Path) -> None:
    assert versions(service) == {SERVED: True}
    packed = pack_version(tmp_path / f"cifar10-{BETTER}.mar", BETTER, change=cooler)
    service.compose("cp", str(packed), f"torchserve:{STORE}/")
    operate(service, "add", f"{STORE}/{packed.name}")
    assert versions(service) == {SERVED: True, BETTER: False}

    operate(service, "canary", BETTER, "--share", "1")
    eventually(lambda: answering(service) == BETTER, 30)
    shown = operate(service, "compare", "--gateway", "http://gateway:8000")
    assert shown["trial"]["candidate"] == BETTER

    restart(service)
    assert versions(service) == {SERVED: True, BETTER: False}
    eventually(lambda: answering(service) == BETTER, 30)
    operate(service, "canary", "off")

    operate(service, "promote", BETTER)
    assert answering(service) == BETTER
    restart(service)
    assert versions(service) == {SERVED: False, BETTER: True}
    assert answering(service) == BETTER

    operate(service, "rollback")
    assert answering(service) == SERVED
    operate(service, "remove", BETTER)
    assert versions(service) == {SERVED: True}
    assert packed.name not in service.compose("exec", "-T", "torchserve", "ls", STORE)
