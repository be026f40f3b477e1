"""What a benchmark measures in several rounds: kept by name, said while it runs, given as medians."""

import argparse
import math
import signal
import statistics
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.load import Measured, Request, closed_loop, open_loop
from benchmarks.systems import System, Watch

Values = dict[str, float]


@dataclass
class Rounds:
    """One run: settings, and the values of every round by key."""

    rounds: int
    seconds: float
    console: Console

    def __post_init__(self) -> None:
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

    def medians(self) -> list[dict[str, Any]]:
        """Give all medians for the report."""
        return [
            {"key": list(key), **{name: _plain(value) for name, value in self.median(*key).items()}}
            for key in self.values
        ]

    def closed(self, key: tuple[str, ...], system: System, request: Request, connections: int, pictures: int) -> None:
        """Measure a closed loop."""
        # Warms up what a new number of them needs; what it left behind would fill queues of what is measured next.
        closed_loop(request, connections, min(1.0, self.seconds / 4), wait=True)
        with Watch(system.processes) as watch:
            measured = closed_loop(request, connections, self.seconds)
        self.note(*key, **_figures(measured, watch, pictures))

    def open(self, key: tuple[str, ...], system: System, request: Request, rate: float) -> None:
        """Measure an open loop of so many requests a second."""
        with Watch(system.processes) as watch:
            measured = open_loop(request, rate, 2 * self.seconds)
        self.note(*key, **_figures(measured, watch, 1))


def read_options(description: str | None, results: Path) -> argparse.Namespace:
    """Read the command line of a benchmark in rounds: `rounds`, `seconds`, `output`, `report`."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--rounds", type=int, default=3, help="everything is measured so often (default: 3)")
    parser.add_argument("--seconds", type=float, default=4.0, help="of each measurement (default: 4)")
    parser.add_argument("--output", type=Path, default=results, help="where the results go (default: %(default)s)")
    parser.add_argument("--report", action="store_true", help="only remake table and plot from the results")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that what was started ends
    return options


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
