"""Starting again what ends, on real processes that do nothing."""

import errno
import os
import sys
from types import SimpleNamespace
from typing import cast

import pytest

from launcher import supervisor
from launcher.processes import Child
from launcher.supervisor import Part, Watch
from tests.service import eventually


@pytest.fixture
def says():
    return []


@pytest.fixture
def make_part(tmp_path, says):
    parts = []

    def make(code):
        started = []

        def start():
            started.append(Child("it", [sys.executable, "-c", code], dict(os.environ), tmp_path))
            return started[-1]

        part = Part("it", start, says.append, stop_seconds=1)
        parts.append(part)
        return part, started

    yield make
    for part in parts:
        part.child.stop(0)


def test_what_runs_is_left_alone(make_part, says):
    part, started = make_part("import time; time.sleep(60)")
    for _ in range(5):
        part.revive()
    assert len(started) == 1
    assert says == []


def test_what_keeps_ending_is_started_again_after_longer_and_longer_pauses(make_part, says, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("launcher.supervisor.time.monotonic", lambda: now[0])
    part, started = make_part("raise SystemExit(3)")
    for _ in range(8):
        part.child.process.wait(30)
        part.revive()  # notes it
        part.revive()
        now[0] += 40
        part.revive()
    pauses = [float(said.split()[-2]) for said in says]
    assert pauses == [0, 1, 3, 7, 15, 30, 30, 30]
    assert all("exit code 3" in said for said in says)
    assert len(started) == 9


def test_one_that_fails_all_night_is_still_started_again(make_part, says, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("launcher.supervisor.time.monotonic", lambda: now[0])
    part, started = make_part("pass")
    part._failures = 5000
    part.child.process.wait(30)
    part.revive()
    now[0] += supervisor.LONGEST_PAUSE_SECONDS
    part.revive()
    assert len(started) == 2
    assert "in 30 seconds" in says[-1]


def test_one_that_cannot_be_started_just_now_is_tried_again(make_part, says, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("launcher.supervisor.time.monotonic", lambda: now[0])
    part, started = make_part("pass")
    start = part._start

    def cannot():
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    part._start = cannot
    part.child.process.wait(30)
    part.revive()
    part.revive()
    assert says[-1] == "it could not be started (Resource temporarily unavailable); trying again in 1 seconds"
    part._start = start
    part.revive()
    assert len(started) == 1
    now[0] += 1
    part.revive()
    assert len(started) == 2


def test_one_that_ran_steadily_is_started_again_at_once(make_part, says, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("launcher.supervisor.time.monotonic", lambda: now[0])
    part, _ = make_part("import time; time.sleep(60)")
    for _ in range(3):
        part.child.process.kill()
        part.child.process.wait()
        part.revive()
        part.revive()
        now[0] += supervisor.STEADY_SECONDS + 1
        part.revive()
    assert all("in 0 seconds" in said for said in says)


def test_a_stop_waits_as_long_as_was_said(says):
    waited: list[float] = []
    child = cast(Child, SimpleNamespace(stop=waited.append))
    Part("it", lambda: child, says.append, stop_seconds=70).stop()
    assert waited == [70]


@pytest.mark.parametrize(("has_answered", "allowed"), [(False, 100), (True, 10)])
def test_silence_is_ended_when_it_has_lasted_too_long(make_part, says, monkeypatch, has_answered, allowed):
    now = [1000.0]
    monkeypatch.setattr("launcher.supervisor.time.monotonic", lambda: now[0])
    part, _ = make_part("import time; time.sleep(60)")
    now[0] += 1
    watch = Watch(part, lambda: False, says.append, start_seconds=100, silence_seconds=10)
    now[0] += 1
    if not has_answered:
        part.started = now[0]  # it was started again
    while now[0] < 1000 + allowed - 2:
        now[0] += 1
        watch.look()
    assert part.exit_code is None
    now[0] += 5
    watch.look()
    assert part.exit_code is not None
    assert "has answered no prediction" in says[-1]


def test_one_that_answers_is_never_ended(make_part, says, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("launcher.supervisor.time.monotonic", lambda: now[0])
    part, _ = make_part("import time; time.sleep(60)")
    asked = []

    def answers():
        asked.append(now[0])
        return True

    watch = Watch(part, answers, says.append, start_seconds=5, silence_seconds=5)
    for _ in range(100):
        now[0] += 1
        watch.look()
    assert part.exit_code is None
    assert 45 <= len(asked) <= 55  # every two seconds


def test_a_real_clock_is_used_otherwise(make_part):
    part, started = make_part("pass")
    eventually(lambda: part.revive() or len(started) >= 2, 30)
