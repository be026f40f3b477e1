"""The pages for people; they work without JavaScript."""

import base64
import time
from itertools import accumulate
from typing import Final, cast

from flask import Blueprint, current_app, g, render_template, request

from gateway import charts
from gateway.api import current_manifest
from gateway.classification import classify_all
from gateway.problems import Problem
from gateway.settings import Settings
from gateway.uploads import Upload, uploads_of

blueprint = Blueprint("page", __name__)

# What browsers show; anything else would be a broken picture, and other types have no business in a data URL.
SHOWN_BYTES: Final = 4_000_000
"""So much of the pictures is given back: the whole page has to go out at once, to whoever is slow as well."""
SHOWN_TYPES: Final = ("image/jpeg", "image/png", "image/webp", "image/gif", "image/bmp", "image/avif")


@blueprint.get("/")
def index() -> str:
    """Show the form."""
    return render_template("index.html")


@blueprint.post("/")
def classify() -> str:
    """Show the form with the answers below the pictures that were sent.

    Raises:
        Problem: there is no picture, or the only one gets no answer; shown on the same page.
    """
    started = time.perf_counter()
    settings = cast(Settings, current_app.extensions["settings"])
    uploads = uploads_of(request, settings)
    outcomes = classify_all(uploads, g.request_id)
    if len(outcomes) == 1 and isinstance(outcomes[0], Problem):
        raise outcomes[0]
    sizes = accumulate(len(upload.data) for upload in uploads)
    cards = [
        {
            "filename": upload.filename,
            "picture": _data_url(upload) if size <= SHOWN_BYTES else None,
            "answer": None if isinstance(outcome, Problem) else outcome.answer,
            "problem": outcome if isinstance(outcome, Problem) else None,
        }
        for upload, outcome, size in zip(uploads, outcomes, sizes, strict=True)
    ]
    return render_template("index.html", cards=cards, milliseconds=round((time.perf_counter() - started) * 1000))


@blueprint.get("/model")
def model() -> str:
    """Show what the served model is and how well it does, from the manifest of its weights.

    Raises:
        Problem: 503 or 504, the manifest cannot be had now.
    """
    manifest = current_manifest().answer
    return render_template("model.html", manifest=manifest, charts=charts)


def _data_url(upload: Upload) -> str | None:
    """Give the picture back inside the page, so that nothing has to be kept for a second request."""
    if upload.mimetype not in SHOWN_TYPES:
        return None
    return f"data:{upload.mimetype};base64,{base64.b64encode(upload.data).decode()}"
