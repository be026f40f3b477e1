"""Changes before a stand-in for TorchServe, which fails and is asked when it is told to."""

import errno
import json
import os

import pytest

from launcher.settings import Settings
from operations.__main__ import arguments, decide, weights_of
from operations.errors import Failed, Refused, Unreachable
from operations.history import Default, History
from operations.report import Report
from operations.torchserve import Version
from operations.trial import FILE_NAME, TrialFile
from operations.versions import Versions
from tests.operations.test_history import pack

FIRST, SECOND = Default("1", "cifar10.mar"), Default("2", "two.mar")
RESPONSE_TIMEOUT = 10  # seconds


class StandIn:
    """As much of operations.torchserve.TorchServe as changes need, and a clock."""

    def __init__(self):
        self.default_name = "1"
        self.failure: BaseException | None = None  # what a look at the default ends with once it is another
        self.now = 1000.0
        self.asked_at = []
        self.removed_at = 0.0
        self.loaded_at = {"1": 0.0}
        self.no_manifest = Unreachable("TorchServe does not answer")

    def version(self, name):
        archive = {each.version: each.archive for each in (FIRST, SECOND)}[name]
        description = {
            "modelVersion": name,
            "modelUrl": archive,
            "minWorkers": 1,
            "workers": [{"status": "READY"}],
            "jobQueueStatus": {"pendingRequests": 0},
            "responseTimeout": RESPONSE_TIMEOUT,
        }
        return Version.of(description, self.default_name)

    def default(self):
        if self.failure and self.default_name != "1":
            raise self.failure
        return self.version(self.default_name)

    def set_default(self, name):
        self.default_name = name

    def manifest(self, _):
        raise self.no_manifest

    def requests_to(self, _):
        return sum(at <= self.now for at in self.asked_at)

    def check_model_api(self):
        pass

    def versions(self):
        return [self.version(name) for name, at in self.loaded_at.items() if at <= self.now]

    def register(self, _):
        """Takes a second for it, and is broken off at once."""
        self.loaded_at["2"] = self.now + 1
        raise KeyboardInterrupt

    def unregister(self, name):
        self.loaded_at.pop(name, None)
        self.removed_at = self.now

    # The clock of operations.versions

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


@pytest.fixture
def torchserve(monkeypatch):
    torchserve = StandIn()
    monkeypatch.setattr("operations.versions.time", torchserve)
    monkeypatch.delenv("GATEWAY_TRIAL_FILE", raising=False)
    return torchserve


@pytest.fixture
def versions(torchserve, tmp_path):
    return Versions(torchserve, tmp_path, timeout_seconds=60, dry_run=False)


@pytest.mark.parametrize("failure", [Unreachable("TorchServe does not answer"), KeyboardInterrupt()])
def test_what_fails_after_the_change_takes_no_record_along(torchserve, versions, tmp_path, failure):
    torchserve.failure = failure
    with pytest.raises(type(failure)):
        versions.promote("2")
    assert History(tmp_path).defaults(SECOND) == [FIRST, SECOND]


def test_a_damaged_trial_is_found_out_before_anything_is_changed(torchserve, versions, tmp_path):
    (tmp_path / FILE_NAME).write_text("{")
    with pytest.raises(Refused, match="mend or delete it"):
        versions.promote("2")
    assert torchserve.default_name == "1"
    assert [each.name for each in tmp_path.iterdir()] == [FILE_NAME]


def test_a_promotion_whose_trial_cannot_be_ended_says_so_and_is_recorded(torchserve, versions, tmp_path, monkeypatch):
    TrialFile(tmp_path / FILE_NAME).begin("2", "two.mar", "canary", 0.1)

    def unlink(*_, **__):
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr("pathlib.Path.unlink", unlink)
    with pytest.raises(Failed, match=r"version 2 is the default now, but still on trial: .* cannot be deleted"):
        versions.promote("2")
    assert History(tmp_path).defaults(SECOND) == [FIRST, SECOND]


def test_an_addition_that_is_broken_off_during_the_registration_leaves_nothing(torchserve, versions, tmp_path):
    store = tmp_path / "store"
    store.mkdir()
    versions.model_store = store
    pack(tmp_path / "new.mar", "2")
    with pytest.raises(KeyboardInterrupt):
        versions.add(tmp_path / "new.mar")
    assert list(torchserve.loaded_at) == ["1"]
    assert list(store.iterdir()) == []


def test_an_addition_that_torchserve_refuses_is_said_in_its_words(torchserve, versions, tmp_path, monkeypatch):
    def register(_):
        raise Refused("TorchServe refuses: no")

    monkeypatch.setattr(torchserve, "register", register)
    pack(tmp_path / "new.mar", "2")
    with pytest.raises(Refused, match="TorchServe refuses: no"):
        versions.add(tmp_path / "new.mar")
    assert [each.name for each in tmp_path.iterdir()] == ["new.mar"]


def test_a_version_goes_when_its_last_request_must_have_been_answered(torchserve, versions):
    """A worker may have that in hand until TorchServe kills it, and TorchServe does not tell."""
    last = torchserve.now + 3
    torchserve.asked_at = [0, last]
    versions.remove("2")
    assert last + RESPONSE_TIMEOUT <= torchserve.removed_at <= last + RESPONSE_TIMEOUT + 1


@pytest.mark.parametrize("failure", [Unreachable("TorchServe does not answer"), Refused("it does not classify")])
def test_a_version_that_does_not_answer_is_shown_without_its_weights(torchserve, failure):
    torchserve.no_manifest = failure
    assert weights_of(torchserve, torchserve.version("2")) == {"sha256": None, "accuracy": None}


@pytest.mark.parametrize("trial", [None, ("3", "2026-01-01"), ("2", "2026-01-02")])
def test_figures_of_another_trial_decide_nothing(versions, tmp_path, monkeypatch, trial):
    """Of another service's gateway, say, or from before this trial began anew."""
    figures = {"candidate": "2", "since": "2026-01-01"}
    monkeypatch.setattr("operations.__main__.figures_of", lambda *_: figures)
    monkeypatch.setattr("operations.__main__.judge", lambda *_: pytest.fail("they were judged"))
    if trial:
        candidate, since = trial
        document = {"candidate": candidate, "archive": "any.mar", "since": since}
        (tmp_path / FILE_NAME).write_text(json.dumps(document))
    options = arguments().parse_args(["decide"])
    with pytest.raises(Refused, match=r"figures are of version 2 since 2026-01-01, but .*trial\.json has"):
        decide(options, Settings(), versions, Report(as_json=True))
    versions.trial_file.path.write_text(json.dumps(figures | {"archive": "two.mar"}))
    versions.check_trial(**figures)
