"""Say where the time of a request goes at full load: `make bench-profile`.

py-spy samples the gateway and TorchServe's workers, and each sample counts for the library that was at work; the JVM's
threads say by their names what they are for. Shares are of the CPU time that the process had meanwhile.
"""

import contextlib
import json
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any, Final

import psutil
from rich.console import Console

from benchmarks.command import command
from benchmarks.load import Outcome, Request, closed_loop
from benchmarks.pictures import KINDS, form, pictures
from benchmarks.systems import PARTS, ROOT, BenchmarkError, System, Watch, service
from training.provenance import processor, provenance

CONNECTIONS: Final = 64
MANY: Final = 64
"""Pictures in a request that has many."""
MANY_CONNECTIONS: Final = 4
TOGETHER: Final = f"gateway, {MANY} in one request"
RATE: Final = 50
"""Samples a second; while one is taken the process stands still, the longer the more threads it has."""
WARM_UP_SECONDS: Final = 5.0
LEAST: Final = 0.005
"""Share of a picture's time below which a row is left out of the table."""
RESULTS: Final = ROOT / "benchmarks" / "profile.json"

OWN: Final = {
    "engine.py": "the engine",
    "images.py": "decoding",
    "gateway/worker.py": "gunicorn's loop and HTTP",
    "gateway/heads.py": "gunicorn's loop and HTTP",
    "gateway/": "the gateway itself",
    "handler/": "the handler itself",
    "classifier_handler.py": "the handler itself",
    "model/": "the handler itself",
}
"""What a frame of our own code counts for, by part of its path; the first that fits."""
PACKAGES: Final = {
    "ts": "TorchServe's worker",
    "onnxruntime": "the engine",
    "PIL": "decoding",
    "gunicorn": "gunicorn's loop and HTTP",
    "flask": "Flask and its extensions",
    "flask_openapi3": "Flask and its extensions",
    "flask_babel": "Flask and its extensions",
    "flask_cors": "Flask and its extensions",
    "flask_limiter": "Flask and its extensions",
    "werkzeug": "Flask and its extensions",
    "secure": "Flask and its extensions",
    "pydantic": "Flask and its extensions",
    "urllib3": "asking TorchServe (urllib3)",
    "structlog": "logging",
    "prometheus_client": "metrics",
}
OTHER: Final = "the rest"
THREADS: Final = {
    r"epoll|nioEvent|pool-\d": "HTTP and connections to the workers (netty)",
    r"W-\d|ForkJoin": "queue and batches",
    r"C1 |C2 ": "compiling itself",
    r"VM |GC": "collecting garbage",
    r"Log4j": "logging",
}
"""What a thread of the JVM is for, by a pattern of its name, of which Linux keeps 15 characters."""
WORDS: Final = {
    "gateway": "the gateway",
    "TorchServe": "TorchServe's JVM",
    "workers": "TorchServe's workers",
    "launcher": "the launcher",
    "load": "the load itself",
}
SAMPLED: Final = {"gateway": ["--gil"], "workers": []}
"""py-spy's options. Of the gateway's many threads the one counts that has Python's lock; the engine works without."""

_STAGE: Final = re.compile(r"(decode|network);dur=([0-9.]+)")
_SITE: Final = re.compile(r"site-packages/([^/]+?)(?:\.py)?/")
_FRAME: Final = re.compile(r"\(([^()]+?)(?::\d+)?\)$")


def owner(stack: str) -> str:
    """Say for what a sample counts: the innermost frame that is not the standard library's."""
    for frame in reversed(stack.split(";")):
        found = _FRAME.search(frame)
        path = found[1] if found else ""
        if package := _SITE.search(path):
            if package[1] in PACKAGES:
                return PACKAGES[package[1]]
        else:
            for part, name in OWN.items():
                if part in path:
                    return name
    return OTHER


def shares(raw: str) -> Counter[str]:
    """Count py-spy's samples, a line each for a stack and how often it was met."""
    counts: Counter[str] = Counter()
    for line in raw.splitlines():
        stack, _, count = line.rpartition(" ")
        counts[owner(stack)] += int(count)
    return counts


def shared_out(milliseconds: float, counts: Counter[str]) -> dict[str, float]:
    """Share a part's time out by its samples, most first; a part too idle to be met by one is all "the rest"."""
    counts = +counts or Counter({OTHER: 1})
    return {name: round(milliseconds * count / counts.total(), 3) for name, count in counts.most_common()}


def sample(process: psutil.Process, seconds: float, options: list[str]) -> Counter[str]:
    """Have a Python process sampled.

    Raises:
        BenchmarkError: py-spy may not look into it.
    """
    with tempfile.NamedTemporaryFile() as output:
        command = [str(Path(sys.executable).with_name("py-spy")), "record", "--pid", str(process.pid)]
        command += ["--format", "raw", "--full-filenames", "--output", output.name, "--rate", str(RATE)]
        command += ["--duration", str(max(1, round(seconds))), *options]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BenchmarkError(f"py-spy cannot look into process {process.pid}; root may:\n{done.stderr.strip()}")
        return shares(Path(output.name).read_text())


@contextlib.contextmanager
def threads(process: psutil.Process) -> Iterator[Counter[str]]:
    """Count, in hundredths of a second, what a JVM's threads compute meanwhile."""

    def spent() -> dict[int, float]:
        return {thread.id: thread.user_time + thread.system_time for thread in process.threads()}

    counts: Counter[str] = Counter()
    before = spent()
    yield counts
    for number, seconds in spent().items():
        with contextlib.suppress(OSError):
            name = Path(f"/proc/{process.pid}/task/{number}/comm").read_text()
            purpose = next((purpose for pattern, purpose in THREADS.items() if re.search(pattern, name)), OTHER)
            counts[purpose] += round(100 * (seconds - before.get(number, 0.0)))


def alone(torchserve: System, gateway: System, seconds: float) -> dict[str, float]:
    """Part the time of a request that has everything for itself; gives medians in milliseconds.

    The handler says how long it decoded and computed; what TorchServe takes beside that is its own, what the gateway
    takes longer is the gateway's.
    """
    picture = pictures()[next(iter(KINDS))]
    stages: dict[str, list[float]] = {"decoding": [], "the engine": []}

    def note(outcome: Outcome) -> None:
        timing = dict(_STAGE.findall(outcome.message.partition(b"\r\n\r\n")[0].decode("latin-1")))
        stages["decoding"].append(float(timing["decode"]))
        stages["the engine"].append(float(timing["network"]))

    closed_loop(torchserve.request(picture), 1, WARM_UP_SECONDS)
    direct = closed_loop(torchserve.request(picture), 1, seconds, note).percentile(0.5)
    closed_loop(gateway.request(picture), 1, WARM_UP_SECONDS)
    through = closed_loop(gateway.request(picture), 1, seconds).percentile(0.5)
    handler = {name: median(each) for name, each in stages.items()}
    return handler | {
        "TorchServe: HTTP, queue, a millisecond for others to join the batch, sockets": direct - sum(handler.values()),
        "the gateway": through - direct,
    }


def profile(system: System, seconds: float, request: Request, connections: int, count: int) -> dict[str, Any]:
    """Keep a system busy and see what its parts do; gives pictures a second, and milliseconds of CPU a picture.

    `count` says how many pictures the request has.
    """
    closed_loop(request, connections, WARM_UP_SECONDS, wait=True)
    everyone = [(" ".join(each.cmdline()), each) for each in system.processes.all()]
    parts = {part: [each for words, each in everyone if word in words] for word, part in PARTS.items()}
    with ThreadPoolExecutor() as pool, Watch(system.processes) as watch, threads(parts["TorchServe"][0]) as java:
        sampled = {
            part: [pool.submit(sample, each, seconds, options) for each in parts[part]]
            for part, options in SAMPLED.items()
        }
        began = time.thread_time()
        measured = closed_loop(request, connections, seconds)
        load = time.thread_time() - began
        counts = {part: sum((each.result() for each in futures), Counter()) for part, futures in sampled.items()}
    answered = len(measured.latencies) * count
    spent = watch.cpu_seconds_by_part | {"load": load}
    milliseconds = {part: round(1000 * spent[part] / answered, 3) for part in WORDS}
    purposes = {part: shared_out(milliseconds[part], of) for part, of in (counts | {"TorchServe": java}).items()}
    return {"rate": round(measured.rate * count, 1), "milliseconds": milliseconds, "purposes": purposes}


def write(path: Path) -> Path:
    """Make the tables beside the results; give their path."""
    document = json.loads(path.read_text())
    lines = [
        "# Where the time goes",
        "",
        f"Made by `make bench-profile` at commit {document['made_by']['commit'][:12]} on {document['cores']} cores of "
        f"{document['processor']}: {CONNECTIONS} connections for {document['seconds']:g} s, or {MANY_CONNECTIONS} with "
        f"{MANY} pictures in each request, a photograph as 32x32 PNG. Milliseconds of CPU for a picture. Each Python "
        f"process was stopped for a moment {RATE} times a second, so that all is slower than in "
        "[results.md](results.md). What the gateway's system calls take is shared out among what it did when a thread "
        "held Python's lock.",
    ]
    for system, values in document["systems"].items():
        total = sum(values["milliseconds"].values())
        lines += ["", f"## {system}: {values['rate']:,.0f} pictures/s", "", "| | ms |", "| --- | ---: |"]
        for part, milliseconds in values["milliseconds"].items():
            if milliseconds < LEAST * total:
                continue
            lines.append(f"| **{WORDS[part]}** | **{milliseconds:.2f}** |")
            lines += [
                f"| {name} | {value:.2f} |"
                for name, value in values["purposes"].get(part, {}).items()
                if value >= LEAST * total
            ]
        lines.append(f"| **all** | **{total:.2f}** |")
    lines += ["", "## A request alone, by the clock", "", "| | ms |", "| --- | ---: |"]
    lines += [f"| {name} | {value:.2f} |" for name, value in document["alone"].items()]
    lines.append(f"| **all** | **{sum(document['alone'].values()):.2f}** |")
    table = path.with_suffix(".md")
    table.write_text("\n".join(lines) + "\n")
    return table


def run(seconds: float, console: Console) -> dict[str, Any]:
    """Profile TorchServe asked directly, and the gateway with one picture and with many in a request."""
    systems = {}
    picture = pictures()[next(iter(KINDS))]
    with service(GATEWAY_MAX_IMAGES=str(MANY)) as both:
        _, gateway = both
        loads = [(system.name, system, system.request(picture), CONNECTIONS, 1) for system in both]
        loads.append((TOGETHER, gateway, form(gateway.url, picture, MANY), MANY_CONNECTIONS, MANY))
        for name, system, request, connections, count in loads:
            console.print(f"{name}: {seconds + WARM_UP_SECONDS:g} s", highlight=False)
            systems[name] = profile(system, seconds, request, connections, count)
            system.processes.wait_until_idle()
        lone = {name: round(value, 3) for name, value in alone(*both, seconds / 2).items()}
    about = {"cores": psutil.cpu_count(), "processor": processor(), "seconds": seconds}
    return {"made_by": provenance()} | about | {"systems": systems, "alone": lone}


def main() -> None:
    """Run the load and the profilers; write results and tables."""
    length = ("seconds", 40.0, "of each system's load")
    command(main.__doc__, length, RESULTS, run=run, write=write)


if __name__ == "__main__":
    main()
