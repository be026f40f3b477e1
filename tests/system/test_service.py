"""A real TorchServe behind a real gateway."""

import base64
import json
import zipfile
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest
import requests

from handler.archive import DEFAULT_ARCHIVE, hash_file
from handler.engine import has_dot_products
from model.manifest import Manifest, sha256_of
from tests import pictures
from tests.service import Service, eventually

TIMEOUT = 30
PHOTO = pictures.PHOTO_PATH.read_bytes()


def classify(service, *files, **options):
    form = [("image", (name, data)) for name, data in files]
    return requests.post(f"{service.gateway}/api/v1/classify", files=form, timeout=TIMEOUT, **options)


def direct(service, **options):
    headers = service.key("inference") | options.pop("headers", {})
    return requests.post(f"{service.inference}/predictions/cifar10", headers=headers, timeout=TIMEOUT, **options)


@pytest.fixture(scope="module")
def expected(service):
    [result] = classify(service, ("photo", PHOTO)).json()["results"]
    assert result["label"] == pictures.PHOTO_LABEL
    assert result["in_scope"] is True
    return result


def test_the_answer_has_the_form_of_the_contract(service, expected):
    answer = classify(service, ("photo", PHOTO)).json()
    manifest = Manifest.read()
    assert answer["model"] == {"name": "cifar10", "version": manifest.version, "sha256": manifest.sha256}
    assert list(expected) == ["filename", "label", "score", "in_scope", "in_scope_score", "scores"]
    assert len(expected["scores"]) == 10
    assert sum(entry["score"] for entry in expected["scores"]) == pytest.approx(1, abs=1e-5)


def test_it_says_what_computes_the_answers(service):
    card = requests.get(f"{service.gateway}/api/v1/model", timeout=TIMEOUT).json()
    if has_dot_products():
        assert card["engine"]["name"].endswith("int8")
        assert "fallback" not in card["engine"]
    else:
        assert "dot products" in card["engine"]["fallback"]
    assert '"event": "model_loaded"' in service.output()
    assert card["engine"]["name"] in service.output()


def test_where_float32_is_asked_for_torch_answers_alike(tmp_path, expected):
    folder = tmp_path / "archive"
    with zipfile.ZipFile(DEFAULT_ARCHIVE) as bundle:
        bundle.extractall(folder)
    config = folder / "model-config.yaml"
    config.write_text(config.read_text().replace("engine: auto", "engine: float32"))
    with zipfile.ZipFile(tmp_path / "cifar10.mar", "w") as bundle:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            bundle.write(path, path.relative_to(folder))
    hash_file(tmp_path / "cifar10.mar").write_text(f"{sha256_of(tmp_path / 'cifar10.mar')}  cifar10.mar\n")
    with Service(tmp_path / "log", TS_MODEL_STORE=str(tmp_path)) as float32:
        [result] = classify(float32, ("photo", PHOTO)).json()["results"]
        card = requests.get(f"{float32.gateway}/api/v1/model", timeout=TIMEOUT).json()
    assert card["engine"] == {"name": card["engine"]["name"], "fallback": "float32 was asked for"}
    assert result["label"] == expected["label"]
    assert result["score"] == pytest.approx(expected["score"], abs=0.1)


@pytest.mark.parametrize("kind", pictures.LOSSLESS)
def test_the_same_pixels_get_the_same_answer_in_any_guise(service, expected, kind):
    [result] = classify(service, ("photo", pictures.LOSSLESS[kind]())).json()["results"]
    assert result == expected


@pytest.mark.parametrize("kind", [kind for kind in pictures.CLOSE if "grey" not in kind])
def test_a_picture_close_to_it_gets_the_same_class(service, kind):
    [result] = classify(service, ("photo", pictures.CLOSE[kind]())).json()["results"]
    assert result["label"] == pictures.PHOTO_LABEL


def test_grey_pictures_of_any_depth_get_the_same_answer(service):
    kinds = ["grey", "grey with alpha", "16-bit grey"]
    results = [classify(service, ("photo", pictures.CLOSE[kind]())).json()["results"][0] for kind in kinds]
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize("kind", pictures.REFUSED)
def test_a_picture_that_cannot_be_answered_gets_its_problem(service, kind):
    make, status, problem, words = pictures.REFUSED[kind]
    response = classify(service, ("photo.jpg", make()))
    assert response.status_code == status
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.json()["type"] == f"/problems/{problem}"
    assert words in response.json()["detail"]


def test_torchserve_itself_gives_the_same_answer_for_body_and_form_field(service, expected):
    octets = {"Content-Type": "application/octet-stream"}
    by_body = direct(service, data=PHOTO, headers=octets)
    by_field = direct(service, files={"data": PHOTO})
    assert by_body.json() == by_field.json() == expected | {"filename": None}
    assert by_body.headers["Content-Type"] == "application/json"


def test_torchserve_itself_refuses_with_the_same_problem(service):
    response = direct(service, data=b"no picture", headers={"Content-Type": "application/octet-stream"})
    assert response.status_code == 415
    assert response.headers["Content-Type"] == "application/problem+json"
    assert direct(service, files={"other": PHOTO}).status_code == 400


def test_good_and_bad_pictures_at_once_do_not_disturb_each_other(service, expected):
    """Sixteen at a time fill TorchServe's batches with both kinds."""
    bad = pictures.REFUSED["truncated png"][0]()
    data = [PHOTO if index % 3 else bad for index in range(120)]
    with ThreadPoolExecutor(16) as pool:
        responses = list(pool.map(lambda each: classify(service, ("photo", each)), data))
    assert [response.status_code for response in responses] == [200 if each is PHOTO else 422 for each in data]
    for response in responses:
        if response.ok:
            [result] = response.json()["results"]
            assert result["label"] == expected["label"]
            assert result["score"] == pytest.approx(expected["score"], abs=1e-4)


def test_several_pictures_in_one_request(service, expected):
    bad = pictures.REFUSED["1x1"][0]()
    answer = classify(service, ("a.png", PHOTO), ("b.png", bad), ("c.png", PHOTO)).json()
    assert [result["filename"] for result in answer["results"]] == ["a.png", "b.png", "c.png"]
    assert [result.get("label") for result in answer["results"]] == [expected["label"], None, expected["label"]]
    assert answer["results"][1]["error"]["status"] == 422


def test_one_request_id_finds_its_lines_in_both_logs(service):
    classify(service, ("photo", PHOTO), headers={"X-Request-ID": "find-me"})
    eventually(lambda: len(service.entries("find-me")) == 2, 10)
    events = {entry["event"]: entry for entry in service.entries("find-me")}
    assert events["prediction"]["label"] == pictures.PHOTO_LABEL
    assert events["request"]["status"] == 200


def test_logs_are_json_lines_and_hold_no_noise(service):
    classify(service, ("photo", PHOTO))
    ready = service.output().splitlines()
    after = ready[ready.index("Ctrl-C stops it.") + 1 :]
    assert [line for line in after if not line.startswith("{")] == []


def test_too_large_a_picture_is_refused(service):
    response = classify(service, ("photo", bytes(20_000_001)))
    assert response.status_code == 413
    assert "20 MB" in response.json()["detail"]


def test_a_picture_of_the_largest_size_reaches_the_handler(service):
    response = classify(service, ("photo", PHOTO + bytes(20_000_000 - len(PHOTO))))
    assert response.json()["results"][0]["label"] == pictures.PHOTO_LABEL


def test_it_is_ready(service):
    assert requests.get(f"{service.gateway}/readyz", timeout=TIMEOUT).json()["status"] == "ready"
    assert requests.get(f"{service.gateway}/livez", timeout=TIMEOUT).json() == {"status": "alive"}


def test_metrics_of_both_are_there(service):
    classify(service, ("photo", PHOTO))
    assert "gateway_predictions_total" in requests.get(f"{service.gateway}/metrics", timeout=TIMEOUT).text
    assert "ts_inference_requests_total{" in requests.get(f"{service.metrics}/metrics", timeout=TIMEOUT).text


def test_torchserve_wants_its_key(service):
    for headers in ({}, {"Authorization": "Bearer wrong"}, service.key("management")):
        response = requests.post(
            f"{service.inference}/predictions/cifar10", data=PHOTO, headers=headers, timeout=TIMEOUT
        )
        assert response.status_code == 400
        assert "InvalidKeyException" in response.text


def test_management_describes_but_takes_no_models(service):
    headers = service.key("management")
    described = requests.get(f"{service.management}/models/cifar10", headers=headers, timeout=TIMEOUT).json()
    assert [worker["status"] for worker in described[0]["workers"]] == ["READY", "READY"]
    assert described[0]["modelVersion"] == Manifest.read().version
    url = f"{service.gateway}/never-to-be-fetched.mar"
    added = requests.post(f"{service.management}/models?url={url}", headers=headers, timeout=TIMEOUT)
    assert added.status_code == 405
    fetched = requests.post(f"{service.management}/workflows?url={url}", headers=headers, timeout=TIMEOUT)
    assert fetched.status_code >= 400
    assert "never-to-be-fetched" not in service.output()


def test_everything_listens_on_the_loopback_only(service):
    listening = {
        connection.laddr.ip
        for process in service.descendants
        for connection in process.net_connections(kind="tcp")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening <= {"127.0.0.1", "::ffff:127.0.0.1"}
    assert listening


def test_keys_are_for_this_user_only(service):
    assert service.run_folder.stat().st_mode & 0o077 == 0
    assert (service.run_folder / "key_file.json").stat().st_mode & 0o077 == 0


def test_kserves_json_is_no_picture_to_the_gateway(service):
    body = json.dumps({"instances": [{"b64": base64.b64encode(PHOTO).decode()}]}).encode()
    assert classify(service, ("photo.jpg", body)).status_code == 415
    predicted = requests.post(
        f"{service.inference}/v1/models/cifar10:predict", data=body, headers=service.key("inference"), timeout=TIMEOUT
    )
    assert predicted.json()["predictions"][0]["label"] == pictures.PHOTO_LABEL
