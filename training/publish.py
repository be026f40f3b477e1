"""From a finished run to served weights: test curves, calibration, figures, manifest, plots."""

import json
import shutil
from typing import Any, Final

import torch
from rich.console import Console
from rich.progress import track
from safetensors.torch import load_file
from torch.utils.flop_counter import FlopCounterMode

from model.manifest import MANIFEST_PATH, WEIGHTS_PATH, Manifest, WeightsError, sha256_of
from training import plots
from training.data import Cifar10
from training.evaluate import PLOTS_FOLDER, measured, report
from training.settings import Settings
from training.train import build, loss_and_accuracy, tensors, write_json

MANIFEST_FORMAT: Final = 1


def publish(settings: Settings, data: Cifar10, console: Console) -> None:
    """Measure the run's last weights, leave manifest and plots in its folder, and install them if asked for.

    The last epoch's weights are taken whatever the curves say: choosing among epochs would fit the validation data.
    """
    run = settings.run
    weights = run / "weights.safetensors"
    shutil.copyfile(run / "epochs" / f"{settings.epochs:03}.safetensors", weights)
    described = {
        "format": MANIFEST_FORMAT,
        "version": settings.version,
        "sha256": sha256_of(weights),
        "network": describe_network(settings),
        "training": json.loads((run / "settings.json").read_text())
        | {"seconds": round(torch.load(run / "state.pt", weights_only=True)["progressed"]["seconds"])},
        "data": {"train": len(data.train), "validation": len(data.validation), "test": len(data.test)},
    }
    document = measured(described, weights, data, console)
    document["history"] = history(settings, data, console)
    write_json(run / "manifest.json", document)
    plots.draw_all(document, run / "plots")
    report(document, console)
    if should_install(settings, document):
        shutil.copyfile(weights, WEIGHTS_PATH)
        write_json(MANIFEST_PATH, document)
        plots.draw_all(document, PLOTS_FOLDER)
        console.print("installed in model/ and plots/; make archive packs them, make serve serves them")
    else:
        console.print(f"left in {run}: the weights in model/ stay (--install {settings.install})")


def describe_network(settings: Settings) -> dict[str, Any]:
    """Name the network and count what it holds and costs."""
    network = build(settings).eval()
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network(torch.zeros(1, 3, 32, 32))
    return {
        "name": type(network).__name__,
        "widths": list(settings.widths),
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "multiply_accumulates": counter.get_total_flops() // 2,
    }


def history(settings: Settings, data: Cifar10, console: Console) -> list[dict[str, float]]:
    """Give every epoch's loss and accuracy, with the test set's made now from the weights kept of each epoch."""
    rows: list[dict[str, float]] = json.loads((settings.run / "progress.json").read_text())
    if not len(data.test):
        return rows
    network = build(settings)
    images, labels = tensors(data.test)
    for row in track(rows, "test curves from the epochs' weights", console=console, transient=True):
        network.load_state_dict(load_file(settings.run / "epochs" / f"{int(row['epoch']):03}.safetensors"))
        row["test_loss"], row["test_accuracy"] = loss_and_accuracy(network, images, labels)
    return [{name: round(value, 5) for name, value in row.items()} for row in rows]


def should_install(settings: Settings, document: dict[str, Any]) -> bool:
    """Decide whether the run's weights become the served ones; accuracy on validation data decides `better`."""
    if settings.install != "better":
        return settings.install == "always"
    try:
        served = Manifest.read().document
    except WeightsError:
        return True
    new, old = (each["metrics"]["validation"]["accuracy"] for each in (document, served))
    return bool(new >= old)
