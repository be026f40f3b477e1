"""The real thing, started as `make serve` starts it, on ports of its own."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import requests

ROOT = Path(__file__).parent.parent
PORTS = (
    "GATEWAY_PORT",
    "TS_INFERENCE_PORT",
    "TS_MANAGEMENT_PORT",
    "TS_METRICS_PORT",
    "TS_GRPC_INFERENCE_PORT",
    "TS_GRPC_MANAGEMENT_PORT",
)


def free_ports():
    """Ports that nobody uses now, all held at once so that they differ."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in PORTS]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return {name: each.getsockname()[1] for name, each in zip(PORTS, sockets, strict=True)}


class Service:
    """One launcher with what it started; its output goes to `log`."""

    def __init__(self, log: Path, ports: dict[str, int] | None = None, part: str = "all", **settings: str):
        self.log = log
        self.ports = ports or free_ports()
        self.environment = os.environ | {name: str(port) for name, port in self.ports.items()} | settings
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "launcher", part], cwd=ROOT, env=self.environment, stdout=output, stderr=output
            )
        self.descendants: list[psutil.Process] = []

    @property
    def gateway(self) -> str:
        return f"http://127.0.0.1:{self.ports['GATEWAY_PORT']}"

    @property
    def inference(self) -> str:
        return f"http://127.0.0.1:{self.ports['TS_INFERENCE_PORT']}"

    @property
    def management(self) -> str:
        return f"http://127.0.0.1:{self.ports['TS_MANAGEMENT_PORT']}"

    @property
    def metrics(self) -> str:
        return f"http://127.0.0.1:{self.ports['TS_METRICS_PORT']}"

    @property
    def run_folder(self) -> Path:
        return ROOT / ".run" / str(self.ports["GATEWAY_PORT"])

    @property
    def scratch_folder(self) -> Path:
        return Path(tempfile.gettempdir()) / f"cifar10-{os.getuid()}-{self.ports['GATEWAY_PORT']}"

    def key(self, name: str) -> dict[str, str]:
        keys = json.loads((self.run_folder / "key_file.json").read_text())
        return {"Authorization": f"Bearer {keys[name]['key']}"}

    def find_descendants(self) -> None:
        self.descendants = psutil.Process(self.process.pid).children(recursive=True)

    def wait_until_ready(self) -> "Service":
        eventually(lambda: "Ctrl-C stops it" in self.output() or self.process.poll() is not None, 300)
        assert self.process.poll() is None, self.output()
        self.find_descendants()
        return self

    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def entries(self, request_id: str) -> list[dict[str, Any]]:
        """The JSON log lines about one request."""
        lines = [json.loads(line) for line in self.output().splitlines() if line.startswith("{")]
        return [line for line in lines if line.get("request_id") == request_id]

    def descendant(self, word: str) -> psutil.Process:
        """The process with this word in its command, once there is one: it may just be started again."""
        found: list[psutil.Process] = []

        def is_there() -> bool:
            self.find_descendants()
            for process in self.descendants:
                with contextlib.suppress(psutil.NoSuchProcess):
                    if word in " ".join(process.cmdline()):
                        found.append(process)
            return bool(found)

        eventually(is_there, 60)
        return found[0]

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(60)

    def leftovers(self) -> list[str]:
        """What is still there of it, in words."""
        alive = [f"process {each.pid}" for each in self.descendants if each.is_running() and not is_zombie(each)]
        files = [f"folder {path}" for path in (self.run_folder, self.scratch_folder) if path.exists()]
        return alive + files

    def __enter__(self):
        try:
            return self.wait_until_ready()
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.stop()


def answers(url: str) -> bool:
    """Whether what is asked for is answered, and with no error."""
    try:
        return requests.get(url, timeout=15).ok
    except requests.RequestException:
        return False


def is_zombie(process: psutil.Process) -> bool:
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def eventually(condition, seconds: float) -> None:
    """Wait for a condition; fail when it has not come true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not true within {seconds} seconds"
        time.sleep(0.05)
