"""Pictures in KServe's JSON, right and wrong."""

import base64
import json

import pytest

from handler.kserve import MOST_PICTURES, KServeError, KServeRequest
from tests import pictures
from tests.handler.test_handler import Context, folder, handler  # noqa: F401  # fixtures

PHOTO = pictures.PHOTO_PATH.read_bytes()
PHOTO_64 = base64.b64encode(PHOTO).decode()
BAD_64 = base64.b64encode(pictures.REFUSED["truncated jpeg"][0]()).decode()


def v1(*texts):
    return json.dumps({"instances": [{"b64": text} for text in texts]}).encode()


def v2(*texts, **members):
    tensor = {"name": "image", "shape": [len(texts)], "datatype": "BYTES", "data": list(texts)} | members
    return json.dumps({"id": "mine", "inputs": [tensor]}).encode()


def ask(handler, folder, *bodies, **headers):  # noqa: F811
    context = Context(folder, dict.fromkeys(range(len(bodies)), headers))
    return [json.loads(each) for each in handler.handle([{"body": body} for body in bodies], context)], context


def test_v1_answers_each_instance_as_predictions_do(handler, folder):  # noqa: F811
    [alone, several, other], context = ask(handler, folder, PHOTO, v1(PHOTO_64, PHOTO_64), v1(PHOTO_64))
    assert [each["label"] for each in several["predictions"]] == [alone["label"]] * 2
    assert set(other) == {"predictions"}
    assert other["predictions"][0].keys() == alone.keys()
    assert context.status == {}


def test_v2_answers_by_tensors_whose_shapes_fit(handler, folder):  # noqa: F811
    [answer], context = ask(handler, folder, v2(PHOTO_64, PHOTO_64))
    assert (answer["model_name"], answer["model_version"], answer["id"]) == (
        "cifar10",
        handler.manifest.version,
        "mine",
    )
    tensors = {tensor["name"]: tensor for tensor in answer["outputs"]}
    assert tensors["label"]["data"] == [pictures.PHOTO_LABEL] * 2
    assert tensors["in_scope"] == {"name": "in_scope", "datatype": "BOOL", "shape": [2], "data": [True, True]}
    assert all(tensor["shape"] == [2] for tensor in tensors.values())
    assert context.content_type == {0: "application/json"}


def test_one_bad_picture_fails_its_request_and_no_other(handler, folder):  # noqa: F811
    replies, context = ask(handler, folder, v1(PHOTO_64, BAD_64), v2(PHOTO_64), v2(BAD_64))
    assert [code for _, (code, _) in sorted(context.status.items())] == [422, 422]
    assert replies[0]["error"] == replies[0]["detail"] == replies[2]["error"]
    assert replies[1]["outputs"][0]["data"] == ["cat"]


def test_explanations(handler, folder):  # noqa: F811
    replies, context = ask(handler, folder, PHOTO, v1(PHOTO_64), v2(PHOTO_64), v1(PHOTO_64, PHOTO_64), explain="True")
    plain, first, second, refused = replies
    assert first["explanations"][0]["explanation"] == plain["explanation"]
    region, strengths = second["outputs"][-2:]
    assert (region["shape"], region["data"]) == ([1, 4], list(plain["explanation"]["region"].values()))
    rows = plain["explanation"]["strengths"]
    assert strengths["shape"] == [1, len(rows), len(rows[0])]
    assert strengths["data"] == [value for row in rows for value in row]
    assert "one at a time" in refused["error"]
    assert context.status[3][0] == 400
    assert "explain;dur=" in context.response_headers[0]["Server-Timing"]


def test_every_picture_has_its_log_line(handler, folder, capsys):  # noqa: F811
    handler.log.handlers[0].setStream(__import__("sys").stdout)
    ask(handler, folder, v1(PHOTO_64, BAD_64), **{"X-Request-ID": "mine"})
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["request_id"], line["status"]) for line in lines] == [("mine", 200), ("mine", 422)]


@pytest.mark.parametrize(
    "instance", [PHOTO_64, {"b64": PHOTO_64}, {"data": PHOTO_64}, {"image_bytes": {"b64": PHOTO_64}}]
)
def test_instances_as_the_examples_of_both_have_them(instance):
    assert KServeRequest.read(json.dumps({"instances": [instance]}).encode()) == KServeRequest(1, [PHOTO])


@pytest.mark.parametrize("body", [PHOTO, b"", b"text", b"[]", b'"{'])
def test_what_is_no_json_object_may_be_a_picture(body):
    assert KServeRequest.read(body) is None


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{", "begins as JSON"),
        (b' \n{"instances"', "begins as JSON"),
        (b'{"a": ' * 100_000, "begins as JSON"),
        (b'{"a": "\xff"}', "begins as JSON"),
        (b"{}", "as KServe has it"),
        (b'{"instances": {}}', "as KServe has it"),
        (b'{"instances": []}', "0 pictures"),
        (b'{"instances": [1]}', "must be a picture in base64"),
        (b'{"instances": [{"image": ""}]}', "must be a picture in base64"),
        (b'{"instances": ["\\u00e4"]}', "not in base64"),
        (b'{"instances": ["YQ"]}', "not in base64"),
        (v1(*["YQ=="] * (MOST_PICTURES + 1)), f"send 1 to {MOST_PICTURES}"),
        (b'{"inputs": []}', "one input"),
        (b'{"inputs": [[]]}', "one input"),
        (v2("YQ==", datatype="UINT8"), "one input"),
        (v2(data="YQ=="), "one input"),
        (v2(data=[1]), "must be texts"),
        (v2("YQ==", shape=[2]), "does not fit its 1 texts"),
        (v2("YQ==", shape="1"), "whole numbers"),
        (v2("YQ==", shape=[1] * 9), "at most 8"),
        (v2("YQ==", shape=[1, 10**300]), "none above 64"),
        (v2("YQ==").replace(b"mine", b"m" * 1001), "1000 characters"),
    ],
)
def test_json_of_another_form_is_refused_with_the_right_one(body, words):
    with pytest.raises(KServeError, match=words):
        KServeRequest.read(body)


def test_a_refused_body_costs_its_own_slot_only(handler, folder):  # noqa: F811
    replies, context = ask(handler, folder, b"{", PHOTO)
    assert context.status == {0: (400, "The request cannot be read")}
    assert replies[0]["error"] == replies[0]["detail"]
    assert replies[1]["label"] == "cat"


def test_what_is_sent_as_a_picture_is_no_json(handler, folder):  # noqa: F811
    """The gateway sends its users' files so: none of them may choose another form for the answer."""
    replies, _ = ask(handler, folder, v1(PHOTO_64), b"{", **{"Content-Type": "application/octet-stream"})
    assert [reply["type"] for reply in replies] == ["/problems/unsupported-format"] * 2
    [field] = handler.handle([{"data": v1(PHOTO_64)}], Context(folder))
    assert json.loads(field)["status"] == 415


def test_a_shape_may_leave_the_count_open():
    assert KServeRequest.read(v2("YQ==", "Yg==", shape=[-1])) == KServeRequest(2, [b"a", b"b"], "mine")
