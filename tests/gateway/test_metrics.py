import time
from dataclasses import replace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway import metrics
from gateway.drift import LABELS, Expectation
from gateway.problems import KINDS
from model.manifest import Manifest


@pytest.fixture
def scrape(client, monkeypatch):
    """Reads a sample as Prometheus would; a series that is not there is None."""
    monkeypatch.setattr(metrics, "LEARN_SECONDS", 30)  # however busy the machine is

    def scrape(name, **labels):
        samples = [
            sample.value
            for family in text_string_to_metric_families(client.get("/metrics").text)
            for sample in family.samples
            if sample.name == name and sample.labels == labels
        ]
        return samples[0] if samples else None

    return scrape


def test_requests_are_counted_by_route_and_status(client, scrape):
    client.post("/api/v1/classify", data=b"picture")
    client.post("/api/v1/classify", data=b"bad")
    for status in ("200", "422"):
        assert scrape("gateway_requests_total", method="POST", route="/api/v1/classify", status=status) == 1
    assert scrape("gateway_request_seconds_count", route="/api/v1/classify") == 2


def test_a_sender_makes_no_series_of_its_own(client, scrape):
    client.get("/of/the/senders/choice")
    client.open("/livez", method="INVENTED")
    assert scrape("gateway_requests_total", method="GET", route="none", status="404") == 1
    assert scrape("gateway_requests_total", method="other", route="none", status="405") == 1
    text = client.get("/metrics").text
    assert "senders" not in text
    assert "INVENTED" not in text


def test_answers_are_counted_by_class_scope_and_score(client, scrape):
    client.post("/api/v1/classify", data=b"picture")
    assert scrape("gateway_predictions_total", label="cat", in_scope="true") == 1
    assert scrape("gateway_prediction_score_sum") == pytest.approx(0.9)
    assert scrape("gateway_prediction_score_bucket", le="0.8") == 0
    assert scrape("gateway_prediction_score_bucket", le="0.9") == 1


def test_pictures_without_an_answer_are_counted_by_kind(client, scrape):
    client.post("/api/v1/classify", data=b"bad")
    assert scrape("gateway_problems_total", kind="damaged-image") == 1
    assert scrape("gateway_prediction_score_count") == 0


def test_the_time_of_an_answer_is_told_apart(client, torchserve, scrape):
    client.post("/api/v1/classify", data=b"picture")
    assert scrape("gateway_stage_seconds_sum", stage="decode") == pytest.approx(0.0015)
    assert scrape("gateway_stage_seconds_sum", stage="network") == pytest.approx(0.02)
    assert scrape("gateway_stage_seconds_count", stage="queue") == 1
    assert scrape("gateway_stage_seconds_sum", stage="queue") >= 0
    assert scrape("gateway_stage_seconds_count", stage="explain") == 0
    torchserve.timing = "decode;dur=1, network;dur=2, explain;dur=250, another;dur=7, broken"
    client.post("/api/v1/explain", data=b"picture")
    assert scrape("gateway_stage_seconds_sum", stage="explain") == pytest.approx(0.25)
    assert scrape("gateway_stage_seconds_count", stage="another") is None


def test_batches_are_counted_by_size_where_the_handler_says_it(client, torchserve, scrape):
    client.post("/api/v1/classify", data=b"picture")
    torchserve.is_old = True
    client.post("/api/v1/classify", data=b"picture")
    assert scrape("gateway_batch_size_count") == 1
    assert scrape("gateway_batch_size_bucket", le="2.0") == 0
    assert scrape("gateway_batch_size_bucket", le="4.0") == 1


def test_what_can_be_counted_is_there_before_the_first_event(scrape):
    for label in LABELS:
        assert scrape("gateway_predictions_total", label=label, in_scope="false") == 0
    for kind in KINDS:
        if kind != "unsupported-format: known":
            assert scrape("gateway_problems_total", kind=kind) == 0


def test_the_gateways_own_process_is_measured(scrape):
    assert scrape("process_cpu_seconds_total") > 0
    assert scrape("process_resident_memory_bytes") > 0


def test_answers_are_set_beside_what_the_served_model_answered_in_validation(client, torchserve, scrape):
    assert scrape("gateway_validation_mean", of="score") is None
    client.post("/api/v1/classify", data=b"picture")
    figures = Manifest.read().document["metrics"]["validation"]
    assert scrape("gateway_validation_mean", of="out_of_scope") == figures["refused"]
    answered_cat = sum(row[LABELS.index("cat")] for row in figures["confusion"])
    assert scrape("gateway_validation_label_share", label="cat") == answered_cat / figures["pictures"]
    below = [mean for mean, _ in figures["reliability"] if mean <= 0.9]
    assert scrape("gateway_validation_score_share", le="0.9") == pytest.approx(len(below) / 15, abs=1 / 15)
    assert scrape("gateway_validation_score_share", le="1.0") == 1
    assert scrape("gateway_model_info", version="7", sha256="abc") == 1
    assert len(torchserve.seen) == 2  # the picture, and the manifest once


def test_a_model_without_figures_is_asked_once_and_takes_the_last_ones_away(client, torchserve, scrape, monkeypatch):
    client.post("/api/v1/classify", data=b"picture")
    assert scrape("gateway_validation_mean", of="score") is not None
    bare = replace(Manifest.read(), document={"metrics": {}})
    monkeypatch.setattr(Manifest, "read", lambda: bare)
    torchserve.sha256 = "def"
    client.post("/api/v1/classify", data=b"picture")
    for _ in range(3):
        assert scrape("gateway_validation_mean", of="score") is None
    assert scrape("gateway_model_info", version="7", sha256="def") == 1
    assert len(torchserve.seen) == 4  # two pictures, two manifests


def test_a_model_that_cannot_be_asked_leaves_the_metrics_as_they_are(client, torchserve, scrape):
    client.post("/api/v1/classify", data=b"picture")
    torchserve.silent.set()
    assert scrape("gateway_validation_mean", of="score") is None
    assert scrape("gateway_prediction_score_count") == 1


def test_the_expectation_is_of_answers_not_of_true_classes():
    confusion = [[0] * 10 for _ in range(10)]
    confusion[3][5] = 3  # three cats called dogs
    confusion[5][5] = 1
    validation = {"confusion": confusion, "reliability": [[0.5, 0.4], [0.9, 1.0]], "refused": 0.05}
    expectation = Expectation.of({"metrics": {"validation": validation}})
    assert expectation.label_shares == dict.fromkeys(LABELS, 0.0) | {"dog": 1.0}
    assert expectation.score == pytest.approx(0.7)
    with pytest.raises(KeyError):
        Expectation.of({"metrics": {}})


def test_a_model_that_says_nothing_of_itself_keeps_nobody_waiting_for_the_counts(
    app, client, torchserve, scrape, monkeypatch
):
    monkeypatch.setattr(metrics, "LEARN_SECONDS", 0.3)
    client.post("/api/v1/classify", data=b"picture")
    torchserve.open.clear()
    began = time.monotonic()
    for _ in range(5):
        assert scrape("gateway_predictions_total", label="cat", in_scope="true") == 1
    assert time.monotonic() - began < 1.5  # once what it may take, not five times
    torchserve.open.set()
    [replica] = app.extensions["torchserve"].replicas.known()
    assert replica.failures == 0  # so short a time says nothing against it
