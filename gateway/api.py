"""The REST API."""

from typing import Any, Final, cast

from flask import Response, current_app, g, jsonify, request
from flask_openapi3 import APIBlueprint, Tag
from flask_openapi3.types import ResponseDict
from pydantic import BaseModel, ValidationError

from gateway import schemas
from gateway.classification import classify_all, explained
from gateway.deadline import deadline
from gateway.drift import LABELS
from gateway.problems import KINDS, Problem
from gateway.settings import Settings
from gateway.torchserve import Prediction, TorchServe
from gateway.uploads import Upload, uploads_of

FORMATS: Final = ("JPEG", "PNG", "WebP", "GIF", "BMP", "AVIF")
PROBLEM: Final = {"$ref": "#/components/schemas/Problem"}


def responses(answer: type[BaseModel], *statuses: int, problem: dict[str, Any] = PROBLEM) -> ResponseDict:
    """Describe an answer, the problems of these statuses and those of any head, 400 and 431, for the OpenAPI document.

    `problem` is the schema of all of them.
    """
    titles = {400: [KINDS["bad-request"].title], 431: [KINDS["head-too-large"].title]}
    titles |= {status: [kind.title for kind in KINDS.values() if kind.status == status] for status in statuses}
    described: ResponseDict = {200: answer}
    for status in sorted(titles):
        described[status] = {
            "description": "; ".join(dict.fromkeys(titles[status])),
            "content": {"application/problem+json": {"schema": problem}},
        }
    return described


def _request_body(*, several: bool) -> dict[str, Any]:
    """Describe the two ways to send pictures."""
    file = {"type": "string", "format": "binary"}
    images = {"type": "array", "items": file, "minItems": 1} if several else file
    form = {"type": "object", "properties": {"image": images}, "required": ["image"]}
    raw = {media_type: {"schema": file} for media_type in ("application/octet-stream", "image/*")}
    return {"required": True, "content": {"multipart/form-data": {"schema": form}} | raw}


blueprint = APIBlueprint("api", __name__, url_prefix="/api/v1", abp_tags=[Tag(name="Classification")])


@blueprint.post(
    "/classify",
    operation_id="classify",
    summary="Say what pictures show",
    description="Send one or more files in the form field `image`, or one picture as the body. Of several pictures a "
    "bad one has its error in its place; of a single one the error is the answer.",
    responses=responses(schemas.Classification, 400, 408, 413, 415, 422, 429, 503, 504),
    openapi_extensions={"requestBody": _request_body(several=True)},
)
def classify(query: schemas.TopK) -> Response:
    """Classify the request's pictures."""
    uploads = uploads_of(request, current_settings())
    outcomes = classify_all(uploads, g.request_id)
    if len(outcomes) == 1 and isinstance(outcomes[0], Problem):
        raise outcomes[0]
    results = [_result(upload, outcome, query.top_k) for upload, outcome in zip(uploads, outcomes, strict=True)]
    return _answer(outcomes, results)


@blueprint.post(
    "/explain",
    operation_id="explain",
    summary="Say what a picture shows and which parts of it spoke for that",
    description="Send one file in the form field `image`, or the picture as the body.",
    responses=responses(schemas.ExplainedClassification, 400, 408, 413, 415, 422, 429, 503, 504),
    openapi_extensions={"requestBody": _request_body(several=False)},
)
def explain(query: schemas.TopK) -> Response:
    """Classify one picture and say which of its parts spoke for the class."""
    uploads = uploads_of(request, current_settings())
    if len(uploads) > 1:
        raise Problem("one-image-only", count=len(uploads))
    outcome = explained(uploads[0], g.request_id)
    if isinstance(outcome, Problem):
        raise outcome
    return _answer([outcome], [_result(uploads[0], outcome, query.top_k)])


@blueprint.get(
    "/model",
    operation_id="model",
    summary="Describe the model that answers now",
    responses=responses(schemas.ModelCard, 429, 503, 504),
)
def model() -> Response:
    """Give the served weights' manifest and the limits of a request."""
    settings = current_settings()
    served = current_manifest()
    test = served.answer.get("metrics", {}).get("test", {})
    card = {
        "name": settings.model_name,
        "version": served.version,
        "sha256": served.sha256,
        "labels": list(LABELS),
        "accuracy": test.get("accuracy"),
        "engine": served.answer.pop("engine", None),
        "limits": {
            "max_image_bytes": settings.max_image_bytes,
            "max_request_bytes": settings.max_request_bytes,
            "max_images": settings.max_images,
            "rate_limit": settings.rate_limit or None,
            "formats": list(FORMATS),
        },
        "manifest": served.answer,
    }
    return jsonify(card)


def current_manifest() -> Prediction:
    """Ask TorchServe for the manifest of the weights that answer now.

    Raises:
        Problem: 503 or 504, it cannot be had.
    """
    until = deadline(current_settings().answer_timeout_seconds)
    return cast(TorchServe, current_app.extensions["torchserve"]).manifest(g.request_id, until=until)


def current_settings() -> Settings:
    """Give the settings of the gateway that answers."""
    return cast(Settings, current_app.extensions["settings"])


def refuse_input(error: ValidationError) -> Response:
    """Answer for a query parameter or a JSON body that does not fit its type.

    Raises:
        Problem: always.
    """
    where = ".".join(map(str, error.errors()[0]["loc"]))
    if error.title == schemas.TopK.__name__:
        raise Problem("invalid-parameter", parameter=where, least=1, most=len(LABELS)) from error
    raise Problem("invalid-json", member=where or "body") from error


def _answer(outcomes: list[Prediction | Problem], results: list[dict[str, Any]]) -> Response:
    predictions = [outcome for outcome in outcomes if isinstance(outcome, Prediction)]
    model = {
        "name": current_settings().model_name,
        "version": predictions[0].version if predictions else None,
        "sha256": predictions[0].sha256 if predictions else None,
    }
    return jsonify({"request_id": g.request_id, "model": model, "results": results})


def _result(upload: Upload, outcome: Prediction | Problem, top_k: int) -> dict[str, Any]:
    if isinstance(outcome, Problem):
        return {"filename": upload.filename, "error": outcome.as_dict()}
    return outcome.answer | {"filename": upload.filename, "scores": outcome.answer["scores"][:top_k]}
