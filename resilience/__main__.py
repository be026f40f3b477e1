"""Try what the service promises: `python -m resilience chaos` or `soak`; README says how long each takes."""

import argparse
import json
import signal
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.systems import ROOT
from resilience import report, trials
from resilience.stage import behind_a_proxy, stage
from training.provenance import processor, provenance
from training.run import write_json

RESULTS = ROOT / "resilience" / "results.json"


def main() -> None:
    """Run the trials that were asked for and write the report of all that were ever run."""
    parser = argparse.ArgumentParser(prog="python -m resilience", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    chaos = commands.add_parser("chaos", help="faults, killed workers, overload and a stop under load")
    chaos.add_argument("--only", choices=("faults", "kills", "overload", "stop"), help="one of the four")
    chaos.add_argument("--rate", type=float, default=40.0, help="requests a second while there is a fault")
    chaos.add_argument("--seconds", type=float, default=300.0, help="for killed workers, and for overload")
    chaos.add_argument("--kill-every", type=float, default=5.0, help="seconds from one killed worker to the next")
    chaos.add_argument("--times", type=float, default=5.0, help="overload as a multiple of what can be answered")
    soak = commands.add_parser("soak", help="very many requests, and what the processes hold meanwhile")
    soak.add_argument("--requests", type=int, default=1_000_000)
    soak.add_argument("--steps", type=int, default=10, help="so many times it is looked what they hold")
    for each in (chaos, soak):
        each.add_argument("--results", type=Path, default=RESULTS, help="where figures are kept; the report is beside")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that what was started ends
    console = Console()
    results: dict[str, Any] = json.loads(arguments.results.read_text()) if arguments.results.exists() else {}
    if arguments.command == "chaos":
        results |= _chaos(arguments, console)
    else:
        with stage() as service:
            said = trials.soak(service, arguments.requests, arguments.steps, console.print)
            results["soak"] = said | {"made_by": provenance(), "processor": processor()}
    write_json(arguments.results, results)
    path = arguments.results.with_name("report.md")
    path.write_text(report.markdown(results))
    console.print(f"wrote {path}")


def _chaos(arguments: argparse.Namespace, console: Console) -> dict[str, Any]:
    wanted = (arguments.only,) if arguments.only else ("faults", "kills", "overload", "stop")
    made: dict[str, Any] = {}
    conditions = {"made_by": provenance(), "processor": processor()}
    with stage() as service:
        calm = trials.capacity(service, min(10.0, arguments.seconds))
        console.print("at most:", calm)
        if "faults" in wanted:
            rows = []
            with behind_a_proxy(service) as far:
                for each in trials.FAULTS:
                    rows.append(trials.fault(far if each.is_in_the_network else service, each, arguments.rate))
                    console.print(rows[-1])
            made["faults"] = {"rate": arguments.rate, "rows": rows} | conditions
        if "kills" in wanted:
            said = trials.kills(service, calm["rate"] / 2, arguments.seconds, arguments.kill_every)
            made["kills"] = said | conditions
            console.print(said)
        if "overload" in wanted:
            said = trials.overload(service, arguments.times, arguments.seconds)
            made["overload"] = said | conditions
            console.print(said)
        if "stop" in wanted:
            said = trials.stop(service, calm["rate"] / 2)
            made["stop"] = said | conditions
            console.print(said)
    return made


if __name__ == "__main__":
    main()
