"""Starting and stopping the real service, politely and not."""

import errno
import json
import os
import signal
import socket
import subprocess
import sys
from typing import Any

import psutil
import pytest

import gateway.settings
from launcher import torchserve
from launcher.__main__ import Launcher, StartError
from launcher.settings import Settings
from tests.service import PORTS, ROOT, Service, answers, eventually, free_ports


@pytest.mark.parametrize(
    ("host", "address"), [("0.0.0.0", "127.0.0.1:9"), ("127.0.0.1", "127.0.0.1:9"), ("192.0.2.7", "192.0.2.7:9")]
)
def test_what_listens_is_asked_at_its_own_address(host, address):
    hosts = dict.fromkeys(("gateway_host", "ts_inference_host", "ts_metrics_host"), host)
    ports = dict.fromkeys(("gateway_port", "ts_inference_port", "ts_metrics_port"), 9)
    settings = Settings.model_validate(hosts | ports)
    assert {settings.gateway_address, settings.inference_address, settings.metrics_address} == {address}


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


@pytest.fixture
def free():
    """Settings whose ports are free."""
    return {name.lower(): port for name, port in free_ports().items()}


@pytest.mark.parametrize(
    ("host", "reachable"), [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::1", "[::1]"), ("::", "[::1]")]
)
def test_the_gateway_listens_on_addresses_of_either_kind(free, host, reachable):
    launcher = Launcher(Settings(**free, gateway_host=host), with_gateway=True)
    launcher._check_ports()
    assert launcher.gateway_url == f"http://{reachable}:{free['gateway_port']}"


def test_two_settings_of_one_port_are_named(free):
    settings = Settings(**free | {"ts_metrics_port": free["gateway_port"]})
    with pytest.raises(StartError, match="GATEWAY_PORT and TS_METRICS_PORT are both"):
        Launcher(settings, with_gateway=True)._check_ports()
    Launcher(settings, with_gateway=False)._check_ports()


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EADDRINUSE, "port 8000 is in use .*: stop what uses it, or set GATEWAY_PORT to another one"),
        (errno.EACCES, "set GATEWAY_PORT to one above 1023"),
        (errno.EADDRNOTAVAIL, r"nothing can listen on 127\.0\.0\.1 .*: set GATEWAY_HOST"),
    ],
)
def test_why_a_port_cannot_be_had_is_said(monkeypatch, number, words):
    def bind(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("socket.socket.bind", bind)
    with pytest.raises(StartError, match=words):
        Launcher(Settings(gateway_port=8000), with_gateway=True)._check_ports()


@pytest.mark.parametrize("seconds", ["10", "60.5"])
def test_the_gateway_is_given_time_to_answer_what_it_has_accepted(monkeypatch, seconds):
    assert Settings().stop_seconds > gateway.settings.Settings().stop_seconds
    monkeypatch.setenv("GATEWAY_ANSWER_TIMEOUT_SECONDS", seconds)
    assert Settings().stop_seconds > gateway.settings.Settings().stop_seconds


def test_a_java_home_without_java_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(StartError, match=rf"no Java runtime {tmp_path}/bin/java: unset JAVA_HOME"):
        Launcher(Settings(ts_model_store=tmp_path), with_gateway=True).serve()


@pytest.mark.parametrize("other_keys", [False, True])
def test_the_folders_of_a_service_that_runs_are_not_taken(tmp_path, free, other_keys):
    """TorchServe alone does not look whether the gateway's port is free, which names them."""
    settings = Settings(**free)
    second = Settings(**free, key_folder=tmp_path) if other_keys else settings
    with Launcher(settings, with_gateway=False)._folders():
        settings.key_file.write_text("{}")
        with pytest.raises(StartError, match="set GATEWAY_PORT"), Launcher(second, with_gateway=False)._folders():
            pytest.fail("both have them")
        assert settings.key_file.exists()
        assert settings.scratch_folder.exists()
    assert not settings.run_folder.exists()
    assert not settings.scratch_folder.exists()


def test_a_torchserve_that_is_started_again_finds_nothing_of_the_last_one(free, monkeypatch):
    """One that was killed could not take its unpacked archives away, and the file system may be small."""
    monkeypatch.setattr("launcher.__main__.Child", lambda *_, **__: None)
    launcher = Launcher(Settings(**free), with_gateway=True)
    scratch, folder = launcher.settings.scratch_folder, launcher.settings.torchserve_folder
    with launcher._folders():
        (scratch / "of-the-gateway").touch()
        for _ in range(2):
            launcher._start_torchserve()
            assert list(folder.iterdir()) == []
            (folder / "models" / "0123").mkdir(parents=True)
            (folder / ".ts.sock.9000").touch()
        assert (scratch / "of-the-gateway").exists()


def test_empty_variables_are_as_good_as_none(monkeypatch):
    """Else TorchServe's keys would lie in whatever folder we were started in."""
    for name in Settings.model_fields:
        monkeypatch.setenv(name.upper(), "")
    settings = Settings()
    assert (settings.run_folder, settings.ts_model_store) == (ROOT / ".run" / "8000", ROOT / "model-store")
    monkeypatch.setattr("launcher.__main__.Child", lambda *arguments, **_: arguments[2])
    given: Any = Launcher(settings, with_gateway=True)._start_gateway()
    assert given["TS_MODEL_STORE"] == str(ROOT / "model-store")


def test_torchserve_takes_what_the_gateway_lets_pass(monkeypatch):
    assert Settings().gateway_max_image_bytes == gateway.settings.Settings().max_image_bytes
    monkeypatch.setenv("GATEWAY_MAX_IMAGE_BYTES", "30000000")
    assert "max_request_size=$$TS_MAX_REQUEST_SIZE$$" in torchserve.CONFIG_PATH.read_text().splitlines()
    assert torchserve.environment(Settings())["TS_MAX_REQUEST_SIZE"] == "31000000"


def test_no_proxy_of_the_environment_comes_between_us_and_the_gateway(stand_in, elsewhere):
    launcher = Launcher(Settings(gateway_port=stand_in.server_port), with_gateway=True)
    assert launcher._gateway_answers()
    assert stand_in.keys == [None]


def stop_and_see_that_nothing_is_left(service, number):
    service.find_descendants()
    assert len(service.descendants) >= 5  # JVM, its two workers, gunicorn and its worker
    assert service.stop(number) == 0
    assert service.leftovers() == []
    for port in service.ports.values():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))


def test_ctrl_c_leaves_nothing_behind(tmp_path):
    with Service(tmp_path / "log") as service:
        stop_and_see_that_nothing_is_left(service, signal.SIGINT)
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


def test_a_part_that_dies_or_answers_no_more_is_started_again_until_sigterm(tmp_path):
    with Service(tmp_path / "log", SILENCE_SECONDS="3") as service:
        for word, act, said in (
            # First, since one that has just been started, and not answered yet, is waited for much longer.
            ("ModelServer", psutil.Process.suspend, "TorchServe has answered no prediction for"),
            ("ModelServer", psutil.Process.kill, "TorchServe ended with exit code -9"),
            ("gunicorn", psutil.Process.kill, "the gateway ended with exit code -9"),
        ):
            part, before = service.descendant(word), len(service.output())
            act(part)
            eventually(lambda said=said, before=before: said in service.output()[before:], 60)
            eventually(lambda part=part: not part.is_running(), 60)
            eventually(lambda: answers(f"{service.gateway}/readyz"), 60)
            service.find_descendants()
        stop_and_see_that_nothing_is_left(service, signal.SIGTERM)


def test_torchserve_alone_as_in_its_container(tmp_path):
    keys = tmp_path / "keys"
    keys.mkdir()
    settings = {"KEY_FOLDER": str(keys), "LOG_FORMAT": "json", "TS_INFERENCE_HOST": "0.0.0.0"}
    with Service(tmp_path / "log", None, "torchserve", **settings) as service:
        probe = [sys.executable, "-m", "launcher.probe"]
        assert subprocess.run(probe, cwd=ROOT, env=service.environment, check=False).returncode == 0
        assert "gunicorn" not in " ".join(" ".join(each.cmdline()) for each in service.descendants)
        messages = [json.loads(line) for line in service.output().splitlines() if '"launcher"' in line]
        assert [message["message"].split()[0] for message in messages] == ["starting", "ready:"]
        assert service.stop() == 0
        done = subprocess.run(probe, cwd=ROOT, env=service.environment, check=False, capture_output=True, text=True)
        assert done.returncode == 1
        assert "no prediction was answered" in done.stderr
    assert list(keys.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has all of 127.0.0.0/8 on the loopback")
def test_a_torchserve_on_a_particular_address_is_asked_there(tmp_path):
    with Service(tmp_path / "log", TS_INFERENCE_HOST="127.0.0.2", TS_METRICS_HOST="127.0.0.3") as service:
        assert answers(f"{service.gateway}/readyz")
        environment = service.environment | {"KEY_FOLDER": str(service.run_folder)}
        for command in ("launcher.probe", "operations list"):
            words = [sys.executable, "-m", *command.split()]
            assert subprocess.run(words, cwd=ROOT, env=environment, check=False).returncode == 0
        assert f"http://127.0.0.3:{service.ports['TS_METRICS_PORT']}/metrics" in service.output()


def test_a_temporary_folder_whose_name_is_too_long_for_sockets_is_named(tmp_path, monkeypatch):
    """TorchServe's workers would die at their start, again and again."""
    folder = tmp_path / ("n" * 100)
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    with pytest.raises(StartError, match=rf"{folder} is \d+ bytes too long .*: set TMPDIR"):
        Launcher(Settings(), with_gateway=True).serve()


def test_an_empty_model_store_serves_the_packed_archive(tmp_path):
    store = tmp_path / "store"
    store.mkdir()
    (store / "cifar10.mar").symlink_to(tmp_path / "gone")
    with Service(tmp_path / "log", TS_MODEL_STORE=str(store)) as service:
        assert answers(f"{service.gateway}/readyz")
    assert (store / "cifar10.mar").samefile(ROOT / "model-store" / "cifar10.mar")


def test_a_model_store_that_takes_no_files_is_named(tmp_path):
    with pytest.raises(StartError, match=rf"TS_MODEL_STORE: {tmp_path}/none takes no files \(No such file"):
        Launcher(Settings(ts_model_store=tmp_path / "none"), with_gateway=True).serve()


def test_an_archive_in_another_store_is_packed_there(tmp_path):
    (tmp_path / "cifar10.mar").write_bytes(b"copied without its hash")
    with pytest.raises(StartError, match=rf"cifar10\.mar\.sha256.*handler\.archive --output {tmp_path}/cifar10\.mar"):
        Launcher(Settings(ts_model_store=tmp_path), with_gateway=True).serve()


def test_an_archive_that_is_not_the_packed_one_is_not_served(tmp_path, monkeypatch):
    monkeypatch.setattr("launcher.__main__.PACKED", tmp_path)
    launcher = Launcher(Settings(ts_model_store=tmp_path), with_gateway=True)
    path = tmp_path / "cifar10.mar"
    with pytest.raises(StartError, match="make archive"):
        launcher.serve()
    path.write_bytes(b"something else")
    path.with_suffix(".mar.sha256").write_text(f"{'0' * 64}  cifar10.mar\n")
    with pytest.raises(StartError, match="SHA-256"):
        launcher.serve()
