import base64
import io

HTML = {"Accept": "text/html"}


def post(client, data, name="cat.png", **fields):
    form = {"image": (io.BytesIO(data), name, "image/png"), **fields}
    return client.post("/", data=form, headers=HTML)


def test_the_form_is_there(client):
    page = client.get("/", headers=HTML).text
    assert 'type="file"' in page
    assert "Classify" in page


def test_a_plain_form_post_shows_picture_class_and_all_bars(client):
    page = post(client, b"picture").text
    assert '<h2 id="label" class="label">cat</h2>' in page
    assert "90.0 %" in page
    assert '<rect width="90.0" height="1"/>' in page
    assert 'aria-label="dog"' in page
    assert f"data:image/png;base64,{base64.b64encode(b'picture').decode()}" in page


def test_the_picture_is_left_out_where_the_page_has_it(client):
    assert "data:image" not in post(client, b"picture", **{"without-picture": "1"}).text


def test_a_file_name_cannot_become_markup(client):
    page = post(client, b"picture", name='"><script>alert(1)</script>.png').text
    assert "<script>alert" not in page


def test_a_type_that_browsers_do_not_show_is_not_sent_back(client):
    form = {"image": (io.BytesIO(b"picture"), "x.html", "text/html")}
    assert "data:text" not in client.post("/", data=form, headers=HTML).text


def test_a_bad_picture_says_what_to_do_on_the_page(client):
    response = post(client, b"bad")
    assert response.status_code == 422
    assert response.mimetype == "text/html"
    assert "Save it anew." in response.text
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


def test_out_of_scope_is_said_in_words(client, torchserve, monkeypatch):
    from tests.gateway import conftest

    monkeypatch.setitem(conftest.ANSWER, "in_scope", False)
    assert "probably none of the ten" in post(client, b"picture").text
