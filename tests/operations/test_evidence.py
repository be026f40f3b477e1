"""The rules by which a trial is judged."""

import random
from collections import Counter
from dataclasses import replace

import pytest

from gateway.evidence import Figures
from gateway.recent import bin_of
from gateway.trial import Trial
from operations.errors import Refused
from operations.evidence import Rules, judge, together

GOOD = {
    "candidate": "9", "default": "7", "asked": 200, "failed": 0, "answered": 100, "dropped": 0, "requests": 200,
    "pictures": 400, "agreement": 0.98, "score_shift": 0.01,
    "seconds": {"default": {"p50": 0.01, "p95": 0.02}, "candidate": {"p50": 0.01, "p95": 0.03}},
}  # fmt: skip


def seconds(candidate):
    return {"default": {"p50": 0.01, "p95": 0.02}, "candidate": {"p50": 0.01, "p95": candidate}}


@pytest.mark.parametrize(
    ("figures", "verdict", "failed"),
    [
        ({}, "promote", []),
        ({"pictures": 199}, "wait", ["evidence"]),
        ({"asked": 19, "failed": 19, "pictures": 0, "agreement": None}, "wait", ["evidence"]),
        ({"asked": 20, "failed": 1, "pictures": 0, "agreement": None}, "end", ["failures"]),
        ({"failed": 2}, "promote", []),
        ({"failed": 3}, "end", ["failures"]),
        ({"agreement": 0.949}, "end", ["agreement"]),
        ({"score_shift": -0.051}, "end", ["score"]),
        ({"score_shift": 0.051}, "end", ["score"]),
        ({"score_shift": None}, "end", ["score"]),
        ({"seconds": seconds(0.041)}, "end", ["latency"]),
        ({"seconds": seconds(0.039)}, "promote", []),
        ({"agreement": 0.5, "score_shift": 0.2}, "end", ["agreement", "score"]),
    ],
)
def test_verdicts(figures, verdict, failed):
    found, checks = judge(GOOD | figures, Rules())
    assert found == verdict
    assert [check.name for check in checks if not check.passed] == failed


def test_without_a_picture_there_is_nothing_to_judge():
    nothing = {"asked": 0, "pictures": 0, "agreement": None, "score_shift": None, "seconds": seconds(None)}
    assert judge(GOOD | nothing, Rules(least_pictures=0, least_asked=0))[0] == "wait"


def test_rules_can_be_changed():
    assert judge(GOOD | {"agreement": 0.9}, Rules(least_agreement=0.9))[0] == "promote"
    assert judge(GOOD, Rules(least_pictures=401))[0] == "wait"


TRIAL = Trial("9", 0.5, 0.0, "now")
NONE = Figures(TRIAL, "")


def figures(rng, pictures):
    """What a gateway may have counted."""

    def times():
        return Counter(bin_of(rng.lognormvariate(-4, 1)) for _ in range(pictures // 2))

    return Figures(
        TRIAL, "7", pictures, 3, pictures // 3, 2, pictures // 2, pictures, pictures - 9, pictures - 5,
        rng.uniform(-4, 4), times(), times(),
    )  # fmt: skip


def added(one, other):
    counts = ("asked", "failed", "answered", "dropped", "requests", "pictures", "agreed", "scored", "shift")
    tallies = ("default_times", "candidate_times")
    return replace(one, **{name: getattr(one, name) + getattr(other, name) for name in (*counts, *tallies)})


def test_several_gateways_count_as_one_that_had_all_requests():
    rng = random.Random(1)
    one, other = figures(rng, 400), figures(rng, 90)
    found, whole = together([one.document(), NONE.document(), other.document()]), added(one, other).document()
    for name in ("candidate", "default", "asked", "failed", "answered", "dropped", "requests", "pictures", "agreement"):
        assert found[name] == whole[name], name
    assert found["score_shift"] == pytest.approx(whole["score_shift"])
    for role, quantiles in whole["seconds"].items():
        assert found["seconds"][role] == pytest.approx(quantiles)
    assert judge(found, Rules())[1] == judge(whole, Rules())[1]


def test_gateways_without_traffic_have_nothing_to_add():
    found = together([NONE.document(), NONE.document()])
    assert (found["default"], found["agreement"], found["score_shift"]) == (None, None, None)
    assert judge(found, Rules())[0] == "wait"


@pytest.mark.parametrize(
    "other",
    [
        replace(NONE, trial=replace(TRIAL, candidate="8")),
        replace(NONE, trial=replace(TRIAL, since="earlier")),
        replace(NONE, default="6"),
    ],
)
def test_gateways_that_try_something_else_are_not_added(other):
    with pytest.raises(Refused, match="Ask each by itself"):
        together([figures(random.Random(1), 50).document(), other.document()])
