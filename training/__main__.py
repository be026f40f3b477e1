"""Train by a recipe, then measure the result and, if it is better, make it the served weights: `make train`."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from rich.console import Console

from training.compact import CompactSettings, CompactTraining
from training.data import DataError, load
from training.finetune import FinetuneSettings, FinetuneTraining
from training.machine import use_machine
from training.publish import publish
from training.reference import ReferenceSettings, ReferenceTraining
from training.run import ResumeError, Training, train
from training.settings import Settings, parse

RECIPES: Final[dict[str, type[Settings]]] = {
    "compact": CompactSettings,
    "served": FinetuneSettings,
    "reference": ReferenceSettings,
}


def prepare(recipe: str, arguments: list[str], console: Console) -> Training:
    """Build a recipe's run from its command line, or the first that is not finished of those that it takes.

    Raises:
        DataError: the data cannot be had.
        ResumeError: an earlier run's folder holds another run.
    """
    return next(runs(recipe, arguments, console))


def runs(recipe: str, arguments: list[str], console: Console) -> Iterator[Training]:
    """Build the runs that a recipe's command line takes, each when the one before has been trained and published.

    Earlier runs that have been are left out.

    Raises:
        DataError: the data cannot be had.
        ResumeError: an earlier run's folder holds another run.
    """
    settings = parse(RECIPES[recipe], f"python -m training {recipe}", arguments)
    use_machine(settings.threads)
    data = load(settings.data)
    if isinstance(settings, CompactSettings):
        yield CompactTraining(settings, data)
    elif isinstance(settings, ReferenceSettings):
        yield ReferenceTraining(settings, data, console)
    elif isinstance(settings, FinetuneSettings):
        weights: list[Path] = []
        for each in settings.earlier():
            training = FinetuneTraining(each.after(weights), data, console)
            if not (training.resume() and training.is_finished and (each.run / "manifest.json").exists()):
                console.print(f"first {each.run}, which this run goes on with or learns from")
                yield training
            weights.append(each.run / "weights.safetensors")
        yield FinetuneTraining(settings.after(weights), data, console)


def main() -> None:
    """Run from the command line; exit code 0 when done, 130 when stopped half way, 1 when it cannot run."""
    recipe, *arguments = sys.argv[1:] or [""]
    if recipe not in RECIPES:
        sys.exit(f"usage: python -m training {{{','.join(RECIPES)}}} [--help] [settings]")
    console = Console()
    try:
        for training in runs(recipe, arguments, console):
            if not train(training, console):
                console.print(f"stopped; the same command resumes {training.settings.run}")
                sys.exit(130)
            publish(training, console)
    except (DataError, ResumeError) as error:
        sys.exit(f"training: {error}")


if __name__ == "__main__":
    main()
