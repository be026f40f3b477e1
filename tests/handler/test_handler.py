"""The handler with a stand-in for TorchServe's context: batches mixed at will cannot be provoked from outside."""

import base64
import json
import logging
import re
import resource

import psutil
import pytest

from handler import classifier_handler
from handler.classifier_handler import REPORT_EVERY, ClassifierHandler
from handler.kserve import MOST_PICTURES
from launcher import probe
from model.classifier import AT_ONCE
from model.manifest import INT8_PATH, MANIFEST_PATH, WEIGHTS_PATH
from tests import pictures


class Context:
    """As much of ts.context.Context as the handler uses."""

    def __init__(self, folder, headers=()):
        self.system_properties = {"model_dir": str(folder)}
        self.manifest = {"model": {"modelName": "cifar10", "serializedFile": "weights.safetensors"}}
        self.model_yaml_config = {"handler": {"threads": 1, "engine": "auto"}}
        self.headers = dict(headers)
        self.metrics = self
        self.reported = {}
        self.status, self.content_type, self.response_headers = {}, {}, {}

    def get_all_request_header(self, index):
        return self.headers.get(index, {})

    def get_request_id(self, index):
        return f"torchserve-{index}"

    def set_response_status(self, code=200, phrase="", idx=0):
        self.status[idx] = (code, phrase)

    def set_response_content_type(self, idx, value):
        self.content_type[idx] = value

    def set_response_header(self, idx, key, value):
        self.response_headers.setdefault(idx, {})[key] = value

    def add_counter(self, name, value):
        self.reported[name] = value

    def add_size(self, name, value, unit):
        assert unit == "B"
        self.reported[name] = value


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("archive")
    (folder / "weights.safetensors").write_bytes(WEIGHTS_PATH.read_bytes())
    (folder / "manifest.json").write_bytes(MANIFEST_PATH.read_bytes())
    if INT8_PATH.exists():
        (folder / INT8_PATH.name).write_bytes(INT8_PATH.read_bytes())
    return folder


@pytest.fixture
def handler(folder):
    handler = ClassifierHandler()
    memory = resource.getrlimit(resource.RLIMIT_DATA)
    root_level = logging.getLogger().level
    handler.initialize(Context(folder))
    yield handler
    resource.setrlimit(resource.RLIMIT_DATA, memory)
    logging.getLogger().setLevel(root_level)
    handler.log.handlers.clear()
    logging.getLogger("ts.metrics.caching_metric").filters.clear()


def test_body_and_form_field_get_the_same_answer(handler, folder):
    photo = pictures.PHOTO_PATH.read_bytes()
    context = Context(folder)
    by_body, by_field = handler.handle([{"body": bytearray(photo)}, {"data": bytearray(photo)}], context)
    assert json.loads(by_body) == json.loads(by_field)
    assert json.loads(by_body)["label"] == pictures.PHOTO_LABEL
    assert context.content_type == {0: "application/json", 1: "application/json"}
    assert context.status == {}


def test_a_bad_picture_costs_its_own_slot_only(handler, folder):
    good, bad = pictures.PHOTO_PATH.read_bytes(), pictures.REFUSED["truncated jpeg"][0]()
    text = pictures.REFUSED["text named .jpg"][0]()
    context = Context(folder)
    rows = [{"body": bad}, {"body": good}, {}, {"body": text}, {"data": good}, {"data": "a string"}]
    replies = [json.loads(reply) for reply in handler.handle(rows, context)]
    assert {index: code for index, (code, _) in context.status.items()} == {0: 422, 2: 400, 3: 415, 5: 400}
    assert [reply.get("label") for reply in replies] == [None, "cat", None, None, "cat", None]
    for index in (0, 2, 3, 5):
        assert set(replies[index]) >= {"type", "title", "status", "detail"}
        assert context.content_type[index] == "application/problem+json"
    [alone] = handler.handle([{"body": good}], Context(folder))
    assert replies[1]["score"] == pytest.approx(json.loads(alone)["score"], abs=2e-6)


def test_a_batch_of_bad_pictures_only_is_answered(handler, folder):
    replies = handler.handle([{"body": b"x"}, {"body": b""}], Context(folder))
    assert [json.loads(reply)["status"] for reply in replies] == [415, 400]


def test_every_answer_names_its_weights(handler, folder):
    context = Context(folder)
    handler.handle([{"body": pictures.PHOTO_PATH.read_bytes()}, {}], context)
    manifest = json.loads(MANIFEST_PATH.read_text())
    named = {"X-Model-Version": manifest["version"], "X-Model-SHA256": manifest["sha256"]}
    assert all(named.items() <= context.response_headers[index].items() for index in (0, 1))


def test_one_log_line_a_request_with_its_id(handler, folder, capsys):
    handler.log.handlers[0].setStream(__import__("sys").stdout)
    rows = [{"body": pictures.PHOTO_PATH.read_bytes()}, {}]
    handler.handle(rows, Context(folder, {0: {"X-Request-ID": "mine"}}))
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["request_id"], line["status"]) for line in lines] == [("mine", 200), ("torchserve-1", 400)]
    assert lines[0]["label"] == "cat"
    assert lines[1]["problem"] == "/problems/no-image"


def test_headers_are_found_in_any_case(handler, folder, caplog):
    photo = pictures.PHOTO_PATH.read_bytes()
    headers = {"x-picture-lengths": f"{len(photo)},{len(photo)}", "X-REQUEST-ID": "one,two"}
    with caplog.at_level("INFO"):
        [reply] = handler.handle([{"body": photo * 2}], Context(folder, {0: headers}))
    assert [each["label"] for each in json.loads(reply)] == [pictures.PHOTO_LABEL] * 2
    assert [json.loads(record.message)["request_id"] for record in caplog.records] == ["one", "two"]


def test_torchserve_says_what_is_to_be_explained_and_no_sender(handler, folder):
    context = Context(folder, {0: {"EXPLAIN": "True", "explain": "False", "Explain": "True"}})
    [reply] = handler.handle([{"body": pictures.PHOTO_PATH.read_bytes()}], context)
    assert "explanation" not in json.loads(reply)


@pytest.mark.parametrize("name", ["X-Request-ID", "x-picture-lengths", "X-Model-Manifest", "X-Probe", "explain"])
def test_a_form_field_named_like_a_header_is_none(handler, folder, name):
    """TorchServe puts what it knows of a form's fields among the headers."""
    photo = pictures.PHOTO_PATH.read_bytes()
    described = {"data": {"content-type": "image/jpeg"}, name: {"content-type": "text/plain"}}
    rows = [{"data": photo, name: bytearray(b"1,2")}, {"body": photo}]
    replies = handler.handle(rows, Context(folder, {0: described}))
    assert [json.loads(reply)["label"] for reply in replies] == [pictures.PHOTO_LABEL] * 2


def test_a_batch_that_is_out_of_time_is_told_as_busy_to_the_probe_too(handler, folder, monkeypatch):
    monkeypatch.setattr(classifier_handler, "BATCH_SECONDS", 0.0)
    [reply] = handler.handle([{"body": probe.PICTURE_PATH.read_bytes()}], context := Context(folder))
    assert json.loads(reply)["type"] == probe.HANDLER_IS_BUSY
    assert context.status[0][0] == 503


def test_the_engine_gets_few_pictures_at_once_however_many_come(handler, folder, monkeypatch):
    photo = pictures.PHOTO_PATH.read_bytes()
    many = MOST_PICTURES * [photo]
    headers = {"X-Picture-Lengths": ",".join(str(len(each)) for each in many)}
    compute, counts = handler.classifier.engine.outputs, []

    def counted(pixels):
        counts.append(len(pixels))
        return compute(pixels)

    monkeypatch.setattr(handler.classifier.engine, "outputs", counted)
    context = Context(folder, {0: headers, 1: headers})
    replies = handler.handle([{"body": b"".join(many)}] * 2 + [{"body": photo}], context)
    assert counts == 16 * [AT_ONCE] + [1]
    labels = [[each["label"] for each in json.loads(reply)] for reply in replies[:2]]
    assert labels == [len(many) * [pictures.PHOTO_LABEL]] * 2
    assert json.loads(replies[2])["label"] == pictures.PHOTO_LABEL
    assert context.response_headers[2]["X-Batch-Size"] == "129"


def test_what_no_time_is_left_for_is_refused_and_the_rest_answered(handler, folder, monkeypatch):
    """So that TorchServe does not kill the worker, which would cost every request of the batch its answer."""
    answer = handler.classifier.answers

    def slow(outputs, seen):
        handler.computed_by = 0.0
        return answer(outputs, seen)

    monkeypatch.setattr(handler.classifier, "answers", slow)
    photo = pictures.PHOTO_PATH.read_bytes()
    kserve = json.dumps({"instances": [{"b64": base64.b64encode(photo).decode()}]}).encode()
    context = Context(folder, {1: {"explain": "True"}, 2: {"explain": "True", "Content-Type": "application/json"}})
    rows = [{"body": photo}, {"body": photo}, {"body": kserve}, *[{"body": photo}] * AT_ONCE]
    answered, explained, *others = [json.loads(reply) for reply in handler.handle(rows, context)]
    assert answered["label"] == pictures.PHOTO_LABEL
    refused = {index: code for index, (code, _) in context.status.items()}
    assert refused == dict.fromkeys((1, 2, *range(AT_ONCE, AT_ONCE + 3)), 503)
    for problem in (explained, others[0], *others[-3:]):
        assert problem["type"] == "/problems/model-unavailable"
        assert not {"label", "explanation", "predictions"} & set(problem)


def test_an_explanation_is_made_for_one_picture_however_it_comes(handler, folder):
    photo = pictures.PHOTO_PATH.read_bytes()
    one, two = ({"explain": "True", "X-Picture-Lengths": ",".join([str(len(photo))] * count)} for count in (1, 2))
    replies = handler.handle([{"body": photo}, {"body": photo * 2}], context := Context(folder, {0: one, 1: two}))
    [answer], problem = map(json.loads, replies)
    assert answer["explanation"]["label"] == answer["label"]
    assert (context.status[1][0], problem["type"]) == (400, "/problems/bad-request")


def test_an_explanation_is_not_begun_that_would_not_be_ready_in_time(handler, folder):
    rows, headers = [{"body": pictures.PHOTO_PATH.read_bytes()}], {0: {"explain": "True"}}
    handler.handle(rows, Context(folder, headers))
    assert 0 < handler.explain_seconds < classifier_handler.COMPUTE_SECONDS
    handler.explain_seconds = classifier_handler.COMPUTE_SECONDS  # as on a slow machine
    handler.handle(rows, context := Context(folder, headers))
    assert context.status[0][0] == 503


def test_an_explanation_is_made_for_its_own_slot_of_a_mixed_batch(handler, folder):
    photo = pictures.PHOTO_PATH.read_bytes()
    context = Context(folder, {1: {"explain": "True"}, 2: {"explain": "True"}})
    plain, explained, bad = (json.loads(reply) for reply in handler.handle([{"body": photo}] * 2 + [{}], context))
    explanation = explained.pop("explanation")
    assert explained == plain
    assert explanation["label"] == plain["label"]
    assert explanation["region"] == {"left": 0.0, "top": 0.0, "right": 1.0, "bottom": 1.0}
    values = [value for row in explanation["strengths"] for value in row]
    assert (min(values) >= 0, max(values)) == (True, 1.0)
    assert bad["status"] == 400


def test_every_answer_says_what_its_batch_took(handler, folder):
    photo = pictures.PHOTO_PATH.read_bytes()
    context = Context(folder)
    handler.handle([{"body": photo}, {}], context)
    assert context.response_headers[0]["Server-Timing"] == context.response_headers[1]["Server-Timing"]
    assert re.fullmatch(r"decode;dur=[\d.]+, network;dur=[\d.]+", context.response_headers[0]["Server-Timing"])
    assert [headers["X-Batch-Size"] for headers in context.response_headers.values()] == ["2", "2"]
    handler.handle([{"body": photo}, {}], context := Context(folder, {0: {"explain": "True"}}))
    assert re.search(r"explain;dur=[\d.]+$", context.response_headers[1]["Server-Timing"])


def test_pictures_of_several_requests_are_logged_under_their_own_ids(handler, folder, caplog):
    photo = pictures.PHOTO_PATH.read_bytes()
    headers = {"X-Picture-Lengths": f"{len(photo)},3", "X-Request-ID": "one,two"}
    with caplog.at_level("INFO"):
        handler.handle([{"body": photo + b"bad"}], Context(folder, {0: headers}))
        handler.handle([{"body": photo + b"bad"}], Context(folder, {0: headers | {"X-Request-ID": "both"}}))
    logged = [json.loads(record.message) for record in caplog.records]
    assert [line["request_id"] for line in logged] == ["one", "two", "both", "both"]
    assert [line["status"] for line in logged] == [200, 415, 200, 415]


def test_the_workers_cpu_and_memory_are_reported_once_in_a_while(handler, folder):
    first, second, later = (Context(folder) for _ in range(3))
    handler.handle([{}], first)
    handler.handle([{}], second)
    handler.reported -= REPORT_EVERY
    handler.handle([{}], later)
    assert second.reported == {}
    assert first.reported.keys() == later.reported.keys()
    used = first.reported["worker_cpu_seconds_total"] + later.reported["worker_cpu_seconds_total"]
    assert 0 < used <= sum(psutil.Process().cpu_times()[:2])
    assert later.reported["worker_resident_memory_bytes"] > 1_000_000


def test_the_manifest_is_given_to_who_asks(handler, folder):
    context = Context(folder, {0: {"X-Model-Manifest": "true"}})
    manifest, answer = handler.handle([{"body": b"-"}, {"body": pictures.PHOTO_PATH.read_bytes()}], context)
    document = json.loads(manifest)
    assert document.pop("engine")["name"] == handler.classifier.engine.name
    assert document == json.loads(MANIFEST_PATH.read_text())
    assert json.loads(answer)["label"] == pictures.PHOTO_LABEL
    assert context.status == {}


def test_a_problem_states_its_facts_for_other_languages(handler, folder):
    tiny = pictures.REFUSED["7 pixels high"][0]()
    [reply] = handler.handle([{"body": tiny}], Context(folder))
    assert {"width": 900, "height": 7, "min_side": 8}.items() <= json.loads(reply).items()


def test_several_pictures_in_one_request_each_have_their_answer(handler, folder):
    good, bad = pictures.PHOTO_PATH.read_bytes(), pictures.REFUSED["truncated jpeg"][0]()
    lengths = f"{len(good)},{len(bad)},{len(good)}"
    context = Context(folder, {0: {"X-Picture-Lengths": lengths}})
    together, alone = handler.handle([{"body": good + bad + good}, {"body": good}], context)
    first, refused, last = json.loads(together)
    for each in (first, last):
        assert each["label"] == json.loads(alone)["label"]
        assert each["score"] == pytest.approx(json.loads(alone)["score"], abs=2e-6)
    assert refused["status"] == 422
    assert context.status == {}
    assert context.content_type == {0: "application/json", 1: "application/json"}


@pytest.mark.parametrize("lengths", ["", "1,x", "-1,5", "1,2", "4,", "4," + "0," * 64 + "0"])
def test_lengths_that_do_not_fit_the_body_are_refused(handler, folder, lengths):
    context = Context(folder, {0: {"X-Picture-Lengths": lengths}})
    [reply] = handler.handle([{"body": b"body"}], context)
    assert json.loads(reply)["detail"].endswith("add up to the body's 4 bytes.")
    assert context.status[0][0] == 400
