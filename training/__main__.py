"""Train, then measure the result and, if it is better, make it the served weights: `make train`."""

import os
import sys

import torch
from rich.console import Console

from training.data import DataError, load
from training.publish import publish
from training.settings import parse
from training.train import ResumeError, train


def main() -> None:
    """Run from the command line; exit code 0 when done, 130 when stopped half way, 1 when it cannot run."""
    settings = parse()
    torch.set_num_threads(settings.threads or os.cpu_count() or 1)
    console = Console()
    try:
        data = load(settings.data)
        finished = train(settings, data, console)
    except (DataError, ResumeError) as error:
        sys.exit(f"training: {error}")
    if not finished:
        console.print(f"stopped; the same command resumes {settings.run}")
        sys.exit(130)
    publish(settings, data, console)


if __name__ == "__main__":
    main()
