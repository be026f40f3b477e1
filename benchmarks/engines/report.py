"""The table of engines."""

import json
from pathlib import Path
from typing import Any

from benchmarks.engines.kinds import BATCHES, SERVED


class Engines:
    """What was measured of each."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self.rows: dict[str, dict[str, Any]] = {row["name"]: row for row in document["rows"]}

    def rate(self, name: str, batch: int) -> float:
        """Give pictures a second."""
        return float(1000 * batch / self.rows[name][f"milliseconds_{batch}"])


def write(path: Path) -> Path:
    """Make the table beside the results; give its path."""
    engines = Engines(json.loads(path.read_text()))
    table = path.with_suffix(".md")
    table.write_text(_table(engines))
    return table


def _table(engines: Engines) -> str:
    document = engines.document
    times = " | ".join(f"{batch} together: pictures/s | ms" for batch in BATCHES)
    lines = [
        "# Engines",
        "",
        f"Made by `make bench-engines` at commit {document['made_by']['commit'][:12]} on {document['processor']}: the "
        f"served weights in one process with one thread, without decoding. Medians of {document['rounds']} rounds of "
        f"{document['seconds']:g} s; {document['pictures']:,} test pictures. Differences are from the first row's "
        "probabilities. As they come: 1 to 8 together at random. To open takes a worker so long, and so much memory.",
        "",
        f"| engine | {times} | as they come: pictures/s | to open: s | MB | accuracy | same answers "
        "| largest difference |",
        f"| --- |{' ---: |' * (2 * len(BATCHES) + 6)}",
        *(_row(name, engines) for name in engines.rows),
    ]
    return "\n".join(lines) + "\n"


def _row(name: str, engines: Engines) -> str:
    row = engines.rows[name]
    if "unavailable" in row:
        return f"| {name} | not measured: {row['unavailable']} |{' |' * (2 * len(BATCHES) + 5)}"
    times = " | ".join(f"{engines.rate(name, batch):,.0f} | {row[f'milliseconds_{batch}']:.2f}" for batch in BATCHES)
    mixed = f"{row['mixed']:,.0f}" if "mixed" in row else ""
    return (
        f"| {name} ({row['library']}){', served' if name == SERVED else ''} | {times} "
        f"| {mixed} | {row['start_seconds']:.1f} | {row['megabytes']:,.0f} | {row['accuracy']:.2%} "
        f"| {row['same_answers']:.2%} | {row['largest_difference']:.4f} |"
    )
