"""Single pictures of many requests: when they go together, and what becomes of each."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from gateway import batching
from gateway.batching import LARGEST_BYTES, PICTURES_TOGETHER, Batcher
from gateway.problems import Problem
from gateway.settings import Settings
from gateway.torchserve import ModelTimeout, ModelUnavailable, Prediction, TorchServe
from tests.service import eventually

BATCHES = 3


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    """Nothing counts as stuck however slow this machine is."""
    monkeypatch.setattr(batching, "STUCK_SECONDS", 60.0)


@pytest.fixture
def batcher(torchserve, key_file):
    client = TorchServe(
        Settings(torchserve_url=f"http://127.0.0.1:{torchserve.server_port}", key_file=key_file, batches=BATCHES)
    )
    yield Batcher(client)
    torchserve.open.set()
    client.pool.clear()


@pytest.fixture
def ask(batcher):
    """Asks in a thread of its own."""
    with ThreadPoolExecutor(64) as pool:

        def ask(image=b"picture", request_id="id", *, seconds=10.0):
            return pool.submit(batcher.ask, image, request_id, until=time.monotonic() + seconds)

        yield ask


@pytest.fixture
def occupy(torchserve, ask):
    """Has as many questions under way as there may be, which are not answered before `torchserve.open` is set."""

    def occupy(seconds=10.0):
        torchserve.open.clear()
        asked = [ask(b"first", seconds=seconds) for _ in range(BATCHES)]
        eventually(lambda: len(torchserve.seen) == BATCHES, 5)
        return asked

    return occupy


def waiting(batcher, count):
    eventually(lambda: len(batcher._waiting) == count, 5)


def bodies(torchserve):
    return sorted(body for _, _, body in torchserve.seen if body != b"first")


def test_a_lone_picture_goes_alone_and_at_once(torchserve, batcher):
    for _ in range(5):
        outcome = batcher.ask(b"picture", "id", until=time.monotonic() + 10)
        assert isinstance(outcome, Prediction)
    assert torchserve.seen == [("Bearer first", "id", b"picture")] * 5


def test_pictures_that_come_meanwhile_go_together_under_their_own_ids(torchserve, batcher, ask, occupy):
    first = occupy()
    asked = []
    for number in range(PICTURES_TOGETHER + 2):
        asked.append(ask(b"%d" % number, f"id{number}"))
        waiting(batcher, number + 1)
    torchserve.open.set()
    assert all(isinstance(each.result(), Prediction) for each in first + asked)
    group = b"".join(b"%d" % number for number in range(PICTURES_TOGETHER))
    assert bodies(torchserve) == [group, b"89"]
    assert {ids for _, ids, body in torchserve.seen if body == b"89"} == {"id8,id9"}


def test_what_a_picture_waited_counts_as_its_wait_for_a_worker(torchserve, batcher, ask, occupy):
    occupy()
    asked = ask()
    waiting(batcher, 1)
    time.sleep(0.2)
    torchserve.open.set()
    assert asked.result().stages["queue"] > 0.2


def test_a_bad_picture_costs_its_own_request_only(torchserve, batcher, ask, occupy):
    occupy()
    asked = [ask(image) for image in (b"good", b"bad", b"better")]
    waiting(batcher, 3)
    torchserve.open.set()
    good, bad, better = (each.result() for each in asked)
    assert isinstance(good, Prediction)
    assert isinstance(bad, Problem)
    assert bad.status == 422
    assert isinstance(better, Prediction)
    assert len(bodies(torchserve)) == 1


def test_a_version_that_knows_of_one_picture_only_gets_one_at_a_time(torchserve, batcher, ask, occupy):
    torchserve.is_old = True
    occupy()
    asked = [ask(image) for image in (b"good", b"bad")]
    waiting(batcher, 2)
    torchserve.open.set()
    good, bad = (each.result() for each in asked)
    assert isinstance(good, Prediction)
    assert isinstance(bad, Problem)


def test_a_large_picture_neither_waits_nor_is_waited_for(torchserve, batcher, ask, occupy):
    occupy()
    large = bytes(LARGEST_BYTES + 1)
    asked = ask(large)
    eventually(lambda: bodies(torchserve) == [large], 5)
    torchserve.open.set()
    assert isinstance(asked.result(), Prediction)


def test_what_is_not_asked_in_time_is_a_timeout_and_not_asked_later(torchserve, batcher, ask, occupy):
    first = occupy()
    late = ask(b"late", seconds=0.2)
    assert isinstance(late.result(), ModelTimeout)
    waiting(batcher, 0)
    torchserve.open.set()
    assert all(isinstance(each.result(), Prediction) for each in first)
    assert bodies(torchserve) == []


def test_who_had_more_time_is_asked_for_again(torchserve, batcher, ask, occupy):
    """The first of a group has less time left than the second, and nothing is answered before it is over."""
    first = occupy(seconds=1.0)
    short = ask(b"short", seconds=1.3)
    waiting(batcher, 1)
    long = ask(b"long")
    waiting(batcher, 2)
    assert all(isinstance(each.result(), ModelTimeout) for each in [*first, short])
    torchserve.open.set()
    assert isinstance(long.result(), Prediction)


def test_all_of_a_group_that_gets_no_answer_hear_of_it_and_the_next_is_answered(torchserve, batcher, ask, occupy):
    occupy()
    asked = [ask() for _ in range(4)]
    waiting(batcher, 4)
    torchserve.script = [500] * (2 * BATCHES + 2)  # each is asked twice
    torchserve.open.set()
    assert all(isinstance(each.result(), ModelUnavailable) for each in asked)
    assert isinstance(ask().result(), Prediction)
    assert not batcher._under_way


def test_nobody_waits_for_ever_when_something_unforeseen_happens(batcher, ask, occupy, torchserve, monkeypatch):
    occupy()
    asked = [ask() for _ in range(3)]
    waiting(batcher, 3)
    monkeypatch.setattr(batcher.torchserve, "predict_together", lambda *_, **__: 1 / 0)
    torchserve.open.set()
    with pytest.raises(ZeroDivisionError):
        asked[0].result()
    assert all(isinstance(each.result(), ModelUnavailable) for each in asked[1:])
    assert isinstance(ask().result(), Prediction)


def test_a_worker_that_hangs_holds_up_nobody_else(batcher, ask, monkeypatch):
    monkeypatch.setattr(batching, "STUCK_SECONDS", 2.0)
    released, predict = threading.Event(), batcher.torchserve.predict

    def predict_or_hang(image, *arguments, **options):
        if image == b"first":
            released.wait(10)
        return predict(image, *arguments, **options)

    monkeypatch.setattr(batcher.torchserve, "predict", predict_or_hang)
    first = [ask(b"first") for _ in range(BATCHES)]
    eventually(lambda: len(batcher._under_way) == BATCHES, 5)
    asked = [ask() for _ in range(20)]
    assert all(isinstance(each.result(5), Prediction) for each in asked)
    assert isinstance(ask().result(1.5), Prediction)  # who comes now does not even wait for that
    assert not any(each.done() for each in first)
    released.set()
    assert all(isinstance(each.result(), Prediction) for each in first)
    assert not batcher._under_way


def test_a_crowd_of_any_size_is_answered_each_its_own(torchserve, batcher, ask):
    """Many threads at once, some with less time than it takes: every one gets exactly one outcome, none is mixed up."""
    barrier = threading.Barrier(32)

    def many(number):
        barrier.wait()
        image = b"bad" if number % 5 == 0 else b"picture"
        return [batcher.ask(image, f"{number}-{turn}", until=time.monotonic() + 10) for turn in range(20)]

    with ThreadPoolExecutor(32) as pool:
        for number, outcomes in enumerate(pool.map(many, range(32))):
            assert [isinstance(each, Prediction) for each in outcomes] == [number % 5 != 0] * 20
    asked = [request_id for _, ids, _ in torchserve.seen for request_id in ids.split(",")]
    assert sorted(asked) == sorted(f"{number}-{turn}" for number in range(32) for turn in range(20))
    assert len(torchserve.seen) < 32 * 20
    assert not batcher._under_way
