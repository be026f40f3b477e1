import base64
import io

import pytest

from model.manifest import Manifest
from tests.gateway import conftest

HTML = {"Accept": "text/html"}


def post(client, *data, name="cat.png", mimetype="image/png", headers=HTML):
    files = [(io.BytesIO(each), name, mimetype) for each in data]
    return client.post("/", data={"image": files}, headers=headers)


def test_the_form_is_there(client):
    page = client.get("/", headers=HTML).text
    assert 'type="file"' in page
    assert "Classify" in page


def test_a_plain_form_post_shows_picture_class_and_all_bars(client):
    page = post(client, b"picture").text
    assert '<h2 class="label">cat</h2>' in page
    assert 'Likely: <span class="score">90.0 %</span>' in page
    assert '<rect width="90.0" height="1"/>' in page
    assert 'aria-label="dog"' in page
    assert f"data:image/png;base64,{base64.b64encode(b'picture').decode()}" in page
    assert "Answered in" in page
    assert "<title>Cat " in page


def test_several_pictures_have_a_card_each_and_a_bad_one_its_problem(client):
    page = post(client, b"good", b"bad", b"good").text
    assert page.count('<h2 class="label">cat</h2>') == 2
    assert "The JPEG data is damaged" in page


def test_a_file_name_cannot_become_markup(client):
    page = post(client, b"picture", name='"><script>alert(1)</script>.png').text
    assert "<script>alert" not in page


def test_a_type_that_browsers_do_not_show_is_not_sent_back(client):
    assert "data:text" not in post(client, b"picture", name="x.html", mimetype="text/html").text


def test_a_bad_picture_says_what_to_do_on_the_page(client):
    response = post(client, b"bad")
    assert response.status_code == 422
    assert response.mimetype == "text/html"
    assert "save it anew" in response.text
    assert 'role="alert"' in response.text
    assert 'type="file"' in response.text


def test_no_picture_chosen_is_said_on_the_page(client):
    response = client.post("/", data={"image": (io.BytesIO(b""), "")}, headers=HTML)
    assert response.status_code == 400
    assert "There is no image" in response.text


def test_an_unknown_address_shows_a_person_the_page(client):
    response = client.get("/nothing", headers=HTML)
    assert response.status_code == 404
    assert "nothing at this address" in response.text


def test_out_of_scope_is_said_in_words(client, monkeypatch):
    monkeypatch.setitem(conftest.ANSWER, "in_scope", False)
    assert "Probably none of the ten" in post(client, b"picture").text.partition("<template")[0]


@pytest.mark.parametrize(
    ("score", "words"), [(0.99, "Almost certain"), (0.85, "Likely"), (0.6, "Perhaps"), (0.3, "Hard to say")]
)
def test_sureness_has_words(client, monkeypatch, score, words):
    monkeypatch.setitem(conftest.ANSWER, "score", score)
    assert f"{words}: <span" in post(client, b"picture").text


def test_the_model_page_shows_what_the_manifest_says(client):
    document = Manifest.read().document
    test = document["metrics"]["test"]
    page = client.get("/model", headers=HTML).text
    assert f"{100 * test['accuracy']:.2f} %" in page
    assert document["sha256"] in page
    assert page.count("<polyline") == 7  # three splits of two curves, and the calibration
    for row in test["confusion"]:
        assert all(f">{count}</td>" in page for count in row)


def test_the_model_page_says_when_the_model_is_away(make_app):
    response = make_app(torchserve_url="http://127.0.0.1:9").test_client().get("/model", headers=HTML)
    assert response.status_code == 503
    assert "The model is not available" in response.text


def test_the_docs_page_needs_no_other_host(client):
    page = client.get("/docs", headers=HTML).text
    assert "http://localhost/api/v1/classify" in page
    with client.get("/docs/js/swagger-ui-bundle.js") as script:
        assert script.status_code == 200
    assert client.get("/docs/../secret").status_code == 404
