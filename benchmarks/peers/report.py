"""Table and plot of the comparison with other servers."""

import json
from pathlib import Path
from typing import Final

from benchmarks.report import REQUESTS, Results, chart, rows

OURS: Final = ("TorchServe", "gateway")
AT_PEERS: Final = "open, at 70% of the best peer's capacity"


def words(name: str) -> str:
    """Name a system in a sentence."""
    return "the gateway" if name == "gateway" else name


class Comparison(Results):
    """What was measured of us and of the peers."""

    @property
    def peers(self) -> list[str]:
        """Name them in the order in which they were measured."""
        return [name for _, name in self.keys("open") if name not in OURS]

    def best_peer(self) -> float:
        """Give the throughput of the one that answers most."""
        return max(self.best("closed", peer) for peer in self.peers)

    def least_p99(self) -> float:
        """Give the p99 in the open loop, in milliseconds, of the peer where it is least."""
        return min(self["open", peer]["p99"] for peer in self.peers)

    def ratios(self) -> list[tuple[str, float]]:
        """Set us against the best of the peers, in throughput and in p99 separately."""
        throughput = [
            (f"{words(name)}'s throughput, of the best peer's", self.best("closed", name) / self.best_peer())
            for name in OURS
        ]
        latency = [
            (
                f"{words(name)}'s p99 at 70% of its capacity, of a peer's least",
                self["open", name]["p99"] / self.least_p99(),
            )
            for name in OURS
        ]
        at_peers = [
            (
                f"{words(name)}'s p99 at 70% of the best peer's capacity, of a peer's least at 70% of its own",
                self[kind, name]["p99"] / self.least_p99(),
            )
            for kind, name in self.keys(AT_PEERS)
        ]
        return throughput + latency + at_peers


def write(path: Path) -> list[Path]:
    """Make table and plot beside the results; give their paths."""
    results = Comparison(json.loads(path.read_text()))
    table, plot = path.with_suffix(".md"), path.with_suffix(".png")
    table.write_text(_table(results, plot.name))
    _plot(results, plot)
    return [table, plot]


def _table(results: Comparison, plot: str) -> str:
    document = results.document
    lines = [
        "# Beside other servers",
        "",
        f"Made by `make bench-peers` at commit {document['made_by']['commit'][:12]} on {document['cores']} cores of "
        f"{document['processor']}: the same weights, decoding and engine ({document['engine']}) behind each, one after "
        f"the other. Medians of {document['rounds']} rounds of {document['seconds']:g} s; the load comes from the same "
        "machine and is a photograph as 32x32 PNG. Every answer was checked to be the same before it was measured.",
        "",
        "| ratio within the run | |",
        "| --- | ---: |",
        *(f"| {name} | {value:.2f} |" for name, value in results.ratios()),
        "",
        "Each peer is set up as its documentation advises: batches of up to 8 where it has batching, two processes "
        "that compute, no access log. Their code is in [peers/](peers).",
        "",
        "| | version | requests/s at most | seconds from start to first answer |",
        "| --- | --- | ---: | ---: |",
        *(
            f"| {name} | {document['versions'].get(name, '')} | {results.best('closed', name):,.0f} "
            f"| {results['start', name]['seconds']:.1f} |"
            for name in (*OURS, *results.peers)
        ),
        "",
        "## Requests",
        "",
        REQUESTS,
        "",
        *rows("closed", "connections", results),
        "",
        "Open loop, requests at random moments at 70% of what each answered at most:",
        "",
        *rows("open", "", results),
        "",
        "The same at 70% of what the best peer answered at most:",
        "",
        *rows(AT_PEERS, "", results),
        "",
        f"![Requests a second by connections]({plot})",
    ]
    return "\n".join(lines) + "\n"


def _plot(results: Comparison, path: Path) -> None:
    with chart(path) as axes:
        for name in (*OURS, *results.peers):
            keys = results.keys("closed", name)
            style = "-" if name in OURS else "--"
            axes.plot([key[2] for key in keys], [results[key]["rate"] for key in keys], style, marker="o", label=name)
