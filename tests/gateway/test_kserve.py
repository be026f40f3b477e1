"""KServe's protocols at the gateway."""

import base64
import json
import time

import pytest

from gateway.kserve import MOST_PARTS
from tests.gateway.conftest import ANSWER, EXPLANATION

V2 = "/v2/models/cifar10/infer"
V1 = "/v1/models/cifar10:predict"
EXPLAIN = "/v1/models/cifar10:explain"
GOOD = base64.b64encode(b"picture").decode()
BAD = base64.b64encode(b"bad").decode()
HUGE = base64.b64encode(b"x" * 10_001).decode()


def inputs(*texts, **members):
    return {"inputs": [{"name": "image", "shape": [len(texts)], "datatype": "BYTES", "data": list(texts)} | members]}


def instances(*texts):
    return {"instances": [{"b64": text} for text in texts]}


def assert_problem(response, status, kind):
    assert (response.status_code, response.mimetype) == (status, "application/problem+json")
    problem = response.get_json()
    assert problem["type"] == f"/problems/{kind}"
    assert problem["error"] == problem["detail"]
    assert problem["request_id"] == response.headers["X-Request-ID"]
    return problem


def test_pictures_are_classified_by_v2(client, torchserve):
    answer = client.post(V2, json={"id": "d3b1", **inputs(GOOD, GOOD)}).get_json()
    assert answer == {
        "model_name": "cifar10",
        "model_version": "7",
        "id": "d3b1",
        "outputs": [
            {"name": "label", "datatype": "BYTES", "shape": [2], "data": ["cat", "cat"]},
            {"name": "score", "datatype": "FP32", "shape": [2], "data": [0.9, 0.9]},
            {"name": "in_scope", "datatype": "BOOL", "shape": [2], "data": [True, True]},
            {"name": "in_scope_score", "datatype": "FP32", "shape": [2], "data": [0.8, 0.8]},
        ],
    }
    assert [body for _, _, body in torchserve.seen] == [b"picture" * 2]


def test_without_an_id_v2_answers_with_the_requests(client):
    response = client.post(V2, json=inputs(GOOD), headers={"X-Request-ID": "abc"})
    assert response.get_json()["id"] == response.headers["X-Request-ID"] == "abc"


@pytest.mark.parametrize("shape", [None, [-1], [2, 1]])
def test_other_ways_to_state_the_shape(client, shape):
    assert client.post(V2, json=inputs(GOOD, GOOD, shape=shape)).status_code == 200


@pytest.mark.parametrize("wanted", [["score"], ["score", "label"]])
def test_only_the_outputs_that_are_asked_for_are_given(client, wanted):
    outputs = [{"name": name, "parameters": {"classification": 0}} for name in wanted]
    answer = client.post(V2, json=inputs(GOOD) | {"outputs": outputs}).get_json()
    assert {output["name"] for output in answer["outputs"]} == set(wanted)


@pytest.mark.parametrize("outputs", [[], None])
def test_all_outputs_are_given_where_none_is_asked_for(client, outputs):
    answer = client.post(V2, json=inputs(GOOD) | {"outputs": outputs}).get_json()
    assert len(answer["outputs"]) == 4


@pytest.mark.parametrize("instance", [GOOD, {"b64": GOOD}, {"data": GOOD}, {"image_bytes": {"b64": GOOD}, "key": "1"}])
def test_pictures_are_classified_by_v1(client, instance):
    assert client.post(V1, json={"instances": [instance] * 2}).get_json() == {"predictions": [ANSWER] * 2}


def test_a_picture_is_explained_by_v1(client):
    answer = client.post(EXPLAIN, json=instances(GOOD)).get_json()
    assert answer == {"explanations": [ANSWER | {"explanation": EXPLANATION}]}
    assert_problem(client.post(EXPLAIN, json=instances(GOOD, GOOD)), 400, "one-image-only")


def test_the_type_of_the_body_must_be_json(client):
    assert_problem(client.post(V2, data=json.dumps(inputs(GOOD)), content_type="text/plain"), 400, "invalid-json")


@pytest.mark.parametrize(
    ("path", "document", "member"),
    [
        (V2, {}, "inputs"),
        (V2, [], "body"),
        (V2, None, "body"),
        (V2, {"inputs": []}, "inputs"),
        (V2, {"inputs": inputs(GOOD)["inputs"] * 2}, "inputs"),
        (V2, {"id": 5, **inputs(GOOD)}, "id"),
        (V2, inputs(), "inputs.0.data"),
        (V2, inputs(GOOD, "a b"), "inputs.0.data.1"),
        (V2, inputs(GOOD, "ü"), "inputs.0.data.1"),
        (V2, inputs(GOOD, 5), "inputs.0.data.1"),
        (V2, inputs(GOOD, datatype="UINT8"), "inputs.0.datatype"),
        (V2, inputs(GOOD, shape=[2]), "inputs.0"),
        (V2, inputs(GOOD, shape=["1"]), "inputs.0.shape.0"),
        (V2, inputs(GOOD) | {"outputs": [{"name": "score"}, {"name": "other"}]}, "outputs.1.name"),
        (V1, {}, "instances"),
        (V1, {"instances": []}, "instances"),
        (V1, {"instances": [GOOD, {"b65": GOOD}]}, "instances.1"),
        (V1, {"instances": [[GOOD]]}, "instances.0"),
    ],
)
def test_what_does_not_fit_is_named(client, torchserve, path, document, member):
    problem = assert_problem(client.post(path, json=document), 400, "invalid-json")
    assert problem["detail"].startswith(f"Wrong or missing is {member}.")
    assert torchserve.seen == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff",
        b"nul",
        b"[" * 900,
        b'{"a":' * 900,
        b"[" * 14_000,
        b"[" + b"[]," * 4_000 + b"[]]",
        b"9" * 14_000,
        b'"%s"' % json.dumps({"inputs": []}).replace('"', '\\"').encode(),
        b'["picture"]',
    ],
    ids=["nothing", "begun", "no text", "no word", "nested", "named", "deep", "wide", "number", "text", "list"],
)
def test_what_is_no_json_or_too_much_of_it(client, body):
    assert_problem(client.post(V2, data=body, content_type="application/json"), 400, "invalid-json")


def test_json_in_a_text_is_not_read_once_more(make_app):
    """It would be, by flask-openapi3, and escapes hide how much it is."""
    escaped = f'{{"inputs": [{",".join(["{}"] * 100_000)}]}}'
    for character in '[],{}"':
        escaped = escaped.replace(character, f"\\u{ord(character):04x}")
    client = make_app(max_image_bytes=2_000_000, max_request_bytes=4_000_000).test_client()
    began = time.process_time()
    assert_problem(client.post(V2, data=f'"{escaped}"', content_type="application/json"), 400, "invalid-json")
    assert time.process_time() - began < 0.2


def test_a_byte_order_mark_is_passed_over(client):
    body = b"\xef\xbb\xbf" + json.dumps(inputs(GOOD)).encode()
    assert client.post(V2, data=body, content_type="application/json").status_code == 200


def test_pictures_need_fewer_parts_than_are_read(client):
    parts = json.dumps({"id": "a", **inputs(*[GOOD] * 256)})
    assert sum(map(parts.count, "[{,")) < MOST_PARTS
    assert_problem(client.post(V2, data=parts, content_type="application/json"), 400, "too-many-images")


def test_nesting_beyond_any_need_is_refused_before_it_fills_the_parsers_stack(client):
    for body in (b"[" * 990, b'{"a":' * 990):
        assert_problem(client.post(V2, data=body, content_type="application/json"), 400, "invalid-json")


@pytest.mark.parametrize("shape", [[10**60] * 200, [10**4000], [1] * 9])
def test_a_shape_beyond_any_need_is_refused_before_it_is_multiplied(client, shape):
    began = time.process_time()
    assert_problem(client.post(V2, json=inputs(GOOD, shape=shape)), 400, "invalid-json")
    assert time.process_time() - began < 0.2


@pytest.mark.parametrize("document", [inputs(GOOD, BAD), inputs(BAD)])
def test_a_bad_picture_is_the_problem_of_its_request(client, document):
    assert_problem(client.post(V2, json=document), 422, "damaged-image")


def test_too_large(client):
    problem = assert_problem(client.post(V2, json=inputs(HUGE)), 413, "too-large")
    assert "0.01 MB" in problem["detail"]
    problem = assert_problem(client.post(V1, json=instances(HUGE, HUGE)), 413, "too-large")
    assert "0.015 MB" in problem["detail"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v2/models/other"),
        ("GET", "/v2/models/other/ready"),
        ("POST", "/v2/models/other/infer"),
        ("GET", "/v1/models/other"),
        ("POST", "/v1/models/other:predict"),
        ("POST", "/v1/models/other:explain"),
        ("GET", "/v2/models/cifar10/versions/7"),
    ],
)
def test_another_model_is_not_there(client, method, path):
    document = instances(GOOD) if "/v1/" in path else inputs(GOOD)
    assert_problem(client.open(path, method=method, json=document), 404, "not-found")


def test_the_address_of_the_server_itself_is_as_those_below_it(make_app):
    client = make_app(cors_origins="https://a.example").test_client()
    headers = {"Origin": "https://a.example", "Accept": "text/html"}
    assert client.get("/v2", headers=headers).headers["Access-Control-Allow-Origin"] == "https://a.example"
    assert_problem(client.post("/v2", headers=headers), 405, "method-not-allowed")


def test_what_is_there(client):
    assert client.get("/v2").get_json() == {"name": "cifar10-gateway", "version": "1.0.0", "extensions": []}
    assert client.get("/v2/models/cifar10").get_json() == {
        "name": "cifar10",
        "platform": "torchserve_mar",
        "inputs": [{"name": "image", "datatype": "BYTES", "shape": [-1]}],
        "outputs": [
            {"name": "label", "datatype": "BYTES", "shape": [-1]},
            {"name": "score", "datatype": "FP32", "shape": [-1]},
            {"name": "in_scope", "datatype": "BOOL", "shape": [-1]},
            {"name": "in_scope_score", "datatype": "FP32", "shape": [-1]},
        ],
    }
    assert client.get("/v1/models").get_json() == {"models": ["cifar10"]}


READY = ["/v2/health/ready", "/v2/models/cifar10/ready", "/v1/models/cifar10"]


def test_who_is_ready(client):
    assert client.get("/v2/health/live").get_json() == {"live": True}
    assert client.get(READY[0]).get_json() == {"ready": True}
    assert [client.get(path).get_json() for path in READY[1:]] == [{"name": "cifar10", "ready": True}] * 2


@pytest.mark.parametrize("path", READY)
def test_who_is_not_ready(make_app, path):
    client = make_app(torchserve_url="http://127.0.0.1:9").test_client()
    assert_problem(client.get(path), 503, "model-unavailable")
    assert client.get("/v2/health/live").status_code == 200


def test_probes_cost_nothing_of_a_senders_rate(make_app):
    client = make_app(rate_limit="2 per minute").test_client()
    assert [client.get(path).status_code for path in ["/v2/health/live", *READY]] == [200] * 4
    assert [client.post(V2, json=inputs(GOOD)).status_code for _ in range(2)] == [200] * 2
    assert_problem(client.post(V1, json=instances(GOOD)), 429, "too-many-requests")


def test_it_counts_as_traffic(client):
    client.post(V2, json=inputs(GOOD, GOOD))
    counted = client.get("/metrics").get_data(as_text=True)
    assert 'gateway_predictions_total{in_scope="true",label="cat"} 2.0' in counted
    assert 'route="/v2/models/<model:name>/infer"' in counted


def test_errors_are_in_the_senders_language(client):
    problem = client.post(V2, json={}, headers={"Accept-Language": "uk"}).get_json()
    assert problem["error"].startswith("Неправильно")
