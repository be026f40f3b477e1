"""How a request's pictures are put before one version of the model."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Final

from gateway.batching import PICTURES_TOGETHER, Batcher, Outcome
from gateway.problems import Problem
from gateway.torchserve import Prediction
from gateway.uploads import Upload

REQUESTS_AT_ONCE: Final = 4
"""So many such requests of one of ours are under way: enough to keep a few workers busy."""


@dataclass(frozen=True)
class Answers:
    """What one version answered to a request, and how long that took."""

    outcomes: list[Outcome]
    seconds: float

    @property
    def version(self) -> str:
        """The version's name; empty where no picture was answered."""
        return next((each.version for each in self.outcomes if isinstance(each, Prediction)), "")

    @property
    def is_whole(self) -> bool:
        """Whether every picture was answered, or refused for what it is."""
        return not any(isinstance(each, Problem) and each.status >= 500 for each in self.outcomes)


def ask_all(
    batcher: Batcher,
    uploads: list[Upload],
    request_id: str,
    *,
    until: float,
    version: str = "",
    once: bool = False,
) -> Answers:
    """Have every picture classified by one version, the default one if none is named; each gets its outcome.

    A single picture that the default version is asked for may go together with other requests'. All predictions are of
    one version, also when the model's default version changes meanwhile. `until` and `once` are
    those of `TorchServe.predict`.
    """
    began = time.perf_counter()
    most_bytes = batcher.torchserve.settings.max_image_bytes
    groups = _groups(uploads, most_bytes)
    ask = partial(_ask, batcher, request_id=request_id, most_bytes=most_bytes, until=until, once=once)
    with ThreadPoolExecutor(REQUESTS_AT_ONCE) if len(groups) > 1 else nullcontext() as pool:
        each = pool.map if pool else map
        outcomes = list(chain.from_iterable(each(partial(ask, version=version), groups)))
        versions = [outcome.version for outcome in outcomes if isinstance(outcome, Prediction)]
        if len(set(versions)) > 1:
            outcomes = list(chain.from_iterable(each(partial(ask, version=versions[-1]), groups)))
    return Answers(outcomes, time.perf_counter() - began)


def _groups(uploads: list[Upload], most_bytes: int) -> list[list[Upload]]:
    """Part the pictures, in order, into such groups as TorchServe takes in one request; an oversize one is alone."""
    groups: list[list[Upload]] = [[]]
    for upload in uploads:
        size = sum(len(each.data) for each in groups[-1]) + len(upload.data)
        if groups[-1] and (len(groups[-1]) == PICTURES_TOGETHER or size > most_bytes):
            groups.append([])
        groups[-1].append(upload)
    return groups


def _ask(
    batcher: Batcher,
    group: list[Upload],
    *,
    request_id: str,
    most_bytes: int,
    version: str,
    until: float,
    once: bool,
) -> Sequence[Outcome]:
    torchserve = batcher.torchserve
    try:
        if len(group) > 1:
            pictures = [upload.data for upload in group]
            return torchserve.predict_together(pictures, request_id, version=version, until=until, once=once)
        check_size(group[0], most_bytes)
        if not version and not once:
            return [batcher.ask(group[0].data, request_id, until=until)]
        return [torchserve.predict(group[0].data, request_id, version=version, until=until, once=once)]
    except Problem as problem:
        return [problem] * len(group)


def check_size(upload: Upload, most_bytes: int) -> None:
    """See that a picture is not too large.

    Raises:
        Problem: it is.
    """
    if len(upload.data) > most_bytes:
        raise Problem.too_large(most_bytes)
