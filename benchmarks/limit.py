"""The limit: the same decoding and the same engine in bare loops, without a server around them."""

import multiprocessing
import time
from multiprocessing.synchronize import Barrier
from typing import Any, Final

import numpy as np

from handler.engine import open_engine
from model.classifier import Classifier
from model.manifest import WEIGHTS_PATH, Manifest

# processes, threads of each, pictures a batch; two cores allow no others that make sense
SHAPES: Final = ((2, 1, 1), (2, 1, 8), (2, 1, 32), (1, 2, 1), (1, 2, 8), (1, 2, 32))


def limit(picture: bytes, shape: tuple[int, int, int], seconds: float, engine: str = "auto") -> float:
    """Give how many pictures a second are decoded and classified in a shape of `SHAPES`."""
    processes, threads, batch = shape
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(processes)
    with context.Pool(processes, initializer=_share, initargs=(barrier,)) as pool:
        return sum(pool.starmap(_loop, [(picture, threads, batch, seconds, engine)] * processes, chunksize=1))


def single_image_seconds(picture: bytes, seconds: float, engine: str = "auto") -> float:
    """Give what decoding and classifying one picture alone takes, the median, with one thread."""
    classifier = _classifier(1, engine)
    took = []
    end = time.perf_counter() + seconds
    while (began := time.perf_counter()) < end:
        classifier.classify([classifier.read(picture)])
        took.append(time.perf_counter() - began)
    return float(np.median(took))


_shared: dict[str, Any] = {}


def _share(barrier: Barrier) -> None:
    _shared["barrier"] = barrier


def _classifier(threads: int, engine: str) -> Classifier:
    manifest = Manifest.read()
    return Classifier(open_engine(WEIGHTS_PATH, manifest, threads, engine)[0], manifest)


def _loop(picture: bytes, threads: int, batch: int, seconds: float, engine: str) -> float:
    classifier = _classifier(threads, engine)

    def once() -> None:
        classifier.classify([classifier.read(picture) for _ in range(batch)])

    once()
    _shared["barrier"].wait()
    done = 0
    began = time.perf_counter()
    while time.perf_counter() - began < seconds:
        once()
        done += batch
    return done / (time.perf_counter() - began)
