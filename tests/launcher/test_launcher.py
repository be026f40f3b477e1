"""Starting and stopping the real service, politely and not."""

import os
import signal
import socket
import subprocess
import sys

import pytest
import requests

from tests.service import PORTS, ROOT, Service, eventually, free_ports


def launch(environment):
    return subprocess.run(
        [sys.executable, "-m", "launcher"],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("variable", PORTS)
def test_a_busy_port_gives_one_sentence_and_exit_code_1(variable):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ports = {name: str(value) for name, value in free_ports().items()} | {variable: str(port)}
        done = launch(ports)
    assert done.returncode == 1
    assert done.stdout == ""
    [line] = done.stderr.splitlines()
    assert f"port {port} is in use" in line
    assert variable in line
    assert not (ROOT / ".run" / ports["GATEWAY_PORT"]).exists()


@pytest.mark.parametrize("value", ["eight", "0", "65536"])
def test_an_ill_typed_port_is_named(value):
    done = launch({"TS_METRICS_PORT": value})
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert "TS_METRICS_PORT" in line


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_leaves_nothing_behind(tmp_path, number):
    with Service(tmp_path / "log") as service:
        assert len(service.descendants) >= 5  # JVM, its two workers, gunicorn and its worker
        assert service.stop(number) == 0
        assert service.leftovers() == []
        for port in service.ports.values():
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("127.0.0.1", port))
        assert "Traceback" not in service.output()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can tie a child's life to its parent's")
def test_a_launcher_that_is_killed_takes_its_processes_along(tmp_path):
    with Service(tmp_path / "log") as service:
        service.process.kill()
        service.process.wait()
        eventually(lambda: not [each for each in service.leftovers() if each.startswith("process")], 30)
    # Nobody was left to clear the folders away; the next start on this port does.
    with Service(tmp_path / "log", service.ports) as again:
        again.stop()
        assert again.leftovers() == []


def test_a_part_that_dies_ends_the_whole_with_a_sentence(tmp_path):
    with Service(tmp_path / "log") as service:
        service.descendant("ModelServer").kill()
        assert service.process.wait(60) == 1
        assert "TorchServe ended with exit code -9" in service.output().splitlines()[-1]
        assert service.leftovers() == []
        with pytest.raises(requests.ConnectionError):
            requests.get(f"{service.gateway}/livez", timeout=5)
