"""What a version must show before it is promoted: that it is what its archive says, and no worse than the default."""

import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import comb
from typing import Any, Final

from model.labels import LABELS
from operations import sample
from operations.archive import Archive
from operations.errors import Refused
from operations.torchserve import TorchServe

LEAST_CHANCE: Final = 0.05
"""A version that got fewer pictures right is refused where chance alone would do that more seldom than this."""

MOST_TIMES_SLOWER: Final = 3.0
"""Generous: the network may be a larger one, and the machine is busy answering meanwhile."""


@dataclass(frozen=True)
class Check:
    """What was looked at and what was found."""

    name: str
    passed: bool
    finding: str
    may_be_forced: bool = True


Track = Callable[[Iterable[Any]], Iterable[Any]]


def check_weights(torchserve: TorchServe, version: str, archive: Archive) -> Check:
    """Compare the weights that a version says it answers with to those in its archive."""
    served = torchserve.manifest(version)
    if (served.version, served.sha256) == (archive.version, archive.sha256):
        return Check("weights", True, f"SHA-256 {archive.sha256[:12]}…, as in {archive.path.name}", may_be_forced=False)
    finding = (
        f"it names version {served.version} and SHA-256 {served.sha256[:12]}…, but {archive.path.name} holds "
        f"{archive.version} and {archive.sha256[:12]}…"
    )
    return Check("weights", False, finding, may_be_forced=False)


def check_golden(torchserve: TorchServe, version: str) -> Check:
    """Have the golden pictures classified: each must get its label, in an answer of the contract's form."""
    wrong = []
    for path, label in sample.GOLDEN.items():
        answer = torchserve.ask(path.read_bytes(), version)
        if not is_well_formed(answer.document):
            wrong.append(f"the answer for {path.name} is not of the contract's form")
        elif answer.document["label"] != label:
            wrong.append(f"{path.name} is called {answer.document['label']}, not {label}")
    if wrong:
        return Check("golden pictures", False, "; ".join(wrong))
    return Check("golden pictures", True, f"all {len(sample.GOLDEN)} named rightly")


def is_well_formed(document: dict[str, Any]) -> bool:
    """Say whether an answer has all ten labels once, with falling probabilities that make one."""
    scores = document.get("scores")
    if not isinstance(scores, list) or sorted(entry.get("label") for entry in scores) != sorted(LABELS):
        return False
    values = [entry["score"] for entry in scores]
    return (
        values == sorted(values, reverse=True)
        and abs(sum(values) - 1) < 1e-4
        and document.get("label") == scores[0]["label"]
        and isinstance(document.get("in_scope"), bool)
    )


def check_sample(torchserve: TorchServe, old: str, new: str, track: Track) -> list[Check]:
    """Have both versions classify the validation sample, in turn; compare how many they get right and their time."""
    olds, news, right = [], [], []
    for picture, label in track(sample.pictures()):
        first, second = torchserve.ask(picture, old), torchserve.ask(picture, new)
        if (first.version, second.version) != (old, new):
            raise Refused(
                f"versions {old} and {new} were asked, but {first.version} and {second.version} answered: remove the "
                "one that lies about itself"
            )
        olds.append(first.seconds)
        news.append(second.seconds)
        right.append((first.document["label"] == label, second.document["label"] == label))
    return [judge_accuracy(right), judge_latency(statistics.median(olds), statistics.median(news))]


def judge_accuracy(right: list[tuple[bool, bool]]) -> Check:
    """Judge by a sign test of the pictures that only one of the two, (old, new), got right."""
    old, new = (sum(column) for column in zip(*right, strict=True))
    lost, won = right.count((True, False)), right.count((False, True))
    chance = chance_of_losing(lost, won)
    finding = f"{new} of {len(right)} right, the serving version {old}"
    if new < old and chance < LEAST_CHANCE:
        return Check("accuracy", False, f"{finding}: chance would do that once in {1 / chance:,.0f} times")
    return Check("accuracy", True, finding)


def chance_of_losing(lost: int, won: int) -> float:
    """Give the chance that a coin falls on one side at least `lost` times in `lost + won` throws."""
    throws = lost + won
    return float(sum(comb(throws, count) for count in range(lost, throws + 1)) / 2**throws)


def judge_latency(old_seconds: float, new_seconds: float) -> Check:
    """Judge by the median time of a picture."""
    finding = f"{new_seconds * 1000:.0f} ms a picture, the serving version {old_seconds * 1000:.0f} ms"
    if new_seconds > MOST_TIMES_SLOWER * old_seconds:
        return Check("latency", False, f"{finding}: more than {MOST_TIMES_SLOWER:g} times as long")
    return Check("latency", True, finding)
