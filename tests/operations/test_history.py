import os

import pytest

from operations.errors import Refused
from operations.history import Default, History

FIRST, SECOND, THIRD = (
    Default("1.0", "cifar10.mar"),
    Default("1.1", "cifar10-1.1.mar"),
    Default("1.2", "cifar10-1.2.mar"),
)


@pytest.fixture
def history(tmp_path):
    for default in (FIRST, SECOND, THIRD):
        (tmp_path / default.archive).write_bytes(b"")
    return History(tmp_path)


def record(history, defaults):
    with history.recording(defaults):
        pass


def test_what_fails_is_not_recorded(history, tmp_path):
    record(history, [FIRST])
    with pytest.raises(KeyError), history.recording([FIRST, SECOND]):
        raise KeyError
    assert history.defaults(FIRST) == [FIRST]
    assert history.defaults(SECOND) == [SECOND]
    assert not list(tmp_path.glob("*.new"))


def test_what_cannot_be_recorded_is_not_done(history, tmp_path):
    (tmp_path / "versions.new").mkdir()  # where the record would be written
    with pytest.raises(Refused, match="cannot be written"), history.recording([FIRST]):
        pytest.fail("it was done")


def test_it_leads_back_only_from_the_default_it_knows(history, tmp_path):
    with pytest.raises(Refused, match="nothing to go back to"):
        history.previous(FIRST)
    record(history, [*history.defaults(FIRST), SECOND])
    assert History(tmp_path).previous(SECOND) == "1.0"
    assert history.defaults(SECOND) == [FIRST, SECOND]
    # Somebody else has set another default meanwhile.
    assert history.defaults(THIRD) == [THIRD]
    with pytest.raises(Refused, match=r"no promotion led to version 1\.2"):
        history.previous(THIRD)


def test_a_start_loads_what_was_promoted_and_the_one_before(history):
    assert history.to_start_with("cifar10.mar") == ["cifar10.mar"]
    record(history, [FIRST, SECOND])
    assert history.to_start_with("cifar10.mar") == ["cifar10-1.1.mar", "cifar10.mar"]
    record(history, [FIRST, SECOND, THIRD])
    assert history.to_start_with("cifar10.mar") == ["cifar10-1.2.mar", "cifar10-1.1.mar"]
    record(history, [FIRST])
    assert history.to_start_with("cifar10.mar") == ["cifar10.mar"]


def test_a_start_loads_what_was_packed_after_the_last_promotion(history, tmp_path):
    record(history, [FIRST, SECOND])
    promoted = history.path.stat().st_mtime
    os.utime(tmp_path / "cifar10.mar", (promoted + 1, promoted + 1))
    assert history.to_start_with("cifar10.mar") == ["cifar10.mar"]


def test_a_start_does_without_what_is_gone_or_damaged(history, tmp_path):
    record(history, [FIRST, SECOND, THIRD])
    (tmp_path / SECOND.archive).unlink()  # removed after the promotion of the third
    assert history.to_start_with("cifar10.mar") == ["cifar10-1.2.mar"]
    (tmp_path / THIRD.archive).unlink()
    assert history.to_start_with("cifar10.mar") == ["cifar10.mar"]
    history.path.write_text('{"defaults": ')
    assert history.to_start_with("cifar10.mar") == ["cifar10.mar"]


@pytest.mark.parametrize("text", ['{"defaults": ', "[]", '{"defaults": [{"version": "1"}]}'])
def test_a_damaged_record_is_said(history, text):
    history.path.write_text(text)
    with pytest.raises(Refused, match="mend or delete it"):
        history.previous(FIRST)
