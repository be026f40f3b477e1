"""`docker compose up` gives the service of the README, closed where it should be."""

import json
import os
import signal
import socket
import subprocess

import pytest
import requests

from tests import pictures
from tests.containers.conftest import Stack, inspect, run
from tests.containers.load import Load
from tests.service import ROOT, eventually

PHOTO = pictures.PHOTO_PATH.read_bytes()
PARTS = ("torchserve", "gateway")
DEPLOY = ROOT / "deploy"


def test_page_and_api_name_the_class(service: Stack) -> None:
    page = requests.post(f"{service.gateway}/", files={"image": ("photo.jpg", PHOTO)}, timeout=30)
    assert page.ok
    assert pictures.PHOTO_LABEL in page.text
    answer = requests.post(f"{service.gateway}/api/v1/classify", files={"image": PHOTO}, timeout=30).json()
    assert answer["results"][0]["label"] == pictures.PHOTO_LABEL
    explained = requests.post(f"{service.gateway}/api/v1/explain", files={"image": PHOTO}, timeout=30).json()
    assert explained["results"][0]["explanation"]["label"] == pictures.PHOTO_LABEL


def test_torchserve_answers_directly_to_who_has_its_key(service: Stack) -> None:
    url = f"{service.inference}/predictions/cifar10"
    octets = {"Content-Type": "application/octet-stream"}
    assert requests.post(url, data=PHOTO, headers=octets, timeout=30).status_code == 400
    keys = json.loads(service.compose("exec", "-T", "torchserve", "cat", "/run/cifar10/key_file.json"))
    headers = octets | {"Authorization": f"Bearer {keys['inference']['key']}"}
    assert requests.post(url, data=PHOTO, headers=headers, timeout=30).json()["label"] == pictures.PHOTO_LABEL


@pytest.mark.parametrize("more", ["", *sorted(str(path.relative_to(ROOT)) for path in DEPLOY.glob("*/compose.yml"))])
def test_compose_finds_nothing_to_say(more: str) -> None:
    files = ["-f", "docker-compose.yml", *(["-f", more] if more else [])]
    command = ["docker", "compose", *files, "--profile", "*", "config", "--quiet"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("part", PARTS)
def test_a_part_has_no_more_rights_than_it_needs(service: Stack, part: str) -> None:
    described = inspect(service.container(part))
    assert described["Config"]["User"] == "10001:10001"
    limits = described["HostConfig"]
    assert limits["ReadonlyRootfs"]
    assert limits["CapDrop"] == ["ALL"]
    assert limits["SecurityOpt"] == ["no-new-privileges:true"]
    assert limits["PidsLimit"] == 256
    assert 0 < limits["Memory"] <= 3 * 1024**3
    assert limits["RestartPolicy"]["Name"] == "unless-stopped"
    script = "import os; print(os.getuid(), os.getgid()); open('/srv/x', 'w')"
    said = service.compose("exec", "-T", part, "sh", "-c", f'python -c "{script}" 2>&1 || true')
    assert said.startswith("10001 10001\n")
    assert "Read-only file system" in said
    status = service.compose("exec", "-T", part, "cat", "/proc/1/status")
    assert "CapEff:\t0000000000000000" in status
    assert "NoNewPrivs:\t1" in status


def test_only_the_intended_ports_are_published(service: Stack) -> None:
    published = {
        (part, port, binding["HostIp"])
        for part in PARTS
        for port, bindings in inspect(service.container(part))["NetworkSettings"]["Ports"].items()
        for binding in bindings or ()
    }
    assert published == {("torchserve", "8080/tcp", "127.0.0.1"), ("gateway", "8000/tcp", "127.0.0.1")}


@pytest.mark.parametrize("port", [7070, 7071, 8081])
def test_management_and_grpc_answer_nobody_but_their_own_container(service: Stack, port: int) -> None:
    script = f"import socket; socket.create_connection(('torchserve', {port}), 5)"
    said = service.compose("exec", "-T", "gateway", "sh", "-c", f'python -c "{script}" 2>&1 || true')
    assert "ConnectionRefusedError" in said
    own = script.replace("'torchserve'", "'127.0.0.1'")
    assert service.compose("exec", "-T", "torchserve", "python", "-c", own) == ""
    networks = inspect(service.container("torchserve"))["NetworkSettings"]["Networks"]
    with (
        pytest.raises(ConnectionRefusedError),
        socket.create_connection((next(iter(networks.values()))["IPAddress"], port), 5),
    ):
        pass


def test_an_operator_describes_the_model_from_inside(service: Stack) -> None:
    said = service.compose("exec", "-T", "torchserve", "python", "-m", "operations", "describe", "--json")
    assert {worker["status"] for worker in json.loads(said)["torchserve"]["workers"]} == {"READY"}


def test_the_keys_are_for_the_two_alone(service: Stack) -> None:
    listed = service.compose("exec", "-T", "gateway", "ls", "-ln", "/run/cifar10")
    assert "-rw------- 1 10001 10001" in listed
    written = service.compose("exec", "-T", "gateway", "sh", "-c", "touch /run/cifar10/x 2>&1 || true")
    assert "Read-only file system" in written


def test_logs_are_json_lines(service: Stack) -> None:
    requests.post(f"{service.gateway}/api/v1/classify", data=PHOTO, headers={"X-Request-ID": "find-me"}, timeout=30)

    for part in PARTS:
        eventually(lambda part=part: [line for line in service.log(part) if line.get("request_id") == "find-me"], 30)


def test_each_part_is_healthy_by_its_own_probe(service: Stack) -> None:
    for part in PARTS:
        assert inspect(service.container(part))["State"]["Health"]["Status"] == "healthy"


@pytest.mark.parametrize("part", PARTS)
def test_a_part_that_is_killed_comes_back(service: Stack, part: str) -> None:
    before = inspect(service.container(part))
    os.kill(before["State"]["Pid"], signal.SIGKILL)  # from outside, as the kernel would when memory runs out
    eventually(lambda: inspect(service.container(part))["RestartCount"] > before["RestartCount"], 60)
    eventually(service.is_ready, 90)


def test_a_torchserve_that_dies_within_its_container_comes_back(service: Stack) -> None:
    run("docker", "exec", service.container("torchserve"), "sh", "-c", "kill -9 $(pidof java)")
    eventually(lambda: not service.is_ready(), 30)
    eventually(service.is_ready, 90)
    assert "starting it again" in service.compose("logs", "torchserve")


def test_a_stop_under_load_loses_no_accepted_request(service: Stack) -> None:
    before = {line["request_id"] for part in PARTS for line in service.log(part) if "request_id" in line}
    with Load(service.gateway) as load:
        eventually(lambda: load.answered > 20, 60)
        service.compose("stop")
    # Docker's own proxy lets clients in that nobody behind it will see; what counts is that each request that reached
    # TorchServe was answered by the gateway, and each answer of the gateway has reached its client.
    answered = {line["request_id"] for line in service.log("gateway") if line.get("path") == "/api/v1/classify"}
    predicted = {line["request_id"] for line in service.log("torchserve") if line.get("event") == "prediction"}
    assert predicted - before <= answered
    assert load.outcomes["200"] + load.outcomes["503"] == len(answered - before)
    for part in PARTS:
        container = run("docker", "ps", "-aq", "--filter", f"name={service.project}-{part}-1").strip()
        assert inspect(container)["State"]["ExitCode"] == 0
    service.up()
