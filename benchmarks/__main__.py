"""Measure the service side by side with its limit and with TorchServe as it comes: `make bench`.

Every round measures everything once, one after the other on the same cores; the table has the medians of the rounds.
"""

import argparse
import math
import statistics
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil
from rich.console import Console

from benchmarks import report
from benchmarks.limit import SHAPES, limit, single_image_seconds
from benchmarks.load import Measured, Request, closed_loop, open_loop
from benchmarks.pictures import KINDS, form, pictures
from benchmarks.systems import ROOT, BenchmarkError, System, Watch, service, stock
from handler.engine import open_engine
from model.manifest import WEIGHTS_PATH, Manifest
from training.provenance import processor, provenance
from training.run import write_json

CONNECTIONS: Final = (1, 4, 16, 64)
MANY: Final = (1, 8, 64)
"""Pictures in one request."""
BUSY: Final = 16
"""Connections that keep everything busy."""
OPEN_SHARE: Final = 0.7
"""Of what a system answered at most, so much is sent in the open loop."""
SMALL: Final = next(iter(KINDS))
RESULTS: Final = ROOT / "benchmarks" / "results.json"

Values = dict[str, float]


@dataclass
class Bench:
    """One run: settings, and the values of every round by name."""

    rounds: int
    seconds: float
    console: Console

    def __post_init__(self) -> None:
        self.files = pictures()
        self.values: dict[tuple[str, ...], list[Values]] = defaultdict(list)

    def note(self, *key: str, **values: float) -> None:
        """Keep what was measured, and say it."""
        self.values[key].append(values)
        said = ", ".join(f"{name} {value:,.2f}" for name, value in values.items())
        self.console.print(f"{' · '.join(key)}: {said}", highlight=False)

    def median(self, *key: str) -> Values:
        """Give the rounds' medians."""
        rows = self.values[key]
        return {name: statistics.median(row[name] for row in rows) for name in rows[0]}

    def load(self, key: tuple[str, ...], system: System, request: Request, connections: int, pictures: int = 1) -> None:
        """Measure a closed loop."""
        closed_loop(request, connections, min(1.0, self.seconds / 4))  # warms up what a new number of them needs
        with Watch(system.processes) as watch:
            measured = closed_loop(request, connections, self.seconds)
        self.note(*key, **_figures(measured, watch, pictures))
        system.processes.wait_until_idle()  # TorchServe computes answers also for those who are gone

    def limits(self) -> None:
        """Find the shape of bare loops that does most, in the first round; measure that one in every round."""
        shapes = SHAPES if not self.values else (max(SHAPES, key=self._rate_of),)
        for shape in shapes:
            self.note("limit", str(shape), rate=limit(self.files[SMALL], shape, self.seconds))
        self.note("engine", milliseconds=1000 * single_image_seconds(self.files[SMALL], self.seconds))

    def _rate_of(self, shape: tuple[int, int, int]) -> float:
        return self.median("limit", str(shape))["rate"]

    def round(self, torchserve: System, gateway: System, default: System) -> None:
        """Measure everything once."""
        small = self.files[SMALL]
        self.limits()
        for system in (torchserve, gateway, default):
            for connections in CONNECTIONS:
                self.load(("closed", system.name, str(connections)), system, system.request(small), connections)
        for kind, file in self.files.items():
            self.load(("kind", kind), gateway, gateway.request(file), 4)
        for count in MANY:
            self.load(("many", str(count)), gateway, form(gateway.url, small, count), 2, count)

    def open(self, system: System) -> None:
        """Send a share of what the system can answer, at random moments."""
        best = max(self.median("closed", system.name, str(connections))["rate"] for connections in CONNECTIONS)
        with Watch(system.processes) as watch:
            measured = open_loop(system.request(self.files[SMALL]), OPEN_SHARE * best, 2 * self.seconds)
        self.note("open", system.name, **_figures(measured, watch, 1))

    def cores(self, gateway: System, torchserve: System) -> None:
        """Measure how throughput grows with cores."""
        for count in range(1, (psutil.cpu_count() or 1) + 1):
            gateway.processes.pin(list(range(count)))
            for system in (torchserve, gateway):
                self.load(("cores", system.name, str(count)), system, system.request(self.files[SMALL]), BUSY)

    def results(self, systems: list[System]) -> dict[str, Any]:
        """Give everything for the report."""
        return {
            "made_by": provenance(),
            "cores": psutil.cpu_count(),
            "processor": processor(),
            "engine": open_engine(WEIGHTS_PATH, Manifest.read(), 1)[0].name,
            "rounds": self.rounds,
            "seconds": self.seconds,
            "start_seconds": {system.name: round(system.start_seconds, 1) for system in systems},
            "values": [
                {"key": list(key), **{name: _plain(value) for name, value in self.median(*key).items()}}
                for key in self.values
            ],
        }


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 3)  # JSON has no such number


def _figures(measured: Measured, watch: Watch, pictures: int) -> Values:
    answered = max(1, len(measured.latencies)) * pictures
    return {
        "rate": measured.rate * pictures,
        "p50": measured.percentile(0.50),
        "p95": measured.percentile(0.95),
        "p99": measured.percentile(0.99),
        "errors": measured.errors,
        "cpu_seconds_per_1000": 1000 * watch.cpu_seconds / answered,
        "peak_megabytes": watch.peak / 1e6,
    }


def run(bench: Bench) -> list[System]:
    """Start everything and measure it."""
    with ExitStack() as stack:
        torchserve, gateway = stack.enter_context(service(GATEWAY_MAX_IMAGES=str(max(MANY))))
        default = stack.enter_context(stock())
        for number in range(bench.rounds):
            bench.console.rule(f"round {number + 1} of {bench.rounds}")
            bench.round(torchserve, gateway, default)
        for _ in range(bench.rounds):
            for system in (torchserve, gateway):
                bench.open(system)
        for _ in range(bench.rounds):
            bench.cores(gateway, torchserve)
        return [gateway, default]


def main() -> None:
    """Run the benchmark; write results, table and plot."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="everything is measured so often (default: 3)")
    parser.add_argument("--seconds", type=float, default=4.0, help="of each measurement (default: 4)")
    parser.add_argument("--output", type=Path, default=RESULTS, help="where the results go (default: %(default)s)")
    parser.add_argument("--report", action="store_true", help="only remake table and plot from the results")
    options = parser.parse_args()
    console = Console()
    if not options.report:
        bench = Bench(options.rounds, options.seconds, console)
        try:
            systems = run(bench)
        except BenchmarkError as error:
            raise SystemExit(f"benchmarks: {error}") from error
        write_json(options.output, bench.results(systems))
    for path in report.write(options.output):
        console.print(f"written {path}", highlight=False)


if __name__ == "__main__":
    main()
