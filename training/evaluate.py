"""Measure the served weights anew: `make evaluate`.

Every picture is written as PNG and goes through the functions that the handler calls, so these are the figures of the
service. Temperature and scope threshold come from validation data; the test set is only measured.
"""

import argparse
import io
import os
import sys
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.progress import track
from torch import Tensor

from model.classifier import Classifier, scope_score
from model.images import read_pixels
from model.manifest import MANIFEST_PATH, WEIGHTS_PATH, Manifest, WeightsError, load_network
from training import plots
from training.data import Cifar10, DataError, Split, load
from training.metrics import fit_temperature, measure
from training.train import tensors, write_json

SCOPE_THRESHOLD: Final = 0.05
"""Share of validation pictures that `in_scope` refuses."""
SCOPE_QUANTILES: Final = 201
PLOTS_FOLDER: Final = Path("plots")


def calibrated_logits(classifier: Classifier, split: Split, console: Console, name: str) -> Tensor:
    """Classify a split as the service does, PNG bytes in: calibrated logits, shape (N, 10)."""
    parts = []
    batches = np.array_split(np.arange(len(split)), max(1, len(split) // 100))
    for batch in track(batches, f"classifying {name} pictures", console=console, transient=True):
        pixels = [read_pixels(_png(split.images[index])) for index in batch]
        parts.append(classifier.logits(np.stack(pixels)))
    return torch.cat(parts).clone()


def _png(image: np.ndarray[Any, np.dtype[np.uint8]]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def measured(document: dict[str, Any], weights: Path, data: Cifar10, console: Console) -> dict[str, Any]:
    """Give `document` with calibration, scope and metrics made anew for the network at `weights`.

    Raises:
        WeightsError: the weights are not those that the document describes.
    """
    plain = document | {
        "calibration": {"temperature": 1.0},
        "scope": {"threshold": SCOPE_THRESHOLD, "quantiles": [0.0, 1.0]},
    }
    manifest = Manifest.of(plain, "the manifest")
    classifier = Classifier(load_network(manifest, weights), manifest)

    _, labels = tensors(data.validation)
    raw = calibrated_logits(classifier, data.validation, console, "validation")
    temperature = fit_temperature(raw, labels)
    validation = raw / temperature
    quantiles = torch.quantile(scope_score(validation), torch.linspace(0, 1, SCOPE_QUANTILES)).double()
    floor = float(np.interp(SCOPE_THRESHOLD, np.linspace(0, 1, SCOPE_QUANTILES), quantiles.numpy()))

    metrics: dict[str, Any] = {"validation": measure(validation, labels, scope_floor=floor).as_json()}
    if len(data.test):
        test = calibrated_logits(classifier, data.test, console, "test") / temperature
        _, test_labels = tensors(data.test)
        metrics["test"] = measure(test, test_labels, scope_floor=floor).as_json()
    return plain | {
        "calibration": {"temperature": temperature},
        "scope": {"threshold": SCOPE_THRESHOLD, "quantiles": [round(value, 4) for value in quantiles.tolist()]},
        "metrics": metrics,
    }


def report(document: dict[str, Any], console: Console) -> None:
    """Print the figures."""
    for name, figures in document["metrics"].items():
        console.print(
            f"{name}: {figures['pictures']:,} pictures, accuracy {figures['accuracy']:.2%}, "
            f"macro F1 {figures['macro_f1']:.2%}, loss {figures['loss']:.4f}, "
            f"calibration error {figures['calibration_error']:.2%}, refused as out of scope {figures['refused']:.2%}",
            highlight=False,
            soft_wrap=True,
        )


def main() -> None:
    """Evaluate the served weights; write their figures into the manifest and draw the plots."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--data", type=Path, default=Path("data"), help="as for training (default: data)")
    options = parser.parse_args()
    torch.set_num_threads(os.cpu_count() or 1)
    console = Console()
    try:
        document = measured(Manifest.read().document, WEIGHTS_PATH, load(options.data), console)
    except WeightsError as error:
        sys.exit(f"{'!' * 80}\ntraining.evaluate: {error}\nNothing was written.\n{'!' * 80}")
    except DataError as error:
        sys.exit(f"training.evaluate: {error}")
    if "test" not in document["metrics"]:
        sys.exit("training.evaluate: this source has no labelled test pictures; use the .npz or torchvision's download")
    report(document, console)
    write_json(MANIFEST_PATH, document)
    for path in plots.draw_all(document, PLOTS_FOLDER):
        console.print(f"drawn {path}", highlight=False)


if __name__ == "__main__":
    main()
