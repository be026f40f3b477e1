"""A version comes, serves, and goes, while people ask without a pause."""

import re
from collections import Counter

import pytest
import requests

from operations.errors import Refused
from operations.history import Default, History
from operations.versions import Versions
from tests.operations import demonstration
from tests.operations.conftest import BETTER, SERVED, copy_archive, loaded, operate_on
from tests.operations.traffic import PHOTO, Traffic
from tests.service import Service


def test_a_rollout_and_a_rollback_under_load_lose_and_mix_nothing(operate, operated, load, torchserve):
    load(BETTER)
    versions = Versions(torchserve, operated.store, timeout_seconds=120, dry_run=False)
    truth = {version: torchserve.ask(PHOTO, version) for version in (SERVED, BETTER)}
    assert truth[SERVED].document["score"] != pytest.approx(truth[BETTER].document["score"], abs=1e-3)

    with Traffic(operated) as traffic:
        traffic.wait_for(SERVED)
        assert versions.promote(BETTER) == SERVED
        traffic.wait_for(BETTER)
        assert versions.rollback() == (BETTER, SERVED)
        versions.remove(BETTER)  # at once: what was asked of it must have been answered before
        traffic.wait_for(SERVED)

    assert traffic.failures == []
    assert {answer.status for answer in traffic.answers} == {200}
    for answer in traffic.answers:
        expected = truth[answer.version]
        assert answer.sha256 == expected.sha256
        assert answer.scores == pytest.approx([expected.document["score"]] * len(answer.scores), abs=1e-4)
    assert loaded(operate) == [SERVED]


def test_the_written_rollout_begins_as_the_demonstration_writes_it():
    written = demonstration.DOCUMENT.read_text().split("```")[0]
    [served] = re.findall(r"weights of (\S+) and", written)
    made = demonstration.document(["", ""], Counter(), 0, 0).split("```")[0]
    assert written == made.replace(f"weights of {SERVED}", f"weights of {served}")


def test_a_version_that_is_still_asked_is_not_removed(operate, operated, load, torchserve, hurried):
    load(BETTER)
    versions = Versions(torchserve, operated.store, timeout_seconds=3, dry_run=False)
    counted = torchserve.requests_to
    # Stands for somebody who asks for the version by its number every now and then.
    torchserve.requests_to = lambda version: (torchserve.ask(PHOTO, version), counted(version))[1]
    with pytest.raises(Refused, match="still being asked by its number"):
        versions.remove(BETTER)
    assert BETTER in loaded(operate)


def test_a_restart_serves_what_was_promoted_and_can_still_be_rolled_back(archives, tmp_path):
    for version, name in ((SERVED, "cifar10.mar"), (BETTER, f"cifar10-{BETTER}.mar")):
        copy_archive(archives[version], tmp_path / name)
    with History(tmp_path).recording([Default(SERVED, "cifar10.mar"), Default(BETTER, f"cifar10-{BETTER}.mar")]):
        pass
    with Service(tmp_path / "log", TS_MODEL_STORE=str(tmp_path)) as service:
        ready = requests.get(f"{service.gateway}/readyz", timeout=60).json()
        assert ready["version"] == BETTER
        # Without model control; both versions were loaded at the start, and the older one may not answer yet.
        done = operate_on(service, "rollback", "--json")
        assert done.code == 0, done.out
        assert done.document["version"] == SERVED
        refused = operate_on(service, "remove", BETTER)
        assert refused.code == 1
        assert "TS_ENABLE_MODEL_API=true make serve" in refused.err
