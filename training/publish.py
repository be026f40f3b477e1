"""From a finished run to served weights: test curves, calibration, figures, manifest, plots."""

import json
import shutil
from typing import Any, Final

import torch
from rich.console import Console
from rich.progress import track
from safetensors.torch import load_file
from torch.utils.flop_counter import FlopCounterMode

from model.manifest import INT8_PATH, MANIFEST_PATH, WEIGHTS_PATH, Manifest, WeightsError, sha256_of
from model.network import Network
from model.networks import build
from training import plots
from training.evaluate import PLOTS_FOLDER, measured, report
from training.plots import ROBUSTNESS_PLOT
from training.run import Training, write_json
from training.settings import Settings

MANIFEST_FORMAT: Final = 1


def publish(training: Training, console: Console) -> None:
    """Measure the run's weights, leave manifest and plots in its folder, and install them if asked for.

    Unless the recipe chooses on validation data, they are the last epoch's, whatever the curves say: the test curves,
    made here, never choose.
    """
    settings, data = training.settings, training.data
    run = settings.run
    weights = run / "weights.safetensors"
    shutil.copyfile(training.epoch_weights(training.chosen_epoch), weights)
    described = {
        "format": MANIFEST_FORMAT,
        "version": settings.version,
        "sha256": sha256_of(weights),
        "network": describe(training.kept()),
        "input": {"detail": training.detail},
        "training": json.loads((run / "settings.json").read_text())
        | {"seconds": round(training.progressed.seconds), "epoch": training.chosen_epoch}
        | training.notes(),
        "data": {"train": len(training.images), "validation": len(data.validation), "test": len(data.test)},
    }
    document, test = measured(described, weights, data, console)
    document["history"] = history(training, console)
    write_json(run / "manifest.json", document)
    plots.draw_all(document, run / "plots")
    if test is not None:
        plots.draw_mistakes(data.test, test, run / "plots")
    report(document, console)
    if is_served(document):
        console.print("model/ and plots/ stay as they are: these weights are served already")
    elif should_install(settings, document):
        shutil.copyfile(weights, WEIGHTS_PATH)
        WEIGHTS_PATH.with_name(INT8_PATH.name).unlink(missing_ok=True)  # it was made of the weights before
        write_json(MANIFEST_PATH, document)
        shutil.copytree(run / "plots", PLOTS_FOLDER, dirs_exist_ok=True)
        (PLOTS_FOLDER / ROBUSTNESS_PLOT).unlink(missing_ok=True)  # likewise
        console.print("installed in model/ and plots/; make quantize makes them faster, make serve serves them")
    else:
        console.print(f"left in {run}: the weights in model/ stay (--install {settings.install})")


def describe(network: Network) -> dict[str, Any]:
    """Name a network with what it takes to build it again, and count what it holds and costs."""
    shape = {"name": type(network).__name__} | network.describe()
    served = build(shape).eval()  # training may compute its convolutions in other ways
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        served(torch.zeros(1, 3, network.side, network.side))
    return shape | {
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "running_statistics": running_statistics(network),
        "multiply_accumulates": counter.get_total_flops() // 2,
    }


def running_statistics(network: Network) -> int:
    """Count the means and variances that batch norm keeps."""
    kept = ("running_mean", "running_var")
    return sum(value.numel() for name, value in network.named_buffers() if name.endswith(kept))


def history(training: Training, console: Console) -> list[dict[str, float]]:
    """Give every epoch's loss and accuracy, with the test set's made now from the weights kept of each epoch.

    The epochs of runs that this one went on from come first. Both epochs and runs are counted from the first run on.
    """
    before = training.history_before()
    last = {"run": 1} | before[-1] if before else {"run": 0, "epoch": 0}
    rows = [row | {"epoch": last["epoch"] + row["epoch"], "run": last["run"] + 1} for row in training.progressed.epochs]
    if not len(training.data.test):
        return [*before, *rows]
    for epoch, row in enumerate(track(rows, "test curves from the epochs' weights", console=console, transient=True)):
        training.kept().load_state_dict(load_file(training.epoch_weights(epoch + 1)))
        row["test_loss"], row["test_accuracy"] = training.loss_and_accuracy(training.data.test, epoch)
    return [*before, *({name: round(value, 5) for name, value in row.items()} for row in rows)]


def is_served(document: dict[str, Any]) -> bool:
    """Say whether a run's weights are those that are served; more may have been measured of these than of the run."""
    try:
        return bool(Manifest.read().sha256 == document["sha256"])
    except WeightsError:
        return False


def should_install(settings: Settings, document: dict[str, Any]) -> bool:
    """Decide whether the run's weights become the served ones; accuracy on validation data decides `better`.

    Both accuracies are of the weights in float32: a run's have no 8-bit network yet.
    """
    if settings.install != "better":
        return settings.install == "always"
    try:
        served = Manifest.read().document
    except WeightsError:
        return True
    return float32_accuracy(document) >= float32_accuracy(served)


def float32_accuracy(document: dict[str, Any]) -> float:
    """Give the accuracy on validation data of the weights themselves, where an 8-bit network answers for them, too."""
    if "int8" in document:
        return float(document["int8"]["validation"]["float32_accuracy"])
    return float(document["metrics"]["validation"]["accuracy"])
