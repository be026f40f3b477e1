"""The REST API."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

from flask import Blueprint, Response, current_app, g, jsonify, request

from gateway.metrics import Metrics
from gateway.problems import Problem
from gateway.settings import Settings
from gateway.torchserve import Prediction, TorchServe
from gateway.uploads import Upload, uploads_of

blueprint = Blueprint("api", __name__, url_prefix="/api/v1")

# As many as TorchServe answers in one batch: one large request should not keep all of its workers from others.
PICTURES_AT_ONCE = 8


@blueprint.post("/classify")
def classify() -> Response:
    """Classify the request's pictures; of several, a bad one has its error in its place."""
    settings = cast(Settings, current_app.extensions["settings"])
    uploads = uploads_of(request, settings)
    outcomes = classify_all(uploads, g.request_id)
    if len(outcomes) == 1 and isinstance(outcomes[0], Problem):
        raise outcomes[0]
    predictions = [outcome for outcome in outcomes if isinstance(outcome, Prediction)]
    model = {
        "name": settings.model_name,
        "version": predictions[0].version if predictions else None,
        "sha256": predictions[0].sha256 if predictions else None,
    }
    results = [_result(upload, outcome) for upload, outcome in zip(uploads, outcomes, strict=True)]
    return jsonify({"request_id": g.request_id, "model": model, "results": results})


def classify_all(uploads: list[Upload], request_id: str) -> list[Prediction | Problem]:
    """Have every picture classified, several at once; each gets its prediction or its problem."""
    settings = cast(Settings, current_app.extensions["settings"])
    torchserve = cast(TorchServe, current_app.extensions["torchserve"])
    metrics = cast(Metrics, current_app.extensions["metrics"])

    def one(upload: Upload) -> Prediction | Problem:
        try:
            if len(upload.data) > settings.max_image_bytes:
                raise Problem.too_large(settings.max_image_bytes)
            prediction = torchserve.predict(upload.data, request_id)
        except Problem as problem:
            metrics.count_problem(problem.kind)
            return problem
        metrics.count_answer(prediction.answer)
        return prediction

    if len(uploads) == 1:
        return [one(uploads[0])]
    with ThreadPoolExecutor(min(PICTURES_AT_ONCE, len(uploads))) as pool:
        return list(pool.map(one, uploads))


def _result(upload: Upload, outcome: Prediction | Problem) -> dict[str, Any]:
    if isinstance(outcome, Problem):
        return {"filename": upload.filename, "error": outcome.as_dict()}
    return outcome.answer | {"filename": upload.filename}
