"""The pictures in a request."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Final

import flask
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.http import parse_options_header
from werkzeug.sansio.multipart import Data, Epilogue, Event, Field, File, MultipartDecoder, NeedData

from gateway.problems import Problem
from gateway.settings import Settings

CHUNK_BYTES: Final = 1 << 16
MOST_PARTS: Final = 1_000
"""Of a form: many times what pictures need, and too few to take long."""
LONGEST_HEAD: Final = 500_000
"""Bytes of what stands before a part's content."""


@dataclass(frozen=True)
class Upload:
    """One picture as it was sent; a raw body, and a part that is no file, has no file name."""

    filename: str | None
    data: bytes
    mimetype: str


def uploads_of(request: flask.Request, settings: Settings) -> list[Upload]:
    """Give the pictures of a multipart form's `image` parts, or the raw body as the one picture.

    Raises:
        Problem: 400 where there is none or too many, 413 where the form has too many parts.
        RequestEntityTooLarge: the body has too many bytes; nothing beyond the limit is read.
    """
    if request.mimetype == "multipart/form-data":
        try:
            uploads = list(_parts_of(request, "image"))
        except ValueError:  # it is no such form
            uploads = []
        if len(uploads) > settings.max_images:
            raise Problem("too-many-images", count=len(uploads), max_images=settings.max_images)
    else:
        request.max_content_length = min(settings.max_image_bytes, settings.max_request_bytes)
        body = request.get_data(cache=False, parse_form_data=False)
        uploads = [Upload(None, body, request.mimetype)] if body else []
    if not uploads:
        raise Problem("no-image")
    return uploads


def _parts_of(request: flask.Request, name: str) -> Iterator[Upload]:
    """Give a form's parts of one name, without those of a browser in which no file was chosen.

    They stay in memory, where the whole request has been received already: no disk can be full.
    """
    part: Field | File
    pieces: list[bytes]
    for event in _events(request):
        if isinstance(event, Field | File):
            part, pieces = event, []
        elif isinstance(event, Data) and part.name == name:
            pieces.append(event.data)
            if event.more_data:
                continue
            filename, data = part.filename if isinstance(part, File) else "", b"".join(pieces)
            if filename or data:
                mimetype, _ = parse_options_header(part.headers.get("Content-Type"))
                yield Upload(filename or None, data, mimetype.lower())


def _events(request: flask.Request) -> Iterator[Event]:
    """Give what a form consists of, as it is read.

    Raises:
        ValueError: it is no such form.
        Problem: 413, it has too many parts, or one with too long a head.
    """
    boundary = request.mimetype_params.get("boundary", "").encode("ascii")
    if not boundary:
        raise ValueError("no boundary")
    decoder = MultipartDecoder(boundary, LONGEST_HEAD, max_parts=MOST_PARTS)
    for data in chain(iter(partial(request.stream.read, CHUNK_BYTES), b""), (None,)):
        try:
            decoder.receive_data(data)
            while not isinstance(event := decoder.next_event(), NeedData | Epilogue):
                yield event
        except RequestEntityTooLarge as error:
            raise Problem("form-too-large", most=MOST_PARTS) from error
