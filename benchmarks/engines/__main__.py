"""Measure every engine that could compute the network, at equal pictures: `make bench-engines`.

Each computes in a process of its own with one thread. All classify the test pictures, several processes at a time; then
their speed is measured one at a time, every round going through all of them.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx
from rich.console import Console
from rich.progress import track

from benchmarks.engines import report
from benchmarks.engines.kinds import BATCHES, COMPILED, FLOAT32, KINDS
from benchmarks.engines.worker import PIXELS
from benchmarks.peers.servers import PYTHON
from benchmarks.systems import ROOT, BenchmarkError
from model.classifier import Outputs, class_logits
from model.images import read_pixels
from model.manifest import INT8_PATH, MANIFEST_PATH, WEIGHTS_PATH, Manifest, WeightsError
from model.networks import load_network
from training.data import DataError, load
from training.pictures import png
from training.provenance import processor, provenance
from training.quantize import export
from training.run import write_json

RESULTS: Final = ROOT / "benchmarks" / "engines.json"
EXACT: Final = next(iter(KINDS))
CORES: Final = os.cpu_count() or 1

Row = dict[str, Any]
Labels = npt.NDArray[np.int64]
Probabilities = npt.NDArray[np.float64]


class Worker:
    """An engine's process; it ends with the block."""

    def __init__(self, name: str, folder: Path, stack: ExitStack) -> None:
        python = PYTHON if name.startswith("OpenVINO") else sys.executable
        environment = os.environ | {"OMP_NUM_THREADS": "1", "TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor")}
        self.name = name
        if not Path(python).exists():
            self.opened: Row = {"unavailable": f"there is no {PYTHON.parent.parent.name} with OpenVINO"}
            return
        self.process = stack.enter_context(
            subprocess.Popen(
                [str(python), "-m", "benchmarks.engines.worker", name, str(folder)],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
        )
        stack.callback(self.process.kill)
        self.opened = {}

    def open(self) -> Row:
        """Have it open its engine; give its `library` and what that cost, or why it is `unavailable`."""
        if not self.opened:
            self.opened = self.ask()
        return self.opened

    def ask(self, **what: Any) -> Row:
        """Have it do something."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(what) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self) -> Row:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.opened = {"unavailable": "it broke down"}
        return json.loads(line) if line else self.opened


def prepare(folder: Path, data: Path, limit: int | None) -> tuple[Manifest, Labels]:
    """Put the network and the test pictures into a folder; give the manifest and the pictures' labels.

    Raises:
        WeightsError: the weights are not those that the manifest describes.
        DataError: there are no test pictures.
    """
    manifest = Manifest.read()
    network = load_network(manifest)
    onnx.save(export(network), folder / FLOAT32)
    for path in (WEIGHTS_PATH, MANIFEST_PATH, INT8_PATH):
        if path.exists():
            (folder / path.name).symlink_to(path)
    test = load(data).test
    if not len(test):
        raise DataError(f"there are no test pictures in {data}")
    images = test.images[:limit]
    pixels = [
        read_pixels(png(each), network.side, manifest.detail) for each in track(images, "decoding", transient=True)
    ]
    np.save(folder / PIXELS, np.stack(pixels))
    return manifest, test.labels[:limit].astype(np.int64)


def probabilities(outputs: Outputs, temperature: float) -> Probabilities:
    """Give the ten classes' probabilities, as the service states them."""
    logits = class_logits(outputs).astype(np.float64) / temperature
    found: Probabilities = np.exp(logits - np.logaddexp.reduce(logits, axis=1)[:, None])
    return found


def compared(exact: Probabilities, other: Probabilities, labels: Labels) -> dict[str, float]:
    """Set an engine's probabilities beside the exact ones."""
    return {
        "accuracy": round(float((other.argmax(1) == labels).mean()), 5),
        "same_answers": round(float((other.argmax(1) == exact.argmax(1)).mean()), 5),
        "largest_difference": round(float(np.abs(other - exact).max()), 5),
    }


def classify(workers: list[Worker], folder: Path, labels: Labels, temperature: float, console: Console) -> list[Row]:
    """Have every engine classify all pictures; give of each what it is and how its answers differ from the first's.

    Raises:
        BenchmarkError: the first cannot compute.
    """

    def ask(numbered: tuple[int, Worker]) -> Row:
        number, worker = numbered
        opened = worker.open()
        return opened if "unavailable" in opened else opened | worker.ask(outputs=f"{number}.npy")

    rows: list[Row] = []
    with ThreadPoolExecutor(CORES) as threads:
        for number, (worker, opened) in enumerate(zip(workers, threads.map(ask, enumerate(workers)), strict=True)):
            row: Row = {"name": worker.name} | opened
            if "unavailable" not in row:
                found = probabilities(np.load(folder / f"{number}.npy"), temperature)
                if not rows:
                    exact = found
                row |= compared(exact, found, labels)
            elif not rows:
                raise BenchmarkError(f"{worker.name} cannot compute: {row['unavailable']}")
            rows.append(row)
            console.print(", ".join(str(value) for value in row.values()), highlight=False)
    return rows


def speeds(workers: list[Worker], options: argparse.Namespace, console: Console) -> dict[str, Row]:
    """Give the speed of each engine, medians of rounds that each go through all engines.

    `milliseconds_N` are of N pictures together, `mixed` is pictures a second where their numbers are as they come.
    """
    took: dict[str, dict[str, list[float]]] = {worker.name: defaultdict(list) for worker in workers}
    for number in range(options.rounds):
        for worker in workers:
            found = {
                f"milliseconds_{batch}": worker.ask(batch=batch, seconds=options.seconds)["milliseconds"]
                for batch in BATCHES
            }
            if worker.name not in COMPILED:
                found["mixed"] = worker.ask(mixed=options.seconds)["pictures_per_second"]
            for name, value in found.items():
                took[worker.name][name].append(value)
            said = ", ".join(f"{name} {value:.2f}" for name, value in found.items())
            console.print(f"round {number + 1}: {worker.name}: {said}", highlight=False)
    return {
        name: {what: round(statistics.median(each), 3) for what, each in values.items()}
        for name, values in took.items()
    }


def measure(options: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Measure what the command line asks for; give the results.

    Raises:
        WeightsError: the weights are not those that the manifest describes.
        DataError: there are no test pictures.
        BenchmarkError: the exact engine cannot compute, or there are no answers of these weights to keep.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        manifest, labels = prepare(folder, options.data, max(BATCHES) if options.speed else options.limit)
        workers = [Worker(name, folder, stack) for name in KINDS if name == EXACT or name in options.only]
        if options.speed:
            before = kept(options.output, manifest.sha256)
            pictures, rows = before["pictures"], before["rows"]
        else:
            pictures, rows = len(labels), classify(workers, folder, labels, manifest.calibration.temperature, console)
        took = speeds([each for each in workers if "unavailable" not in each.open()], options, console)
    return {
        "made_by": provenance(),
        "processor": processor(),
        "sha256": manifest.sha256,
        "pictures": pictures,
        "rounds": options.rounds,
        "seconds": options.seconds,
        "rows": [row | took.get(row["name"], {}) for row in rows],
    }


def kept(path: Path, sha256: str) -> dict[str, Any]:
    """Read results whose answers are of these weights.

    Raises:
        BenchmarkError: there are none.
    """
    before: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    if before.get("sha256") != sha256:
        raise BenchmarkError(f"{path} has no answers of the served weights; run without --speed first")
    return before


def main() -> None:
    """Run the comparison; write results and table."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--data", type=Path, default=Path("data"), help="as for training (default: data)")
    parser.add_argument("--limit", type=int, help="so many test pictures only")
    parser.add_argument(
        "--only", nargs="+", choices=list(KINDS), default=list(KINDS), help="these engines", metavar="ENGINE"
    )
    parser.add_argument("--rounds", type=int, default=3, help="speed is measured so often (default: 3)")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement (default: 2)")
    parser.add_argument(
        "--speed", action="store_true", help="only measure speed; what the results say of answers stays"
    )
    parser.add_argument("--output", type=Path, default=RESULTS, help="where the results go (default: %(default)s)")
    parser.add_argument("--report", action="store_true", help="only remake the table from the results")
    options = parser.parse_args()
    console = Console(soft_wrap=True)
    if not options.report:
        try:
            write_json(options.output, measure(options, console))
        except (WeightsError, DataError, BenchmarkError) as error:
            sys.exit(f"benchmarks.engines: {error}")
    console.print(f"written {report.write(options.output)}", highlight=False)


if __name__ == "__main__":
    main()
