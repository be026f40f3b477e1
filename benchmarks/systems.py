"""What is measured: the service as `make serve` starts it, and TorchServe as it comes with its image classifier."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psutil
import requests
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.load import Request
from launcher.torchserve import java
from model.labels import LABELS
from model.manifest import Manifest
from model.networks import load_network

ROOT: Final = Path(__file__).parent.parent
START_SECONDS: Final = 180
STOP_SECONDS: Final = 30
LEFT_SECONDS: Final = 5
"""Until what outlives the process that started it is killed."""
SAMPLE_SECONDS: Final = 1.0
PARTS: Final = {"gunicorn": "gateway", "org.pytorch.serve": "TorchServe", "model_service_worker": "workers"}
"""What processes are, by a word of their command lines."""
OTHERS: Final = "launcher"
IDLE_SECONDS: Final = 0.3
IDLE_SHARE: Final = 0.1
"""Of one core; TorchServe and the gateway are never quite still."""


class BenchmarkError(Exception):
    """Something that is measured does not run."""


@dataclass
class Processes:
    """A process with all that it started."""

    root: psutil.Process

    def all(self) -> list[psutil.Process]:
        """List those that live."""
        return [self.root, *self.root.children(recursive=True)]

    def cpu_seconds(self) -> float:
        """Add up what they have computed."""
        return sum(self.cpu_seconds_by_part().values())

    def cpu_seconds_by_part(self) -> dict[str, float]:
        """Add up what each part of them has computed."""
        return self._by_part(lambda process: sum(process.cpu_times()[:2]))  # user and system

    def wait_until_idle(self) -> None:
        """Wait until they compute next to nothing.

        Raises:
            BenchmarkError: they do not come to rest.
        """
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            before = self.cpu_seconds()
            time.sleep(IDLE_SECONDS)
            if self.cpu_seconds() - before < IDLE_SHARE * IDLE_SECONDS:
                return
        raise BenchmarkError("it did not come to rest:")

    def memory(self) -> int:
        """Add up their bytes of memory, what several share counted once (proportional set size)."""
        return int(sum(self.memory_by_part().values()))

    def memory_by_part(self) -> dict[str, float]:
        """Add up the bytes of memory of each part of them."""
        return self._by_part(lambda process: process.memory_full_info().pss)

    def _by_part(self, measure: Callable[[psutil.Process], float]) -> dict[str, float]:
        sums = dict.fromkeys((*PARTS.values(), OTHERS), 0.0)
        for process in self.all():
            with contextlib.suppress(psutil.NoSuchProcess):
                words = " ".join(process.cmdline())
                part = next((part for word, part in PARTS.items() if word in words), OTHERS)
                sums[part] += measure(process)
        return sums

    def pin(self, cores: list[int]) -> None:
        """Let them run on these cores only."""
        for process in self.all():
            for thread in process.threads():
                with contextlib.suppress(psutil.NoSuchProcess):
                    os.sched_setaffinity(thread.id, cores)


@contextlib.contextmanager
def load_apart(processes: Processes) -> Iterator[None]:
    """Give the load, which this thread sends, the last core to itself and the processes the others.

    Whatever the load leaves of its core is burnt at the lowest priority: cores often share hardware, and what is
    measured would be faster while the load is light. With one core there is nothing to part.
    """
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) == 1:
        yield
        return
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as burner:
        try:
            os.sched_setscheduler(burner.pid, os.SCHED_IDLE, os.sched_param(0))
            os.sched_setaffinity(burner.pid, cores[-1:])
            os.sched_setaffinity(0, cores[-1:])
            processes.pin(cores[:-1])
            yield
        finally:
            burner.kill()
            os.sched_setaffinity(0, cores)
            processes.pin(cores)


@dataclass
class Watch:
    """Samples the memory of processes while something runs; `told` is given each sample, seconds and bytes."""

    processes: Processes
    told: Callable[[float, int], None] | None = None
    samples: list[tuple[float, int]] = field(default_factory=list)

    def __enter__(self) -> "Watch":
        self._stop = threading.Event()
        self._began = time.monotonic()
        self._cpu = self.processes.cpu_seconds_by_part()
        self._thread = threading.Thread(target=self._sample)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        seconds = self.processes.cpu_seconds_by_part()
        self.cpu_seconds_by_part = {part: seconds[part] - self._cpu[part] for part in seconds}

    @property
    def cpu_seconds(self) -> float:
        """Give what all have computed meanwhile."""
        return sum(self.cpu_seconds_by_part.values())

    @property
    def peak(self) -> int:
        """Give the largest sum, in bytes."""
        return max(size for _, size in self.samples)

    def _sample(self) -> None:
        while True:
            self.samples.append((time.monotonic() - self._began, self.processes.memory()))
            if self.told:
                self.told(*self.samples[-1])
            if self._stop.wait(SAMPLE_SECONDS):
                return


@dataclass
class System:
    """One way to get a picture classified over HTTP."""

    name: str
    url: str
    processes: Processes
    start_seconds: float
    headers: dict[str, str] = field(default_factory=dict)

    def request(self, picture: bytes) -> Request:
        """Make the request for one picture."""
        return Request.post(self.url, picture, {"Content-Type": "application/octet-stream"} | self.headers)


@contextlib.contextmanager
def service(**settings: str) -> Iterator[tuple[System, System]]:
    """Start the service on free ports: TorchServe by itself, and through the gateway."""
    names = ("GATEWAY", "TS_INFERENCE", "TS_MANAGEMENT", "TS_METRICS", "TS_GRPC_INFERENCE", "TS_GRPC_MANAGEMENT")
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    environment = os.environ | {f"{name}_PORT": str(port) for name, port in ports.items()} | settings
    gateway = f"http://127.0.0.1:{ports['GATEWAY']}"
    began = time.monotonic()
    with started([sys.executable, "-m", "launcher"], environment, ROOT) as processes:
        wait(lambda: requests.get(f"{gateway}/readyz", timeout=5).ok, processes)
        start_seconds = time.monotonic() - began
        keys = json.loads((ROOT / ".run" / str(ports["GATEWAY"]) / "key_file.json").read_text())
        headers = {"Authorization": f"Bearer {keys['inference']['key']}"}
        inference = f"http://127.0.0.1:{ports['TS_INFERENCE']}/predictions/cifar10"
        yield (
            System("TorchServe", inference, processes, start_seconds, headers),
            System("gateway", f"{gateway}/api/v1/classify", processes, start_seconds),
        )


class _Stock(nn.Module):
    """The served weights behind what TorchServe's image classifier feeds: 224 pixels, ImageNet's mean and deviation."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        pixels = (images * self.std + self.mean) * 255
        outputs: Tensor = self.network(F.interpolate(pixels, (self.network.side,) * 2, mode="bilinear"))
        return outputs[:, : len(LABELS)]


_STOCK_HANDLER: Final = '''
"""TorchServe's image classifier as it is; beside a CPU torch, torchvision needs two operators declared."""
import torch
try:
    import torchvision
except RuntimeError:
    import sys
    for name in [each for each in sys.modules if each.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    for operator in ("nms", "qnms"):
        torch.library.define(f"torchvision::{operator}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
import ts.torch_handler.image_classifier as stock

class Handler(stock.ImageClassifier):
    pass
'''


@contextlib.contextmanager
def stock() -> Iterator[System]:
    """Start TorchServe with default settings and its own image classifier, by its own command, on free ports."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        network = load_network(Manifest.read())
        torch.jit.trace(_Stock(network).eval(), torch.zeros(1, 3, 224, 224)).save(folder / "network.pt")  # type: ignore[no-untyped-call]
        (folder / "handler.py").write_text(_STOCK_HANDLER)
        names = {str(index): label for index, label in enumerate(LABELS)}
        (folder / "index_to_name.json").write_text(json.dumps(names))
        binaries = Path(sys.executable).parent
        subprocess.run(
            [
                *(str(binaries / "torch-model-archiver"), "--model-name", "stock", "--version", "1.0"),
                *("--serialized-file", "network.pt", "--handler", "handler.py"),
                *("--extra-files", "index_to_name.json", "--export-path", "."),
            ],
            cwd=folder,
            check=True,
        )
        inference, management, metrics, *grpc = free_ports(5)
        (folder / "config.properties").write_text(
            f"inference_address=http://127.0.0.1:{inference}\nmanagement_address=http://127.0.0.1:{management}\n"
            f"metrics_address=http://127.0.0.1:{metrics}\n"
            f"grpc_inference_port={grpc[0]}\ngrpc_management_port={grpc[1]}\n"
        )
        home = Path(java()).parent.parent
        environment = os.environ | {
            "JAVA_HOME": str(home),
            "PATH": f"{binaries}:{home / 'bin'}:{os.environ['PATH']}",
            "TEMP": str(folder),
            "TMPDIR": str(folder),
        }
        command = [
            *(str(binaries / "torchserve"), "--start", "--foreground", "--ncs", "--disable-token-auth"),
            *("--model-store", ".", "--ts-config", "config.properties", "--models", "stock=stock.mar"),
        ]
        url = f"http://127.0.0.1:{inference}/predictions/stock"
        began = time.monotonic()
        with started(command, environment, folder) as processes:
            probe = (ROOT / "gateway" / "probe.png").read_bytes()
            wait(lambda: requests.post(url, data=probe, timeout=30).ok, processes)
            yield System("TorchServe as it comes", url, processes, time.monotonic() - began)


@contextlib.contextmanager
def started(command: list[str], environment: dict[str, str], folder: Path) -> Iterator[Processes]:
    """Run a program whose output is kept for the case that it does not start, and end it with all that it started."""
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, env=environment, cwd=folder, stdout=output, stderr=output)
        processes = Processes(psutil.Process(process.pid))
        try:
            yield processes
        except BenchmarkError as error:
            output.seek(0)
            raise BenchmarkError(f"{error}\n{output.read().decode(errors='replace')[-3000:]}") from error
        finally:
            family = processes.all() if process.poll() is None else []
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_SECONDS)
            _, alive = psutil.wait_procs(family, timeout=LEFT_SECONDS)
            for each in alive:  # TorchServe's own command leaves its JVM behind
                with contextlib.suppress(psutil.NoSuchProcess):
                    each.kill()
            psutil.wait_procs(alive, timeout=LEFT_SECONDS)
            process.wait()


def wait(is_ready: Callable[[], bool], processes: Processes) -> None:
    """Wait until something holds; a request that fails is no.

    Raises:
        BenchmarkError: it does not come true, or the program ends before.
    """
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if not processes.root.is_running() or processes.root.status() == psutil.STATUS_ZOMBIE:
            raise BenchmarkError("it ended before it answered:")
        with contextlib.suppress(requests.RequestException):
            if is_ready():
                return
        time.sleep(0.1)
    raise BenchmarkError(f"no answer within {START_SECONDS} s:")


def free_ports(count: int) -> list[int]:
    """Find ports that nobody uses now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
