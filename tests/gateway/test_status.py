"""Who may see the status page, and what is on it."""

import io
import re

import pytest

from gateway.settings import Settings
from gateway.timelines import timeline
from model.manifest import Manifest
from tests.gateway.test_api import assert_problem

HTML = {"Accept": "text/html"}
TOKEN = "0123456789abcdef-ö"
PATHS = ("/status", "/status.json")


def from_address(client, path="/status.json", address="127.0.0.1", **headers):
    return client.get(path, headers=headers, environ_base={"REMOTE_ADDR": address})


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
def test_the_machine_itself_may_see_it(client, path, address):
    assert from_address(client, path, address).status_code == 200


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "[::1]:8000", "localhost"])
def test_by_any_name_of_the_loopback(client, host):
    assert from_address(client, Host=host).status_code == 200


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("address", ["192.0.2.7", "10.0.0.1", "172.17.0.1", "::ffff:192.0.2.7", "2001:db8::1", ""])
def test_other_machines_may_not(client, path, address):
    response = from_address(client, path, address)
    problem = assert_problem(response, 403, "not-from-here")
    assert "GATEWAY_STATUS_TOKEN" in problem["detail"]
    assert "WWW-Authenticate" not in response.headers


@pytest.mark.parametrize("name", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "X-Forwarded-Proto", "Via"])
@pytest.mark.parametrize("proxies", [0, 1])
def test_what_a_proxy_on_this_machine_passes_on_is_not_from_this_machine(make_app, name, proxies):
    client = make_app(trusted_proxies=proxies).test_client()
    assert_problem(from_address(client, **{name: "127.0.0.1"}), 403, "not-from-here")


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "10.0.0.1:8000", "[", "evil.example:80@x"])
def test_a_name_that_only_stands_for_the_loopback_is_not_enough(client, host):
    assert_problem(from_address(client, Host=host), 403, "not-from-here")


@pytest.fixture
def guarded(make_app):
    return make_app(status_token=TOKEN).test_client()


@pytest.mark.parametrize("path", PATHS)
def test_the_token_opens_it_to_others(guarded, path):
    far = {"REMOTE_ADDR": "192.0.2.7"}
    assert guarded.get(path, auth=("anybody", TOKEN), environ_base=far).status_code == 200
    ascii_only = "a" * 16
    # Bearer tokens are ASCII by their grammar.
    assert_problem(from_address(guarded, path, "192.0.2.7", Authorization=f"Bearer {ascii_only}"), 401, "token-needed")
    assert from_address(guarded, path).status_code == 200  # this machine needs none


def test_the_token_may_come_as_bearer_and_through_a_proxy(make_app):
    client = make_app(status_token="a" * 16, trusted_proxies=1).test_client()
    headers = {"Authorization": f"Bearer {'a' * 16}", "X-Forwarded-For": "192.0.2.7"}
    assert from_address(client, **headers).status_code == 200


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", "Bearer wrong", "Basic", "Basic !", "Basic YTpi", "Digest username=x", f"Token {TOKEN[:16]}"],
)
def test_without_it_a_person_is_asked_for_it(guarded, authorization):
    headers = {"Authorization": authorization} if authorization else {}
    response = from_address(guarded, "/status.json", "192.0.2.7", **headers)
    assert_problem(response, 401, "token-needed")
    assert response.headers["WWW-Authenticate"].startswith("Basic ")


def test_the_token_is_no_secret_that_settings_tell():
    assert TOKEN not in repr(Settings(status_token=TOKEN))
    with pytest.raises(ValueError, match="status_token"):
        Settings(status_token="short")


def test_pages_link_to_it_only_where_it_opens(client):
    assert 'href="/status"' in client.get("/", headers=HTML).text
    far = client.get("/", headers=HTML, environ_base={"REMOTE_ADDR": "192.0.2.7"})
    assert 'href="/status"' not in far.text


def test_its_figures_are_what_happened(client):
    client.post("/api/v1/classify", data=b"picture")
    client.post("/api/v1/classify", data=b"bad")
    client.post("/", data={"image": []}, headers=HTML)
    client.get("/model", headers=HTML)  # asks for no answer
    status = client.get("/status.json").get_json()
    assert status["model"]["version"] == "7"
    assert status["model"]["ready"] is True
    assert status["requests"]["count"] == 3
    assert status["requests"]["failed"] == 0
    assert 0 < status["requests"]["seconds"]["p50"] <= status["requests"]["seconds"]["p99"]
    assert status["problems"] == {"damaged-image": 1, "no-image": 1}
    assert status["answers"] == {"pictures": 1, "labels": {"cat": 1}, "score": 0.9, "out_of_scope": 0.0}
    assert status["validation"]["out_of_scope"] == Manifest.read().document["metrics"]["validation"]["refused"]
    assert 0.8 < status["drift"]["labels"] < 1
    assert [replica["failures"] for replica in status["replicas"]] == [0]


def test_a_problem_among_several_pictures_is_counted_once(client, torchserve):
    files = [(io.BytesIO(data), "x.png") for data in (b"good", b"bad", b"good")]
    client.post("/api/v1/classify", data={"image": files})
    assert client.get("/status.json").get_json()["problems"] == {"damaged-image": 1}


def test_a_model_that_is_away_is_said_and_so_is_its_replica(make_app):
    client = make_app(torchserve_url="http://127.0.0.1:9").test_client()
    client.post("/api/v1/classify", data=b"picture")
    status = client.get("/status.json").get_json()
    assert status["model"]["ready"] is False
    assert status["requests"]["failed"] == 1
    assert status["replicas"][0]["failures"] > 0
    assert status["validation"] is None
    page = client.get("/status", headers=HTML)
    assert page.status_code == 200
    assert "The model is not available" in page.text
    assert "left out for" in page.text


def test_the_page_shows_plots_and_needs_no_script(client):
    client.post("/api/v1/classify", data=b"picture")
    page = client.get("/status", headers=HTML).text
    assert page.count('<path class="curve') == 7
    assert "<dt>Pictures answered</dt><dd>1</dd>" in page
    assert "<script>" not in page
    assert "style=" not in page
    shares = client.get("/status.json").get_json()["validation"]["labels"].values()
    said = re.findall(r'<span class="unseen">\(validation pictures: ([\d.]+) %\)</span>', page)
    assert said == [f"{100 * share:.1f}" for share in shares]
    ukrainian = client.get("/status?language=uk", headers=HTML).text
    assert "<h1>Стан сервісу</h1>" in ukrainian
    assert re.search(r"p50 \d+ мс, p95 \d+ мс", ukrainian)
    assert "<dt>Середня оцінка</dt><dd>90,0 %" in ukrainian


def test_large_figures_are_written_out(client, monkeypatch):
    names = {"requests": ("all", "failed"), "seconds": ("p50", "p95", "p99"), "answers": ("score", "out-of-scope")}
    drawn = {what: timeline({name: [2340.0] for name in each}, 10) for what, each in names.items()}
    monkeypatch.setattr("gateway.status.plots", lambda _: drawn)
    assert "</span>p50: 2340 ms</li>" in client.get("/status", headers=HTML).text


def test_it_is_not_kept_anywhere(client):
    assert client.get("/status").headers["Cache-Control"] == "no-store"
