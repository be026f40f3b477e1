"""Start everything, say where it is once a real prediction has come back through the gateway, wait, stop everything."""

import contextlib
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Iterator
from types import FrameType
from typing import Final

import requests
from pydantic import ValidationError

from handler.archive import DEFAULT_ARCHIVE
from launcher import torchserve
from launcher.processes import Child
from launcher.settings import ROOT, Settings

PROBE_PATH: Final = ROOT / "gateway" / "probe.png"


class StartError(Exception):
    """The service cannot start; the message says why and what to do."""


class Stop(BaseException):
    """SIGINT or SIGTERM came."""


def check_ports(settings: Settings) -> None:
    """See that every port is free, before anything is started.

    Raises:
        StartError: one is taken.
    """
    for variable, port in settings.ports.items():
        host = settings.gateway_host if variable == "GATEWAY_PORT" else "127.0.0.1"
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                raise StartError(
                    f"port {port} is in use ({error.strerror}): stop what uses it, or set {variable} to another one"
                ) from error


@contextlib.contextmanager
def folders(settings: Settings) -> Iterator[None]:
    """Make the folders for what lives as long as the service, private to this user, and take them away afterwards.

    Raises:
        StartError: one cannot be made.
    """
    both = (settings.run_folder, settings.scratch_folder)

    def clear() -> None:
        for folder in both:
            shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            settings.run_folder.parent.rmdir()

    clear()  # what a service left that was killed; its port is free
    try:
        settings.run_folder.parent.mkdir(exist_ok=True)
        for folder in both:
            folder.mkdir(mode=0o700)
    except OSError as error:
        raise StartError(f"{error.filename} cannot be made: {error.strerror}") from error
    try:
        yield
    finally:
        clear()


@contextlib.contextmanager
def children(settings: Settings) -> Iterator[list[Child]]:
    """Run TorchServe and the gateway; stop the gateway first, so that what it has accepted is still answered."""
    gateway_environment = {
        **os.environ,
        "GATEWAY_HOST": settings.gateway_host,
        "GATEWAY_PORT": str(settings.gateway_port),
        "GATEWAY_TORCHSERVE_URL": f"http://127.0.0.1:{settings.ts_inference_port}",
        "GATEWAY_KEY_FILE": str(settings.key_file),
        "TMPDIR": str(settings.scratch_folder),
    }
    gunicorn = [sys.executable, "-m", "gunicorn", "--config", str(ROOT / "gateway" / "gunicorn.conf.py")]
    running: list[Child] = []
    try:
        java = torchserve.command(settings)
        running.append(Child("TorchServe", java, torchserve.environment(settings), settings.run_folder))
        running.append(Child("the gateway", gunicorn, gateway_environment, ROOT))
        yield running
    finally:
        for child in reversed(running):
            child.stop(timeout_seconds=20)


def wait_until_ready(settings: Settings, running: list[Child]) -> str:
    """Ask for a real prediction through the gateway until one comes; give its label.

    Raises:
        StartError: a process ended, or none came in time.
    """
    gateway = f"http://{settings.gateway_host}:{settings.gateway_port}"
    deadline = time.monotonic() + settings.start_timeout_seconds
    while time.monotonic() < deadline:
        check_alive(running)
        with contextlib.suppress(requests.RequestException):
            if requests.get(f"{gateway}/readyz", timeout=15).ok:
                picture = PROBE_PATH.read_bytes()
                response = requests.post(f"{gateway}/api/v1/classify", data=picture, timeout=15)
                if response.ok:
                    return str(response.json()["results"][0]["label"])
        time.sleep(0.2)
    raise StartError(f"no prediction was answered within {settings.start_timeout_seconds:g} seconds; see the log above")


def check_alive(running: list[Child]) -> None:
    """See that every process still runs.

    Raises:
        StartError: one has ended.
    """
    for child in running:
        if child.exit_code is not None:
            raise StartError(f"{child.name} ended with exit code {child.exit_code}; see the log above")


def serve(settings: Settings) -> None:
    """Run the service until a process ends or `Stop` is raised."""
    archive = settings.ts_model_store / DEFAULT_ARCHIVE.name
    if not archive.exists():
        raise StartError(f"there is no {archive}: run make archive")
    check_ports(settings)
    with folders(settings), children(settings) as running:
        print("starting TorchServe and the gateway …", flush=True)
        label = wait_until_ready(settings, running)
        inference = f"http://127.0.0.1:{settings.ts_inference_port}/predictions/cifar10"
        print(
            f"ready: the probe picture was classified as {label}\n"
            f"  page        http://{settings.gateway_host}:{settings.gateway_port}/\n"
            f"  REST API    http://{settings.gateway_host}:{settings.gateway_port}/api/v1/classify\n"
            f"  TorchServe  {inference}\n"
            f"  management  http://127.0.0.1:{settings.ts_management_port}/models/cifar10\n"
            f"  metrics     http://127.0.0.1:{settings.ts_metrics_port}/metrics\n"
            f"  its keys    {settings.key_file.relative_to(ROOT)}\n"
            "Ctrl-C stops it.",
            flush=True,
        )
        while True:
            check_alive(running)
            time.sleep(0.5)


def _raise_stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
    # Once is enough: a second Ctrl-C must not break the stop off half way.
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    raise Stop


def main() -> None:
    """Run the service; exit code 0 after SIGINT or SIGTERM, 1 when it could not start or a part of it failed."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _raise_stop)
    try:
        serve(Settings())
    except Stop:
        print("stopped", flush=True)
    except ValidationError as error:
        wrong = error.errors()[0]
        sys.exit(f"launcher: {str(wrong['loc'][0]).upper()}: {wrong['msg']}")
    except StartError as error:
        sys.exit(f"launcher: {error}")


if __name__ == "__main__":
    main()
