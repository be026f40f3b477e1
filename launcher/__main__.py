"""Start everything, say where it is once a real prediction has come back, keep it running, stop everything.

`python -m launcher` starts TorchServe and the gateway; `python -m launcher torchserve` TorchServe alone.
"""

import argparse
import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Final

import requests
from pydantic import ValidationError

from launcher import probe, torchserve
from launcher.processes import Child, write_line
from launcher.settings import ARCHIVE, PACKED, ROOT, Settings
from launcher.supervisor import Part, Watch

LONGEST_SOCKET_PATH: Final = 103
"""Bytes, on macOS; Linux takes 107 (unix(7))."""
GUNICORN: Final = (sys.executable, "-m", "gunicorn", "--config", str(ROOT / "gateway" / "gunicorn.conf.py"))


class StartError(Exception):
    """The service cannot start; the message says why and what to do."""


class Stop(BaseException):
    """SIGINT or SIGTERM came."""


class Launcher:
    """The service as one: its parts, in the order in which they start."""

    def __init__(self, settings: Settings, *, with_gateway: bool) -> None:
        self.settings = settings
        self.with_gateway = with_gateway
        self.gateway_url = f"http://{settings.gateway_address}"

    @property
    def _json_lines(self) -> bool:
        return self.settings.log_format == "json"

    def say(self, message: str) -> None:
        """Tell the operator."""
        write_line(json.dumps({"event": "launcher", "message": message}) if self._json_lines else message)

    def serve(self) -> None:
        """Run the service until `Stop` is raised.

        Raises:
            StartError: it cannot start.
        """
        _check_java()
        _link_archive(self.settings.ts_model_store)
        _check_archive(self.settings.ts_model_store / ARCHIVE)
        _check_temporary_folder(self.settings.torchserve_folder)
        self._check_ports()
        with self._folders(), self._parts() as parts:
            self.say("starting TorchServe and the gateway …" if self.with_gateway else "starting TorchServe …")
            self._wait_until_ready(parts)
            self.say(self._greeting())
            watch = Watch(
                parts[0],
                self._torchserve_answers,
                self.say,
                start_seconds=self.settings.start_timeout_seconds,
                silence_seconds=self.settings.silence_seconds,
            )
            while True:
                for part in parts:
                    part.revive()
                watch.look()
                time.sleep(0.2)

    def _check_ports(self) -> None:
        """See that every port is free and is set once, before anything is started."""
        settings = self.settings
        hosts = {
            "GATEWAY_PORT": settings.gateway_host,
            "TS_INFERENCE_PORT": settings.ts_inference_host,
            "TS_METRICS_PORT": settings.ts_metrics_host,
        }
        variables: dict[int, str] = {}
        for variable, port in settings.ports.items():
            if variable == "GATEWAY_PORT" and not self.with_gateway:
                continue
            if port in variables:
                raise StartError(f"{variables[port]} and {variable} are both {port}: set one of them to another port")
            variables[port] = variable
            host = hosts.get(variable, "127.0.0.1")
            with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as taken:
                taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    taken.bind((host, port))
                except OSError as error:
                    raise StartError(_why_not_at(host, port, variable, error)) from error

    @contextlib.contextmanager
    def _folders(self) -> Iterator[None]:
        """Make the folders for what lives as long as the service, for this user only; take them away afterwards."""
        keys, scratch = self.settings.run_folder, self.settings.scratch_folder

        def clear() -> None:
            shutil.rmtree(scratch, ignore_errors=True)
            self.settings.key_file.unlink(missing_ok=True)
            if not self.settings.key_folder:  # one that we were given stays
                with contextlib.suppress(OSError):
                    keys.rmdir()
                    keys.parent.rmdir()

        with self._locked():
            clear()  # what a service left that was killed
        try:
            keys.mkdir(mode=0o700, parents=True, exist_ok=True)
            scratch.mkdir(mode=0o700)
        except OSError as error:
            raise StartError(f"{error.filename} cannot be made: {error.strerror}") from error
        with self._locked():
            try:
                yield
            finally:
                clear()

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Lock the folders, as far as they are there; who dies gives them back.

        The gateway's port names them, and may be another service's where we have no gateway.

        Raises:
            StartError: another service has them.
        """
        with contextlib.ExitStack() as locks:
            for folder in (self.settings.run_folder, self.settings.scratch_folder):
                try:
                    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
                    locks.callback(os.close, descriptor)
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError as error:
                    raise StartError(
                        f"{folder} is another service's, which runs: stop that, or set GATEWAY_PORT to another port, "
                        "also where there is no gateway"
                    ) from error
                except OSError:  # it is not there, or its file system has no locks
                    continue
            yield

    @contextlib.contextmanager
    def _parts(self) -> Iterator[list[Part]]:
        """Start TorchServe and the gateway; stop the gateway first, so that what it has accepted is still answered."""
        starts: list[tuple[str, Callable[[], Child]]] = [("TorchServe", self._start_torchserve)]
        if self.with_gateway:
            starts.append(("the gateway", self._start_gateway))
        parts: list[Part] = []
        try:
            for name, start in starts:
                parts.append(Part(name, start, self.say, stop_seconds=self.settings.stop_seconds))
            yield parts
        finally:
            for part in reversed(parts):
                part.stop()

    def _start_torchserve(self) -> Child:
        settings = self.settings
        settings.key_file.unlink(missing_ok=True)  # its keys die with it
        # One that was killed leaves its unpacked archives, which would fill a small file system after a few starts.
        shutil.rmtree(settings.torchserve_folder, ignore_errors=True)
        settings.torchserve_folder.mkdir(mode=0o700, exist_ok=True)
        command = torchserve.command(settings, self.say)
        environment = torchserve.environment(settings)
        return Child("TorchServe", command, environment, settings.run_folder, json_lines=self._json_lines)

    def _start_gateway(self) -> Child:
        settings = self.settings
        environment = {
            **os.environ,
            "GATEWAY_HOST": settings.gateway_host,
            "GATEWAY_PORT": str(settings.gateway_port),
            "GATEWAY_TORCHSERVE_URL": f"http://{settings.inference_address}",
            "GATEWAY_KEY_FILE": str(settings.key_file),
            "TS_MODEL_STORE": str(settings.ts_model_store.resolve()),
            "TMPDIR": str(settings.scratch_folder),
        }
        return Child("the gateway", list(GUNICORN), environment, ROOT, json_lines=self._json_lines)

    def _wait_until_ready(self, parts: list[Part]) -> None:
        """Wait until a real prediction has come back, through the gateway where there is one."""
        settings = self.settings
        deadline = time.monotonic() + settings.start_timeout_seconds
        while not (self._torchserve_answers() and (not self.with_gateway or self._gateway_answers())):
            for part in parts:
                if part.exit_code is not None:
                    raise StartError(f"{part.name} ended with exit code {part.exit_code}; see the log above")
            if time.monotonic() > deadline:
                raise StartError(
                    f"no prediction was answered within {settings.start_timeout_seconds:g} seconds; see the log above"
                )
            time.sleep(0.2)

    def _gateway_answers(self) -> bool:
        picture = probe.PICTURE_PATH.read_bytes()
        with contextlib.suppress(requests.RequestException), requests.Session() as session:
            session.trust_env = False  # no proxy from the environment between us and the gateway
            return session.post(f"{self.gateway_url}/api/v1/classify", data=picture, timeout=15).ok
        return False

    def _torchserve_answers(self) -> bool:
        settings = self.settings
        addresses = (settings.inference_address, settings.management_address, settings.metrics_address)
        return probe.answers(settings.key_file, *addresses)

    def _greeting(self) -> str:
        settings = self.settings
        page = (
            f"  page        {self.gateway_url}/\n  REST API    {self.gateway_url}/api/v1/classify\n"
            if self.with_gateway
            else ""
        )
        return (
            "ready: a picture was classified\n"
            f"{page}"
            f"  TorchServe  http://{settings.inference_address}/predictions/cifar10\n"
            f"  management  http://{settings.management_address}/models/cifar10\n"
            f"  metrics     http://{settings.metrics_address}/metrics\n"
            f"  its keys    {_from_here(settings.key_file)}\n"
            "Ctrl-C stops it."
        )


def _link_archive(store: Path) -> None:
    """Have the archive that `make archive` packed in a model store elsewhere that has none; a link follows a new one.

    Raises:
        StartError: nothing can be written there.
    """
    if (store / ARCHIVE).exists() or not (PACKED / ARCHIVE).exists():
        return
    try:
        for name in (ARCHIVE, f"{ARCHIVE}.sha256"):
            (store / name).unlink(missing_ok=True)  # a link to what has gone
            (store / name).symlink_to(PACKED / name)
    except OSError as error:
        raise StartError(f"TS_MODEL_STORE: {store} takes no files ({error.strerror})") from error


def _check_archive(path: Path) -> None:
    """See that the archive is the one that was packed.

    Raises:
        StartError: it is missing, or it is another one.
    """
    shown = _from_here(path)
    cure = "run make archive" if path.parent == PACKED else f"run .venv/bin/python -m handler.archive --output {path}"
    try:
        packed = path.with_suffix(".mar.sha256").read_text().split()[0]
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, IndexError) as error:
        raise StartError(f"there is no {shown} with its hash, {path.stem}.mar.sha256, beside it: {cure}") from error
    if found != packed:
        raise StartError(f"{shown} is not the archive that was packed, by its SHA-256: {cure}")


def _check_java() -> None:
    """See that there is a Java runtime.

    Raises:
        StartError: there is none.
    """
    java = torchserve.java()
    if not shutil.which(java):
        cure = "unset JAVA_HOME, or correct it" if os.environ.get("JAVA_HOME") else "install one, or set JAVA_HOME"
        raise StartError(f"there is no Java runtime {java}: {cure}")


def _check_temporary_folder(folder: Path) -> None:
    """See that TorchServe's sockets, whose numbers grow with each worker that is started, can lie in a folder.

    Raises:
        StartError: the path would be too long for one.
    """
    excess = len(os.fsencode(folder / ".ts.sock.999999")) - LONGEST_SOCKET_PATH
    if excess > 0:
        temporary = tempfile.gettempdir()
        raise StartError(
            f"the temporary folder {temporary} is {excess} bytes too long for sockets: set TMPDIR to a shorter one"
        )


def _why_not_at(host: str, port: int, variable: str, error: OSError) -> str:
    """Say why nothing can listen there, and what to do."""
    if error.errno == errno.EADDRINUSE:
        return f"port {port} is in use ({error.strerror}): stop what uses it, or set {variable} to another one"
    if error.errno == errno.EACCES:
        return f"port {port} is not for every user ({error.strerror}): set {variable} to one above 1023"
    variable = variable.replace("_PORT", "_HOST")
    return f"nothing can listen on {host} ({error.strerror}): set {variable} to an address of this machine"


def _from_here(path: object) -> str:
    return str(path).removeprefix(f"{ROOT}/")


def _raise_stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
    # Once is enough: a second Ctrl-C must not break the stop off half way.
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    raise Stop


def main() -> None:
    """Run the service; exit code 0 after SIGINT or SIGTERM, 1 when it could not start."""
    parser = argparse.ArgumentParser(prog="python -m launcher", description="Run the service until Ctrl-C or SIGTERM.")
    parser.add_argument("part", nargs="?", choices=("all", "torchserve"), default="all", help="what to run")
    with_gateway = parser.parse_args().part == "all"
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _raise_stop)
    try:
        launcher = Launcher(Settings(), with_gateway=with_gateway)
        try:
            launcher.serve()
        except Stop:
            launcher.say("stopped")
    except ValidationError as error:
        wrong = error.errors()[0]
        sys.exit(f"launcher: {str(wrong['loc'][0]).upper()}: {wrong['msg']}")
    except StartError as error:
        sys.exit(f"launcher: {error}")


if __name__ == "__main__":
    main()
