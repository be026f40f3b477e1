"""Measure the service side by side with its limit and with TorchServe as it comes: `make bench`.

Every round measures everything once, one after the other on the same cores; the table has the medians of the rounds.
"""

from contextlib import ExitStack
from typing import Any, Final

import psutil
from rich.console import Console

from benchmarks import report
from benchmarks.limit import SHAPES, limit, single_image_seconds
from benchmarks.load import Request
from benchmarks.pictures import KINDS, form, pictures
from benchmarks.rounds import Rounds, read_options
from benchmarks.systems import ROOT, BenchmarkError, System, service, stock
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


class Bench(Rounds):
    """One run of everything that is our own."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.files = pictures()

    def load(self, key: tuple[str, ...], system: System, request: Request, connections: int, pictures: int = 1) -> None:
        """Measure a closed loop, and let the system come to rest."""
        self.closed(key, system, request, connections, pictures)
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

    def share(self, system: System) -> None:
        """Send a share of what the system can answer, at random moments."""
        best = max(self.median("closed", system.name, str(connections))["rate"] for connections in CONNECTIONS)
        self.open(("open", system.name), system, system.request(self.files[SMALL]), OPEN_SHARE * best)

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
            "values": self.medians(),
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
                bench.share(system)
        for _ in range(bench.rounds):
            bench.cores(gateway, torchserve)
        return [gateway, default]


def main() -> None:
    """Run the benchmark; write results, table and plot."""
    options = read_options(main.__doc__, RESULTS)
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
