"""Load the service for ten minutes, and see that nothing fails and no memory grows: `make bench-long`."""

import json
from pathlib import Path
from typing import Any, Final

import psutil
from rich.console import Console

from benchmarks.command import command
from benchmarks.load import closed_loop
from benchmarks.pictures import pictures
from benchmarks.systems import ROOT, Watch, service
from training.provenance import processor, provenance

CONNECTIONS: Final = 64
PARTS: Final = 10
"""Of the time; the third and the last are compared, as the service has warmed up by the third."""
RESULTS: Final = ROOT / "benchmarks" / "long.json"


def run(minutes: float, console: Console) -> dict[str, Any]:
    """Load the gateway without a pause; give what was answered, and the memory of all processes.

    Raises:
        BenchmarkError: the service does not start.
    """
    seconds = 60 * minutes
    said = 0

    def say(moment: float, size: int) -> None:
        nonlocal said
        if moment >= said * seconds / PARTS:
            said += 1
            console.print(f"{moment:.0f} of {seconds:.0f} s: {size / 1e6:,.0f} MB", highlight=False)

    with service() as (_, gateway), Watch(gateway.processes, say) as watch:
        measured = closed_loop(gateway.request(next(iter(pictures().values()))), CONNECTIONS, seconds)
    return {
        "made_by": provenance(),
        "cores": psutil.cpu_count(),
        "processor": processor(),
        "minutes": minutes,
        "answered": len(measured.latencies),
        "errors": measured.errors,
        "rate": round(measured.rate, 1),
        "p50": round(measured.percentile(0.50), 1),
        "p99": round(measured.percentile(0.99), 1),
        "peak_megabytes": peaks(watch.samples, measured.seconds),
    }


def peaks(samples: list[tuple[float, int]], seconds: float) -> list[float]:
    """Give the largest sample of each part of the time, in megabytes, or that of the part before."""
    largest: list[float] = []
    for part in range(PARTS):
        start, end = part * seconds / PARTS, (part + 1) * seconds / PARTS
        sizes = [size / 1e6 for moment, size in samples if start <= moment < end]
        largest.append(round(max(sizes, default=largest[-1] if largest else 0.0), 1))
    return largest


def growth(document: dict[str, Any]) -> float:
    """Give the peak memory of the last part, of the third's."""
    third, last = document["peak_megabytes"][2], document["peak_megabytes"][-1]
    return float(last / third)


def write(path: Path) -> Path:
    """Make the table beside the results; give its path."""
    document = json.loads(path.read_text())
    table = path.with_suffix(".md")
    length = document["minutes"] / PARTS
    lines = [
        "# Under load for long",
        "",
        f"Made by `make bench-long` at commit {document['made_by']['commit'][:12]} on {document['cores']} cores of "
        f"{document['processor']}: {CONNECTIONS} connections through the gateway for {document['minutes']:g} minutes, "
        "a photograph as 32x32 PNG.",
        "",
        f"{document['answered']:,} requests were answered and {document['errors']:,} were not: "
        f"{document['rate']:,.0f} a second, p50 {document['p50']:.0f} ms, p99 {document['p99']:.0f} ms. All processes "
        f"together held at most {max(document['peak_megabytes']):,.0f} MB; in the last tenth of the time "
        f"{growth(document):.3f} times what they held in the third.",
        "",
        "| minutes | peak MB |",
        "| --- | ---: |",
        *(
            f"| {part * length:g} to {(part + 1) * length:g} | {size:,.0f} |"
            for part, size in enumerate(document["peak_megabytes"])
        ),
    ]
    table.write_text("\n".join(lines) + "\n")
    return table


def main() -> None:
    """Run the load; write results and table."""
    command(main.__doc__, ("minutes", 10.0, "how long"), RESULTS, run=run, write=write)


if __name__ == "__main__":
    main()
