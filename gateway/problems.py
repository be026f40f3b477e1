"""Errors as people and programs get them: application/problem+json (RFC 9457), or the page with the same words."""

from http import HTTPStatus
from typing import Any

import structlog
from flask import Flask, Response, current_app, g, jsonify, render_template, request
from werkzeug.exceptions import HTTPException


class Problem(Exception):
    """An answer that is an error: what is wrong and what to do, in words for whoever asked."""

    def __init__(
        self, status: int, kind: str, title: str, detail: str, *, retry_after_seconds: int | None = None
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.title = title
        self.detail = detail
        self.retry_after_seconds = retry_after_seconds

    @classmethod
    def too_large(cls, limit_bytes: int) -> "Problem":
        """Say that a picture or a request has more bytes than is allowed."""
        megabytes = f"{limit_bytes / 1_000_000:g} MB"
        return cls(413, "too-large", "Too large", f"At most {megabytes} are taken. Send a smaller picture, or fewer.")

    @classmethod
    def no_image(cls) -> "Problem":
        """Say that no picture came."""
        detail = "Send one or more files in the form field image, or one picture as the request's body."
        return cls(400, "no-image", "There is no image in the request", detail)

    def as_dict(self) -> dict[str, Any]:
        """Give the problem's members."""
        return {
            "type": f"/problems/{self.kind}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "request_id": g.get("request_id"),
        }


def init_app(app: Flask) -> None:
    """Answer every error in the one form."""
    app.register_error_handler(Problem, respond)
    app.register_error_handler(HTTPException, _from_http)
    app.register_error_handler(Exception, _from_bug)


def respond(problem: Problem) -> Response:
    """Answer with the page where a person's browser asked for one, with JSON otherwise."""
    if _is_for_a_person():
        html = render_template("index.html", problem=problem, settings=current_app.extensions["settings"])
        response = Response(html, problem.status, mimetype="text/html")
    else:
        response = jsonify(problem.as_dict())
        response.status_code = problem.status
        response.mimetype = "application/problem+json"
    if problem.retry_after_seconds is not None:
        response.headers["Retry-After"] = str(problem.retry_after_seconds)
    return response


def _is_for_a_person() -> bool:
    """Tell a browser, which asks for HTML before anything else, from a program, which takes whatever comes."""
    if request.path.startswith("/api/") or request.blueprint == "health":
        return False
    return request.accept_mimetypes.best_match(["application/json", "text/html"]) == "text/html"


def _from_http(error: HTTPException) -> Response:
    """Put werkzeug's errors (404, 405, 413, malformed bodies) into our form."""
    status = error.code or 500
    if status < 400:  # a redirect
        return Response(error.get_body(), status, error.get_headers())
    if status == 413:
        return respond(Problem.too_large(current_app.extensions["settings"].max_request_bytes))
    details = {
        404: "There is nothing at this address. The page is at /, the API below /api/v1/.",
        405: "This address does not take that method.",
    }
    title = HTTPStatus(status).phrase
    response = respond(Problem(status, title.lower().replace(" ", "-"), title, details.get(status, f"{title}.")))
    if status == 405:
        response.headers["Allow"] = ", ".join(sorted(getattr(error, "valid_methods", None) or ()))
    return response


def _from_bug(error: Exception) -> Response:
    """Answer for an error that nobody foresaw: its text goes to the log, not to the sender."""
    structlog.get_logger().error("unforeseen", request_id=g.get("request_id"), exc_info=error)
    detail = "Something went wrong here, not with your picture. Try again; the log knows the request by its id."
    return respond(Problem(503, "unforeseen", "The service failed", detail, retry_after_seconds=5))
