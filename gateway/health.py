"""Probes for whoever runs the gateway."""

import threading
import time
from pathlib import Path
from typing import Final, cast

from flask import Response, current_app, g, jsonify
from flask_openapi3 import APIBlueprint, Tag

from gateway import schemas
from gateway.api import responses
from gateway.problems import Problem
from gateway.torchserve import Prediction, TorchServe

blueprint = APIBlueprint("health", __name__, abp_tags=[Tag(name="Health")])

PROBE_PATH: Final = Path(__file__).parent / "probe.png"
"""What is asked to learn whether a prediction would be answered: tests/photo.jpg, a cat, at 32x32 pixels."""

PROBE_LIFETIME: Final = 0.5
"""Seconds for which an answer stands, so that many probes cost the model no more than one."""
PROBE_SECONDS: Final = 1.0
"""How long the prediction may take. With the lifetime it bounds how late this notices that predictions fail."""

_lock = threading.Lock()


@blueprint.get("/livez", operation_id="live", responses=responses(schemas.Alive))
def live() -> Response:
    """Say that the process answers; nothing else is asked."""
    return jsonify({"status": "alive"})


@blueprint.get("/readyz", operation_id="ready", responses=responses(schemas.Ready, 503, 504))
def ready() -> Response:
    """Say whether a prediction would be answered, by having one made.

    Raises:
        Problem: 503 or 504, as a picture would get it now.
    """
    prediction = probed()
    return jsonify({"status": "ready", "version": prediction.version, "sha256": prediction.sha256})


def probed() -> Prediction:
    """Give the probe's prediction.

    Raises:
        Problem: 503 or 504, there is none.
    """
    outcome = probe()
    if isinstance(outcome, Problem):
        raise outcome
    return outcome


def probe() -> Prediction | Problem:
    """Have a prediction made, unless one was made just now, and give what came of it."""
    torchserve = cast(TorchServe, current_app.extensions["torchserve"])
    probes = current_app.extensions.setdefault("probes", {})
    with _lock:
        if time.monotonic() - probes.get("time", -PROBE_LIFETIME) >= PROBE_LIFETIME:
            try:
                probes["outcome"] = torchserve.probe(PROBE_PATH.read_bytes(), g.request_id, seconds=PROBE_SECONDS)
            except Problem as problem:
                probes["outcome"] = problem
            probes["time"] = time.monotonic()
        return cast(Prediction | Problem, probes["outcome"])
