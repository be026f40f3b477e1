"""The one image that people run with `docker run -p 8000:8000`."""

import os
import signal
from collections.abc import Iterator

import pytest
import requests

from tests import pictures
from tests.containers.conftest import TAG, inspect, run
from tests.service import answers, eventually, free_ports

HARDENED = (
    *("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
    *("--pids-limit", "256", "--memory", "3g", "--tmpfs", "/tmp:size=512m,mode=1777,exec"),
)


@pytest.fixture(params=[(), HARDENED], ids=["plain", "hardened"])
def container(request, images) -> Iterator[tuple[str, str]]:
    port = free_ports()["GATEWAY_PORT"]
    started = run("docker", "run", "--detach", "-p", f"127.0.0.1:{port}:8000", *request.param, f"cifar10:{TAG}")
    name = started.strip()
    url = f"http://127.0.0.1:{port}"
    try:
        eventually(lambda: answers(f"{url}/readyz"), 120)
        yield name, url
    finally:
        run("docker", "rm", "--force", "--volumes", name, check=False)


def test_it_classifies_heals_and_stops(container):
    name, url = container
    photo = pictures.PHOTO_PATH.read_bytes()
    answer = requests.post(f"{url}/api/v1/classify", files={"image": photo}, timeout=30).json()
    assert answer["results"][0]["label"] == pictures.PHOTO_LABEL
    assert run("docker", "exec", name, "id", "-u") == "10001\n"
    eventually(lambda: inspect(name)["State"]["Health"]["Status"] == "healthy", 60)

    run("docker", "exec", name, "sh", "-c", "kill -9 $(pidof java)")
    eventually(lambda: not answers(f"{url}/readyz"), 30)
    eventually(lambda: answers(f"{url}/readyz"), 90)

    run("docker", "stop", "--time", "40", name)
    state = inspect(name)["State"]
    assert state["ExitCode"] == 0
    assert '"message": "stopped"' in run("docker", "logs", name)


def test_its_processes_end_with_the_launcher(container):
    name, _ = container
    launcher = inspect(name)["State"]["Pid"]
    os.kill(launcher, signal.SIGKILL)
    eventually(lambda: inspect(name)["State"]["Status"] == "exited", 30)
