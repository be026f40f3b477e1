"""The stack that Docker Swarm runs: whole services side by side, replaced when they end."""

import json
from typing import Any

import pytest

from tests.containers.conftest import TAG, inspect, run
from tests.service import eventually, free_ports

NAME = "cifar10-swarm-test"
REPLICAS = 2
# Within the container: Swarm's spreading of connections needs IPVS, which not every kernel that runs tests has.
CLASSIFY = """
import sys, urllib.request
picture = open("gateway/probe.png", "rb").read()
request = urllib.request.Request("http://127.0.0.1:8000/api/v1/classify", picture)
sys.stdout.write(urllib.request.urlopen(request, timeout=30).read().decode())
"""


def healthy() -> list[str]:
    filters = ("--filter", f"name={NAME}_", "--filter", "health=healthy")
    return run("docker", "ps", "--quiet", *filters).split()


@pytest.fixture(scope="module")
def replicas(images):
    is_ours = run("docker", "info", "--format", "{{.Swarm.LocalNodeState}}").strip() == "inactive"
    if is_ours:
        run("docker", "swarm", "init", "--advertise-addr", "127.0.0.1")
    settings: dict[str, Any] = {
        "VERSION": TAG,
        "REPLICAS": str(REPLICAS),
        "GATEWAY_PORT": str(free_ports()["GATEWAY_PORT"]),
    }
    try:
        run("docker", "stack", "deploy", "--compose-file", "deploy/swarm/stack.yml", NAME, **settings)
        eventually(lambda: len(healthy()) == REPLICAS, 180)
        yield healthy()
    finally:
        run("docker", "stack", "rm", NAME, check=False)
        eventually(lambda: not run("docker", "ps", "--quiet", "--filter", f"name={NAME}_"), 60)
        if is_ours:
            run("docker", "swarm", "leave", "--force", check=False)


def test_each_classifies_with_the_least_rights(replicas):
    for container in replicas:
        answer = json.loads(run("docker", "exec", container, "python", "-c", CLASSIFY))
        assert answer["results"][0]["label"] == "cat"
        assert run("docker", "exec", container, "id", "-u") == "10001\n"
        described = inspect(container)["HostConfig"]
        assert described["ReadonlyRootfs"] is True
        assert described["CapDrop"] == ["ALL"]
        assert 0 < described["Memory"] <= 3 * 1024**3


def test_one_that_dies_is_replaced(replicas):
    run("docker", "kill", replicas[0])
    eventually(lambda: len(healthy()) == REPLICAS and replicas[0][:12] not in healthy(), 120)
    assert replicas[1] in healthy()
