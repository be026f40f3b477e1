"""What the worker must know of a request's head before gunicorn's parser, which is strict, sees it."""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from urllib.parse import parse_qs

from werkzeug.datastructures import LanguageAccept
from werkzeug.http import parse_accept_header
from werkzeug.sansio.http import parse_cookie

from gateway.languages import ARGUMENT, COOKIE, choose
from gateway.problems import FOR_PROGRAMS
from gateway.request_log import REQUEST_ID

REMEMBERED: Final = 512
LARGEST_REMEMBERED: Final = 2048
"""A sender's heads are mostly the same, so that they are worth remembering; larger ones would cost memory."""

_LINE: Final = re.compile(rb"^([A-Z]+) ([^ ?]*)")
_LENGTH: Final = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,18})[ \t]*(?=\r\n)", re.IGNORECASE)
_CHUNKED: Final = re.compile(rb"\r\ntransfer-encoding:", re.IGNORECASE)
_EXPECT: Final = re.compile(rb"\r\nexpect:[ \t]*100-continue[ \t]*(?=\r\n)", re.IGNORECASE)
_REQUEST_ID: Final = re.compile(rb"\r\nx-request-id:[ \t]*([^\r\n]*)", re.IGNORECASE)
_CLOSE: Final = re.compile(rb"\r\nconnection:[ \t]*close|^[^\r\n]* HTTP/1\.0\r\n", re.IGNORECASE)
_ORIGIN: Final = re.compile(rb"\r\norigin:[ \t]*([^\r\n]*)", re.IGNORECASE)
_HTML: Final = re.compile(rb"\r\naccept:[ \t]*text/html", re.IGNORECASE)
_QUERY: Final = re.compile(rb"^[^ \r\n]+ [^ ?\r\n]*\?([^ #\r\n]*)")
_PAGES_LANGUAGE: Final = re.compile(rb"\r\nx-page-language:[ \t]*([^\r\n]*)", re.IGNORECASE)
_COOKIES: Final = re.compile(rb"\r\ncookie:[ \t]*([^\r\n]*)", re.IGNORECASE)
# No more of it than anybody prefers: the loop has no time to sort thousands.
_ACCEPTED_LANGUAGES: Final = re.compile(rb"\r\naccept-language:[ \t]*([^\r\n]{0,1024})", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Head:
    """A request line and headers; what they do not say, or not well, is empty."""

    method: str
    path: str
    place: str  # whose errors are written alike: "/", which gets pages, or one of those for programs
    is_ukrainian: bool
    origin: str
    request_id: str
    closes: bool
    expects: bool  # to be told to go on
    body_bytes: int | None  # None where the length is not told, or in more ways than one


def read_head(data: bytes) -> Head:
    """Read the request line and the headers, which end with the line end before the empty line."""
    return _remembered(data) if len(data) <= LARGEST_REMEMBERED else _read(data)


def without_expect(data: bytes) -> bytes:
    """Give the head of a request that does not expect to be told to go on."""
    return _EXPECT.sub(b"", data)


def _read(data: bytes) -> Head:
    line = _LINE.match(data)
    method, path = (part.decode("latin-1") for part in line.groups()) if line else ("", "")
    lengths = _LENGTH.findall(data)
    is_unclear = len(lengths) > 1 or len(lengths) != data.lower().count(b"\r\ncontent-length")
    request_id = _value(_REQUEST_ID, data)
    return Head(
        method=method,
        path=path,
        place=next((each for each in FOR_PROGRAMS if path.startswith(each)), "/" if _HTML.search(data) else "/api/"),
        is_ukrainian=b"uk" in data.lower() and _language_of(data) == "uk",  # mostly it is not even there
        origin=_value(_ORIGIN, data),
        request_id=request_id if REQUEST_ID.fullmatch(request_id) else "",
        closes=bool(_CLOSE.search(data)),
        expects=bool(_EXPECT.search(data)),
        body_bytes=None if is_unclear or _CHUNKED.search(data) else int(lengths[0] if lengths else 0),
    )


def _language_of(data: bytes) -> str:
    """Give the language that the application would answer in."""
    [asked_for] = parse_qs(_value(_QUERY, data)).get(ARGUMENT, [""])[:1]
    kept = parse_cookie(_value(_COOKIES, data)).get(COOKIE)
    accepted = parse_accept_header(_value(_ACCEPTED_LANGUAGES, data), LanguageAccept)
    return choose(asked_for, _value(_PAGES_LANGUAGE, data), kept, accepted)


def _value(header: re.Pattern[bytes], data: bytes) -> str:
    found = header.search(data)
    return found[1].decode("latin-1").strip() if found else ""


_remembered: Final = lru_cache(REMEMBERED)(_read)
