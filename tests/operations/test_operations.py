"""The operator's command before a real TorchServe with two versions."""

import json

import pytest
import requests

from handler.archive import MODEL_NAME
from operations.errors import Refused
from operations.history import FILE_NAME
from operations.versions import Versions
from tests import pictures
from tests.operations.conftest import BETTER, BROKEN, SERVED, WORSE, command_on, loaded
from tests.service import free_ports

pytestmark = pytest.mark.usefixtures("hurried")


def named_by(operated, version=""):
    """The version that an answer of TorchServe names, and the answer."""
    url = f"{operated.inference}/predictions/{MODEL_NAME}/{version}".rstrip("/")
    headers = operated.key("inference") | {"Content-Type": "application/octet-stream"}
    response = requests.post(url, data=pictures.PHOTO_PATH.read_bytes(), headers=headers, timeout=30)
    assert response.ok
    return response.headers["X-Model-Version"], response.headers["X-Model-SHA256"], response.json()


def test_list_and_describe(operate, load):
    load(BETTER)
    versions = {version["version"]: version for version in operate("list", "--json").document["versions"]}
    assert {name: version["default"] for name, version in versions.items()} == {SERVED: True, BETTER: False}
    assert versions[SERVED]["archive"] == "cifar10.mar"
    assert versions[BETTER]["archive"] == f"cifar10-{BETTER}.mar"
    assert versions[SERVED]["sha256"] != versions[BETTER]["sha256"]
    table = operate("list").out
    assert table.count("default") == 1
    assert versions[BETTER]["sha256"][:12] in table
    described = operate("describe", BETTER, "--json").document
    assert versions[BETTER].items() <= described.items()
    assert described["torchserve"]["modelVersion"] == BETTER
    assert versions[SERVED]["sha256"] in operate("describe").out


def test_two_versions_side_by_side_each_name_themselves(operate, operated, load):
    load(BETTER)
    served, better, default = (named_by(operated, version) for version in (SERVED, BETTER, ""))
    assert (served[0], better[0]) == (SERVED, BETTER)
    assert served[1] != better[1]
    assert served[2]["score"] != pytest.approx(better[2]["score"], abs=1e-4)
    assert default == served


def test_promote_rollback_and_once_is_enough(operate, operated, load):
    load(BETTER)
    dry = operate("promote", BETTER, "--dry-run", "--json").document
    assert [check["name"] for check in dry["checks"]] == ["weights", "golden pictures", "accuracy", "latency"]
    assert (dry["done"], named_by(operated)[0]) == (False, SERVED)

    # Latency depends on what else the machine does, and is not the question here.
    done = operate("promote", BETTER, "--force")
    assert done.code == 0, done.err
    assert f"rollback goes back to {SERVED}" in done.out
    assert named_by(operated)[0] == BETTER
    gateway = requests.get(f"{operated.gateway}/api/v1/model", timeout=30).json()
    assert (gateway["version"], gateway["manifest"]["version"]) == (BETTER, BETTER)

    for arguments, words in (
        (["promote", BETTER], "is the default already"),
        (["remove", BETTER], "answers now"),
        (["scale", 0], "would answer nothing"),
    ):
        refused = operate(*arguments)
        assert (refused.code, refused.out) == (1, "")
        assert words in refused.err

    assert operate("rollback", "--dry-run").code == 0
    assert named_by(operated)[0] == BETTER
    back = operate("rollback", "--json").document
    assert back == {"version": SERVED, "before": BETTER, "done": True}
    assert named_by(operated)[0] == SERVED
    again = operate("rollback")
    assert again.code == 1
    assert "nothing to go back to" in again.err
    assert named_by(operated)[0] == SERVED


def test_a_worse_version_is_not_promoted_and_can_be_removed(operate, operated, load):
    load(WORSE)
    refused = operate("promote", WORSE, "--json")
    assert refused.code == 1
    failed = {check["name"] for check in refused.document["checks"] if not check["passed"]}
    assert failed >= {"golden pictures", "accuracy"}
    assert "weights" not in failed
    assert "The default stays" in refused.document["error"]
    assert named_by(operated)[0] == SERVED
    copy = operated.store / f"cifar10-{WORSE}.mar"
    assert operate("remove", WORSE, "--dry-run").code == 0
    assert copy.exists()
    assert operate("remove", WORSE).code == 0
    assert not copy.exists()
    assert WORSE not in loaded(operate)


def test_another_archive_under_a_loaded_versions_name_is_noticed(operate, operated, load, archives):
    load(BETTER)
    copy = operated.store / f"cifar10-{BETTER}.mar"
    original = copy.read_bytes()
    copy.write_bytes(archives[WORSE].read_bytes())
    try:
        refused = operate("promote", BETTER, "--force")
    finally:
        copy.write_bytes(original)
    assert refused.code == 1
    assert "does not answer with its archive's weights" in refused.err
    assert named_by(operated)[0] == SERVED


def test_a_version_is_not_added_twice(operate, load, archives):
    load(BETTER)
    refused = operate("add", archives[BETTER])
    assert refused.code == 1
    assert f"version {BETTER} is loaded already" in refused.err


def test_a_dry_add_leaves_nothing(operate, operated, archives):
    assert operate("add", archives[WORSE], "--dry-run").code == 0
    assert not (operated.store / f"cifar10-{WORSE}.mar").exists()
    assert WORSE not in loaded(operate)


def test_a_corrupt_archive_is_refused_before_torchserve_sees_it(operate, operated, archives, tmp_path):
    corrupt = tmp_path / "corrupt.mar"
    corrupt.write_bytes(archives[WORSE].read_bytes()[:100_000])
    refused = operate("add", corrupt, "--json")
    assert (refused.code, refused.err) == (1, "")
    assert refused.document["done"] is False
    assert "not an archive that this project packed" in refused.document["error"]
    assert list(operated.store.glob("*corrupt*")) == []


def test_a_version_whose_workers_do_not_start_is_taken_away_again(operate, operated, archives):
    failed = operate("add", archives[BROKEN], "--timeout", 5)
    assert failed.code == 1
    assert f"the workers of version {BROKEN} did not start" in failed.err
    assert BROKEN not in loaded(operate)
    assert not (operated.store / f"cifar10-{BROKEN}.mar").exists()
    assert named_by(operated)[0] == SERVED


@pytest.mark.parametrize(
    "arguments", [["promote", "9"], ["remove", "9"], ["describe", "9"], ["scale", 1, "--version=9"]]
)
def test_an_unknown_version_is_refused_with_those_there_are(operate, arguments):
    refused = operate(*arguments)
    assert refused.code == 1
    assert "there is no version 9" in refused.err
    assert SERVED in refused.err


def test_scale_down_and_up(operate, load):
    load(BETTER)
    one = operate("scale", 1, "--version", BETTER, "--json")
    assert one.document == {"version": BETTER, "workers": 1, "before": 2, "done": True}
    assert operate("scale", 0, "--version", BETTER).code == 0
    refused = operate("promote", BETTER)
    assert refused.code == 1
    assert f"version {BETTER} has no workers" in refused.err
    assert operate("scale", 2, "--version", BETTER).code == 0
    [better] = [each for each in operate("list", "--json").document["versions"] if each["version"] == BETTER]
    assert (better["workers"], better["ready"]) == (2, 2)


def test_workers_that_are_just_starting_are_waited_for(operate, operated, load, torchserve):
    load(BETTER)
    assert operate("scale", 0, "--version", BETTER).code == 0
    url = f"{operated.management}/models/cifar10/{BETTER}?min_worker=2&max_worker=2&synchronous=false"
    assert requests.put(url, headers=operated.key("management"), timeout=60).ok
    with pytest.raises(Refused, match="has no worker that answers"):
        Versions(torchserve, operated.store, 0, dry_run=True).try_out(BETTER, "canary", 0.1)
    done = operate("canary", BETTER, "--dry-run", "--json")
    assert done.code == 0, done.out


def test_rollback_to_a_version_that_is_gone_is_refused(operate, operated):
    gone, now = {"version": "9", "archive": "cifar10-9.mar"}, {"version": SERVED, "archive": "cifar10.mar"}
    (operated.store / FILE_NAME).write_text(json.dumps({"defaults": [gone, now]}))
    refused = operate("rollback")
    assert refused.code == 1
    assert "there is no version 9" in refused.err


def test_the_command_as_people_call_it(operate, operated, tmp_path):
    listed = command_on(operated, "list", "--json")
    assert (listed.code, listed.err) == (0, "")
    assert listed.document == operate("list", "--json").document
    refused = command_on(operated, "promote", "9")
    assert (refused.code, refused.out) == (1, "")
    assert "there is no version 9" in refused.err
    assert command_on(operated, "promote").code == 2
    assert command_on(operated, "list", "--key-file", tmp_path / "none").code == 3


def test_a_service_that_is_not_there_is_said(operate, operated, monkeypatch):
    ports = free_ports()
    monkeypatch.setitem(operated.environment, "TS_MANAGEMENT_PORT", str(ports["TS_MANAGEMENT_PORT"]))
    silent = operate("list")
    assert (silent.code, silent.out) == (3, "")
    assert f"does not answer at http://127.0.0.1:{ports['TS_MANAGEMENT_PORT']}" in silent.err
    monkeypatch.setitem(operated.environment, "GATEWAY_PORT", str(ports["GATEWAY_PORT"]))
    without_keys = operate("list", "--json")
    assert without_keys.code == 3
    assert "is the service running?" in without_keys.document["error"]


def test_keys_of_another_start_are_said(operate, tmp_path):
    keys = tmp_path / "key_file.json"
    keys.write_text(json.dumps({name: {"key": "another"} for name in ("API", "management", "inference")}))
    refused = operate("list", "--key-file", keys)
    assert refused.code == 3
    assert "of another start" in refused.err


@pytest.mark.parametrize("arguments", [[], ["promote"], ["scale", "many"], ["scale", "65"], ["sale"]])
def test_wrong_arguments_are_exit_code_2(operate, arguments):
    assert operate(*arguments).code == 2
