"""Short forms of `make chaos` and `make soak` on the real service: what is promised of requests, not how fast it is."""

import pytest

from benchmarks.load import Outcome
from gateway.settings import Settings
from gateway.worker import BURST_SECONDS
from resilience import report, trials
from resilience.stage import behind_a_proxy, stage
from resilience.traffic import ANSWERED, LABEL, REFUSED, Tally

BOUND_SECONDS = Settings().answer_timeout_seconds + 1
RATE = 20.0
SHOWS_LATE = (trials._suspend_worker, trials._suspend_torchserve)  # only silence tells what hangs from what is busy
MADE_BY = {"made_by": {"commit": "0123456789abcdef"}, "processor": "a processor"}
ONE_ANSWER = {ANSWERED, REFUSED, "504"}


@pytest.fixture(scope="module")
def service():
    with stage() as running:
        yield running


@pytest.fixture(scope="module")
def far(service):
    with behind_a_proxy(service) as running:
        yield running


def test_calm_is_counted_from_the_last_failure():
    tally = Tally()
    assert tally.calm_seconds == 0
    for sent, status in ((1.0, 200), (2.0, 503), (9.0, 200), (4.0, 200), (3.0, 504)):
        tally.note(Outcome(sent, 0.1, status, LABEL))
    assert tally.calm_seconds == 6


@pytest.mark.parametrize("fault", trials.FAULTS, ids=lambda fault: fault.name)
def test_every_request_gets_one_answer_in_time(service, far, fault):
    where = far if fault.is_in_the_network else service
    row = trials.fault(where, fault, RATE, ends_early=fault.begin not in SHOWS_LATE)
    allowed = set(ONE_ANSWER)
    if fault.begin is trials._kill_gateway:
        # What that process had in its hands is gone with it; a load balancer asks another (tests/containers).
        allowed.add("broken")
        assert row["outcomes"].get("broken", 0) <= RATE / 2
    assert set(row["outcomes"]) <= allowed, row
    assert row["longest_seconds"] <= BOUND_SECONDS, row
    assert row["outcomes"][ANSWERED] > row["requests"] / 3, row
    assert row["calm_seconds"] >= trials.CALM_SECONDS, row  # or it was watched to the end and all was not well again


def test_a_worker_killed_again_and_again_costs_next_to_nothing(service):
    row = trials.kills(service, rate=RATE, seconds=20, every=5, patience=30)
    assert row["kills"] == 3
    assert set(row["outcomes"]) <= {ANSWERED, REFUSED}
    assert row["answered_share"] >= 0.99
    assert row["longest_seconds"] <= BOUND_SECONDS


def test_overload_is_answered_or_refused(service):
    row = trials.overload(service, times=5, seconds=BURST_SECONDS + 1)  # longer than it is taken for a burst
    assert set(row["outcomes"]) == {ANSWERED, REFUSED}
    assert row["gateway_memory_mb"] < 400
    said = report.markdown({"overload": row | MADE_BY})
    assert f"{row['outcomes'][ANSWERED]:,} answered" in said
    assert "At commit 0123456789ab on a processor." in said


def test_use_does_not_grow_from_request_to_request(service):
    said = trials.soak(service, requests=3000, steps=3, say=print)
    assert said["errors"] == 0
    first, *_, last = said["uses"][1:]
    assert last["threads"] <= first["threads"]
    assert last["descriptors"] <= first["descriptors"] + 5
    assert last["files"] == first["files"]
    assert all(megabytes > 0 for megabytes in last["memory_mb"].values())
    assert f"| {last['requests']:,} | {sum(last['memory_mb'].values()):.0f} |" in report.markdown(
        {"soak": said | MADE_BY}
    )


def test_a_stop_loses_nothing_that_was_accepted(service):
    """The last one here, since it ends the service of all."""
    row = trials.stop(service, rate=50.0)
    assert set(row["outcomes"]) <= {ANSWERED, "not accepted"}
    assert row["outcomes"][ANSWERED] > 100
    assert row["stop_seconds"] < 20
