import hashlib
import json
import os
import zipfile

import pytest

from operations.errors import Refused
from operations.history import Default, History

FIRST, SECOND, THIRD = (
    Default("1.0", "cifar10.mar"),
    Default("1.1", "cifar10-1.1.mar"),
    Default("1.2", "cifar10-1.2.mar"),
)


def pack(path, version, weights=b"weights"):
    """As much of an archive as is looked at."""
    described = {"modelName": "cifar10", "modelVersion": version, "serializedFile": "weights.safetensors"}
    manifest = {"version": version, "sha256": hashlib.sha256(weights).hexdigest()}
    with zipfile.ZipFile(path, "w") as bundle:
        bundle.writestr("MAR-INF/MANIFEST.json", json.dumps({"model": described}))
        bundle.writestr("manifest.json", json.dumps(manifest))
        bundle.writestr("weights.safetensors", weights)


@pytest.fixture
def history(tmp_path, monkeypatch):
    monkeypatch.delenv("GATEWAY_TRIAL_FILE", raising=False)
    for default in (FIRST, SECOND, THIRD):
        pack(tmp_path / default.archive, default.version)
    return History(tmp_path)


def start(history):
    """What a start loads, and what it says."""
    said: list[str] = []
    return history.to_start_with(said.append), said


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
    assert start(history) == (["cifar10.mar"], [])
    record(history, [FIRST, SECOND])
    assert start(history) == (["cifar10-1.1.mar", "cifar10.mar"], [])
    record(history, [FIRST, SECOND, THIRD])
    assert start(history) == (["cifar10-1.2.mar", "cifar10-1.1.mar"], [])
    record(history, [FIRST])
    assert start(history) == (["cifar10.mar"], [])


def test_a_start_loads_what_has_been_packed_anew_since_the_last_promotion(history, tmp_path):
    """An image's archive may be older than the promotion, and another one all the same."""
    record(history, [FIRST, SECOND])
    path = tmp_path / "cifar10.mar"
    times = path.stat().st_atime, path.stat().st_mtime
    pack(path, "1.0")
    os.utime(path, (times[0] + 100, times[1] + 100))
    assert start(history) == (["cifar10-1.1.mar", "cifar10.mar"], [])  # of the same bytes
    pack(path, "1.0", b"other weights")
    os.utime(path, times)
    assert start(history) == (["cifar10.mar"], [])


def test_a_record_without_the_packed_archives_hash_goes_by_dates(history, tmp_path):
    record(history, [FIRST, SECOND])
    document = json.loads(history.path.read_text())
    del document["packed"]
    history.path.write_text(json.dumps(document))
    assert start(history)[0] == ["cifar10-1.1.mar", "cifar10.mar"]
    promoted = history.path.stat().st_mtime
    os.utime(tmp_path / "cifar10.mar", (promoted + 1, promoted + 1))
    assert start(history)[0] == ["cifar10.mar"]


def test_a_start_does_without_what_is_gone_or_damaged(history, tmp_path):
    record(history, [FIRST, SECOND, THIRD])
    (tmp_path / SECOND.archive).unlink()  # removed after the promotion of the third
    assert start(history) == (["cifar10-1.2.mar"], [])
    data = (tmp_path / THIRD.archive).read_bytes()
    (tmp_path / THIRD.archive).write_bytes(data[:100])
    archives, [said] = start(history)
    assert archives == ["cifar10.mar"]
    assert "version 1.2 is left out: " in said
    (tmp_path / THIRD.archive).unlink()
    assert start(history) == (["cifar10.mar"], [])
    history.path.write_text('{"defaults": ')
    assert start(history) == (["cifar10.mar"], [])


def test_a_start_loads_no_version_twice_and_none_that_is_another(history, tmp_path):
    """TorchServe would end at once, and be started again for ever."""
    pack(tmp_path / "cifar10.mar", "1.1")
    record(history, [FIRST, SECOND])
    archives, [said] = start(history)
    assert archives == ["cifar10-1.1.mar"]
    assert said == f"version 1.0 is left out: {tmp_path}/cifar10.mar holds version 1.1"
    pack(tmp_path / "cifar10.mar", "1.10")  # the same number
    trial = {"candidate": "1.1", "archive": "cifar10-1.1.mar", "canary_share": 0.1}
    (tmp_path / "trial.json").write_text(json.dumps(trial))
    archives, [said] = start(history)
    assert archives == ["cifar10.mar"]
    assert said == f"{tmp_path}/cifar10-1.1.mar is left out: version 1.1 is loaded from cifar10.mar"


@pytest.mark.parametrize("text", ['{"defaults": ', "[]", '{"defaults": [{"version": "1"}]}'])
def test_a_damaged_record_is_said(history, text):
    history.path.write_text(text)
    with pytest.raises(Refused, match="mend or delete it"):
        history.previous(FIRST)
