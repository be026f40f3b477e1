"""Few explanations at once, the others in turn."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from gateway.explaining import AT_ONCE
from tests.service import eventually

WAITING = 3


@pytest.fixture
def app(make_app):
    return make_app(threads=2 * WAITING)


@pytest.fixture
def explain(app):
    """Sends so many requests for an explanation, each in a thread; gives what their answers will be."""
    with ThreadPoolExecutor(AT_ONCE + WAITING) as pool:
        yield lambda count: [
            pool.submit(app.test_client().post, "/api/v1/explain", data=b"picture") for _ in range(count)
        ]


def test_few_are_asked_for_at_once_and_all_answered(explain, torchserve):
    torchserve.open.clear()
    answers = explain(AT_ONCE + WAITING)
    eventually(lambda: len(torchserve.seen) == AT_ONCE, 5)
    time.sleep(0.2)
    assert len(torchserve.seen) == AT_ONCE
    torchserve.open.set()
    assert [each.result().status_code for each in answers] == len(answers) * [200]
    assert len(torchserve.seen) == len(answers)


def test_who_would_wait_with_too_many_others_is_refused_at_once(app, explain, torchserve):
    torchserve.open.clear()
    answers = explain(AT_ONCE + WAITING)
    eventually(lambda: app.extensions["explaining"]._waiting == WAITING, 5)
    refused = app.test_client().post("/api/v1/explain", data=b"picture")
    torchserve.open.set()
    assert [each.result().status_code for each in answers] == len(answers) * [200]
    assert (refused.status_code, refused.get_json()["type"]) == (503, "/problems/overloaded")
    assert refused.headers["Retry-After"]


def test_who_gets_no_turn_in_time_is_told_so_and_holds_up_nobody(explain, torchserve):
    torchserve.open.clear()
    answers = explain(AT_ONCE + 1)
    assert [each.result().status_code for each in answers] == len(answers) * [504]
    torchserve.open.set()
    assert explain(1)[0].result().status_code == 200
