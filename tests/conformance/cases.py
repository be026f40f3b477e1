"""What TorchServe's own Postman collections ask, put to our model; `expected` is the collections' status.

`second` is our archive registered under another name, as the collections register models and take them away again.
Where another status is right for us, `ours` is that and `why` says so; the rows stand in docs/conformance.md.
"""

import base64
import json
import re
from dataclasses import dataclass

import requests

from tests import pictures
from tests.conformance import wire

PHOTO = pictures.PHOTO_PATH.read_bytes()
PHOTO_64 = base64.b64encode(PHOTO).decode()
V1 = json.dumps({"instances": [{"data": PHOTO_64}]})
V2 = json.dumps({"id": "d3b1", "inputs": [{"name": "image", "shape": [1], "datatype": "BYTES", "data": [PHOTO_64]}]})
V2_BROKEN = V2.replace(PHOTO_64, PHOTO_64[:-3])
TIMEOUT = 120

REGISTER = "models?url=cifar10.mar&model_name=second&initial_workers=1&synchronous=true"
PIN = "the archive's model-config.yaml decides, whatever the request says"
CHANGED = "TorchServe 0.12 itself answers so; the collection is older"
NO_VERSIONS = (
    "TorchServe 0.12 has no such address: its KServe APIs are inference and explanation alone; ours is at the gateway"
)


@dataclass(frozen=True)
class Case:
    collection: str
    name: str
    method: str
    path: (
        str  # at the management API if it begins with models, at metrics, gateway or gRPC if it says so, else inference
    )
    expected: object
    body: str | bytes = b""
    check: object = None  # of the answer's text
    ours: object = None
    why: str = ""


def cat(text):
    return json.loads(text)["label"] == "cat"


def explained(text):
    return len(json.loads(text)["explanation"]["strengths"]) > 1


def v1_cat(text):
    return json.loads(text)["predictions"][0]["label"] == "cat"


def v1_explained(text):
    return "strengths" in json.loads(text)["explanations"][0]["explanation"]


def v2_cat(text):
    answer = json.loads(text)
    return answer["id"] == "d3b1" and answer["outputs"][0]["data"] == ["cat"]


def v2_explained(text):
    tensor = json.loads(text)["outputs"][-1]
    return tensor["name"] == "strengths" and len(tensor["data"]) == tensor["shape"][1] * tensor["shape"][2]


def listed(text):
    return json.loads(text) == {"models": ["cifar10"]}


def named(text):
    return set(json.loads(text)) == {"name", "version", "extensions"}


def live(text):
    return json.loads(text) == {"live": True}


def ready(text):
    return json.loads(text)["ready"] is True


def described(text):
    model = json.loads(text)
    return [model["name"], *(tensor["datatype"] for tensor in model["inputs"])] == ["cifar10", "BYTES"]


def counted(text):
    return re.search(r'Requests2XX\{Level="Host",Hostname=".*",\} \d+\.\d+', text)


def grpc_cat(answer):
    return b'"label": "cat"' in answer


def management(name, method, path, expected, ours=None, why=""):
    return Case("management", name, method, path, expected, ours=ours, why=why)


def framed(collection, *cases):
    """A collection's frame: the model comes, is asked, and goes; the metrics have counted that."""
    return (
        Case(collection, "Register Model", "POST", REGISTER, 200),
        *(Case(collection, name, "POST", path, 200, body, check) for name, path, body, check in cases),
        Case(collection, "Unregister model", "DELETE", "models/second", 200),
        Case(collection, "Model Metrics", "GET", "metrics", 200, check=counted),
    )


CASES = (
    *framed("inference", ("Inference Model", "predictions/second", PHOTO, cat)),
    *framed("explanation", ("Explanations Model", "explanations/second", PHOTO, explained)),
    *framed(
        "KServe v1",
        ("Inference Model", "v1/models/second:predict", V1, v1_cat),
        ("Explanations Model", "v1/models/second:explain", V1, v1_explained),
    ),
    *framed(
        "KServe v2",
        ("Inference Model", "v2/models/second/infer", V2, v2_cat),
        ("Explanations Model", "v2/models/second/explain", V2, v2_explained),
    ),
    management("Register Model", "POST", REGISTER, 200),
    management("Model Re-Registration", "POST", REGISTER, 500, 409, CHANGED),
    management("Register Model missing url", "POST", "models", 400),
    management("Register Model - Empty URL, Valid Model Name", "POST", "models?url=&model_name=second", 404),
    management(
        "Register Model - Invalid URL",
        "POST",
        "models?url=https://127.0.0.1:9/no.mar&model_name=third",
        400,
        404,
        "no URL is fetched (allowed_urls), so it is not even tried",
    ),
    management("Register Model invalid Runtime", "POST", f"{REGISTER}&runtime=python4".replace("second", "third"), 400),
    management("Get Model - All Versions", "GET", "models/second/all", 200),
    management("Get Model with Version", "GET", "models/second/VERSION", 200),
    management("Get Valid Model", "GET", "models/second", 200),
    management("List Model - Invalid Model", "GET", "models/third", 404),
    management("List Model - Valid model name, Invalid Model version", "GET", "models/second/0.0", 404),
    management("List Models", "GET", "models?limit=&next_page_token=", 200),
    management("List with Limit", "GET", "models?limit=1", 200),
    management("List with Negative Limit Value", "GET", "models?limit=-1", 200),
    management("List with Pagination", "GET", "models?limit=1&next_page_token=1", 200),
    management("List with Negative Pagination", "GET", "models?limit=1&next_page_token=-1", 200),
    management("List Models - Invalid Next Page Token", "GET", "models?next_page_token=12", 200),
    management("Scale Min Workers - Asynchronous", "PUT", "models/second?min_worker=1", 202),
    management("Scale Min Workers - Synchronous", "PUT", "models/second?min_worker=1&synchronous=true", 200),
    management("Scale Min Workers for a Version", "PUT", "models/second/VERSION?min_worker=1&synchronous=true", 200),
    management(
        "Scale Min Workers for an Invalid Version", "PUT", "models/second/0.0?min_worker=1&synchronous=true", 404
    ),
    management("Scale Min Workers with GPU", "PUT", "models/second?min_worker=1&number_gpu=1", 202),
    management(
        "Scale up Workers - Synchronous", "PUT", "models/second?min_worker=1&max_worker=1&synchronous=true", 200
    ),
    management(
        "Scale up Workers - Asynchronous", "PUT", "models/second?min_worker=1&max_worker=1&synchronous=false", 202
    ),
    management("Update GPU Count", "PUT", "models/second?number_gpu=10", 202),
    management("Update with Negative GPU Count", "PUT", "models/second?number_gpu=-1", 202),
    management("Update Timeout to -1", "PUT", "models/second?timeout=-1", 202),
    management("Update Timeout to 0", "PUT", "models/second?timeout=0", 202),
    management("Scale Workers - Invalid synchronous", "PUT", "models/second?min_worker=1&synchronous=Nan", 202),
    management(
        "Scale Workers - Invalid synchronous and min_worker", "PUT", "models/second?min_worker=nan&synchronous=nan", 202
    ),
    management("Update Workers with no parameters", "PUT", "models/second", 202),
    management("Update Worker for a non-existent model", "PUT", "models/third?min_worker=1", 404),
    management("Update Worker with Invalid Worker Count", "PUT", "models/second?min_worker=2&max_worker=1", 400),
    management("Update Worker with Positive Worker Count", "PUT", "models/second?min_worker=1", 202),
    management("Update Worker with Zero Worker Count", "PUT", "models/second?min_worker=0", 202),
    management("Update Worker with negative min worker Count", "PUT", "models/second?min_worker=-1", 500),
    management("Update Worker with negative max worker Count", "PUT", "models/second?max_worker=-1", 400),
    management("Set Default Model Version", "PUT", "models/second/VERSION/set-default", 200),
    management("Set Default Valid Model Invalid Version", "PUT", "models/second/0.0/set-default", 404),
    management("Set Default Invalid Model valid Version", "PUT", "models/third/VERSION/set-default", 404),
    management("UnRegister Valid Model name, but Invalid Model version", "DELETE", "models/second/0.0", 404),
    management("UnRegister Invalid Model Name", "DELETE", "models/third", 404),
    management("UnRegister Model with synchronous value as true", "DELETE", "models/second/?synchronous=true", 200),
    management(
        "Register Model with response_timeout as 0",
        "POST",
        f"{REGISTER}&batch_size=3&response_timeout=0",
        500,
        200,
        PIN,
    ),
    management(
        "UnRegister Model with synchronous value as non boolean", "DELETE", "models/second/?synchronous=nan", 200
    ),
    management("Register Model with Non integer Batch Size", "POST", f"{REGISTER}&batch_size=dd", 200),
    management("UnRegister Model", "DELETE", "models/second", 200),
    management("Register Model Negative initial workers", "POST", f"{REGISTER}&initial_workers=-1", 200),
    management(
        "UnRegister Model with timeout as non integer", "DELETE", "models/second/?timeout=true&synchronous=-1", 200
    ),
    Case("beside the collections", "Health", "GET", "ping", 200),
    Case("beside the collections", "API description", "OPTIONS", "", 200),
    Case("beside the collections", "A version by its number", "POST", "predictions/cifar10/VERSION", 200, PHOTO, cat),
    Case("beside the collections", "A model that is not there", "POST", "predictions/third", 404, PHOTO),
    Case(
        "beside the collections",
        "Model Metrics of the inference",
        "GET",
        "metrics?name[]=ts_inference_requests_total",
        200,
    ),
    Case("beside the collections", "KServe v1 list", "GET", "v1/models", 200, ours=404, why=NO_VERSIONS),
    Case("beside the collections", "KServe v1 metadata", "GET", "v1/models/cifar10", 200, ours=404, why=NO_VERSIONS),
    Case("beside the collections", "KServe v2 health", "GET", "v2/health/ready", 200, ours=404, why=NO_VERSIONS),
    Case("beside the collections", "KServe v2 metadata", "GET", "v2/models/cifar10", 200, ours=404, why=NO_VERSIONS),
    Case("KServe, gateway", "v1 list", "GET", "gateway/v1/models", 200, check=listed),
    Case("KServe, gateway", "v1 metadata", "GET", "gateway/v1/models/cifar10", 200, check=ready),
    Case("KServe, gateway", "v1 predict", "POST", "gateway/v1/models/cifar10:predict", 200, V1, v1_cat),
    Case("KServe, gateway", "v1 explain", "POST", "gateway/v1/models/cifar10:explain", 200, V1, v1_explained),
    Case("KServe, gateway", "v2 server metadata", "GET", "gateway/v2", 200, check=named),
    Case("KServe, gateway", "v2 server live", "GET", "gateway/v2/health/live", 200, check=live),
    Case("KServe, gateway", "v2 server ready", "GET", "gateway/v2/health/ready", 200, check=ready),
    Case("KServe, gateway", "v2 model metadata", "GET", "gateway/v2/models/cifar10", 200, check=described),
    Case("KServe, gateway", "v2 model ready", "GET", "gateway/v2/models/cifar10/ready", 200, check=ready),
    Case("KServe, gateway", "v2 infer", "POST", "gateway/v2/models/cifar10/infer", 200, V2, v2_cat),
    Case("KServe, gateway", "v2 infer, not base64", "POST", "gateway/v2/models/cifar10/infer", 400, V2_BROKEN),
    Case("KServe, gateway", "v2 a model that is not there", "GET", "gateway/v2/models/third", 404),
    Case("gRPC", "Ping", "gRPC", f"{wire.INFERENCE}/Ping", "OK"),
    Case("gRPC", "Predictions", "gRPC", f"{wire.INFERENCE}/Predictions", "OK", wire.picture(PHOTO), grpc_cat),
    Case(
        "gRPC",
        "Predictions of another model",
        "gRPC",
        f"{wire.INFERENCE}/Predictions",
        "INTERNAL",
        wire.text(1, "third"),
    ),
    Case(
        "gRPC",
        "StreamPredictions",
        "gRPC",
        f"{wire.INFERENCE}/StreamPredictions",
        "OK",
        wire.picture(PHOTO),
        ours="INTERNAL",
        why="the handler streams nothing; TorchServe 0.12 takes that for a dead worker and starts another",
    ),
    Case("gRPC", "DescribeModel", "gRPC", f"{wire.MANAGEMENT}/DescribeModel", "OK", wire.text(1, "cifar10")),
    Case("gRPC", "ListModels", "gRPC", f"{wire.MANAGEMENT}/ListModels", "OK", wire.whole(1, 10)),
    Case(
        "gRPC",
        "ScaleWorker",
        "gRPC",
        f"{wire.MANAGEMENT}/ScaleWorker",
        "OK",
        wire.text(1, "cifar10") + wire.whole(3, 2) + wire.whole(4, 2),
    ),
)

NOT_RUN = (
    ("inference", "the other archives of inference_data.json", "other networks: text, segmentation, detection"),
    (
        "management",
        "Register with Invalid Handler, and scaling that",
        "the archive's own handler would have to be taken out of it",
    ),
    ("https", "all", "TLS belongs to what stands in front of the gateway; TorchServe listens on the loopback"),
    ("workflow", "all", "one model needs no workflow, and no URL is fetched for one"),
    ("snapshot", "all", "snapshots are off (-ncs): model-store/versions.json says what to start with"),
    ("large model, streaming", "all", "this model fits one worker and has nothing to stream"),
)


@dataclass(frozen=True)
class Outcome:
    status: object
    checked: bool

    def of(self, case):
        """What the table says of a case."""
        if self.status == case.expected and self.checked:
            return "passes"
        if self.status == case.ours:
            return f"{self.status} instead of {case.expected}: {case.why}"
        return f"FAILS with {self.status}"


def run(service, version):
    """Ask a running service everything, in order; gives each case with its outcome."""
    return [(case, ask(service, case, version)) for case in CASES]


def ask(service, case, version):
    path = case.path.replace("VERSION", version)
    if case.method == "gRPC":
        kind = "management" if wire.MANAGEMENT in path else "inference"
        port = service.ports[f"TS_GRPC_{kind.upper()}_PORT"]
        status, answer = wire.call(port, path, case.body, service.key(kind))
        return Outcome(status, case.check is None or bool(case.check(answer)))
    kind = "management" if path.startswith("models") else "inference"
    headers = service.key(kind)
    base = getattr(service, kind)
    if path.startswith("metrics"):
        headers, base = {}, service.metrics
    elif path.startswith("gateway/"):
        headers, base, path = {"Content-Type": "application/json"}, service.gateway, path.removeprefix("gateway/")
    response = requests.request(case.method, f"{base}/{path}", data=case.body, headers=headers, timeout=TIMEOUT)
    return Outcome(response.status_code, case.check is None or not response.ok or bool(case.check(response.text)))


def table(outcomes):
    """The document: every case with what came of it."""
    passed = sum(outcome.of(case) == "passes" for case, outcome in outcomes)
    lines = [
        "# What TorchServe's users may rely on",
        "",
        "The cases of TorchServe's Postman collections for inference, explanation, KServe and management, put to",
        "this model in a real TorchServe 0.12 with its keys, registered as `second` where they register a model,",
        "and what is beside them. `python -m tests.conformance` writes this table; a test sees that it is true.",
        "",
        f"{passed} of {len(outcomes)} pass; each other one says why.",
        "",
        "| collection | case | outcome |",
        "| --- | --- | --- |",
        *(f"| {case.collection} | {case.name} | {outcome.of(case)} |" for case, outcome in outcomes),
        *(f"| {collection} | {name} | not run: {why} |" for collection, name, why in NOT_RUN),
    ]
    return "\n".join(lines) + "\n"
