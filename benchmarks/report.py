"""Table and plot of the benchmark's results."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

REQUESTS: Final = (
    "Latencies are of the requests that were answered 200; errors are all others, whose CPU seconds count as well. "
    "TorchServe and the gateway are parts of one service: CPU seconds and memory of either are those of both, idle or "
    "not, and of their launcher."
)
"""What the tables of requests are of."""
SYSTEMS: Final = ("TorchServe", "gateway", "TorchServe as it comes")


class Results:
    """What was measured, by key."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self.rows: dict[tuple[str, ...], dict[str, float]] = {tuple(row["key"]): row for row in document["values"]}

    def __getitem__(self, key: tuple[str, ...]) -> dict[str, float]:
        return self.rows[key]

    def keys(self, *start: str) -> list[tuple[str, ...]]:
        """List the keys that begin so, in the order in which they were measured."""
        return [key for key in self.rows if key[: len(start)] == start]

    def best(self, *start: str) -> float:
        """Give the largest rate of these."""
        return max(self[key]["rate"] for key in self.keys(*start))

    def ratios(self) -> list[tuple[str, float]]:
        """Set them against each other: what is claimed of the service."""
        limit, torchserve, gateway, default = (
            self.best("limit"),
            *(self.best("closed", system) for system in SYSTEMS),
        )
        _, middle, large = (self[key]["rate"] for key in self.keys("kind"))
        return [
            ("TorchServe's throughput, of the limit", torchserve / limit),
            ("the gateway's throughput, of the limit", gateway / limit),
            ("the gateway's throughput, of TorchServe's as it comes", gateway / default),
            ("64 pictures in one request through the gateway, of the limit", self["many", "64"]["rate"] / limit),
            ("time for a 12-megapixel JPEG, of a 500x375 one's", middle / large),
        ]

    def overhead(self) -> float:
        """Give what a lone request through the gateway takes beyond the engine's own time, in milliseconds."""
        return self["closed", "gateway", "1"]["p50"] - self["engine",]["milliseconds"]


def write(path: Path) -> list[Path]:
    """Make table and plot beside the results; give their paths."""
    results = Results(json.loads(path.read_text()))
    table, plot = path.with_suffix(".md"), path.with_suffix(".png")
    table.write_text(_table(results))
    _plot(results, plot)
    return [table, plot]


def _table(results: Results) -> str:
    document = results.document
    made = document["made_by"]
    lines = [
        "# Benchmark",
        "",
        f"Made by `make bench` at commit {made['commit'][:12]} on {document['cores']} cores of "
        f"{document['processor']}, "
        f"engine {document['engine']}. Medians of {document['rounds']} rounds of {document['seconds']:g} s; the load "
        "comes from the same machine and is a photograph as 32x32 PNG unless said otherwise.",
        "",
        "| ratio within the run | |",
        "| --- | ---: |",
        *(f"| {name} | {value:.2f} |" for name, value in results.ratios()),
        f"| a lone request through the gateway beyond the engine's own time | {results.overhead():.1f} ms |",
        "",
        "## The limit: decoding and the engine in bare loops",
        "",
        "| processes, threads, batch | pictures/s |",
        "| --- | ---: |",
        *(f"| {key[1].strip('()')} | {results[key]['rate']:,.0f} |" for key in results.keys("limit")),
        "",
        f"One picture alone, decoded and classified by one thread: {results['engine',]['milliseconds']:.2f} ms.",
        "",
        "## Requests",
        "",
        REQUESTS,
        "",
        *rows("closed", "connections", results),
        "",
        f"Open loop, requests at random moments at {0.7:.0%} of what each answered at most:",
        "",
        *rows("open", "", results),
        "",
        "## How cost grows",
        "",
        "| through the gateway | pictures/s | p50 ms | CPU seconds per 1,000 |",
        "| --- | ---: | ---: | ---: |",
        *(_short(f"{key[1]}, 4 connections", results[key]) for key in results.keys("kind")),
        *(_short(f"{key[1]} in one request, 2 connections", results[key]) for key in results.keys("many")),
        "",
        "With fewer cores than all, the load has the others to itself; with all, it shares them, so that the last row "
        "is less than so many cores could do.",
        "",
        "| cores | TorchServe pictures/s | gateway pictures/s |",
        "| --- | ---: | ---: |",
        *(
            f"| {count} | {results['cores', 'TorchServe', count]['rate']:,.0f} "
            f"| {results['cores', 'gateway', count]['rate']:,.0f} |"
            for count in [key[2] for key in results.keys("cores", "TorchServe")]
        ),
        "",
        "Seconds from the start to the first answer: "
        + ", ".join(f"{name} {seconds:.1f}" for name, seconds in document["start_seconds"].items())
        + " (the gateway's with TorchServe behind it).",
        "",
        "![Requests a second by connections](results.png)",
    ]
    return "\n".join(lines) + "\n"


def rows(kind: str, what: str, results: Results) -> list[str]:
    """Make the table of all loads of a kind, `what` naming what follows the system in their keys."""
    lines = [
        f"| system{f', {what}' if what else ''} | requests/s | p50 ms | p95 ms | p99 ms | errors "
        "| CPU seconds per 1,000 | peak MB |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for key in results.keys(kind):
        row = results[key]
        lines.append(
            f"| {', '.join(key[1:])} | {row['rate']:,.0f} | {_latency(row['p50'])} | {_latency(row['p95'])} "
            f"| {_latency(row['p99'])} "
            f"| {row['errors']:.0f} | {row['cpu_seconds_per_1000']:.2f} | {row['peak_megabytes']:,.0f} |"
        )
    return lines


def _latency(milliseconds: float | None) -> str:
    return "none" if milliseconds is None else f"{milliseconds:.1f}"


def _short(name: str, row: dict[str, float]) -> str:
    return f"| {name} | {row['rate']:,.0f} | {row['p50']:.1f} | {row['cpu_seconds_per_1000']:.2f} |"


@contextmanager
def chart(path: Path) -> Iterator[Axes]:
    """Give axes for requests a second by connections, and save what is drawn into them."""
    figure, axes = plt.subplots(figsize=(8, 4), layout="constrained")
    yield axes
    axes.set(xlabel="connections", ylabel="requests answered a second", ylim=(0, None))
    figure.legend(loc="outside right upper")
    figure.savefig(path, dpi=120, metadata={"Software": None})
    plt.close(figure)


def _plot(results: Results, path: Path) -> None:
    with chart(path) as axes:
        for system in SYSTEMS:
            keys = results.keys("closed", system)
            axes.plot([key[2] for key in keys], [results[key]["rate"] for key in keys], marker="o", label=system)
        axes.axhline(results.best("limit"), color="grey", linestyle="--", label="limit: bare loops")
