"""Errors as people and programs get them: application/problem+json (RFC 9457), or the page with the same words.

Every problem that there can be stands in `KINDS`, so that its status and its words in every language are in one place.
"""

from typing import Any, Final, NamedTuple

import structlog
from flask import Flask, Response, current_app, g, jsonify, render_template, request
from flask.globals import request_ctx
from flask_babel import gettext
from gunicorn.http.errors import ParseException
from werkzeug.exceptions import HTTPException, RequestedRangeNotSatisfiable


class Kind(NamedTuple):
    """A kind of problem: its HTTP status, what is wrong, and what to do; `%(name)s` stands for a fact."""

    status: int
    title: str
    detail: str


def _(text: str) -> str:
    """Mark a text to be translated when it is shown."""
    return text


KINDS: Final = {
    "no-image": Kind(
        400,
        _("There is no image in the request"),
        _("Send one or more files in the form field image, or one picture as the request's body."),
    ),
    "empty-file": Kind(400, _("The file is empty"), _("It has no bytes. Choose the picture again and send that.")),
    "too-many-images": Kind(
        400,
        _("Too many pictures"),
        _("%(count)s pictures came; send at most %(max_images)s in one request."),
    ),
    "one-image-only": Kind(
        400, _("Too many pictures"), _("%(count)s pictures came; an explanation is made for one at a time.")
    ),
    "invalid-parameter": Kind(
        400,
        _("A parameter is wrong"),
        _("The parameter %(parameter)s must be a whole number from %(least)s to %(most)s."),
    ),
    "invalid-json": Kind(
        400,
        _("The JSON is not as it should be"),
        _("Wrong or missing is %(member)s. /docs shows such a request; pictures go in base64."),
    ),
    "bad-request": Kind(400, _("The request cannot be read"), _("Its head or body is malformed. Send it anew.")),
    "token-needed": Kind(
        401,
        _("This page wants its token"),
        _("Give the token of GATEWAY_STATUS_TOKEN as the password, with any name, or as Authorization: Bearer."),
    ),
    "not-from-here": Kind(
        403,
        _("This page is for the machine itself"),
        _("Ask from the machine that the service runs on, or set GATEWAY_STATUS_TOKEN there and give that token."),
    ),
    "not-found": Kind(
        404,
        _("Not found"),
        _("There is nothing at this address. The page is at /, the API below /api/v1/, its description at /docs."),
    ),
    "method-not-allowed": Kind(405, _("Method not allowed"), _("This address does not take that method.")),
    "request-timeout": Kind(
        408, _("The request took too long to arrive"), _("Check the connection and send it again.")
    ),
    "too-large": Kind(413, _("Too large"), _("At most %(megabytes)s MB are taken. Send a smaller picture, or fewer.")),
    "form-too-large": Kind(
        413,
        _("Too many parts"),
        _("At most %(most)s parts of a form are read, each with a short head. Send only pictures, in the field image."),
    ),
    "unsupported-format": Kind(
        415,
        _("Not an image format that is read"),
        _("This is not a picture. Send a JPEG, PNG, WebP, GIF, BMP or AVIF picture."),
    ),
    "unsupported-format: known": Kind(
        415,
        _("Not an image format that is read"),
        _("This is a %(format)s file. Send a JPEG, PNG, WebP, GIF, BMP or AVIF picture."),
    ),
    "damaged-image": Kind(
        422,
        _("The picture cannot be decoded"),
        _("The %(format)s data is damaged or cut short. Open the picture in a viewer, save it anew and send that."),
    ),
    "image-too-small": Kind(
        422,
        _("The picture is too small"),
        _("The picture is %(width)s x %(height)s pixels; each side needs %(min_side)s or more. Send a larger one."),
    ),
    "too-many-pixels": Kind(
        422,
        _("The picture has too many pixels"),
        _(
            "The picture is %(width)s x %(height)s pixels; at most %(megapixels)s megapixels are read. "
            "Send a smaller one; a few hundred pixels a side are plenty."
        ),
    ),
    "too-costly": Kind(
        422,
        _("The picture takes too long to decode"),
        _("Decoding it takes too much time or memory. Save it anew, smaller or as an ordinary JPEG, and send that."),
    ),
    "no-such-range": Kind(416, _("There is no such part"), _("The file is shorter. Ask for it without Range.")),
    "head-too-large": Kind(
        431,
        _("The request's address or headers are too long"),
        _("Send it with fewer or shorter headers, cookies among them, and a shorter address."),
    ),
    "too-many-requests": Kind(
        429, _("Too many requests"), _("At most %(limit)s are answered. Try again in %(seconds)s seconds.")
    ),
    "model-unavailable": Kind(
        503, _("The model is not available"), _("It is starting, restarting or busy. Try again shortly.")
    ),
    "overloaded": Kind(
        503,
        _("Too many pictures at once"),
        _("More are waiting than can be answered soon. Try again in a moment."),
    ),
    "unforeseen": Kind(
        503,
        _("The service failed"),
        _("Something went wrong here, not with your picture. Try again; the log knows the request by its id."),
    ),
    "model-timeout": Kind(
        504,
        _("The model took too long"),
        _("The model gave no answer within %(seconds)s s. Try again; a smaller picture is quicker."),
    ),
}

KSERVE: Final = ("/v1/", "/v2/")
"""Paths whose errors have KServe's member `error` as well."""
FOR_PROGRAMS: Final = ("/api/", *KSERVE)
"""Paths that no person opens in a browser; `/v2` itself, which KServe has as well, counts as below them."""

_RETRY_AFTER_SECONDS: Final = {"model-unavailable": 2, "overloaded": 1, "unforeseen": 5}


class Problem(Exception):
    """An answer that is an error; `facts` fill its words."""

    def __init__(self, kind: str, *, retry_after_seconds: int | None = None, **facts: Any) -> None:
        super().__init__(kind)
        self.kind = kind
        self.facts = facts
        self.status = KINDS[kind].status
        self.retry_after_seconds = retry_after_seconds or _RETRY_AFTER_SECONDS.get(kind)

    @classmethod
    def too_large(cls, limit_bytes: int) -> "Problem":
        """Say that a picture or a request has more bytes than is allowed."""
        return cls("too-large", megabytes=f"{limit_bytes / 1_000_000:g}")

    @property
    def _words(self) -> Kind:
        return (
            KINDS["unsupported-format: known"] if self.facts.get("format") and self.status == 415 else KINDS[self.kind]
        )

    @property
    def title(self) -> str:
        """What is wrong, in the request's language."""
        return str(gettext(self._words.title))

    @property
    def detail(self) -> str:
        """What is wrong here and what to do, in the request's language."""
        words = dict(self.facts)
        if "max_pixels" in words:
            words["megapixels"] = words["max_pixels"] // 1_000_000
        return str(gettext(self._words.detail, **words))

    def as_dict(self) -> dict[str, Any]:
        """Give the problem's members."""
        members = {
            "type": f"/problems/{self.kind}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "request_id": g.get("request_id"),
        }
        return members | ({"error": self.detail} if _is_below(KSERVE) else {})


def init_app(app: Flask) -> None:
    """Answer every error in the one form."""
    app.register_error_handler(Problem, respond)
    app.register_error_handler(HTTPException, _from_http)
    app.register_error_handler(ParseException, lambda _: respond(Problem("bad-request")))  # chunks, as they are read
    app.register_error_handler(Exception, _from_bug)


def respond(problem: Problem) -> Response:
    """Answer with the page where a person's browser asked for one, with JSON otherwise."""
    g.problem = problem.kind  # for metrics.py
    if _is_for_a_person():
        html = render_template("index.html", problem=problem)
        response = Response(html, problem.status, mimetype="text/html")
    else:
        response = jsonify(problem.as_dict())
        response.status_code = problem.status
        response.mimetype = "application/problem+json"
    if not _is_below(FOR_PROGRAMS):
        response.vary.add("Accept")
    if problem.retry_after_seconds is not None:
        response.headers["Retry-After"] = str(problem.retry_after_seconds)
    if problem.status == 401:
        response.headers["WWW-Authenticate"] = 'Basic realm="status", charset="UTF-8"'
    return response


def _is_below(paths: tuple[str, ...]) -> bool:
    return f"{request.path}/".startswith(paths)


def _is_for_a_person() -> bool:
    """Tell a browser, which asks for HTML before anything else, from a program, which takes whatever comes."""
    # Under a host name that is none no page can be drawn: it has links.
    if _is_below(FOR_PROGRAMS) or request.blueprint == "health" or not request_ctx.url_adapter:
        return False
    return request.accept_mimetypes.best_match(["application/json", "text/html"]) == "text/html"


def _from_http(error: HTTPException) -> Response:
    """Put werkzeug's errors (404, 405, 413, malformed bodies) into our form."""
    status = error.code or 500
    if status < 400:  # a redirect
        return Response(error.get_body(), status, error.get_headers())
    if status == 413:
        settings = current_app.extensions["settings"]
        return respond(Problem.too_large(request.max_content_length or settings.max_request_bytes))
    kinds = {404: "not-found", 405: "method-not-allowed", 408: "request-timeout", 416: "no-such-range"}
    if status >= 500:
        return _from_bug(error)
    response = respond(Problem(kinds.get(status, "bad-request")))
    if status == 405:
        response.headers["Allow"] = ", ".join(sorted(getattr(error, "valid_methods", None) or ()))
    if isinstance(error, RequestedRangeNotSatisfiable):
        response.headers["Content-Range"] = f"{error.units} */{error.length}"
    return response


def _from_bug(error: Exception) -> Response:
    """Answer for an error that nobody foresaw: its text goes to the log, not to the sender."""
    structlog.get_logger().error("unforeseen", request_id=g.get("request_id"), exc_info=error)
    return respond(Problem("unforeseen"))
