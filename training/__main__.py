"""Train by a recipe, then measure the result and, if it is better, make it the served weights: `make train`."""

import sys
from typing import Final

from rich.console import Console

from training.compact import CompactSettings, CompactTraining
from training.data import DataError, load
from training.finetune import FinetuneSettings, FinetuneTraining
from training.machine import use_machine
from training.publish import publish
from training.reference import ReferenceSettings, ReferenceTraining
from training.run import ResumeError, Training, train
from training.settings import parse

RECIPES: Final = ("compact", "served", "reference")


def prepare(recipe: str, arguments: list[str], console: Console) -> Training:
    """Build a recipe's run from its command line.

    Raises:
        DataError: the data cannot be had.
    """
    program = f"python -m training {recipe}"
    if recipe == "compact":
        compact = parse(CompactSettings, program, arguments)
        use_machine(compact.threads)
        return CompactTraining(compact, load(compact.data))
    if recipe == "reference":
        reference = parse(ReferenceSettings, program, arguments)
        use_machine(reference.threads)
        return ReferenceTraining(reference, load(reference.data), console)
    served = parse(FinetuneSettings, program, arguments)
    use_machine(served.threads)
    return FinetuneTraining(served, load(served.data), console)


def main() -> None:
    """Run from the command line; exit code 0 when done, 130 when stopped half way, 1 when it cannot run."""
    recipe, *arguments = sys.argv[1:] or [""]
    if recipe not in RECIPES:
        sys.exit(f"usage: python -m training {{{','.join(RECIPES)}}} [--help] [settings]")
    console = Console()
    try:
        training = prepare(recipe, arguments, console)
        finished = train(training, console)
    except (DataError, ResumeError) as error:
        sys.exit(f"training: {error}")
    if not finished:
        console.print(f"stopped; the same command resumes {training.settings.run}")
        sys.exit(130)
    publish(training, console)


if __name__ == "__main__":
    main()
