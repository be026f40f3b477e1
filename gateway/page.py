"""The page for people; it works without JavaScript."""

import base64
from typing import cast

from flask import Blueprint, current_app, g, render_template, request

from gateway.api import classify_all
from gateway.problems import Problem
from gateway.settings import Settings
from gateway.uploads import Upload, uploads_of

blueprint = Blueprint("page", __name__)

# What browsers show; anything else would be a broken picture, and other types have no business in a data URL.
SHOWN_TYPES = ("image/jpeg", "image/png", "image/webp", "image/gif", "image/bmp", "image/avif")


@blueprint.get("/")
def index() -> str:
    """Show the form."""
    return render_template("index.html", settings=current_app.extensions["settings"])


@blueprint.post("/")
def classify() -> str:
    """Show the form with the answer below the picture that was sent.

    Raises:
        Problem: there is no picture, or it gets no answer; shown on the same page.
    """
    settings = cast(Settings, current_app.extensions["settings"])
    upload = uploads_of(request, settings)[0]
    outcome = classify_all([upload], g.request_id)[0]
    if isinstance(outcome, Problem):
        raise outcome
    picture = None if "without-picture" in request.form else _data_url(upload)
    return render_template(
        "index.html", settings=settings, filename=upload.filename, picture=picture, answer=outcome.answer
    )


def _data_url(upload: Upload) -> str | None:
    """Give the picture back inside the page, so that nothing has to be kept for a second request."""
    if upload.mimetype not in SHOWN_TYPES:
        return None
    return f"data:{upload.mimetype};base64,{base64.b64encode(upload.data).decode()}"
