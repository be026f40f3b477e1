"""English and Ukrainian; a text that lacks its translation fails here."""

import re
from pathlib import Path
from typing import Any

import pytest
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import read_mo
from babel.messages.pofile import read_po

import gateway
from gateway.problems import KINDS, Problem

GATEWAY = Path(gateway.__file__).parent
UK = GATEWAY / "translations" / "uk" / "LC_MESSAGES" / "messages.po"
METHODS = [("**.py", "python"), ("templates/**.html", "jinja2")]


@pytest.fixture(scope="module")
def catalogue():
    with UK.open("rb") as file:
        return read_po(file, locale="uk")


def test_every_text_has_its_translation(catalogue):
    texts = {text for _, _, text, _, _ in extract_from_dir(GATEWAY, METHODS)}
    missing = sorted(text for text in texts if text not in catalogue or not catalogue[text].string)
    assert not missing, "run make translations and fill them in"
    assert {message.id for message in catalogue if message.id} == texts, "make translations removes what nobody says"


def test_translations_fill_in_the_same_facts(catalogue):
    for message in catalogue:
        names = re.findall(r"%\((\w+)\)s|\{(\w+)\}", message.id)
        assert sorted(re.findall(r"%\((\w+)\)s|\{(\w+)\}", message.string)) == sorted(names), message.id


def test_what_is_compiled_is_what_is_written(catalogue):
    with UK.with_suffix(".mo").open("rb") as file:
        compiled = read_mo(file)
    written = {message.id: message.string for message in catalogue if message.id}
    assert {message.id: message.string for message in compiled if message.id} == written, "run make translations"


@pytest.mark.parametrize(
    ("preference", "language", "heading"),
    [
        ("uk", "uk", "Що на зображенні?"),
        ("uk-UA,uk;q=0.9,en;q=0.8", "uk", "Що на зображенні?"),
        ("de", "en", "What is in the picture?"),
        (None, "en", "What is in the picture?"),
    ],
)
def test_the_browsers_preference_chooses(client, preference, language, heading):
    response = client.get("/", headers={"Accept-Language": preference} if preference else {})
    assert f'<html lang="{language}">' in response.text
    assert f"<h1>{heading}</h1>" in response.text
    assert response.headers["Content-Language"] == language
    assert "Accept-Language" in response.headers["Vary"]


@pytest.mark.parametrize(("path", "is_negotiated"), [("/nothing", True), ("/api/v1/nothing", False)])
@pytest.mark.parametrize("accept", ["text/html", "application/json"])
def test_errors_say_what_they_depend_on(client, path, is_negotiated, accept):
    vary = client.get(path, headers={"Accept": accept}).vary
    assert {"Accept-Language", "Cookie", "X-Page-Language"} <= set(vary)
    assert ("Accept" in vary) is is_negotiated


def test_the_switch_is_kept(client):
    assert '<html lang="uk">' in client.get("/?language=uk").text
    assert '<html lang="uk">' in client.get("/", headers={"Accept-Language": "en"}).text
    assert '<html lang="en">' in client.get("/?language=en").text
    assert '<html lang="en">' in client.get("/").text


def test_an_unknown_language_changes_nothing(client):
    assert '<html lang="en">' in client.get("/?language=../../x").text
    assert '<html lang="en">' in client.get("/", headers={"X-Page-Language": "../../x"}).text


def test_a_pages_script_is_answered_in_the_pages_language_and_changes_no_other(client):
    client.get("/?language=en")
    response = client.get("/", headers={"X-Page-Language": "uk"})
    assert '<html lang="uk">' in response.text
    assert "Set-Cookie" not in response.headers
    assert '<html lang="en">' in client.get("/").text


def test_api_errors_come_in_the_language_asked_for(client):
    problem = client.post("/api/v1/classify", data=b"bad", headers={"Accept-Language": "uk"}).get_json()
    assert problem["title"] == "Зображення не вдається розкодувати"
    assert problem["detail"].startswith("Дані JPEG")
    assert problem["type"] == "/problems/damaged-image"


FACTS: dict[str, Any] = {
    "count": 3, "max_images": 2, "parameter": "top_k", "least": 1, "most": 10, "member": "inputs", "megabytes": "20",
    "width": 5, "height": 6, "min_side": 8, "max_pixels": 50_000_000, "limit": "3 per minute", "seconds": 9,
}  # fmt: skip


@pytest.mark.parametrize("language", ["en", "uk"])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if ":" not in kind])
def test_every_problem_can_be_said(app, kind, language):
    facts = FACTS | ({"format": "JPEG"} if kind == "damaged-image" else {})
    with app.test_request_context(f"/?language={language}"):
        problem = Problem(kind, **facts)
        assert "%(" not in problem.title + problem.detail
        assert problem.title
        assert problem.detail.endswith(".")
