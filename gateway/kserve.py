"""KServe's inference protocols, v2 (the Open Inference Protocol) and v1: clients of either can be pointed here.

A request's pictures are answered as those of /api/v1/classify are. These protocols know no errors of single pictures,
so the first one's is that of the request; its `error` member says what `detail` says.

Source: https://github.com/kserve/open-inference-protocol, https://kserve.github.io/website (v1).
"""

import base64
import binascii
import math
import re
from functools import partial
from typing import Annotated, Any, Final, Literal, cast

from flask import Response, g, jsonify, request
from flask_openapi3 import APIBlueprint, OpenAPI, Tag
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator
from werkzeug.routing import BaseConverter

from gateway import schemas
from gateway.api import PROBLEM, current_settings
from gateway.api import responses as plain_responses
from gateway.classification import classify_all, explained
from gateway.documentation import INFO
from gateway.health import probed
from gateway.problems import Problem
from gateway.torchserve import Prediction
from gateway.uploads import Upload

MOST_PARTS: Final = 1_000
"""Brackets, braces and commas in a body: many times what pictures need, and too few to fill memory."""
MOST_NESTED: Final = 400
"""Brackets and braces that open: many times what the most pictures need, and too few to fill the parser's stack."""
LARGEST: Final = 1.5
"""A body's bytes, of the largest picture's: in base64 it has 1.33. Text and pictures fill memory at once."""
INPUT: Final = {"name": "image", "datatype": "BYTES", "shape": [-1]}
OUTPUTS: Final = (("label", "BYTES"), ("score", "FP32"), ("in_scope", "BOOL"), ("in_scope_score", "FP32"))

_OBJECT: Final = re.compile(rb"(?:\xef\xbb\xbf)?\s*\{")
"""How a JSON object begins, after a byte order mark where a sender's system puts one."""
_BASE64: Final = {"type": "string", "contentEncoding": "base64", "description": "a picture in base64"}


def _decoded(text: Any) -> bytes:
    if not isinstance(text, str):
        raise ValueError("no text")
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError("not base64") from error


def _decoded_instance(instance: Any) -> bytes:
    """Decode an instance: a text, or what names it as KServe's and TorchServe's examples do, in one another as well."""
    while isinstance(instance, dict):
        instance = next((instance[key] for key in ("b64", "data", "image_bytes") if key in instance), None)
    return _decoded(instance)


Picture = Annotated[bytes, BeforeValidator(_decoded), WithJsonSchema(_BASE64)]
Instance = Annotated[
    bytes,
    BeforeValidator(_decoded_instance),
    WithJsonSchema(
        {
            "anyOf": [
                _BASE64,
                {"type": "object", "properties": {"b64": _BASE64}, "required": ["b64"]},
                {"type": "object", "description": "the same named `data` or `image_bytes`", "minProperties": 1},
            ]
        }
    ),
]

_ERROR: Final = {"properties": {"error": {"type": "string", "description": "as `detail`"}}}
responses = partial(plain_responses, problem={"allOf": [PROBLEM, _ERROR]})


class InputTensor(BaseModel):
    """Pictures."""

    model_config = ConfigDict(strict=True)

    name: str = "image"
    # Short, of small numbers: a product of very long ones would keep everybody waiting.
    shape: list[Annotated[int, Field(ge=-1, le=MOST_PARTS)]] | None = Field(
        None, max_length=8, description="`[number of pictures]`", examples=[[1]]
    )
    datatype: Literal["BYTES"]
    data: list[Picture] = Field(min_length=1)

    @model_validator(mode="after")
    def _fits(self) -> "InputTensor":
        if self.shape is not None and -1 not in self.shape and math.prod(self.shape) != len(self.data):
            raise ValueError("the shape does not fit the data")
        return self


class RequestedOutput(BaseModel):
    """One fact that is wanted; what else it holds is passed over."""

    name: Literal["label", "score", "in_scope", "in_scope_score"]


class InferenceRequest(BaseModel):
    """A request of the Open Inference Protocol; what else it holds is passed over."""

    model_config = ConfigDict(strict=True)

    id: str = Field("", description="comes back in the answer")
    inputs: list[InputTensor] = Field(min_length=1, max_length=1)
    outputs: list[RequestedOutput] | None = Field(None, description="those that are wanted; all where there is none")


class InstancesRequest(BaseModel):
    """A request of version 1."""

    instances: list[Instance] = Field(min_length=1)


class OutputTensor(BaseModel):
    """One fact about each picture."""

    name: str
    datatype: str
    shape: list[int]
    data: list[str | bool | float]


class InferenceResponse(BaseModel):
    """The answer of the Open Inference Protocol."""

    model_name: str
    model_version: str
    id: str
    outputs: list[OutputTensor]


class Predictions(BaseModel):
    """The answer of version 1."""

    predictions: list[schemas.Answer]


class Explanations(BaseModel):
    """The answer of version 1, and which parts of the picture spoke for it."""

    explanations: list[schemas.ExplainedAnswer]


class TensorMetadata(BaseModel):
    """What a tensor is; -1 stands for the number of pictures."""

    name: str
    datatype: str
    shape: list[int]


class ServerMetadata(BaseModel):
    """Who answers."""

    name: str
    version: str
    extensions: list[str]


class ModelMetadata(BaseModel):
    """What the model takes and gives."""

    name: str
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class ServerLive(BaseModel):
    """The process answers."""

    live: bool


class ServerReady(BaseModel):
    """A prediction was made just now."""

    ready: bool


class ModelReady(ServerReady):
    """A prediction was made just now by this model."""

    name: str


class Models(BaseModel):
    """Names of the models there are."""

    models: list[str]


class ModelPath(BaseModel):
    """Which model."""

    name: str = Field(description="as /v1/models lists it", json_schema_extra={"example": "cifar10"})


class ModelName(BaseConverter):
    """Leaves out the colon, behind which v1 has what to do."""

    regex = "[^/:]+"


blueprint = APIBlueprint("kserve", __name__, abp_tags=[Tag(name="KServe")])
probes = APIBlueprint("kserve-health", __name__, abp_tags=[Tag(name="KServe")])


def init_app(app: OpenAPI) -> None:
    """Answer below /v1 and /v2."""
    app.url_map.converters["model"] = ModelName
    app.register_api(blueprint)
    app.register_api(probes)


@blueprint.before_request
@probes.before_request
def check_name() -> None:
    """See that the model asked for is ours.

    Raises:
        Problem: it is another one.
    """
    settings = current_settings()
    if (request.view_args or {}).get("name", settings.model_name) != settings.model_name:
        raise Problem("not-found")


@blueprint.before_request
def check_parts() -> None:
    """Refuse what would make a large structure of a small body, before anything reads it.

    Raises:
        Problem: the body has too many parts, or is no object.
        RequestEntityTooLarge: it has too many bytes.
    """
    if request.method == "POST":
        settings = current_settings()
        request.max_content_length = min(settings.max_request_bytes, int(LARGEST * settings.max_image_bytes))
        body = request.get_data(parse_form_data=False)
        # Only an object is meant, and a text of JSON would be read as JSON once more, its parts hidden by escapes here.
        if not _OBJECT.match(body):
            raise Problem("invalid-json", member="body")
        opened = body.count(b"[") + body.count(b"{")
        if opened > MOST_NESTED or opened + body.count(b",") > MOST_PARTS:
            raise Problem("invalid-json", member="body")


@probes.get("/v2/health/live", operation_id="v2Live", responses=responses(ServerLive))
def live() -> Response:
    """Say that the process answers."""
    return jsonify({"live": True})


@probes.get("/v2/health/ready", operation_id="v2Ready", responses=responses(ServerReady, 503, 504))
def ready() -> Response:
    """Say whether a prediction would be answered, as /readyz does."""
    probed()
    return jsonify({"ready": True})


@probes.get(
    "/v2/models/<model:name>/ready", operation_id="v2ModelReady", responses=responses(ModelReady, 404, 503, 504)
)
def model_ready(path: ModelPath) -> Response:
    """Say whether a prediction would be answered by the model."""
    return _ready(path)


@blueprint.get("/v2", operation_id="v2Server", responses=responses(ServerMetadata, 429))
def server() -> Response:
    """Say who answers."""
    return jsonify({"name": "cifar10-gateway", "version": INFO.version, "extensions": []})


@blueprint.get("/v2/models/<model:name>", operation_id="v2Model", responses=responses(ModelMetadata, 404, 429))
def model(path: ModelPath) -> Response:
    """Say what the model takes and gives; versions are not named, since none has an address of its own."""
    outputs = [{"name": name, "datatype": datatype, "shape": [-1]} for name, datatype in OUTPUTS]
    return jsonify({"name": path.name, "platform": "torchserve_mar", "inputs": [INPUT], "outputs": outputs})


@blueprint.post(
    "/v2/models/<model:name>/infer",
    operation_id="v2Infer",
    summary="Say what pictures show, by the Open Inference Protocol",
    responses=responses(InferenceResponse, 400, 404, 408, 413, 415, 422, 429, 503, 504),
)
def infer(path: ModelPath, body: InferenceRequest) -> Response:
    """Classify the one input's pictures."""
    wanted = {output.name for output in body.outputs or []} or dict(OUTPUTS)
    predictions = _classified(body.inputs[0].data)
    outputs = [
        {"name": name, "datatype": datatype, "shape": [len(predictions)]}
        | {"data": [each.answer[name] for each in predictions]}
        for name, datatype in OUTPUTS
        if name in wanted
    ]
    about = {"model_name": path.name, "model_version": predictions[0].version, "id": body.id or g.request_id}
    return jsonify(about | {"outputs": outputs})


@blueprint.get("/v1/models", operation_id="v1Models", responses=responses(Models, 429))
def models() -> Response:
    """Name the models there are."""
    return jsonify({"models": [current_settings().model_name]})


@probes.get("/v1/models/<model:name>", operation_id="v1Model", responses=responses(ModelReady, 404, 503, 504))
def v1_model(path: ModelPath) -> Response:
    """Say whether the model would answer."""
    return _ready(path)


@blueprint.post(
    "/v1/models/<model:name>:predict",
    operation_id="v1Predict",
    summary="Say what pictures show, by KServe's version 1",
    responses=responses(Predictions, 400, 404, 408, 413, 415, 422, 429, 503, 504),
)
def predict(path: ModelPath, body: InstancesRequest) -> Response:  # noqa: ARG001  # the document names it
    """Classify the instances."""
    return jsonify({"predictions": [each.answer for each in _classified(body.instances)]})


@blueprint.post(
    "/v1/models/<model:name>:explain",
    operation_id="v1Explain",
    summary="Say what a picture shows and which parts of it spoke for that, by KServe's version 1",
    responses=responses(Explanations, 400, 404, 408, 413, 415, 422, 429, 503, 504),
)
def explain(path: ModelPath, body: InstancesRequest) -> Response:  # noqa: ARG001
    """Classify the one instance and say which of its parts spoke for the class."""
    if len(body.instances) > 1:
        raise Problem("one-image-only", count=len(body.instances))
    outcome = explained(Upload(None, body.instances[0], ""), g.request_id)
    if isinstance(outcome, Problem):
        raise outcome
    return jsonify({"explanations": [outcome.answer]})


def _classified(pictures: list[bytes]) -> list[Prediction]:
    """Have all pictures classified.

    Raises:
        Problem: one of them has no answer, or there are too many.
    """
    most = current_settings().max_images
    if len(pictures) > most:
        raise Problem("too-many-images", count=len(pictures), max_images=most)
    outcomes = classify_all([Upload(None, picture, "") for picture in pictures], g.request_id)
    for outcome in outcomes:
        if isinstance(outcome, Problem):
            raise outcome
    return cast(list[Prediction], outcomes)


def _ready(path: ModelPath) -> Response:
    probed()
    return jsonify({"name": path.name, "ready": True})
