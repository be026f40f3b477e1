"""The command line of a benchmark that lasts so long as it is told to."""

import argparse
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.systems import BenchmarkError
from training.run import write_json


def command(
    description: str | None,
    length: tuple[str, float, str],
    results: Path,
    *,
    run: Callable[[float, Console], dict[str, Any]],
    write: Callable[[Path], Path],
) -> None:
    """Run a benchmark and write its results, and then what `write` makes of them; with `--report` only the latter.

    `length` is the option that says how long: its name, default and help.
    """
    name, default, words = length
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(f"--{name}", type=float, default=default, help=f"{words} (default: {default:g})")
    parser.add_argument("--output", type=Path, default=results, help="where the results go (default: %(default)s)")
    parser.add_argument("--report", action="store_true", help="only remake the tables from the results")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that what was started ends
    console = Console(soft_wrap=True)
    if not options.report:
        try:
            write_json(options.output, run(getattr(options, name), console))
        except BenchmarkError as error:
            raise SystemExit(f"benchmarks.{results.stem}: {error}") from error
    console.print(f"written {write(options.output)}", highlight=False)
