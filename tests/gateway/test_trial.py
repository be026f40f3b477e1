"""A version on trial: who gets its answers, what happens when it fails, and what is learnt."""

import io
import json
import threading
import time

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from gateway import evidence as evidence_module
from gateway import trial as trial_module
from gateway.asking import Answers
from gateway.evidence import Evidence, Job
from gateway.problems import Problem
from gateway.torchserve import ModelTimeout, Prediction
from gateway.trial import Trial, Trials, Turns
from gateway.uploads import Upload
from tests.gateway.conftest import ANSWER


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """The file is looked at before each request."""
    monkeypatch.setattr(trial_module, "LOOK_SECONDS", 0.0)


@pytest.fixture
def begin(key_file):
    """Begins a trial as the operator's command does."""

    def begin(canary=0.0, shadow=0.0, since="2026-01-01T00:00:00+00:00", **members):
        shares = {"candidate": "9", "canary_share": canary, "shadow_share": shadow, "since": since}
        new = key_file.with_name("new")
        new.write_text(json.dumps(shares | members))
        new.replace(key_file.with_name("trial.json"))

    return begin


def classify(client, *pictures):
    files = [(io.BytesIO(each), "x.png") for each in pictures or (b"picture",)]
    return client.post("/api/v1/classify", data={"image": files})


def versions(client, count):
    return [classify(client).get_json()["model"]["version"] for _ in range(count)]


@pytest.fixture
def figures(app, client):
    def figures():
        app.extensions["evidence"].wait()
        return client.get("/status.json").get_json()["trial"]

    return figures


def test_without_a_trial_the_default_version_answers(client, figures):
    assert set(versions(client, 5)) == {"7"}
    assert figures() is None


def test_a_canary_answers_its_share_exactly_and_names_itself(client, begin, figures):
    begin(canary=0.25)
    assert versions(client, 8) == ["7", "7", "7", "9"] * 2
    begin(canary=1)
    assert versions(client, 3) == ["9"] * 3
    found = figures()
    assert (found["candidate"], found["default"]) == ("9", "7")
    assert (found["answered"], found["asked"], found["failed"]) == (5, 5, 0)


def test_a_trial_ends_without_a_restart(client, begin, key_file):
    begin(canary=1)
    assert versions(client, 1) == ["9"]
    key_file.with_name("trial.json").unlink()
    assert versions(client, 2) == ["7", "7"]


def test_pictures_of_one_request_are_never_mixed(client, begin, make_app):
    begin(canary=0.5)
    big = make_app(max_images=32).test_client()
    for _ in range(4):
        answer = classify(big, *[b"picture"] * 20).get_json()  # several requests to TorchServe
        assert answer["model"]["version"] in ("7", "9")
        assert all("label" in result for result in answer["results"])


@pytest.mark.parametrize("status", [404, 500, 503, 507])
def test_what_a_failing_candidate_should_have_answered_the_default_does(client, torchserve, begin, figures, status):
    torchserve.answers["9"] = status
    begin(canary=1)
    assert versions(client, 4) == ["7"] * 4
    found = figures()
    assert 1 <= found["failed"] == found["asked"] < 4  # left out for a while after the first
    assert found["answered"] == 0
    # It is not held against the replica that the version fails.
    assert client.get("/status.json").get_json()["replicas"][0]["failures"] == 0


def test_a_silent_candidate_is_waited_for_half_of_the_time(make_app, torchserve, begin):
    client = make_app(answer_timeout_seconds=1).test_client()
    torchserve.answers["9"] = released = threading.Event()
    begin(canary=1)
    began = time.monotonic()
    assert versions(client, 3) == ["7"] * 3  # after the first it is left out
    assert 0.5 <= time.monotonic() - began < 10
    released.set()


def test_a_candidate_that_is_well_again_is_asked_again(client, torchserve, begin, monkeypatch):
    monkeypatch.setattr(trial_module, "SHORTEST_PAUSE_SECONDS", 0.0)
    torchserve.answers["9"] = 500
    begin(canary=1)
    assert versions(client, 2) == ["7", "7"]
    del torchserve.answers["9"]
    assert versions(client, 2) == ["9", "9"]


def test_a_picture_that_the_candidate_refuses_is_put_before_the_default_version(client, begin, figures):
    begin(canary=1)
    assert classify(client, b"bad").status_code == 422
    found = figures()
    assert (found["asked"], found["failed"], found["answered"]) == (1, 0, 0)
    assert (found["pictures"], found["agreement"]) == (1, 1.0)  # both refused


def test_a_shadow_is_asked_and_compared_but_never_answers(client, torchserve, begin, figures):
    torchserve.answers["9"] = {"label": "dog", "score": 0.7}
    begin(shadow=1)
    for _ in range(3):
        result = classify(client, b"one", b"two").get_json()
        assert result["model"]["version"] == "7"
        assert [each["label"] for each in result["results"]] == ["cat", "cat"]
        figures()
    found = figures()
    assert (found["requests"], found["pictures"], found["agreement"]) == (3, 6, 0.0)
    assert found["score_shift"] == pytest.approx(-0.2)
    assert 0 < found["seconds"]["candidate"]["p50"] <= found["seconds"]["candidate"]["p95"]
    assert found["seconds"]["default"]["p50"] > 0
    assert found["answered"] == 0
    answers = client.get("/status.json").get_json()["answers"]
    assert answers["labels"] == {"cat": 6}  # the shadow's are no answers of ours


def test_a_canarys_requests_are_compared_as_well(client, torchserve, begin, figures):
    torchserve.answers["9"] = {"score": 1.0}
    begin(canary=1)
    classify(client)
    found = figures()
    assert (found["requests"], found["agreement"], found["default"]) == (1, 1.0, "7")
    assert found["score_shift"] == pytest.approx(0.1)


def test_a_failing_shadow_is_nobodys_problem(client, torchserve, begin, figures):
    torchserve.answers["9"] = 500
    begin(shadow=1)
    assert versions(client, 1) == ["7"]
    found = figures()
    assert (found["asked"], found["failed"], found["requests"]) == (1, 1, 0)
    assert found["agreement"] is None


def test_a_copy_is_known_by_its_request_id(client, torchserve, begin, figures):
    begin(shadow=1)
    client.post("/api/v1/classify", data=b"picture", headers={"X-Request-ID": "find-me"})
    figures()
    assert [seen[1] for seen in torchserve.seen if seen[2] == b"picture"] == ["find-me", "find-me.compared"]


def test_figures_begin_anew_with_another_trial_or_another_default_version(client, torchserve, begin, figures):
    begin(shadow=1)
    versions(client, 1)
    assert figures()["requests"] == 1
    begin(shadow=0.5)  # the same trial, with another share
    assert figures()["requests"] == 1
    torchserve.versions = ["8"]
    begin(shadow=1)
    versions(client, 1)
    assert (figures()["default"], figures()["requests"]) == ("8", 1)
    begin(shadow=1, since="2026-01-02T00:00:00+00:00")
    assert figures()["requests"] == 0


def test_prometheus_knows_it_too(client, torchserve, begin, figures):
    torchserve.answers["9"] = {"label": "dog", "score": 0.5}
    begin(shadow=1)
    classify(client)
    figures()
    samples = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(client.get("/metrics").text)
        for sample in family.samples
    }
    candidate = ("candidate", "9")
    assert samples["gateway_trial_requests_total", candidate, ("outcome", "compared")] == 1
    assert samples["gateway_trial_pictures_total", ("agreed", "false"), candidate] == 1
    assert samples["gateway_trial_score_sum", ("by", "candidate"), candidate] == 0.5
    assert samples["gateway_trial_score_sum", ("by", "default"), candidate] == 0.9
    assert samples["gateway_trial_seconds_count", ("by", "candidate"), candidate] == 1


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        '{"candidate": "9"}',
        '{"candidate": "9", "canary_share": 2, "shadow_share": 0, "since": ""}',
        '{"candidate": "9", "canary_share": NaN, "shadow_share": 0, "since": ""}',
        '{"candidate": "", "canary_share": 1, "shadow_share": 0, "since": ""}',
    ],
)
def test_a_file_that_means_nothing_is_no_trial_and_is_logged(client, key_file, content):
    key_file.with_name("trial.json").write_text(content)
    with capture_logs() as lines:
        assert versions(client, 2) == ["7", "7"]
    assert [line["event"] for line in lines].count("trial_unreadable") == 1


def test_the_status_page_shows_the_trial(client, begin, figures):
    begin(canary=0.5)
    versions(client, 2)
    figures()
    page = client.get("/status", headers={"Accept": "text/html"}).text
    assert "On trial: version 9" in page
    assert "answers 50.0 % of the requests, gets a copy of 0.0 %" in page


def test_turns_are_spread_evenly():
    turns = Turns()
    assert sum(turns.take(0.1) for _ in range(1000)) == 100
    assert sum(turns.take(1) for _ in range(10)) == 10
    assert not any(turns.take(0) for _ in range(10))


def test_pauses_grow_and_end_with_the_trial(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    path = tmp_path / "trial.json"
    shares = {"candidate": "9", "canary_share": 1, "shadow_share": 0}
    path.write_text(json.dumps(shares | {"since": "1"}))
    trials = Trials(path)
    trial = trials.current()
    assert trial
    pauses = []
    for _ in range(8):
        trials.failed(trial)
        began = now[0]
        while trials.canary() is None:
            now[0] += 0.5
        pauses.append(now[0] - began)
    assert pauses == [0.5, 1, 2, 4, 8, 16, 30, 30]
    trials.failed(trial)
    path.write_text(json.dumps(shares | {"since": "another"}))
    anew = trials.canary()
    assert anew
    assert anew.since == "another"


TRIAL = Trial("9", 0.0, 1.0, "now")
PREDICTION = Prediction(ANSWER, "7", "abc", {}, 1)


@pytest.fixture
def blocked():
    """An evidence whose background never gets an answer until it is released."""
    release = threading.Event()

    def ask(job):
        release.wait(10)
        return Answers([PREDICTION] * len(job.uploads), 0.1)

    yield Evidence(CollectorRegistry(), ask, lambda: TRIAL)
    release.set()


def job(size=10):
    return Job(TRIAL, [Upload(None, bytes(size), "image/png")], "id", Answers([PREDICTION], 0.1), by_candidate=False)


def test_the_queue_is_short_and_drops_what_does_not_fit(blocked):
    began = time.monotonic()
    for _ in range(2 * evidence_module.MOST_WAITING + 1):
        blocked.compare(job())
    assert time.monotonic() - began < 5  # nobody waited for the background
    dropped = blocked.document(TRIAL)["dropped"]
    assert evidence_module.MOST_WAITING <= dropped <= evidence_module.MOST_WAITING + 1


def test_the_queue_holds_so_many_bytes(blocked):
    for _ in range(5):
        blocked.compare(job(evidence_module.MOST_BYTES // 3))
    assert blocked.document(TRIAL)["dropped"] == 2


def test_an_error_in_the_background_does_not_end_it():
    failures = iter([RuntimeError("once")])

    def ask(job):
        for failure in failures:
            raise failure
        return Answers([PREDICTION], 0.1)

    evidence = Evidence(CollectorRegistry(), ask, lambda: TRIAL)
    evidence.compare(job())
    evidence.compare(job())
    evidence.wait()
    assert (evidence.document(TRIAL) or {})["requests"] == 1


def test_what_is_left_of_an_earlier_trial_changes_nothing_of_the_next():
    now = [TRIAL]
    evidence = Evidence(CollectorRegistry(), lambda _: Answers([PREDICTION], 0.1), lambda: now[-1])
    left = job()
    anew = Trial("10", 0.0, 1.0, "later")
    now.append(anew)
    evidence.count_asked(anew, failed=True)
    evidence.compare(left)
    evidence.wait()
    evidence.count_asked(TRIAL, failed=True)
    document = evidence.document(anew) or {}
    assert (document["asked"], document["failed"], document["requests"]) == (1, 1, 0)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (PREDICTION, PREDICTION, True),
        (PREDICTION, Prediction(ANSWER | {"label": "dog"}, "9", "def", {}, 1), False),
        (Problem("damaged-image"), Problem("damaged-image"), True),
        (Problem("damaged-image"), PREDICTION, False),
    ],
)
def test_agreement(one, other, same):
    assert evidence_module.agree(one, other) is same


def test_answers_with_a_failure_are_not_whole():
    assert Answers([PREDICTION, Problem("damaged-image")], 0.1).is_whole
    assert not Answers([PREDICTION, ModelTimeout(1)], 0.1).is_whole
