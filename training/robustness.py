"""How well the served network bears corrupted pictures: the measurement of CIFAR-10-C."""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress

from handler.engine import open_engine
from model.classifier import Classifier, class_logits
from model.manifest import Manifest, sha256_of
from training import corruptions
from training.corruptions import CORRUPTIONS, SEVERITIES, corrupted
from training.data import Split
from training.pictures import png
from training.run import write_json

BATCH: Final = 100
UNFINISHED: Final = Path("runs/robustness.json")
"""What a measurement has so far, so that it can go on when it was stopped."""


def measure_robustness(
    manifest: Manifest, weights: Path, split: Split, console: Console, *, kept: bool = True
) -> dict[str, Any]:
    """Measure the network at `weights` on a split under every corruption, at every severity.

    Pictures are corrupted, written as PNG and classified batch by batch, on all cores; none are kept. Stopped, the same
    call goes on with the corruption and severity that it was at, unless what it has is not to be `kept`.

    Raises:
        WeightsError: the weights are not those that the manifest describes.
    """
    cores = torch.get_num_threads()
    engine, _ = open_engine(weights, manifest, 1)  # they have a batch each; torch has one thread now if it computes
    classifier = Classifier(engine, manifest)
    conditions = _conditions(manifest, engine.name, len(split))
    shares = _finished(conditions) if kept else {}
    batches = _batches(split)
    progress = Progress(console=console, transient=True)
    task = progress.add_task("", total=len(CORRUPTIONS) * SEVERITIES * len(batches))
    with progress, ThreadPoolExecutor(cores) as pool:
        for name in CORRUPTIONS:
            by_severity = shares.setdefault(name, [])
            progress.advance(task, len(by_severity) * len(batches))
            for severity in range(len(by_severity) + 1, SEVERITIES + 1):
                progress.update(task, description=f"{name}, severity {severity}")
                right = 0
                for count in pool.map(partial(_right, classifier, name, severity), *zip(*batches, strict=True)):
                    right += count
                    progress.advance(task)
                by_severity.append(round(right / len(split), 4))
                if kept:
                    write_json(UNFINISHED, {"conditions": conditions, "shares": shares})
            console.print(said(name, by_severity), highlight=False, soft_wrap=True)
    if kept:
        UNFINISHED.unlink(missing_ok=True)
    return {
        "pictures": len(split),
        "measured_with": engine.name,
        "accuracy": round(float(np.mean(list(shares.values()))), 5),
        "by_corruption": shares,
    }


def said(name: str, by_severity: list[float]) -> str:
    """Put a corruption's accuracy into words."""
    return f"{name}: {np.mean(by_severity):.2%}, by severity {', '.join(f'{share:.2%}' for share in by_severity)}"


def _batches(split: Split) -> list[tuple[Split, int]]:
    """Cut a split into batches, each with the number that its random draws go by."""
    indices = np.arange(len(split))
    starts = range(0, len(split), BATCH)
    return [(split.take(indices[start : start + BATCH]), number) for number, start in enumerate(starts)]


def _right(classifier: Classifier, name: str, severity: int, batch: Split, number: int) -> int:
    """Count the pictures of a batch that are named right when corrupted."""
    pictures = corrupted(batch.images, name, severity, seed=number)
    outputs = classifier.outputs([classifier.read(png(picture)) for picture in pictures])
    return int((class_logits(outputs).argmax(1) == batch.labels).sum())


def _conditions(manifest: Manifest, engine: str, pictures: int) -> dict[str, Any]:
    """Name what the figures depend on."""
    code = sha256_of(Path(corruptions.__file__))
    served = hashlib.sha256(json.dumps(manifest.document, sort_keys=True).encode()).hexdigest()
    return {"manifest": served, "engine": engine, "pictures": pictures, "corruptions": code}


def _finished(conditions: dict[str, Any]) -> dict[str, list[float]]:
    """Give what a measurement under the same conditions has finished, by corruption."""
    if UNFINISHED.exists():
        unfinished = json.loads(UNFINISHED.read_text())
        if unfinished["conditions"] == conditions:
            found: dict[str, list[float]] = unfinished["shares"]
            return found
    return {}
