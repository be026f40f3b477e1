"""Measure a training step of the compact network by each kind of convolution: `make bench-training`.

Every round has some steps of each kind, one kind after the other on the same cores.
"""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import torch
from rich.console import Console
from torch.nn import functional as F

from benchmarks.rounds import Rounds, read_options
from model.labels import LABELS
from model.network import channels_last
from model.whitened_convnet import WhitenedConvNet
from training.compact import CompactSettings, computed_by_winograd
from training.machine import use_machine
from training.provenance import processor, provenance
from training.run import write_json

RESULTS: Final = Path(__file__).with_suffix(".json")
DIRECT: Final = "float32"
WINOGRAD: Final = "float32, 3x3 convolutions by Winograd"
BFLOAT16: Final = "bfloat16"


def stepper(kind: str, settings: CompactSettings) -> Callable[[], None]:
    """Give what computes the gradients of one batch of random pictures."""
    torch.manual_seed(settings.seed)
    network = WhitenedConvNet(settings.widths)
    network.get_parameter("whiten.bias").requires_grad_(False)  # as in most epochs
    channels_last(network)
    if kind == WINOGRAD:
        computed_by_winograd(network)
    pictures = torch.rand(settings.batch_size, 3, 32, 32).mul_(255).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(len(LABELS), (settings.batch_size,))

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=kind == BFLOAT16):
            logits = network(pictures).float()
        F.cross_entropy(logits, labels).backward()  # type: ignore[no-untyped-call]
        network.zero_grad()

    return step


def mean_time(step: Callable[[], None], seconds: float) -> float:
    """Give the seconds that a step takes, over so many seconds of them."""
    started = time.perf_counter()
    count = 0
    while (passed := time.perf_counter() - started) < seconds or not count:
        step()
        count += 1
    return passed / count


def table(document: dict[str, Any]) -> str:
    """Set the kinds side by side, in Markdown."""
    rows = {row["key"][0]: row["seconds"] for row in document["values"]}
    lines = [
        "# A training step",
        "",
        f"Made by `make bench-training` at commit {document['made_by']['commit'][:12]} on {document['processor']} with "
        f"{document['cores']} cores: forward and backward through the compact network with {document['batch_size']} "
        f"pictures. Medians of {document['rounds']} rounds of {document['seconds']:g} s.",
        "",
        "| computed in | seconds a step | of float32's |",
        "| --- | ---: | ---: |",
        *(f"| {kind} | {seconds:.2f} | {seconds / rows[DIRECT]:.2f} |" for kind, seconds in rows.items()),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, and write results and table."""
    options = read_options(__doc__, RESULTS)
    console = Console()
    if not options.report:
        use_machine(0)
        settings = CompactSettings()
        steps = {kind: stepper(kind, settings) for kind in (DIRECT, WINOGRAD, BFLOAT16)}
        for step in steps.values():
            step()  # the first one prepares memory and kernels
        rounds = Rounds(options.rounds, options.seconds, console)
        for _ in range(options.rounds):
            for kind, step in steps.items():
                rounds.note(kind, seconds=mean_time(step, options.seconds))
        document = {
            "made_by": provenance(),
            "processor": processor(),
            "cores": os.cpu_count(),
            "batch_size": settings.batch_size,
            "rounds": options.rounds,
            "seconds": options.seconds,
            "values": rounds.medians(),
        }
        write_json(options.output, document)
    path = options.output.with_suffix(".md")
    path.write_text(table(json.loads(options.output.read_text())))
    console.print(f"{path} is made")


if __name__ == "__main__":
    main()
