"""One engine in a process of its own, which a parent asks over standard input: `python -m benchmarks.engines.worker`.

Arguments: the engine's name and the folder for its opener. Each line of standard input is a JSON object, each answer
a line of standard output. The first one, which is empty, opens the engine; the answer comes once that has computed.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.engines.kinds import BATCHES, COMPILED, KINDS, SIZES, Compute
from model.images import Pixels

PIXELS: Final = "pixels.npy"
"""The pictures, uint8, shape (N, 3, side, side), in the folder."""


def outputs(compute: Compute, pixels: Pixels, path: Path) -> dict[str, Any]:
    """Compute all pictures' outputs into a file."""
    size = max(BATCHES)
    parts = []
    for start in range(0, len(pixels), size):
        batch = pixels[start : start + size]
        filled = np.concatenate([batch, np.repeat(batch[-1:], size - len(batch), axis=0)])
        parts.append(compute(filled)[: len(batch)])
    np.save(path, np.concatenate(parts))
    return {}


def milliseconds(compute: Compute, batch: Pixels, seconds: float) -> dict[str, Any]:
    """Compute the same pictures again and again; give the median of what it took."""
    took: list[float] = []
    end = time.perf_counter() + seconds
    while (began := time.perf_counter()) < end or not took:
        compute(batch)
        took.append(time.perf_counter() - began)
    return {"milliseconds": 1000 * float(np.median(took))}


def mixed(compute: Compute, batches: dict[int, Pixels], seconds: float) -> dict[str, Any]:
    """Compute numbers of pictures as they come, the same random ones for every engine; give pictures a second."""
    rng = np.random.default_rng(1)
    pictures = 0
    began = time.perf_counter()
    while (took := time.perf_counter() - began) < seconds or not pictures:
        size = int(rng.integers(min(SIZES), max(SIZES) + 1))
        compute(batches[size])
        pictures += size
    return {"pictures_per_second": pictures / took}


def _megabytes() -> float:
    """Give what this process has held at most; getrusage would count its parent's as well."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1000


def main() -> None:
    """Open the engine and do what is asked until there is no more."""
    name, folder = sys.argv[1], Path(sys.argv[2])
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print is no answer
    pixels = np.load(folder / PIXELS, mmap_mode="r")
    sizes = BATCHES if name in COMPILED else SIZES
    batches = {size: np.resize(pixels[:size], (size, *pixels.shape[1:])) for size in sizes}
    sys.stdin.readline()
    before, began = _megabytes(), time.perf_counter()
    try:
        library, compute = KINDS[name](folder)
        for batch in batches.values():
            compute(batch)
    except Exception as error:  # noqa: BLE001  # each library has its own reasons, a missing compiler for one
        first = str(error).strip().partition("\n")[0]
        replies.write(json.dumps({"unavailable": first or type(error).__name__}) + "\n")
        return
    cost = {"start_seconds": round(time.perf_counter() - began, 2), "megabytes": round(_megabytes() - before)}
    replies.write(json.dumps({"library": library} | cost) + "\n")
    for line in sys.stdin:
        asked = json.loads(line)
        if "outputs" in asked:
            answer = outputs(compute, pixels, folder / asked["outputs"])
        elif "mixed" in asked:
            answer = mixed(compute, batches, asked["mixed"])
        else:
            answer = milliseconds(compute, batches[asked["batch"]], asked["seconds"])
        replies.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
