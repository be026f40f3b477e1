"""What the pages say that is no fixed part of a template: class names, degrees of sureness, the script's sentences."""

import hashlib
from functools import cache
from pathlib import Path
from typing import Any, Final

from babel.numbers import get_decimal_symbol, get_group_symbol
from flask import Flask, Response, request, url_for
from flask_babel import gettext as _

from gateway import languages

# From the probability on which each degree holds.
_DEGREES: Final = (0.95, 0.8, 0.6, 0.0)


def init_app(app: Flask) -> None:
    """Give the templates their words."""
    static_folder = Path(app.static_folder or "")

    @cache
    def version_of(name: str) -> str:
        return hashlib.sha256((static_folder / name).read_bytes()).hexdigest()[:8]

    def static(name: str) -> str:
        """Give a static file's address with its content's hash, so that it may be kept for ever."""
        return url_for("static", filename=name, v=version_of(name))

    def words() -> dict[str, Any]:
        return {
            "static": static,
            "number": number,
            "sureness": sureness,
            "score_text": score_text,
            "label_names": label_names(),
            "variant_names": variant_names(),
            "corruption_names": corruption_names(),
            "split_names": {"train": _("training (augmented)"), "validation": _("validation"), "test": _("test")},
            "samples": (
                ("cat.jpg", _("A cat")),
                ("ship.png", _("A ship, a tiny picture")),
                ("frog.png", _("A frog, a tiny picture")),
                ("coffee.jpg", _("A cup of coffee, none of the ten")),
            ),
            "words": script_words(),
        }

    def keep(response: Response) -> Response:
        """Have a file that is asked for by its content's hash kept for a year; others are revalidated by their ETag."""
        if request.endpoint == "static" and response.status_code in {200, 304}:
            name = (request.view_args or {})["filename"]
            if request.args.get("v") == version_of(name):  # not another gateway's, of before or after an update
                response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        return response

    app.context_processor(words)
    app.after_request(keep)


def label_names() -> dict[str, str]:
    """Give the classes' names in the request's language, by label."""
    return {
        "airplane": _("airplane"),
        "automobile": _("automobile"),
        "bird": _("bird"),
        "cat": _("cat"),
        "deer": _("deer"),
        "dog": _("dog"),
        "frog": _("frog"),
        "horse": _("horse"),
        "ship": _("ship"),
        "truck": _("truck"),
    }


def variant_names() -> dict[str, str]:
    """Say in words what tells apart the entries of one network in the comparison."""
    return {
        "": "",
        "no-augmentation": _("without augmentation"),
        "no-batch-norm": _("without batch norm"),
        "no-dropout": _("without dropout"),
        "from-imagenet": _("from ImageNet's weights"),
        "from-scratch": _("from random weights"),
        "own-recipe": _("by its own recipe"),
    }


def corruption_names() -> dict[str, str]:
    """Give the names of what spoils pictures when robustness is measured, by their names in the manifest."""
    return {
        "gaussian_noise": _("Gaussian noise"),
        "shot_noise": _("shot noise"),
        "impulse_noise": _("impulse noise"),
        "defocus_blur": _("out of focus"),
        "glass_blur": _("seen through rough glass"),
        "motion_blur": _("blurred by motion"),
        "zoom_blur": _("blurred by zooming"),
        "snow": _("snow"),
        "frost": _("frost"),
        "fog": _("fog"),
        "brightness": _("too bright"),
        "contrast": _("little contrast"),
        "elastic_transform": _("bent"),
        "pixelate": _("coarse pixels"),
        "jpeg_compression": _("JPEG compression"),
    }


def degrees() -> list[str]:
    """Say in words how sure an answer is, from sure to unsure."""
    return [_("Almost certain"), _("Likely"), _("Perhaps"), _("Hard to say")]


def sureness(score: float) -> str:
    """Say in words how sure a probability is."""
    return next(words for words, least in zip(degrees(), _DEGREES, strict=True) if score >= least)


def score_text(score: float) -> str:
    """Write a probability in percent; none is so sure that it may be rounded to certainty."""
    return f"> {number(99.9, '.1f')} %" if score >= 0.9995 else f"{number(score * 100, '.1f')} %"


def number(value: float, form: str = ",") -> str:
    """Write a number in a form of Python's, with the request's language's signs for its point and commas."""
    language = languages.current()
    signs = str.maketrans(".,", get_decimal_symbol(language) + get_group_symbol(language))
    return format(value, form).translate(signs)


def script_words() -> dict[str, Any]:
    """Give what the page's script says; `{…}` stands for what it fills in."""
    return {
        "labels": label_names(),
        "degrees": [[least, words] for words, least in zip(degrees(), _DEGREES, strict=True)],
        "title": _("What is in the picture?"),
        "doubt": _("Probably none of the ten: it looks unlike the pictures that the network knows."),
        "doubtful": _("probably none of the ten"),
        "chosen": _("{count} chosen. Press Classify."),
        "progress": _("{done} of {count} answered…"),
        "answered": _("{done} of {count} answered."),
        "failed": _("{failed} without an answer."),
        "unread": _("{count} could not be read."),
        "time": _("Answered in {time} ms."),
        "ms": _("ms"),
        "unanswered": _("Not classified yet."),
        "explained": _("Coloured where the picture spoke for {label}."),
        "unreachableTitle": _("The service cannot be reached"),
        "unreachable": _("Check the connection and try again."),
        "cancelledTitle": _("Cancelled"),
        "cancelled": _("It was not classified. Try again brings it back."),
        "notShown": _("This browser cannot show the picture."),
        "yes": _("yes"),
        "no": _("no"),
    }
