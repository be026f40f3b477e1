"""The rules by which a trial is judged."""

import pytest

from operations.evidence import Rules, judge

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


def test_rules_can_be_changed():
    assert judge(GOOD | {"agreement": 0.9}, Rules(least_agreement=0.9))[0] == "promote"
    assert judge(GOOD, Rules(least_pictures=401))[0] == "wait"
