"""From a request's pictures to what became of each."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import partial
from itertools import chain
from typing import Final, cast

from flask import current_app

from gateway.metrics import Metrics
from gateway.problems import Problem
from gateway.settings import Settings
from gateway.torchserve import Prediction, TorchServe
from gateway.uploads import Upload

PICTURES_TOGETHER: Final = 8
"""Pictures that TorchServe is asked for at once: others wait for a worker only as long as these take."""
REQUESTS_AT_ONCE: Final = 4
"""So many such requests of one of ours are under way: enough to keep a few workers busy."""

Outcome = Prediction | Problem


def classify_all(uploads: list[Upload], request_id: str) -> list[Outcome]:
    """Have every picture classified; each gets its prediction or its problem.

    All predictions are of one version, also when the model's default version changes meanwhile.
    """
    settings = cast(Settings, current_app.extensions["settings"])
    groups = _groups(uploads, settings.max_image_bytes)
    ask = partial(_ask, _torchserve(), request_id=request_id, most_bytes=settings.max_image_bytes)
    with ThreadPoolExecutor(REQUESTS_AT_ONCE) if len(groups) > 1 else nullcontext() as pool:
        each = pool.map if pool else map
        outcomes = list(chain.from_iterable(each(ask, groups)))
        versions = [outcome.version for outcome in outcomes if isinstance(outcome, Prediction)]
        if len(set(versions)) > 1:
            outcomes = list(chain.from_iterable(each(partial(ask, version=versions[-1]), groups)))
    _count(outcomes)
    return outcomes


def explained(upload: Upload, request_id: str) -> Outcome:
    """Have one picture classified, with what spoke for its class."""
    settings = cast(Settings, current_app.extensions["settings"])
    try:
        _check_size(upload, settings.max_image_bytes)
        outcome: Outcome = _torchserve().predict(upload.data, request_id, explain=True)
    except Problem as problem:
        outcome = problem
    _count([outcome])
    return outcome


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
    torchserve: TorchServe, group: list[Upload], *, request_id: str, most_bytes: int, version: str = ""
) -> Sequence[Outcome]:
    try:
        if len(group) > 1:
            return torchserve.predict_together([upload.data for upload in group], request_id, version=version)
        _check_size(group[0], most_bytes)
        return [torchserve.predict(group[0].data, request_id, version=version)]
    except Problem as problem:
        return [problem] * len(group)


def _check_size(upload: Upload, most_bytes: int) -> None:
    if len(upload.data) > most_bytes:
        raise Problem.too_large(most_bytes)


def _count(outcomes: list[Outcome]) -> None:
    metrics = cast(Metrics, current_app.extensions["metrics"])
    for outcome in outcomes:
        if isinstance(outcome, Problem):
            metrics.count_problem(outcome.kind)
            if len(outcomes) > 1:  # a single one becomes the request's own
                metrics.recent.count_problem(outcome.kind)
        else:
            metrics.count_answer(outcome)


def _torchserve() -> TorchServe:
    return cast(TorchServe, current_app.extensions["torchserve"])
