"""Images built from this tree, and what runs of them."""

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from tests.service import ROOT, answers, eventually, free_ports

TAG = "under-test"


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.is_relative_to(ROOT / "tests" / "containers"):
            item.add_marker(pytest.mark.containers)


def run(*command: str, check: bool = True, **environment: str) -> str:
    """Run a command in the repository's root and give what it printed; a failure shows all of that."""
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, timeout=2400, check=False
    )
    assert done.returncode == 0 or not check, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def add_to_report(name: str, line: str) -> None:
    """Leave a line for people, whom the figures of a passed test are of interest to."""
    report = ROOT / "tests" / "screenshots" / name
    report.parent.mkdir(exist_ok=True)
    with report.open("a") as file:
        file.write(f"{line}\n")


def inspect(container: str) -> dict[str, Any]:
    [described] = json.loads(run("docker", "inspect", container))
    assert isinstance(described, dict)
    return described


@dataclass
class Stack:
    """A compose project."""

    project: str
    files: tuple[str, ...]
    environment: dict[str, str]

    @property
    def gateway(self) -> str:
        return f"http://127.0.0.1:{self.environment['GATEWAY_PORT']}"

    @property
    def inference(self) -> str:
        return f"http://127.0.0.1:{self.environment['TS_INFERENCE_PORT']}"

    def compose(self, *arguments: str, check: bool = True) -> str:
        files = [part for file in self.files for part in ("-f", file)]
        return run("docker", "compose", "-p", self.project, *files, *arguments, check=check, **self.environment)

    def containers(self, service: str) -> list[str]:
        return self.compose("ps", "-q", service).split()

    def container(self, service: str) -> str:
        [container] = self.containers(service)
        return container

    def log(self, service: str) -> list[dict[str, Any]]:
        """Every line that a service has written, each of which must be a JSON object."""
        containers = self.compose("ps", "--all", "--quiet", service).split()
        printed = "".join(run("sh", "-c", f"docker logs {container} 2>&1") for container in containers)
        return [json.loads(line) for line in printed.splitlines()]

    def is_ready(self) -> bool:
        return answers(f"{self.gateway}/readyz")

    def up(self, *arguments: str) -> None:
        self.compose("up", "--detach", "--wait", "--no-build", *arguments)
        eventually(self.is_ready, 60)


@contextlib.contextmanager
def stack(project: str, *files: str, up: Sequence[str] = (), **environment: str) -> Iterator[Stack]:
    """Bring a compose project up, with more arguments to `up` if need be, and take it down with what it has written."""
    ports = {name: str(port) for name, port in free_ports().items()}
    running = Stack(project, ("docker-compose.yml", *files), {"VERSION": TAG, **ports, **environment})
    try:
        running.up(*up)
        yield running
    finally:
        running.compose("down", "--volumes", "--timeout", "30", check=False)


@pytest.fixture(scope="session")
def images() -> None:
    """Build all of them by the project's own files."""
    files = ("-f", "docker-compose.yml", "-f", "deploy/scaled/compose.yml")
    run("docker", "compose", *files, "build", VERSION=TAG)
    run("docker", "build", "-f", "handler/Dockerfile", "--target", "all-in-one", "-t", f"cifar10:{TAG}", ".")


@pytest.fixture(scope="module")
def service(images: None) -> Iterator[Stack]:
    with stack("cifar10-test") as running:
        yield running
