import io
import json

import pytest

from gateway import api, drift
from model.images import FORMATS
from model.labels import LABELS
from model.manifest import Manifest
from tests.gateway.conftest import ANSWER, EXPLANATION


def file(data, name="photo.jpg"):
    return (io.BytesIO(data), name)


def post(client, *files, **options):
    return client.post("/api/v1/classify", data={"image": list(files)}, **options)


def test_one_picture_in_a_form(client):
    answer = post(client, file(b"picture", "cat.jpg")).get_json()
    assert answer["model"] == {"name": "cifar10", "version": "7", "sha256": "abc"}
    assert answer["results"] == [ANSWER | {"filename": "cat.jpg"}]
    assert list(answer) == ["request_id", "model", "results"]


def test_one_picture_as_the_body(client, torchserve):
    response = client.post("/api/v1/classify", data=b"picture", content_type="image/jpeg")
    assert response.get_json()["results"] == [ANSWER]
    assert torchserve.seen[0][2] == b"picture"


@pytest.mark.parametrize("content_type", ["application/octet-stream", "application/x-www-form-urlencoded", ""])
def test_the_body_is_taken_as_it_is_whatever_it_calls_itself(client, torchserve, content_type):
    body = b"a=b&c=\xff\x00"
    assert client.post("/api/v1/classify", data=body, content_type=content_type).status_code == 200
    assert torchserve.seen[0][2] == body


def test_of_several_pictures_a_bad_one_has_its_error_in_its_place(client):
    response = post(client, file(b"good", "1"), file(b"bad", "2"), file(b"x" * 10_001, "3"), file(b"good", "4"))
    assert response.status_code == 200
    results = response.get_json()["results"]
    assert [result["filename"] for result in results] == ["1", "2", "3", "4"]
    assert [result.get("error", {}).get("status") for result in results] == [None, 422, 413, None]


def test_several_pictures_that_are_all_bad_are_answered_one_by_one(client):
    answer = post(client, file(b"bad"), file(b"bad")).get_json()
    assert answer["model"] == {"name": "cifar10", "version": None, "sha256": None}
    assert [result["error"]["status"] for result in answer["results"]] == [422, 422]


def test_pictures_that_fit_together_are_asked_for_together(client, torchserve):
    post(client, file(b"1"), file(b"22"), file(b"333"))
    assert [body for _, _, body in torchserve.seen] == [b"122333"]


def test_pictures_too_large_together_are_asked_for_in_parts(client, torchserve):
    response = post(client, *(file(bytes([number]) * 4_000) for number in range(4)))
    assert sorted(len(body) for _, _, body in torchserve.seen) == [8_000, 8_000]
    assert [result["label"] for result in response.get_json()["results"]] == ["cat"] * 4


def test_an_old_version_of_the_handler_is_asked_one_by_one(client, torchserve):
    torchserve.is_old = True
    answer = post(client, file(b"good"), file(b"bad"), file(b"good")).get_json()
    assert [result.get("label") for result in answer["results"]] == ["cat", None, "cat"]
    assert answer["results"][1]["error"]["status"] == 422


def test_a_request_during_a_change_of_version_is_answered_by_one(make_app, torchserve):
    client = make_app(answer_timeout_seconds=30, max_images=30).test_client()
    torchserve.versions = ["6", "7", "7"]
    answer = post(client, *[file(b"1")] * 24).get_json()
    named = answer["model"]["version"]
    assert named in {"6", "7"}
    assert torchserve.paths[3:] == [f"/predictions/cifar10/{named}"] * 3
    assert [result["label"] for result in answer["results"]] == ["cat"] * 24
    counted = client.get("/metrics").get_data(as_text=True)
    assert 'gateway_predictions_total{in_scope="true",label="cat"} 24.0' in counted


def test_a_request_id_goes_all_the_way_and_comes_back(client, torchserve):
    response = post(client, file(b"picture"), headers={"X-Request-ID": "abc-123"})
    assert response.headers["X-Request-ID"] == response.get_json()["request_id"] == torchserve.seen[0][1] == "abc-123"


@pytest.mark.parametrize("given", ["", "with space", "x" * 65, 'quote"', "ünicode".encode().decode("latin-1")])
def test_an_unfit_request_id_is_replaced(client, given):
    response = post(client, file(b"picture"), headers={"X-Request-ID": given})
    assert len(response.headers["X-Request-ID"]) == 32


def assert_problem(response, status, kind):
    assert response.status_code == status
    assert response.mimetype == "application/problem+json"
    problem = response.get_json()
    assert set(problem) == {"type", "title", "status", "detail", "request_id"}
    assert problem["status"] == status
    assert problem["type"] == f"/problems/{kind}"
    assert problem["request_id"] == response.headers["X-Request-ID"]
    assert "secret" not in response.text
    return problem


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"data": {"image": ""}, "content_type": "multipart/form-data"},
        {"data": {"other": (io.BytesIO(b"x"), "x.png")}},
        {"data": {"image": (io.BytesIO(b""), "")}, "content_type": "multipart/form-data"},
        {"data": b"not multipart", "content_type": "multipart/form-data"},
        {"data": b"--a\r\nX: y\r\n\r\nx\r\n--a--\r\n", "content_type": "multipart/form-data; boundary=a"},
    ],
    ids=["nothing", "an empty field", "another field", "no file chosen", "no boundary", "no disposition"],
)
def test_no_image_is_400(client, options):
    assert_problem(client.post("/api/v1/classify", **options), 400, "no-image")


def form(*parts):
    """Give a form of parts that are no files, each a name and its content."""
    heads = (b'--a\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % part for part in parts)
    return {"data": b"".join(heads) + b"--a--\r\n", "content_type": "multipart/form-data; boundary=a"}


def test_a_part_without_a_file_name_is_a_picture_as_well(make_app, torchserve):
    client = make_app(max_image_bytes=1_000_000, max_request_bytes=2_000_000).test_client()
    picture = b"\xff\x00\r\n--" + b"x" * 600_000
    answer = client.post("/api/v1/classify", **form((b"other", b"y" * 600_000), (b"image", picture))).get_json()
    assert answer["results"] == [ANSWER | {"filename": None}]
    assert torchserve.seen[0][2] == picture


@pytest.mark.parametrize(
    "options", [form(*[(b"other", b"x")] * 1_001), form((b'other"\r\nX-Long: "' + b"x" * 600_000, b"x"))]
)
def test_a_form_of_too_much_beside_pictures_is_413_and_says_so(make_app, options):
    client = make_app(max_image_bytes=1_000_000, max_request_bytes=2_000_000).test_client()
    problem = assert_problem(client.post("/api/v1/classify", **options), 413, "form-too-large")
    assert "At most 1000 parts" in problem["detail"]


def test_too_many_pictures_are_400(client):
    problem = assert_problem(post(client, *[file(b"x")] * 5), 400, "too-many-images")
    assert "at most 4" in problem["detail"]


def test_a_large_picture_is_413_with_the_limit(client):
    problem = assert_problem(post(client, file(b"x" * 10_001)), 413, "too-large")
    assert "0.01 MB" in problem["detail"]


def test_a_large_request_is_413(client):
    assert_problem(post(client, file(b"x" * 60_000)), 413, "too-large")


def test_a_large_body_is_413(client):
    assert_problem(client.post("/api/v1/classify", data=b"x" * 60_000), 413, "too-large")


@pytest.mark.parametrize("told", [True, False])
def test_a_body_larger_than_a_picture_may_be_is_not_read_to_its_end(client, torchserve, told):
    body = io.BytesIO(b"x" * 40_000)
    length = {"content_length": 40_000} if told else {"environ_overrides": {"wsgi.input_terminated": True}}
    problem = assert_problem(client.post("/api/v1/classify", input_stream=body, **length), 413, "too-large")
    assert "0.01 MB" in problem["detail"]
    assert body.tell() < 40_000
    assert torchserve.seen == []


def test_the_handlers_refusal_is_passed_on(client):
    problem = assert_problem(post(client, file(b"bad")), 422, "damaged-image")
    assert problem["detail"].startswith("The JPEG data is damaged")


@pytest.mark.parametrize("status", [404, 500, 503, 507])
def test_a_model_that_fails_is_503_and_says_when_to_come_back(client, torchserve, status):
    torchserve.script = [status] * 2
    response = post(client, file(b"picture"))
    assert_problem(response, 503, "model-unavailable")
    assert int(response.headers["Retry-After"]) > 0


def test_a_model_that_is_not_there_is_503(make_app):
    client = make_app(torchserve_url="http://127.0.0.1:9").test_client()
    assert_problem(post(client, file(b"picture")), 503, "model-unavailable")


def test_a_connection_that_breaks_off_is_tried_once_more(client, torchserve):
    torchserve.silent.set()
    assert_problem(post(client, file(b"picture")), 503, "model-unavailable")
    assert len(torchserve.seen) == 2
    torchserve.silent.clear()
    assert post(client, file(b"picture")).status_code == 200


def test_a_model_that_is_silent_is_504(make_app):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts and never answers
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        client = make_app(torchserve_url=url, answer_timeout_seconds=0.2).test_client()
        assert_problem(post(client, file(b"picture")), 504, "model-timeout")


def test_a_new_key_is_read_when_the_old_one_is_refused(client, torchserve, key_file):
    assert post(client, file(b"picture")).status_code == 200
    torchserve.key = "second"
    key_file.write_text(json.dumps({"inference": {"key": "second"}}))
    assert post(client, file(b"picture")).status_code == 200
    assert [seen[0] for seen in torchserve.seen] == ["Bearer first", "Bearer first", "Bearer second"]


@pytest.mark.parametrize("text", [None, "", '{"inference": {"ke', "{}", "[]"])
def test_a_key_file_that_is_not_there_yet_or_half_written_is_503(client, key_file, text):
    if text is None:
        key_file.unlink()
    else:
        key_file.write_text(text)
    assert_problem(post(client, file(b"picture")), 503, "model-unavailable")


def test_a_key_that_stays_refused_is_503_not_400(client, torchserve):
    torchserve.key = "another"
    assert_problem(post(client, file(b"picture")), 503, "model-unavailable")


@pytest.mark.parametrize(
    ("method", "path", "status", "kind"),
    [
        ("GET", "/api/v1/classify", 405, "method-not-allowed"),
        ("DELETE", "/api/v1/classify", 405, "method-not-allowed"),
        ("GET", "/api/v1/nothing", 404, "not-found"),
        ("GET", "/nothing", 404, "not-found"),
        ("PUT", "/", 405, "method-not-allowed"),
    ],
)
@pytest.mark.parametrize("accept", [None, "*/*", "application/json"])
def test_wrong_addresses_and_methods_get_the_same_form(client, method, path, status, kind, accept):
    response = client.open(path, method=method, headers={"Accept": accept} if accept else {})
    assert_problem(response, status, kind)


def test_below_the_api_even_a_browser_gets_json(client):
    assert_problem(client.get("/api/v1/nothing", headers={"Accept": "text/html"}), 404, "not-found")


def test_a_bug_gives_no_words_of_its_own_away(client, app, monkeypatch):
    def fail(*_):
        raise RuntimeError("secret inner words")

    monkeypatch.setattr(app.extensions["torchserve"], "predict", fail)
    assert_problem(post(client, file(b"picture")), 503, "unforeseen")


@pytest.mark.parametrize("top_k", [1, 2, 10])
def test_so_many_classes_are_given_as_are_asked_for(client, top_k):
    [result] = post(client, file(b"picture"), query_string={"top_k": top_k}).get_json()["results"]
    assert result["scores"] == ANSWER["scores"][:top_k]


@pytest.mark.parametrize("top_k", ["0", "11", "two", "", "1.5"])
def test_a_wrong_number_of_classes_is_400(client, torchserve, top_k):
    problem = assert_problem(post(client, file(b"picture"), query_string={"top_k": top_k}), 400, "invalid-parameter")
    assert "top_k" in problem["detail"]
    assert torchserve.seen == []


def test_an_explanation_comes_with_the_classification(client, torchserve):
    answer = client.post("/api/v1/explain", data={"image": file(b"picture", "cat.jpg")}).get_json()
    assert answer["results"] == [ANSWER | {"filename": "cat.jpg", "explanation": EXPLANATION}]
    assert torchserve.paths == ["/explanations/cifar10"]


def test_one_picture_is_explained_at_a_time(client):
    response = client.post("/api/v1/explain", data={"image": [file(b"1"), file(b"2")]})
    assert_problem(response, 400, "one-image-only")


def test_a_bad_picture_is_not_explained(client, torchserve):
    assert_problem(client.post("/api/v1/explain", data=b"bad"), 422, "damaged-image")


def test_the_model_is_described_by_what_answers(client):
    card = client.get("/api/v1/model").get_json()
    document = Manifest.read().document
    assert card["manifest"] == document
    assert (card["version"], card["sha256"]) == ("7", "abc")
    assert card["accuracy"] == document["metrics"]["test"]["accuracy"]
    assert card["labels"] == list(LABELS)
    assert card["limits"]["max_images"] == 4


def test_the_document_describes_every_error_as_it_comes(client):
    operations = [
        (path, method, operation)
        for path, methods in client.get("/openapi.json").get_json()["paths"].items()
        for method, operation in methods.items()
    ]
    assert len(operations) > 10
    problem = {"$ref": "#/components/schemas/Problem"}
    for path, method, operation in operations:
        described = operation["responses"]
        assert described.keys() >= {"200", "400", "431"} | ({"408", "413"} if method == "post" else set())
        schemas = [described[status]["content"] for status in described if status != "200"]
        for content in schemas:
            [(media_type, described_as)] = content.items()
            assert media_type == "application/problem+json"
            schema = described_as["schema"]
            if path.startswith(("/v1", "/v2")):
                assert schema["allOf"][0] == problem
                assert "error" in schema["allOf"][1]["properties"]
            else:
                assert schema == problem


def test_the_gateways_lists_are_the_models():
    """The gateway may not import model/, so it has its own."""
    assert drift.LABELS == LABELS
    assert {name.upper() for name in api.FORMATS} == set(FORMATS)


def test_security_headers_are_on_every_answer(client):
    for path in ("/", "/api/v1/nothing", "/livez", "/static/page.css"):
        with client.get(path) as response:
            headers = response.headers
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"


def test_one_log_line_a_request(client, capsys):
    post(client, file(b"picture", "private-name.jpg"), headers={"X-Request-ID": "r1"})
    [line] = capsys.readouterr().out.splitlines()
    entry = json.loads(line)
    assert (entry["event"], entry["request_id"], entry["path"], entry["status"]) == (
        "request",
        "r1",
        "/api/v1/classify",
        200,
    )
    assert "private-name" not in line


@pytest.mark.parametrize("accept", ["text/html", "application/json"])
def test_a_host_name_that_is_none_is_the_senders_error(client, accept):
    response = client.get("/", headers={"Host": "a..b", "Accept": accept})
    assert (response.status_code, response.mimetype) == (400, "application/problem+json")
