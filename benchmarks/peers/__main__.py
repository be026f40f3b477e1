"""Measure the same weights behind other servers, side by side with ours: `make bench-peers`.

Every round starts one after the other, checks its answer, measures it and stops it; the table has the medians.
"""

import signal
from typing import Any, Final

import psutil
from rich.console import Console

from benchmarks.load import Request, closed_loop
from benchmarks.peers import report
from benchmarks.peers.answers import classify, open_classifier
from benchmarks.peers.servers import PEERS, check, versions
from benchmarks.pictures import pictures
from benchmarks.rounds import Rounds, read_options
from benchmarks.systems import ROOT, BenchmarkError, System, service
from handler.engine import UnavailableError
from training.provenance import processor, provenance
from training.run import write_json

CONNECTIONS: Final = (4, 16, 64)
BUSY: Final = 16
"""Connections that warm up."""
OPEN_SHARE: Final = 0.7
"""Of what a system answered at most in the same round, so much is sent in the open loop."""
RESULTS: Final = ROOT / "benchmarks" / "peers.json"


class Comparison(Rounds):
    """One run of our service and its peers."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.picture = next(iter(pictures().values()))
        self.versions = versions()
        classifier = open_classifier()
        self.engine = classifier.engine.name
        [self.expected] = classify(classifier, [self.picture])

    def round(self) -> None:
        """Measure everything once."""
        for peer in PEERS:
            with peer.start() as system:
                self.measure(system, peer.request(system.url, self.picture))
        with service() as ours:
            for system in ours:
                self.measure(system, system.request(self.picture))
            # At its own share of a larger capacity it answers more a second than a peer does at that peer's.
            torchserve, _ = ours
            rate = OPEN_SHARE * max(self.best(peer.name) for peer in PEERS)
            self.open((report.AT_PEERS, torchserve.name), torchserve, torchserve.request(self.picture), rate)

    def measure(self, system: System, request: Request) -> None:
        """Check a system's answer, then load it."""
        check(request, self.expected, system.name)
        self.note("start", system.name, seconds=system.start_seconds)
        closed_loop(request, BUSY, self.seconds)  # Java compiles what is used much; later rounds start it anew
        for connections in CONNECTIONS:
            self.closed(("closed", system.name, str(connections)), system, request, connections, 1)
        self.open(("open", system.name), system, request, OPEN_SHARE * self.best(system.name))

    def best(self, name: str) -> float:
        """Give the requests a second that a system answered at most in this round."""
        return max(self.values["closed", name, str(each)][-1]["rate"] for each in CONNECTIONS)

    def results(self, rounds: int) -> dict[str, Any]:
        """Give everything of so many rounds for the report."""
        return {
            "made_by": provenance(),
            "cores": psutil.cpu_count(),
            "processor": processor(),
            "engine": self.engine,
            "versions": self.versions,
            "rounds": rounds,
            "seconds": self.seconds,
            "values": self.medians(),
        }


def main() -> None:
    """Run the comparison; write results, table and plot."""
    options = read_options(main.__doc__, RESULTS)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that what was started ends
    console = Console()
    if not options.report:
        try:
            comparison = Comparison(options.rounds, options.seconds, console)
            for number in range(options.rounds):
                console.rule(f"round {number + 1} of {options.rounds}")
                comparison.round()
                write_json(options.output, comparison.results(number + 1))  # an interrupted run has its rounds
        except (BenchmarkError, UnavailableError) as error:
            raise SystemExit(f"benchmarks.peers: {error}") from error
    for path in report.write(options.output):
        console.print(f"written {path}", highlight=False)


if __name__ == "__main__":
    main()
