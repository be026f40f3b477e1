"""A version on trial in a real gateway before a real TorchServe, and the commands for it."""

import errno
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from launcher.settings import Settings
from operations import lock
from operations.errors import Refused, Unreachable
from operations.evidence import figures_of
from operations.history import History
from operations.trial import FILE_NAME, Trial, TrialFile
from tests.operations.conftest import BETTER, SERVED, WORSE
from tests.operations.test_history import pack
from tests.operations.traffic import PHOTO
from tests.service import ROOT, eventually

pytestmark = pytest.mark.usefixtures("hurried")


@pytest.fixture
def trial(operate, operated):
    """Runs the command; afterwards nothing is on trial."""
    yield operate
    (operated.store / FILE_NAME).unlink(missing_ok=True)
    eventually(lambda: status(operated)["trial"] is None, 20)


def status(service):
    return requests.get(f"{service.gateway}/status.json", timeout=30).json()


def answered_by(service, count):
    """The versions that so many requests were answered by."""

    def ask(_):
        response = requests.post(f"{service.gateway}/api/v1/classify", data=PHOTO, timeout=60)
        assert response.status_code == 200
        return response.json()["model"]["version"]

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(ask, range(count)))


def on_trial(service):
    return lambda: status(service)["trial"] is not None


def test_canary_compare_decide(trial, operated, load):
    load(BETTER)
    dry = trial("canary", BETTER, "--share", "0.5", "--dry-run", "--json").document
    assert dry == {"version": BETTER, "done": False, "canary_share": 0.5, "shadow_share": 0.0}
    assert trial("compare").code == 1

    done = trial("canary", BETTER, "--share", "0.5")
    assert done.code == 0, done.err
    assert "answers 50% of the requests" in done.out
    eventually(on_trial(operated), 20)
    answers = answered_by(operated, 40)
    assert answers.count(BETTER) == answers.count(SERVED) == 20
    eventually(lambda: status(operated)["trial"]["requests"] == 20, 60)

    figures = trial("compare", "--json").document["trial"]
    assert (figures["default"], figures["candidate"]) == (SERVED, BETTER)
    assert (figures["agreement"], figures["answered"], figures["failed"]) == (1.0, 20, 0)
    assert figures["score_shift"] < -0.001  # it was made less sure
    assert "on trial" in trial("compare").out

    early = trial("decide")
    assert early.code == 1
    assert "has not shown enough yet" in early.err
    # Latency depends on what else the machine does, and is not the question here.
    generous = ("--least-pictures", 20, "--most-times-slower", 100, "--most-shift", 1)
    dry = trial("decide", *generous, "--dry-run", "--json").document
    assert (dry["verdict"], dry["done"]) == ("promote", False)
    assert on_trial(operated)()
    strict = trial("decide", "--least-pictures", 20, "--most-times-slower", 100, "--most-shift", 0, "--json").document
    assert (strict["verdict"], strict["done"]) == ("end", True)
    assert not (operated.store / FILE_NAME).exists()
    eventually(lambda: not on_trial(operated)(), 20)
    assert set(answered_by(operated, 4)) == {SERVED}


def test_decide_promotes_and_a_promotion_ends_the_trial(trial, operated, load):
    load(BETTER)
    assert trial("shadow", BETTER, "--share", "1").code == 0
    eventually(on_trial(operated), 20)
    assert set(answered_by(operated, 24)) == {SERVED}
    eventually(lambda: status(operated)["trial"]["requests"] + status(operated)["trial"]["dropped"] == 24, 60)
    rules = ("--least-pictures", 1, "--least-asked", 1, "--most-times-slower", 100, "--most-shift", 1)
    for _ in range(3):  # the machine may be busy while the two are measured side by side
        decided = trial("decide", *rules, "--json")
        if decided.code == 0:
            break
        assert "latency" in decided.document["error"]
    assert decided.code == 0, decided.out
    assert decided.document["version"] == BETTER
    assert not (operated.store / FILE_NAME).exists()
    assert set(answered_by(operated, 4)) == {BETTER}


def test_a_version_that_misnames_pictures_is_not_put_on_trial(trial, operated, load):
    load(WORSE)
    refused = trial("canary", WORSE)
    assert refused.code == 1
    assert "is not put on trial: golden pictures" in refused.err
    assert trial("remove", WORSE).code == 0


def test_a_version_on_trial_is_neither_removed_nor_left_without_workers(trial, operated, load):
    load(BETTER)
    assert trial("canary", BETTER).code == 0
    for arguments in (("remove", BETTER), ("scale", 0, "--version", BETTER)):
        refused = trial(*arguments)
        assert refused.code == 1
        assert "is on trial since" in refused.err
    assert trial("shadow", BETTER, "--share", "0.2").code == 0
    left = trial("canary", "off", "--json").document
    assert (left["canary_share"], left["shadow_share"]) == (0.0, 0.2)
    assert "nothing is on trial" in trial("shadow", "off").out
    again = trial("canary", "off")
    assert (again.code, "nothing is on trial" in again.err) == (1, True)


def test_a_candidate_without_workers_loses_no_request(trial, operated, load):
    load(BETTER)
    assert trial("canary", BETTER, "--share", "1").code == 0
    eventually(on_trial(operated), 20)
    assert BETTER in answered_by(operated, 2)
    url = f"{operated.management}/models/cifar10/{BETTER}?min_worker=0&max_worker=0&synchronous=true"
    assert requests.put(url, headers=operated.key("management"), timeout=60).ok
    try:
        assert SERVED in answered_by(operated, 6)
        assert status(operated)["trial"]["failed"] >= 1
        assert status(operated)["replicas"][0]["failures"] == 0
    finally:
        (operated.store / FILE_NAME).unlink()
        assert trial("scale", 2, "--version", BETTER).code == 0


def test_two_operators(trial, operated):
    script = "import sys,time;from pathlib import Path;from operations.lock import held\n"
    script += "with held(Path(sys.argv[1]),'promote'): print('held',flush=True); time.sleep(60)"
    command = [sys.executable, "-c", script, operated.run_folder]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as first:
        try:
            assert first.stdout
            assert first.stdout.readline() == "held\n"
            refused = trial("scale", 2, "--json")
            assert refused.code == 1
            assert f"is at promote since {time.strftime('%Y-')}" in refused.document["error"]
            assert trial("list").code == 0
            assert trial("scale", 2, "--dry-run").code == 0
        finally:
            first.kill()
    assert trial("scale", 2).code == 0
    assert not (operated.run_folder / lock.FILE_NAME).exists()


@pytest.mark.parametrize("arguments", [["canary"], ["canary", "1", "--share", "0"], ["shadow", "1", "--share", "1.5"]])
def test_wrong_arguments_are_exit_code_2(operate, arguments):
    assert operate(*arguments).code == 2


def test_a_start_loads_what_is_on_trial(tmp_path, monkeypatch):
    monkeypatch.delenv("GATEWAY_TRIAL_FILE", raising=False)
    history, trials = History(tmp_path), TrialFile.of(tmp_path)
    pack(tmp_path / "cifar10.mar", "7")
    trials.begin("9", "cifar10-9.mar", "canary", 0.1)
    assert history.to_start_with(print) == ["cifar10.mar"]  # its archive is gone
    pack(tmp_path / "cifar10-9.mar", "9")
    assert history.to_start_with(print) == ["cifar10.mar", "cifar10-9.mar"]
    trials.path.write_text("{")
    assert history.to_start_with(print) == ["cifar10.mar"]


def test_one_version_at_a_time(tmp_path):
    trials = TrialFile(tmp_path / FILE_NAME)
    began = trials.begin("9", "a.mar", "canary", 0.1)
    assert trials.read() == began == Trial("9", "a.mar", 0.1, 0.0, began.since)
    with pytest.raises(Refused, match="version 9 is on trial since"):
        trials.begin("10", "b.mar", "canary", 0.1)
    assert trials.begin("9", "a.mar", "shadow", 0.5).since == began.since
    trials.path.write_text(json.dumps({"candidate": "9"}))
    with pytest.raises(Refused, match="mend or delete"):
        trials.read()


def test_a_trial_whose_file_cannot_be_deleted_goes_on(tmp_path, monkeypatch):
    trials = TrialFile(tmp_path / FILE_NAME)
    trials.begin("9", "a.mar", "canary", 0.1)

    def unlink(*_, **__):
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr("pathlib.Path.unlink", unlink)
    with pytest.raises(Refused, match=r"trial\.json cannot be deleted \(Operation not permitted\)"):
        trials.end()
    assert trials.read()


def test_a_place_that_cannot_be_written_is_said(tmp_path):
    with pytest.raises(Refused, match="GATEWAY_TRIAL_FILE"):
        TrialFile(tmp_path / "none" / FILE_NAME).begin("9", "a.mar", "canary", 0.1)


def test_a_gateway_that_is_away_or_shut_is_said(operated, monkeypatch):
    settings = Settings(gateway_port=operated.ports["GATEWAY_PORT"])
    with pytest.raises(Unreachable, match=r"no gateway answers at http://127\.0\.0\.1:9"):
        figures_of(settings, ["http://127.0.0.1:9/"])
    with pytest.raises(Refused, match="nothing is on trial at"):
        figures_of(settings, [])
