import base64
import io
import itertools
import json
import re
from dataclasses import replace
from typing import Any

import pytest

from gateway import charts, page, words
from model.manifest import Manifest
from tests.gateway import conftest
from training.corruptions import CORRUPTIONS
from training.lineup import VARIANTS

HTML = {"Accept": "text/html"}
SERVED = Manifest.read()


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
    assert '<a href="/" aria-current="page">Classify</a>' in page


def test_several_pictures_have_a_card_each_and_a_bad_one_its_problem(client):
    page = post(client, b"good", b"bad", b"good").text
    assert page.count('<h2 class="label">cat</h2>') == 2
    assert "The JPEG data is damaged" in page


def test_a_file_name_cannot_become_markup(client):
    page = post(client, b"picture", name='"><script>alert(1)</script>.png').text
    assert "<script>alert" not in page


def test_a_type_that_browsers_do_not_show_is_not_sent_back(client):
    assert "data:text" not in post(client, b"picture", name="x.html", mimetype="text/html").text


def test_no_more_of_the_pictures_is_sent_back_than_a_slow_browser_takes(client, monkeypatch):
    monkeypatch.setattr(page, "SHOWN_BYTES", 15)
    shown = post(client, b"a" * 10, b"b" * 10).text
    assert shown.count('<h2 class="label">cat</h2>') == 2
    assert shown.count("data:image/png") == 1


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
    assert "<title>Not found " in response.text


def test_out_of_scope_is_said_in_words(client, monkeypatch):
    monkeypatch.setitem(conftest.ANSWER, "in_scope", False)
    assert "Probably none of the ten" in post(client, b"picture").text.partition("<template")[0]


@pytest.mark.parametrize(
    ("score", "words"), [(0.99, "Almost certain"), (0.85, "Likely"), (0.6, "Perhaps"), (0.3, "Hard to say")]
)
def test_sureness_has_words(client, monkeypatch, score, words):
    monkeypatch.setitem(conftest.ANSWER, "score", score)
    assert f"{words}: <span" in post(client, b"picture").text


@pytest.mark.parametrize(("score", "text"), [(0.9994, "99.9 %"), (0.9996, "&gt; 99.9 %"), (1.0, "&gt; 99.9 %")])
def test_no_score_is_rounded_to_certainty(client, monkeypatch, score, text):
    monkeypatch.setitem(conftest.ANSWER, "score", score)
    monkeypatch.setitem(conftest.ANSWER["scores"][0], "score", score)
    page = post(client, b"picture").text
    assert f'class="score">{text}<' in page
    assert f'aria-valuetext="{text}"' in page


@pytest.mark.parametrize(("score", "text"), [(0.9994, "99,9 %"), (1.0, "&gt; 99,9 %"), (0.05, "5,0 %")])
def test_ukrainian_has_a_comma_in_scores(client, monkeypatch, score, text):
    monkeypatch.setitem(conftest.ANSWER, "score", score)
    page = post(client, b"picture", headers=HTML | {"Accept-Language": "uk"}).text
    assert f'class="score">{text}<' in page
    assert 'aria-valuenow="90.0" aria-valuetext="90,0 %"' in page


def test_numbers_are_written_as_the_language_writes_them(app):
    for language, written in (("en", ["1,234,567", "0.25", "-3.5"]), ("uk", ["1\xa0234\xa0567", "0,25", "-3,5"])):
        with app.test_request_context(f"/?language={language}"):
            assert [words.number(1234567), words.number(0.25, "g"), words.number(-3.46, "+.1f")] == written


def test_the_model_page_shows_what_the_manifest_says(client):
    document = Manifest.read().document
    test = document["metrics"]["test"]
    page = client.get("/model", headers=HTML).text
    assert f"{100 * test['accuracy']:.2f} %" in page
    assert document["sha256"] in page
    runs = len({row["run"] for row in document["history"]})
    assert page.count("<polyline") == 6 * runs + 1  # of each run three splits of two curves, and the calibration
    for row in test["confusion"]:
        assert all(f">{count}</td>" in page for count in row)


def test_the_model_page_says_which_pictures_were_measured(client, monkeypatch):
    page = client.get("/model?language=en", headers=HTML).text
    assert "are of CIFAR-10's 10,000 test pictures" in page
    assert "validation pictures" not in page
    metrics = {"validation": SERVED.document["metrics"]["validation"]}
    document = {name: value for name, value in SERVED.document.items() if name != "robustness"}
    show_manifest(monkeypatch, document | {"metrics": metrics})
    page = client.get("/model?language=en", headers=HTML).text
    assert "are of 5,000 validation pictures" in page
    assert f"{100 * metrics['validation']['accuracy']:.2f} %" in page
    assert page.count("test pictures") == 1
    assert "no test pictures were measured" in page
    assert "5\xa0000 перевірочних зображеннях" in client.get("/model?language=uk", headers=HTML).text


def test_curves_go_through_all_runs_and_have_a_gap_where_one_was_not_kept():
    loss = (1.0, 0.1, 0.1, 0.01)
    places = ((1, 1), (1, 2), (2, 3), (3, 7))
    history = [
        {"run": run, "epoch": epoch, "train_loss": value, "train_accuracy": 1 - value}
        for (run, epoch), value in zip(places, loss, strict=True)
    ]
    drawn = charts.curves({"history": history}, "loss")
    ends = {value: height for height, value in drawn.ticks}
    assert (drawn.epochs, drawn.runs) == (7, [150.0, 550.0])
    [line] = drawn.lines
    assert (line.split, line.last) == ("train", 0.01)
    assert line.pieces == [f"0.0,{ends[1]} 100.0,{ends[0.1]}", f"200.0,{ends[0.1]}", f"600.0,{ends[0.01]}"]
    assert ends[0.01] - ends[0.1] == pytest.approx(ends[0.1] - ends[1], abs=0.2)
    drawn = charts.curves({"history": history}, "accuracy")
    ends = {value: height for height, value in drawn.ticks}
    assert drawn.lines[0].last == 99
    assert drawn.lines[0].pieces[1:] == [f"200.0,{ends[90]}", f"600.0,{ends[99]}"]
    assert ends[99] < ends[90] < ends[0]
    assert charts.curves({}, "loss").lines == []
    assert charts.curves({"history": [row | {"train_accuracy": 1.0} for row in history]}, "accuracy").lines


ROBUSTNESS: dict[str, Any] = {
    "pictures": 10_000,
    "accuracy": 0.6125,
    "by_corruption": {"fog": [0.95, 0.9, 0.85, 0.8, 0.75], "elastic_transform": [0.6, 0.5, 0.4, 0.3, 0.0]},
}


def show_manifest(monkeypatch, document):
    monkeypatch.setattr(Manifest, "read", lambda: replace(SERVED, document=document))


def test_the_model_page_shows_how_corrupted_pictures_are_answered(client, monkeypatch):
    show_manifest(monkeypatch, SERVED.document | {"robustness": ROBUSTNESS})
    page = client.get("/model?language=en", headers=HTML).text
    assert "<dt>Accuracy on corrupted pictures</dt><dd>61.25 %</dd>" in page
    assert "The 10,000 test pictures spoilt in fifteen ways" in page
    assert "on average 61.25 % of them are named right" in page
    row = page.partition('<th scope="row">fog</th>')[2].partition("</tr>")[0]
    assert re.findall(r"<td.*?>([\d.]+)</td>", row) == ["95.0", "90.0", "85.0", "80.0", "75.0", "85.0"]
    assert '<th scope="row">туман</th>' in client.get("/model?language=uk", headers=HTML).text


def test_corrupted_pictures_are_shaded_by_their_mistakes():
    fog, bent = charts.robustness(ROBUSTNESS["by_corruption"])
    assert [shade for _, shade in fog.cells] == [1, 1, 2, 2, 3]
    assert bent.cells[-1] == (0.0, 9)
    assert bent.mean == pytest.approx(0.36)
    assert charts.robustness({"fog": [1.0] * 5})[0].cells == [(1.0, 0)] * 5


def test_without_their_measurement_the_model_page_says_nothing_of_corrupted_pictures(client, monkeypatch):
    show_manifest(monkeypatch, {name: value for name, value in SERVED.document.items() if name != "robustness"})
    assert "orrupted pictures" not in client.get("/model?language=en", headers=HTML).text


def test_every_corruption_has_words(app):
    with app.test_request_context("/?language=uk"):
        assert words.corruption_names().keys() == CORRUPTIONS.keys()


@pytest.fixture
def networks(monkeypatch):
    """Two networks side by side, the second of them the one that answers."""
    more = {"measured_on": "one core of X", "trained_on": "a Y", "running_statistics": 0}
    rows = [
        {"title": "First net", "variant": "no-dropout", "sha256": "0", "accuracy": 0.9512, "milliseconds": 12.5},
        {"title": "Second", "variant": "", "sha256": Manifest.read().sha256, "accuracy": 0.8, "milliseconds": 0.4},
    ]
    counts = {"macro_f1": 0.5, "parameters": 187402, "multiply_accumulates": 31_500_000, "minutes": 26}
    rows = [row | counts | more for row in rows]
    monkeypatch.setattr(charts, "compared", lambda: rows)
    return rows


def test_the_model_page_lays_the_networks_side_by_side(client, networks):
    page = client.get("/model?language=en", headers=HTML).text
    assert "First net, without dropout</th>" in page
    assert "Second <strong>(answers here)</strong>" in page
    assert "<td>95.12 %</td>" in page
    assert "<td>187,402</td><td>32</td><td>12.50</td>" in page
    assert page.count("<td>26</td>") == 2
    assert "minutes are of training, on a Y." in page
    assert 'aria-label="1: 95.12 %, 12.50 ms, 2: 80.00 %, 0.40 ms"' in page
    ukrainian = client.get("/model?language=uk", headers=HTML).text
    assert "First net, без dropout" in ukrainian
    assert "<td>187\xa0402</td><td>32</td><td>12,50</td>" in ukrainian
    assert 'aria-label="1: 95,12 %, 12,50 мс, 2: 80,00 %, 0,40 мс"' in ukrainian


def test_networks_trained_on_different_machines_each_say_which(client, networks):
    networks[1]["trained_on"] = "a Z"
    page = client.get("/model?language=en", headers=HTML).text
    assert "<td>26, a Y</td>" in page
    assert "<td>26, a Z</td>" in page


def test_the_numbers_of_networks_that_lie_together_cover_no_other(networks):
    together = [networks[0] | {"milliseconds": 1 + index / 100} for index in range(6)]
    numbers = charts.accuracy_against_time(together).numbers
    assert len(numbers) == 6
    places = [(x - 34 if anchor == "end" else x, y) for x, y, anchor in numbers]
    for one, other in itertools.combinations(places, 2):
        assert abs(one[0] - other[0]) >= 34 or abs(one[1] - other[1]) >= 24


def test_networks_are_drawn_where_their_figures_are(networks):
    drawn = charts.accuracy_against_time(networks)
    ticks = [0.2, 0.5, 1, 2, 5, 10, 20]
    assert [tick for _, tick in drawn.across] == pytest.approx(ticks)
    places = [place for place, _ in drawn.across]
    assert (places[0], places[3], places[-1]) == (0, 300, 600)  # 2 is half way from 0.2 to 20
    assert drawn.up[0] == (charts.HEIGHT, 80)
    [first, second] = drawn.points
    assert second[1] == charts.HEIGHT  # 80 % is the least tick
    assert places[-2] < first[0] < places[-1]
    assert places[0] < second[0] < places[1]
    assert charts.accuracy_against_time(networks[:1]).across == [(0.0, 10.0), (600.0, 20.0)]


def test_without_a_comparison_the_model_page_has_no_empty_table(client, monkeypatch):
    monkeypatch.setattr(charts, "compared", list)
    assert "side by side" not in client.get("/model", headers=HTML).text


def test_every_variant_of_the_comparison_has_words(app):
    with app.test_request_context("/?language=uk"):
        said = words.variant_names()
    assert said.keys() == VARIANTS.keys()
    assert all(said[code] for code in said if code)


def test_the_shipped_comparison_can_be_shown():
    for network in json.loads(charts.COMPARISON.read_text())["networks"]:
        assert network["variant"] in VARIANTS
        assert 0 < network["accuracy"] <= 1


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
