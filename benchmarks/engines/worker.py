"""One engine in a process of its own, which a parent asks over standard input: `python -m benchmarks.engines.worker`.

Arguments: the engine's name and the folder for its opener. Each line of standard input is a JSON object, each answer
a line of standard output; the first answer comes unasked, once the engine has computed.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.engines.kinds import BATCHES, KINDS, Compute
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


def main() -> None:
    """Open the engine and do what is asked until there is no more."""
    name, folder = sys.argv[1], Path(sys.argv[2])
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print is no answer
    pixels = np.load(folder / PIXELS, mmap_mode="r")
    batches = {size: np.resize(pixels, (size, *pixels.shape[1:])) for size in BATCHES}
    try:
        library, compute = KINDS[name](folder)
        for batch in batches.values():
            compute(batch)
    except Exception as error:  # noqa: BLE001  # each library has its own reasons, a missing compiler for one
        first = str(error).strip().partition("\n")[0]
        replies.write(json.dumps({"unavailable": first or type(error).__name__}) + "\n")
        return
    replies.write(json.dumps({"library": library}) + "\n")
    for line in sys.stdin:
        asked = json.loads(line)
        if "outputs" in asked:
            answer = outputs(compute, pixels, folder / asked["outputs"])
        else:
            answer = milliseconds(compute, batches[asked["batch"]], asked["seconds"])
        replies.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
