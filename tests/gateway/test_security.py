import re

import pytest
from pydantic import ValidationError

from gateway.settings import Settings
from tests.gateway.test_api import assert_problem

PAGES = ("/", "/model", "/docs", "/openapi.json", "/api/v1/model", "/livez", "/metrics", "/static/page.css", "/nothing")


@pytest.mark.parametrize("path", PAGES)
def test_every_answer_has_the_headers(client, path):
    with client.get(path) as response:
        headers = response.headers
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "camera=(self)" in headers["Permissions-Policy"]
    assert "Strict-Transport-Security" not in headers  # it is served over plain HTTP too


def test_other_origins_may_not_read_answers(client):
    response = client.get("/api/v1/model", headers={"Origin": "https://example.org"})
    assert "Access-Control-Allow-Origin" not in response.headers


def test_listed_origins_may(make_app):
    client = make_app(cors_origins="https://a.example, https://b.example").test_client()
    allowed = client.get("/api/v1/model", headers={"Origin": "https://b.example"})
    assert allowed.headers["Access-Control-Allow-Origin"] == "https://b.example"
    assert "X-Request-ID" in allowed.headers["Access-Control-Expose-Headers"]
    refused = client.get("/api/v1/model", headers={"Origin": "https://c.example"})
    assert "Access-Control-Allow-Origin" not in refused.headers
    assert "Access-Control-Allow-Origin" not in client.get("/", headers={"Origin": "https://b.example"}).headers


def test_one_address_may_ask_so_often(make_app):
    client = make_app(rate_limit="3 per minute").test_client()
    for left in (2, 1, 0):
        response = client.post("/api/v1/classify", data=b"picture")
        assert response.status_code == 200
        assert response.headers["RateLimit-Policy"] == '"requests";q=3;w=60'
        assert response.headers["RateLimit"].startswith(f'"requests";r={left};t=')
    response = client.post("/api/v1/classify", data=b"picture")
    problem = assert_problem(response, 429, "too-many-requests")
    assert "3 per minute" in problem["detail"]
    assert 1 <= int(response.headers["Retry-After"]) <= 61
    another = client.post("/api/v1/classify", data=b"picture", environ_base={"REMOTE_ADDR": "192.0.2.7"})
    assert another.status_code == 200


def test_probes_metrics_and_files_of_pages_are_not_counted(make_app):
    client = make_app(rate_limit="1 per minute").test_client()
    for path in ("/livez", "/readyz", "/metrics", "/static/page.css", "/docs/css/swagger-ui.css"):
        for _ in range(2):
            with client.get(path) as response:
                assert response.status_code == 200, path


def test_a_browser_that_asks_whether_it_may_ask_is_not_counted(make_app):
    client = make_app(rate_limit="1 per minute", cors_origins="https://a.example").test_client()
    headers = {"Origin": "https://a.example", "Access-Control-Request-Method": "POST"}
    for _ in range(2):
        response = client.options("/api/v1/classify", headers=headers)
        assert response.status_code == 200
        assert response.headers["Access-Control-Allow-Origin"] == "https://a.example"
    assert client.post("/api/v1/classify", data=b"picture").status_code == 200


@pytest.mark.parametrize(("proxies", "statuses"), [(0, [200, 429]), (1, [200, 200])])
def test_a_senders_address_is_believed_from_so_many_proxies(make_app, proxies, statuses):
    client = make_app(rate_limit="1 per minute", trusted_proxies=proxies).test_client()
    seen = [
        client.post("/api/v1/classify", data=b"x", headers={"X-Forwarded-For": address}).status_code
        for address in ("192.0.2.1", "192.0.2.2")
    ]
    assert seen == statuses


def test_without_a_limit_nothing_is_said_of_one(client):
    assert "RateLimit" not in client.post("/api/v1/classify", data=b"picture").headers


def test_a_rate_that_means_nothing_stops_the_start():
    with pytest.raises(ValidationError, match="rate_limit"):
        Settings(rate_limit="often")


def test_a_part_that_a_file_does_not_have_is_416(client):
    with client.get("/static/page.css", headers={"Range": "bytes=0-9"}) as part:
        assert (part.status_code, len(part.data)) == (206, 10)
        length = int(part.headers["Content-Range"].rpartition("/")[2])
    response = client.get("/static/page.css", headers={"Range": f"bytes={length}-"})
    assert_problem(response, 416, "no-such-range")
    assert response.headers["Content-Range"] == f"bytes */{length}"


def test_static_files_are_kept_by_content(client):
    [address] = re.findall(r'"(/static/page\.css\?v=[0-9a-f]{8})"', client.get("/").text)
    with client.get("/static/page.css") as plain, client.get(address) as versioned:
        assert plain.headers["Cache-Control"] == "no-cache"
        assert "immutable" in versioned.headers["Cache-Control"]
        etag = plain.headers["ETag"]
    with client.get("/static/page.css?v=00000000") as of_another_version:
        assert of_another_version.headers["Cache-Control"] == "no-cache"
    with client.get("/static/page.css", headers={"If-None-Match": etag}) as again:
        assert again.status_code == 304
