"""Lay the networks side by side: `make compare`.

From the committed manifests it remakes the README's table, the plots and what the gateway shows, byte for byte. With
`--train` it first trains what has no manifest yet, each in `runs/compare/NAME`; what was stopped goes on.
"""

import argparse
import json
import shutil
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any, Final

import matplotlib.pyplot as plt
import torch
from rich.console import Console

from model.manifest import Manifest, WeightsError
from model.network import Network, channels_last
from model.networks import build, load_network
from training import comparison, plots
from training.__main__ import prepare
from training.data import DataError
from training.evaluate import NO_TEST_PICTURES
from training.lineup import LINEUP, START, Entry
from training.provenance import processor
from training.publish import publish, running_statistics
from training.reference import ReferenceSettings
from training.run import ResumeError, Training, train, write_json
from training.settings import parse

ROOT: Final = Path(__file__).parent.parent
MANIFESTS: Final = Path("training/manifests")
ROUNDS: Final = 20
PICTURES_A_ROUND: Final = 10
SMALL_BYTES: Final = 1_000_000
"""Weights of fewer bytes are kept beside their manifest."""


def remake(root: Path) -> None:
    """Make table, plots and the gateway's figures from the manifests below `root`.

    Raises:
        DataError: a manifest is none, or the README has no place for the table.
    """
    documents = comparison.read(root / MANIFESTS)
    rows = comparison.rows_of(documents)
    served = json.loads((root / "model" / "manifest.json").read_text())
    readme = root / "README.md"
    readme.write_text(comparison.rewritten(readme.read_text(), comparison.section(rows, served)))
    write_json(root / "gateway" / "comparison.json", comparison.for_gateway(rows))
    for name, document in documents.items():
        plots.draw_all(document, root / "plots" / name)
    if rows:
        figure = plots.accuracy_against_time([(row.words, row.milliseconds, row.accuracy) for row in rows])
        figure.savefig(root / "plots" / "comparison.png", dpi=110, metadata={"Software": None})
        plt.close(figure)


def run_folder(entry: Entry) -> Path:
    """Name the folder of an entry's run, below the project's."""
    return Path("runs/compare") / entry.name


def start(entry: Entry, data: Path, root: Path, console: Console) -> Training:
    """Build an entry's run, which `train` then begins or continues.

    Raises:
        DataError: the data cannot be had, its test pictures have no labels, or the entry's runs are not trained here.
    """
    if entry.recipe == "served":
        raise DataError(
            f"{entry.name} learns from photographs and from other networks, which --train has not; "
            f"train it by make train RECIPE=served, and file it by --take {entry.name} FOLDER"
        )
    folder = root / run_folder(entry)
    common = ["--data", str(data), "--run", str(folder), "--install", "never"]
    training = prepare(entry.recipe, [*common, *entry.arguments], console)
    if not len(training.data.test):
        raise DataError(f"{data}: {NO_TEST_PICTURES}")
    return training


def minutes_left(training: Training) -> float:
    """Estimate what is left of a run on this machine, if it does not end early; the run cannot be trained after it.

    Raises:
        ResumeError: the run's folder holds another run.
    """
    seconds = []
    for _ in range(min(4, training.steps_per_epoch)):
        began = time.perf_counter()
        training.step()
        seconds.append(time.perf_counter() - began)
    per_pixel = min(seconds) / training.side(0) ** 2  # the first steps also set up
    training.resume()
    if training.is_finished:
        return 0.0
    progressed = training.progressed
    left = training.work(training.settings.epochs) - training.work(progressed.epoch, progressed.step)
    return per_pixel * left / 60


def file(entry: Entry, folder: Path, root: Path) -> None:
    """Put a published run's manifest among those compared, and time all of these anew, side by side.

    Raises:
        WeightsError: there is no manifest in `folder`, or its weights are others.
        DataError: it is of another recipe or network, or of a part of the data only; or what it would lie beside is no
            manifest.
    """
    manifest = Manifest.read(folder / "manifest.json")
    weights = folder / "weights.safetensors"
    load_network(manifest, weights)  # or says what is wrong with them
    training = manifest.document["training"]
    if training["recipe"] != entry.recipe:
        raise DataError(f"{folder} holds a run by {training['recipe']}; {entry.name} is trained by {entry.recipe}")
    if training["settings"]["limit"] or "test" not in manifest.document["metrics"]:
        raise DataError(f"{folder} holds a run on a part of the pictures, which cannot be compared")
    if others := _others(entry.network, manifest.document["network"]):
        raise DataError(f"{folder} holds another network than {entry.name}'s: {others}")
    if others := _others(_settings(entry), training["settings"]):
        raise DataError(f"{folder} holds another run than {entry.name}'s: {others}")
    variant = entry.variant
    if variant == START:
        variant = "from-imagenet" if training["start"] == "ImageNet" else "from-scratch"
    documents = comparison.read(root / MANIFESTS)
    documents[entry.name] = manifest.document | {"compared": {"title": entry.title, "variant": variant}}
    networks = [build(document["network"]) for document in documents.values()]
    for document, network in zip(documents.values(), networks, strict=True):
        document["network"] |= {"running_statistics": running_statistics(network)}  # older manifests do not say
    times = speeds(networks)
    for (name, document), speed in zip(documents.items(), times, strict=True):
        write_json(root / MANIFESTS / f"{name}.json", document | {"speed": speed})
    if weights.stat().st_size < SMALL_BYTES:
        shutil.copyfile(weights, root / MANIFESTS / f"{entry.name}.safetensors")


def _settings(entry: Entry) -> dict[str, Any]:
    """Give the settings that an entry's run must have: by other recipes than the reference any run may be taken."""
    if entry.recipe != "reference":
        return {}
    return parse(ReferenceSettings, entry.name, list(entry.arguments)).as_json()


def _others(wanted: dict[str, Any], found: dict[str, Any]) -> str:
    """Say which values found are not those that are wanted."""
    others = [name for name in wanted if found.get(name) != wanted[name]]
    return ", ".join(f"{name} {found.get(name)}, not {wanted[name]}" for name in others)


def speeds(networks: list[Network]) -> list[dict[str, Any]]:
    """Time networks on the CPU, one picture at a time and one thread: the median of each in milliseconds.

    It is the thread's processor time, so that other programs that run meanwhile count little, and they take turns, so
    that what makes the machine slower for a while makes all of them slower.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    seconds: list[list[float]] = [[] for _ in networks]
    with torch.inference_mode():
        for network in networks:
            channels_last(network.eval())
        for _ in range(ROUNDS):
            for network, its_seconds in zip(networks, seconds, strict=True):
                pixels = torch.zeros(1, 3, network.side, network.side, dtype=torch.uint8)
                pixels = pixels.contiguous(memory_format=torch.channels_last)
                for _ in range(PICTURES_A_ROUND):
                    began = time.thread_time()
                    network(pixels)
                    its_seconds.append(time.thread_time() - began)
    torch.set_num_threads(threads)
    more = {"runs": ROUNDS * PICTURES_A_ROUND, "hardware": f"one core of {processor()}, float32"}
    return [{"milliseconds": round(1000 * median(each), 3)} | more for each in seconds]


def plan(entries: list[Entry], data: Path, root: Path, console: Console) -> None:
    """Say of each entry what it took, or what is left of it on this machine."""
    for entry in entries:
        path = root / MANIFESTS / f"{entry.name}.json"
        if path.exists():
            row = comparison.Row.of(entry.name, json.loads(path.read_text()))
            words = f"done in {row.minutes} minutes on {row.trained_on}"
        else:
            minutes = minutes_left(start(entry, data, root, console))
            words = f"about {minutes:.0f} minutes left here, less if it ends early"
        console.print(f"{entry.name:<28}{words}", highlight=False, soft_wrap=True)


def train_missing(entries: list[Entry], data: Path, root: Path, console: Console) -> bool:
    """Train each entry that has no manifest, and say which have one; False when stopped half way.

    Raises:
        DataError: the data cannot be had, or an entry's runs are not trained here.
        ResumeError: a run's folder holds another run.
    """
    for entry in entries:
        manifest, folder = MANIFESTS / f"{entry.name}.json", run_folder(entry)
        if (root / manifest).exists():
            anew = f"delete {manifest}{f' and {folder}' if (root / folder).exists() else ''} to train it anew"
            console.print(f"{entry.name}: has a manifest, not trained again; {anew}", highlight=False, soft_wrap=True)
            continue
        plan([entry], data, root, console)
        training = start(entry, data, root, console)
        if not train(training, console):
            return False
        publish(training, console)
        file(entry, training.settings.run, root)
        remake(root)
    return True


def main() -> None:
    """Remake the comparison from the manifests; train what is missing, or say how long that takes, if asked to."""
    names = [entry.name for entry in LINEUP]
    parser = argparse.ArgumentParser(description=main.__doc__, epilog=f"NAME is one of {', '.join(names)}")
    parser.add_argument("--data", type=Path, default=Path("data"), help="as for training (default: data)")
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--train", nargs="*", metavar="NAME", help="train those of them, or of all, that are missing")
    action.add_argument("--plan", nargs="*", metavar="NAME", help="say what each took, or would take on this machine")
    action.add_argument(
        "--take", nargs=2, metavar=("NAME", "FOLDER"), help="take a run published in FOLDER, as model or runs/served"
    )
    options = parser.parse_args()
    wanted = options.train or options.plan or (options.take or [])[:1]
    if unknown := sorted(set(wanted) - set(names)):
        parser.error(f"there is no {', '.join(unknown)}; there are {', '.join(names)}")
    entries = [entry for entry in LINEUP if not wanted or entry.name in wanted]
    console = Console()
    try:
        if options.plan is not None:
            plan(entries, options.data, ROOT, console)
            return
        if options.take:
            file(entries[0], Path(options.take[1]), ROOT)
        if options.train is not None and not train_missing(entries, options.data, ROOT, console):
            console.print("stopped; the same command goes on")
            sys.exit(130)
        remake(ROOT)
    except (DataError, ResumeError, WeightsError) as error:
        sys.exit(f"training.compare: {error}")


if __name__ == "__main__":
    main()
