"""English and Ukrainian: chosen by the page's switch, else by the browser's preference."""

from typing import Final

from flask import Flask, Response, g, request
from flask_babel import Babel, get_locale

LANGUAGES: Final = {"en": "English", "uk": "Українська"}
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


def _select() -> str:
    wanted = request.args.get("language")
    if wanted in LANGUAGES:
        g.chosen_language = wanted  # kept in a cookie by _announce
        return wanted
    for kept in (request.headers.get(HEADER), request.cookies.get(COOKIE)):
        if kept in LANGUAGES:
            return kept
    return request.accept_languages.best_match(list(LANGUAGES)) or "en"


def _announce(response: Response) -> Response:
    if response.mimetype in ("text/html", "application/problem+json"):
        response.headers["Content-Language"] = current()
        response.vary.update(["Accept-Language", "Cookie", HEADER])
    if chosen := g.get("chosen_language"):
        response.set_cookie(COOKIE, chosen, max_age=_YEAR_SECONDS, samesite="Lax", httponly=True)
    return response
