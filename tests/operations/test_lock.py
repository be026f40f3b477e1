"""Two operators at once."""

import subprocess
import sys

import pytest

from operations.errors import Refused
from operations.lock import FILE_NAME, held
from tests.service import ROOT

HOLDER = """
import sys, time
from pathlib import Path
from operations.lock import held
with held(Path(sys.argv[1]), "promote"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", HOLDER, tmp_path], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_the_second_operator_is_told_who_is_at_what_since_when(tmp_path, holder):
    with (
        pytest.raises(Refused, match=rf"is at promote since \d{{4}}-.*\(process {holder.pid}\): wait"),
        held(tmp_path, "x"),
    ):
        pytest.fail("both have it")
    assert (tmp_path / FILE_NAME).exists()  # it is still the first one's


def test_who_dies_gives_it_back(tmp_path, holder):
    holder.kill()
    holder.wait()
    with held(tmp_path, "rollback"):
        pass


def test_it_is_given_back_when_the_command_fails_and_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), held(tmp_path, "remove"):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    with held(tmp_path, "remove"):
        assert "remove" in (tmp_path / FILE_NAME).read_text()
    assert list(tmp_path.iterdir()) == []


def test_a_holder_that_has_not_written_yet_is_still_one(tmp_path):
    with held(tmp_path, "add"):
        (tmp_path / FILE_NAME).write_text("")
        with pytest.raises(Refused, match="another operator is at it"), held(tmp_path, "add"):
            pytest.fail("both have it")


def test_where_no_lock_can_be_had_nothing_is_done(tmp_path):
    with pytest.raises(Refused, match="cannot be written"), held(tmp_path / "none", "add"):
        pytest.fail("without a lock")


def test_many_at_once_never_overlap(tmp_path):
    script = """
import sys, time
from pathlib import Path
from operations.errors import Refused
from operations.lock import held
folder, inside = Path(sys.argv[1]), Path(sys.argv[2])
got = 0
while got < 20:
    try:
        with held(folder, "x"):
            inside.mkdir()
            inside.rmdir()
            got += 1
    except Refused:
        time.sleep(0.001)
"""
    locks = tmp_path / "locks"
    locks.mkdir()
    command = [sys.executable, "-c", script, locks, tmp_path / "inside"]
    processes = [subprocess.Popen(command, cwd=ROOT) for _ in range(4)]
    assert [process.wait(60) for process in processes] == [0] * 4
    assert list(locks.iterdir()) == []
