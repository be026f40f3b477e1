import pytest

from gateway import health


@pytest.fixture(autouse=True)
def _no_memory(monkeypatch):
    monkeypatch.setattr(health, "PROBE_LIFETIME", 0.0)


def test_alive_without_a_model(client, torchserve):
    assert client.get("/livez").get_json() == {"status": "alive"}
    assert torchserve.seen == []


def test_ready_means_that_a_prediction_was_made(client, torchserve):
    assert client.get("/readyz").get_json() == {"status": "ready", "version": "7", "sha256": "abc"}
    assert torchserve.seen[0][2] == health.PROBE_PATH.read_bytes()


PROBES = ("/livez", "/readyz", "/v2/health/live", "/v2/health/ready", "/v2/models/cifar10/ready", "/v1/models/cifar10")


@pytest.mark.parametrize("path", PROBES)
def test_a_probes_answer_is_of_the_moment_and_not_logged(client, capsys, path):
    response = client.get(path)
    assert response.status_code == 200
    assert response.headers["Cache-Control"] == "no-store"
    assert capsys.readouterr().out == ""


def test_not_ready_while_predictions_fail_and_ready_again_after(client, torchserve):
    torchserve.script = [503]
    response = client.get("/readyz")
    assert response.status_code == 503
    assert response.mimetype == "application/problem+json"
    assert client.get("/readyz").status_code == 200


def test_a_probe_without_an_answer_says_how_long_it_waited(client, torchserve):
    torchserve.open.clear()
    problem = client.get("/readyz").get_json()
    torchserve.open.set()
    assert problem["type"] == "/problems/model-timeout"
    assert problem["detail"].startswith("The model gave no answer within 1 s.")


def test_many_probes_cost_one_prediction(client, torchserve, monkeypatch):
    monkeypatch.setattr(health, "PROBE_LIFETIME", 60.0)
    for _ in range(5):
        assert client.get("/readyz").status_code == 200
    assert len(torchserve.seen) == 1
