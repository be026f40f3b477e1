"""The pictures in a request."""

from dataclasses import dataclass
from io import BytesIO
from typing import Any

import flask

from gateway.problems import Problem
from gateway.settings import Settings


@dataclass(frozen=True)
class Upload:
    """One picture as it was sent; a raw body has no file name."""

    filename: str | None
    data: bytes
    mimetype: str


class Request(flask.Request):
    """Keeps a form's files in memory, where the whole request has been received already: no disk can be full."""

    def _get_file_stream(self, *_: Any, **__: Any) -> BytesIO:
        return BytesIO()


def uploads_of(request: flask.Request, settings: Settings) -> list[Upload]:
    """Give the pictures of a multipart form's `image` parts, or the raw body as the one picture.

    Raises:
        Problem: 400 where there is none or too many.
        RequestEntityTooLarge: the body has too many bytes, fields or parts; nothing beyond the limit is read.
    """
    if request.mimetype == "multipart/form-data":
        parts = [part for part in request.files.getlist("image") if part.filename]
        if len(parts) > settings.max_images:
            raise Problem("too-many-images", count=len(parts), max_images=settings.max_images)
        uploads = [Upload(part.filename, part.read(), part.mimetype) for part in parts]
    else:
        request.max_content_length = min(settings.max_image_bytes, settings.max_request_bytes)
        body = request.get_data(cache=False, parse_form_data=False)
        uploads = [Upload(None, body, request.mimetype)] if body else []
    if not uploads:
        raise Problem("no-image")
    return uploads
