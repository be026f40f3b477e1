"""Known attacks on the real service, each of which must fail. SECURITY.md says what is promised."""

import json
import os
import socket
import subprocess
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests

from tests import pictures
from tests.service import ROOT, Service, eventually

TIMEOUT = 15
PHOTO = pictures.PHOTO_PATH.read_bytes()
OCTETS = {"Content-Type": "application/octet-stream"}


def raw(port, data):
    """Send bytes; give everything that comes back until the connection is closed."""
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT) as connection:
        connection.sendall(data)
        while piece := connection.recv(65_536):
            received += piece
    return received


# Management


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS"])
@pytest.mark.parametrize(
    "path",
    ["/models", "/models/cifar10", "/models/cifar10/1.0/set-default", "/workflows", "/token", "/predictions/cifar10",
     "/explanations/cifar10", "/ping", "/api-description", "/v2/models/cifar10/explain", "/v2/models/second/infer",
     "/v2/models/cifar10/versions/1.0/infer", "/v1/models/second:predict", "/api/v1/../../models"],
)  # fmt: skip
def test_torchserves_own_paths_are_not_reached_through_the_gateway(service, path, method):
    answer = requests.request(
        method, service.gateway + path, headers=service.key("management"), allow_redirects=False, timeout=TIMEOUT
    )
    assert answer.status_code in ({404, 405} if path.startswith(("/v1", "/v2")) else {404})
    assert "READY" not in answer.text


@pytest.mark.parametrize(
    "path", ["/v2/models/cifar10/infer", "/v1/models/cifar10:predict", "/v1/models/cifar10:explain"]
)
def test_the_gateways_own_kserve_addresses_pass_nothing_on(service, path):
    management = service.key("management")
    for method in ("GET", "PUT", "DELETE"):
        answer = requests.request(method, service.gateway + path, headers=management, timeout=TIMEOUT)
        assert answer.status_code == 405
    for body in ({}, {"url": "cifar10.mar"}, {"model_name": "second"}):
        answer = requests.post(service.gateway + path, json=body, headers=management, timeout=TIMEOUT)
        assert (answer.status_code, answer.json()["type"]) == (400, "/problems/invalid-json")


@pytest.mark.parametrize("head", ["Host: {address}", "X-Forwarded-Host: {address}", "X-Original-URL: /models"])
def test_no_head_and_no_whole_address_leads_the_gateway_elsewhere(service, head):
    address = f"127.0.0.1:{service.ports['TS_MANAGEMENT_PORT']}"
    token = service.key("management")["Authorization"]
    for target in (f"http://{address}/models", "/models", f"//{address}/models", f"/@{address}/models"):
        lines = (f"GET {target} HTTP/1.1", head.format(address=address), f"Authorization: {token}", "Connection: close")
        host = () if head.startswith("Host") else ("Host: localhost",)
        answer = raw(service.ports["GATEWAY_PORT"], "\r\n".join((*lines, *host, "", "")).encode())
        assert answer.split(b" ")[1] in {b"400", b"404", b"301", b"308"}
        assert b'"modelName"' not in answer


def test_connect_opens_no_tunnel(service):
    address = f"127.0.0.1:{service.ports['TS_MANAGEMENT_PORT']}"
    request = f"CONNECT {address} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\nGET /models HTTP/1.1\r\n\r\n"
    answer = raw(service.ports["GATEWAY_PORT"], request.encode())
    assert answer.split(b" ")[1] in {b"400", b"404", b"405"}
    assert answer.count(b"HTTP/1.1") == 1


# Code from elsewhere


class Elsewhere(ThreadingHTTPServer):
    """Another server, with a file for whoever comes."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Visited)
        self.visits = []


class Visited(BaseHTTPRequestHandler):
    server: Elsewhere

    def do_GET(self):
        self.server.visits.append(self.path)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"PK\x03\x04")

    def log_message(self, *_):
        pass


@pytest.fixture
def elsewhere():
    with Elsewhere() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


SECRETS = {"AWS_SECRET_ACCESS_KEY": "s3cret", "DOCKERHUB_TOKEN": "s3cret", "GATEWAY_ANYTHING": "s3cret"}


@pytest.fixture(scope="module")
def open_management(tmp_path_factory):
    """TorchServe alone, taking versions over HTTP, the most that an operator can switch on, from an unclean shell."""
    folder = tmp_path_factory.mktemp("open")
    keys = folder / "keys"
    keys.mkdir()
    settings = {"KEY_FOLDER": str(keys), "TS_ENABLE_MODEL_API": "true"}
    with Service(folder / "log", None, "torchserve", **settings, **SECRETS) as service:
        key = json.loads((keys / "key_file.json").read_text())["management"]["key"]
        yield service, {"Authorization": f"Bearer {key}"}


@pytest.mark.parametrize("what", ["models", "workflows"])
def test_nothing_is_fetched_by_url_with_and_without_the_model_api(service, open_management, elsewhere, what):
    """ShellTorch (CVE-2023-43654), and the fetch of workflows that 0.12 left open."""
    url = f"http://127.0.0.1:{elsewhere.server_port}/evil.{'mar' if what == 'models' else 'war'}"
    addresses = (url, url.replace("http", "HTTP"), "file:///etc/passwd", "ftp://127.0.0.1/x.mar", f" {url}", f"{url}#")
    opened, key = open_management
    for each, headers in ((service, service.key("management")), (opened, key)):
        for address in addresses:
            for params in ({"url": address}, {"url": address, "model_name": "evil", "initial_workers": "1"}):
                answer = requests.post(f"{each.management}/{what}", params=params, headers=headers, timeout=TIMEOUT)
                assert 400 <= answer.status_code < 500, (address, answer.text)
    assert elsewhere.visits == []
    names = requests.get(f"{opened.management}/models", headers=key, timeout=TIMEOUT).json()["models"]
    assert [model["modelName"] for model in names] == ["cifar10"]


@pytest.mark.parametrize("file", ["../evil.mar", "..%2Fevil.mar", "/etc/passwd", "/tmp", "..\\evil.mar", "%00.mar"])
def test_no_archive_from_outside_the_store_is_loaded(open_management, file):
    opened, key = open_management
    answer = requests.post(f"{opened.management}/models?url={file}", headers=key, timeout=TIMEOUT)
    assert 400 <= answer.status_code < 500, answer.text


# Keys


def test_no_prediction_without_the_right_key(service):
    right = service.key("inference")["Authorization"]
    wrong = (
        None, "", "Bearer", "Bearer ", right.upper(), right[:-1], right + "x", right.replace("Bearer ", ""),
        f"Basic {right.split()[1]}", service.key("management")["Authorization"], "Bearer null", "Bearer *",
    )  # fmt: skip
    for path in ("predictions/cifar10", "explanations/cifar10", "v2/models/cifar10/infer", "ping"):
        for each in wrong:
            headers = OCTETS | ({} if each is None else {"Authorization": each})
            answer = requests.post(f"{service.inference}/{path}", data=PHOTO, headers=headers, timeout=TIMEOUT)
            assert answer.status_code in {400, 405}, (path, each)
            assert "label" not in answer.text


@pytest.mark.parametrize("path", ["models", "models/cifar10", "workflows", "token?type=inference"])
def test_no_management_with_the_key_for_predictions(service, path):
    for headers in (None, service.key("inference")):
        answer = requests.get(f"{service.management}/{path}", headers=headers, timeout=TIMEOUT)
        assert answer.status_code == 400
        assert "InvalidKeyException" in answer.text


def test_another_user_of_the_machine_cannot_read_the_keys(service):
    path = service.run_folder / "key_file.json"
    for each, mode in ((path, 0o600), (service.run_folder, 0o700), (service.scratch_folder, 0o700)):
        assert each.stat().st_mode & 0o777 == mode
    if os.getuid() == 0:  # who may become another one
        done = subprocess.run(["cat", path], user=65534, group=65534, extra_groups=[], capture_output=True, check=False)
        assert done.returncode != 0
        assert done.stdout == b""


# What runs with what


def environment_of(process):
    text = Path(f"/proc/{process.pid}/environ").read_bytes()
    return dict(entry.split(b"=", 1) for entry in text.split(b"\0") if b"=" in entry)


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="only Linux shows a process's environment so")
def test_torchserve_and_its_workers_are_told_nothing_that_they_do_not_need(open_management):
    service, _ = open_management
    keys = json.loads((Path(service.environment["KEY_FOLDER"]) / "key_file.json").read_text())
    workers = [each for each in service.descendants if "model_service_worker" in " ".join(each.cmdline())]
    assert len(workers) == 2
    for process in (service.descendant("ModelServer"), *workers):
        environment = environment_of(process)
        assert b"s3cret" not in environment.values()
        assert not [name for name in environment if name.startswith((b"AWS", b"DOCKER", b"GATEWAY"))]
        told = b"\0".join(environment.values()).decode() + " ".join(process.cmdline())
        assert not [name for name, key in keys.items() if key["key"] in told]


# The gateway's own


@pytest.mark.parametrize(
    "path",
    [
        "/static/../settings.py",
        "/static/..%2fsettings.py",
        "/static/%2e%2e/%2e%2e/config.properties",
        "/static/..%5csettings.py",
        "/static//etc/passwd",
        "/static/%2fetc%2fpasswd",
        "/static/....//....//settings.py",
        "/static/samples/../../../.run",
        "/static/page.css%00.py",
        "/docs/../../../../etc/passwd",
        "//etc/passwd",
        "/.git/config",
        "/key_file.json",
    ],
)
def test_no_path_leads_out_of_the_static_files(service, path):
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
    answer = raw(service.ports["GATEWAY_PORT"], request)
    if answer.split(b" ")[1] == b"308":  # two slashes made one: an address of our own, where there is nothing
        location = next(line for line in answer.decode().splitlines() if line.startswith("Location: ")).split()[1]
        assert location.startswith("http://localhost/static/")
        answer = raw(service.ports["GATEWAY_PORT"], request.replace(path.encode(), location[16:].encode()))
    assert answer.split(b" ")[1] in {b"404", b"400"}
    assert b"root:" not in answer
    assert b"BaseSettings" not in answer


SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.mark.parametrize(
    "heads",
    [
        b"Content-Length: 4\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: chunked\r\nContent-Length: 4",
        b"Content-Length: 0\r\nContent-Length: 36",
        b"Content-Length: 0, 36",
        b"Content-Length: +0",
        b"Content-Length : 0",
        b"Transfer-Encoding: xchunked",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        b"Transfer-Encoding:\x0bchunked",
        b"X: y\nContent-Length: 0",
    ],
)
def test_a_request_has_one_length_or_is_refused(service, heads):
    """Else what stands in front of the gateway could take a part of one sender's request for another's (smuggling)."""
    body = b"0\r\n\r\n" + SMUGGLED
    request = b"POST /api/v1/classify HTTP/1.1\r\nHost: x\r\n" + heads + b"\r\n\r\n" + body
    answer = raw(service.ports["GATEWAY_PORT"], request + b"\r\n")
    assert answer.split(b" ")[1] in {b"400", b"501"}
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"/smuggled" not in answer


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:99999", '"><script>alert(1)</script>', "a@evil.example"]
)
def test_a_host_that_is_not_ours_gets_into_no_answer(service, host):
    """But the API's description and its snippets, which are for whoever reads them there, as text."""
    for path in ("/", "/model", "/api/v1/model", "/static", "/nothing"):
        for heads in ({"Host": host}, {"X-Forwarded-Host": host, "X-Forwarded-Proto": "javascript"}):
            answer = requests.get(service.gateway + path, headers=heads, allow_redirects=False, timeout=TIMEOUT)
            assert "evil.example" not in answer.text + str(answer.headers)
            assert "alert(1)" not in answer.text
        answer = requests.get(f"{service.gateway}/docs", headers=heads, timeout=TIMEOUT)
        assert "<script>alert" not in answer.text


def test_an_error_tells_nothing_of_the_inside(service):
    for answer in (
        requests.get(f"{service.gateway}/nothing", timeout=TIMEOUT),
        requests.post(f"{service.gateway}/api/v1/classify", timeout=TIMEOUT),
        requests.post(f"{service.gateway}/api/v1/classify?top_k=x", data=PHOTO, timeout=TIMEOUT),
        requests.post(f"{service.gateway}/api/v1/classify", data=b"\x89PNG", timeout=TIMEOUT),
    ):
        for word in ("Traceback", 'File "', str(ROOT), "werkzeug", "gunicorn/", "PIL", "127.0.0.1"):
            assert word not in answer.text + str(answer.headers)


def test_logs_say_nothing_of_picture_name_or_sender(service):
    mark = "n4me-0f-a-s3cret"
    text = (mark + "-pixels").encode()
    picture = PHOTO[:33] + b"\0\0\0\x1ftEXt" + b"Comment\0" + text[:23] + b"\0\0\0\0" + PHOTO[33:]
    heads = {
        "X-Request-ID": "look-for-me", "X-Forwarded-For": "198.51.100.77", "User-Agent": f"{mark}-agent",
        "Referer": f"http://{mark}-referer/", "Cookie": f"{mark}=cookie", "Authorization": f"Bearer {mark}-token",
    }  # fmt: skip
    for body in (PHOTO, picture, b"\xff\xd8\xff" + text):
        files = {"image": (f"{mark}.png", body, "image/png")}
        for url in (f"{service.gateway}/api/v1/classify?{mark}=query", f"{service.gateway}/"):
            requests.post(url, files=files, headers=heads, timeout=TIMEOUT)
    lines = Counter(request=6, prediction=6)  # the gateway's and the handler's, which come when they come
    eventually(lambda: Counter(entry["event"] for entry in service.entries("look-for-me")) >= lines, 30)
    assert mark not in service.output()
    assert "198.51.100.77" not in service.output()
    for entry in service.entries("look-for-me"):
        if entry["event"] == "request":
            assert set(entry) == {
                "event", "level", "timestamp", "request_id", "method", "path", "status", "bytes_in", "milliseconds",
            }  # fmt: skip
