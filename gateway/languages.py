"""English and Ukrainian: chosen by the page's switch, else by the browser's preference."""

from typing import Final

from flask import Flask, Response, g, request
from flask_babel import Babel, get_locale
from werkzeug.datastructures import LanguageAccept

LANGUAGES: Final = {"en": "English", "uk": "Українська"}
ARGUMENT: Final = "language"
COOKIE: Final = "language"
HEADER: Final = "X-Page-Language"
"""The language of the page whose script asks; unlike the switch's it is kept nowhere."""
_YEAR_SECONDS: Final = 365 * 24 * 3600


def init_app(app: Flask) -> None:
    """Give every request its language."""
    Babel(app, default_locale="en", locale_selector=_select)
    app.after_request(_announce)
    app.context_processor(lambda: {"languages": LANGUAGES, "language": current()})


def current() -> str:
    """Give the request's language as a code."""
    return str(get_locale() or "en")


def choose(asked_for: str | None, of_the_page: str | None, kept: str | None, accepted: LanguageAccept) -> str:
    """Give the first language that we have: of the address, of the page that asks, of the cookie, of the browser."""
    named = (each for each in (asked_for, of_the_page, kept) if each in LANGUAGES)
    return next(named, None) or accepted.best_match(list(LANGUAGES)) or "en"


def _select() -> str:
    asked_for = request.args.get(ARGUMENT)
    if asked_for in LANGUAGES:
        g.chosen_language = asked_for  # kept in a cookie by _announce
    return choose(asked_for, request.headers.get(HEADER), request.cookies.get(COOKIE), request.accept_languages)


def _announce(response: Response) -> Response:
    if response.mimetype in ("text/html", "application/problem+json"):
        response.headers["Content-Language"] = current()
        response.vary.update(["Accept-Language", "Cookie", HEADER])
    if chosen := g.get("chosen_language"):
        response.set_cookie(COOKIE, chosen, max_age=_YEAR_SECONDS, samesite="Lax", httponly=True)
    return response
