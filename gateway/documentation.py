"""The API's description for programs, /openapi.json, and for people, /docs: Swagger UI out of its package."""

from pathlib import Path
from typing import Any, Final, cast

import flask_openapi3_swagger
from flask import Blueprint, Response, current_app, jsonify, render_template, request, send_from_directory
from flask_openapi3 import Info, OpenAPI

from gateway.settings import Settings

blueprint = Blueprint("documentation", __name__)

INFO: Final = Info(
    title="What is in the picture?",
    version="1.0.0",
    description="Says which of CIFAR-10's ten things a picture shows, how sure that is, and whether it is one of the "
    "ten at all. Errors are application/problem+json (RFC 9457); X-Request-ID is taken in and given back.",
)
SWAGGER_UI: Final = Path(flask_openapi3_swagger.__file__).parent / "templates" / "swagger"


@blueprint.get("/openapi.json")
def openapi() -> Response:
    """Give the OpenAPI 3.1 document."""
    settings = cast(Settings, current_app.extensions["settings"])
    limits = (
        f" At most {settings.max_image_bytes:,} bytes a picture, {settings.max_request_bytes:,} a request and "
        f"{settings.max_images} pictures in one request"
        + (f"; one address may send {settings.rate_limit}." if settings.rate_limit else ".")
    )
    document: dict[str, Any] = cast(OpenAPI, current_app).api_doc
    own = {
        "info": document["info"] | {"description": document["info"]["description"] + limits},
        "servers": [{"url": request.host_url.rstrip("/")}],
        "components": {"schemas": document["components"]["schemas"]},  # without "securitySchemes": null
    }
    return jsonify(document | own)


@blueprint.get("/docs")
def docs() -> str:
    """Show the document to a person, with snippets for their own host."""
    return render_template("docs.html", host=request.host_url.rstrip("/"))


@blueprint.get("/docs/<path:name>")
def swagger_ui(name: str) -> Response:
    """Give a file of Swagger UI."""
    return send_from_directory(SWAGGER_UI, name, max_age=86_400)
